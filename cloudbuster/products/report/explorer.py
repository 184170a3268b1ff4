"""Data of the report's map: what its script paints, and what it says of a place."""

from typing import Any

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.pixels.masks import DISTANCE_LIMIT_M
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.gathered.scene_raster import CLOUD_DISTANCE_BAND, SCENE_INDEX_BAND
from cloudbuster.products.report.outlines import footprint, graticule, lattice, outline
from cloudbuster.products.report.rasters import MapRasters, encode_codes
from cloudbuster.products.report.scene_rows import (
    SceneRow,
    colour_text,
    listed_scenes,
    scene_colour,
)
from cloudbuster.products.report.sections import AGREEMENT_BAND, Facts, states_of
from cloudbuster.products.stac_item import QUALITY_BANDS, MosaicDescription

# Why a composite takes a cell from a scene that saw it clear, as the end of a sentence.
COMPOSITE_REASONS = {
    "first": "the first of them in the order of the scenes gives it",
    "best": "the one that scores best around this place gives it",
    "medoid": "the one nearest to all others gives it",
    "median": "their median is taken, and the scene nearest to it is named",
    "geomedian": "their geometric median is taken, and the scene nearest to it is named",
    "percentile": "a percentile of them is taken, and the scene nearest to it is named",
}
TITLES = {
    SCENE_INDEX_BAND: "Scene",
    "state": "State",
    "times_observed": "Times observed",
    "times_clear": "Times clear",
    CLOUD_DISTANCE_BAND: "Cloud distance",
    AGREEMENT_BAND: "Agreement",
}
UNITS = {CLOUD_DISTANCE_BAND: "m", AGREEMENT_BAND: "%"}


def explorer_data(facts: Facts) -> dict[str, Any]:
    """Make the data of the map, for JSON.

    Parameters
    ----------
    facts : Facts
        What the page shows.

    Returns
    -------
    dict
        ``grid``, ``lattice``, ``bands``, ``states``, ``scenes`` and the lines
        (``area``, ``graticule``, and ``footprint`` of each scene); lines in columns and rows of the
        mosaic.
    """
    mosaic, rasters = facts.mosaic, facts.rasters
    nodes = lattice(mosaic.grid)
    listed = {number for number, _ in listed_scenes(facts.scenes)}
    longitude = None if nodes is None else nodes["lon"][len(nodes["lon"]) // 2]
    return {
        "name": mosaic.name,
        "grid": _grid(mosaic.grid),
        "lattice": nodes,
        "codes": list(rasters.grid.shape),
        "bands": [*_bands(mosaic, rasters), _inside(rasters)],
        "distanceLimit": DISTANCE_LIMIT_M,
        "states": states_of(mosaic),
        "scenes": [
            _scene(row, mosaic.grid, longitude if number in listed else None)
            for number, row in enumerate(facts.scenes)
        ],
        "composite": COMPOSITE_REASONS.get(
            mosaic.composite.partition(":")[0],
            f"composite {mosaic.composite} decides which of them gives it",
        ),
        "hasArea": mosaic.area is not None,
        "area": outline(mosaic.area, mosaic.grid),
        "graticule": graticule(mosaic.grid, nodes),
    }


def _grid(grid: Grid) -> dict[str, Any]:
    """Describe the grid of the mosaic."""
    width_m, height_m = cell_size_m(grid)
    return {
        "width": grid.width,
        "height": grid.height,
        "west": grid.west,
        "north": grid.north,
        "xSize": grid.x_size,
        "ySize": grid.y_size,
        "crs": crs_name(grid.crs),
        "unit": cell_unit(grid.crs),
        "cellM": round(width_m, 6),
        "aspect": round(height_m / width_m, 9),
    }


def _bands(mosaic: MosaicDescription, rasters: MapRasters) -> list[dict[str, Any]]:
    """Describe and encode the bands that can be shown and read."""
    files = {SCENE_INDEX_BAND: mosaic.cloudless}
    return [
        {
            "name": band.name,
            "title": TITLES.get(band.name, band.name.replace("_", " ").capitalize()),
            "text": QUALITY_BANDS.get(band.name, "scene that gives the cell"),
            "file": files.get(band.name, mosaic.quality),
            "unit": UNITS.get(band.name, ""),
            "bytes": band.codes.dtype.itemsize,
            "data": band.packed,
        }
        for band in rasters.bands
    ]


def _inside(rasters: MapRasters) -> dict[str, Any]:
    """Encode which cells lie in the area."""
    return {"name": "inside", "bytes": 1, "data": encode_codes(rasters.inside.astype("uint8"))}


def _scene(row: SceneRow, grid: Grid, longitude: float | None) -> dict[str, Any]:
    """Describe a scene."""
    record = row.record
    return {
        "id": row.name,
        "time": f"{record.acquired:%Y-%m-%d %H:%M} UTC" if record and record.acquired else None,
        "indices": list(row.indices),
        "backstops": list(row.backstops),
        "colours": [colour_text(scene_colour(index)) for index in row.indices],
        "given": row.given_share,
        "detector": record.detector if record else None,
        "offset": record.radiometry.verdict if record else None,
        "footprint": footprint(record, grid, longitude) if record else [],
    }


def crs_name(crs: str) -> str:
    """Return the code of a CRS, or a word for one that has none."""
    return crs if len(crs) < 20 else "own CRS"


def cell_unit(crs: str) -> str:
    """Return the unit of the cells of a grid: ``m``, ``°``, or the name of that of its CRS."""
    axes = parse_crs(crs).axis_info
    name = axes[0].unit_name if axes else "unknown"
    return {"metre": "m", "degree": "°"}.get(name, name)
