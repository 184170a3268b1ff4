"""Make the STAC item of a mosaic.

Bands are described by ``eo:bands`` and ``raster:bands`` v1.1, because odc-stac misreads the
``bands`` of STAC 1.1 in assets of several bands. The content of an item does not depend on when or
where it is made.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import pystac
import shapely
from pystac.utils import datetime_to_str
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.pixels.composite_methods import CompositeMethod, parse_composite
from cloudbuster.core.pixels.masks import DISTANCE_LIMIT_M
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.core.scenes.bands import BANDS
from cloudbuster.gathered.scene_raster import (
    CLOUD_DISTANCE_BAND,
    CONFIDENCE_BAND,
    SCENE_INDEX_BAND,
)
from cloudbuster.models import (
    Assessment,
    MosaicRequest,
    QueryOptions,
    SceneRecord,
    SelfCheck,
    Unpicked,
)
from cloudbuster.processes.release import installed_version
from cloudbuster.products.cog import REFLECTANCE_SCALE
from cloudbuster.redaction import redacted_json
from cloudbuster.storage.files.uri import is_file_uri, is_remote, join, local_path, write_bytes
from cloudbuster.storage.rasters.tiled_raster import NODATA

# Characters that stay as they are in the address of a catalog.
URL_CHARACTERS = ":/?&=@%"
EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("eo/v1.1.0", "projection/v1.1.0", "raster/v1.1.0", "processing/v1.2.0")
)
QUALITY_BANDS = {
    "times_observed": "acquisitions that saw the cell",
    "times_clear": "acquisitions that saw the cell clear",
    CLOUD_DISTANCE_BAND: "metres from the pixel of the chosen scene to its nearest masked cloud, "
    f"{DISTANCE_LIMIT_M} or more as {DISTANCE_LIMIT_M}; 0 for a backstop, for none and where "
    "unknown",
    CONFIDENCE_BAND: "percentage of the detectors of the chosen scene that agree on the pixel, 100 "
    "for a single detector; 0 for a backstop, for none and where unknown",
    "state": "0 never observed, 1 never clear and no backstop, 2 backstop, 3 clear",
}
# Segments of the longest edge of a footprint: between them the projected edge of a 110 km tile is
# off by less than 1 m.
SEGMENTS_PER_EDGE = 16
# Decimals of longitude and latitude: about a centimetre.
DEGREE_DECIMALS = 7


@dataclass(frozen=True)
class MosaicScene:
    """One scene of a mosaic.

    Attributes
    ----------
    index : int
        Value of the band ``scene_index`` for this scene.
    backstop : bool
        Whether its pixels are unmasked.
    share : float
        Share of the area's cells that it provides.
    record : SceneRecord or None
        Record of the scene, if there is one.
    expected_share : float or None
        Share of the area that it was expected to add to what is seen clear when it was picked; None
        if unknown, and for a backstop.
    """

    index: int
    backstop: bool
    share: float
    record: SceneRecord | None
    expected_share: float | None = None


@dataclass(frozen=True)
class MosaicDescription:
    """Description of a mosaic for its STAC item and its report.

    Attributes
    ----------
    name : str
        Name of the mosaic and id of the item.
    grid : Grid
        Grid of the rasters.
    bands : tuple of str
        Reflectance bands.
    composite : str
        Name of the composite.
    scenes : tuple of MosaicScene
        One for each merged raster, including those that provide no pixel.
    clear_fraction, backstop_fraction, hole_fraction : float
        Shares of the area's cells; they add up to 1.
    never_observed_fraction : float
        Share of the area's cells that no scene observed; part of the holes.
    cloudless, cloudy, quality, preview, report : str
        File names of the products, in the folder of the item.
    preview_shape : tuple of int
        (rows, columns) of the preview.
    request : MosaicRequest or None
        Request that the mosaic was made for.
    assessment : Assessment or None
        What the scenes cover and how the run ended, if they were assessed.
    of_area : bool
        Whether shares are of the cells inside the area, and not of all cells of the grid.
    band_files : mapping of str to str
        File name of each band of the mosaic that is written alone; empty for one file of all.
    folder : str or None
        Folder or prefix of the item; links to source items on this machine are relative to it.
    area : shapely geometry or None
        Area of interest, longitude (unwrapped) and latitude, if it is known.
    unpicked : tuple of Unpicked
        Scenes that were found and give nothing, with the reason of each.
    self_check : SelfCheck or None
        What the mosaic measured of its own error.
    """

    name: str
    grid: Grid
    bands: tuple[str, ...]
    composite: str
    scenes: tuple[MosaicScene, ...]
    clear_fraction: float
    backstop_fraction: float
    hole_fraction: float
    never_observed_fraction: float
    cloudless: str
    cloudy: str
    quality: str
    preview: str
    report: str
    preview_shape: tuple[int, int]
    request: MosaicRequest | None = None
    assessment: Assessment | None = None
    of_area: bool = False
    band_files: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    area: BaseGeometry | None = None
    unpicked: tuple[Unpicked, ...] = ()
    self_check: SelfCheck | None = None

    @property
    def method(self) -> CompositeMethod:
        """How the composite makes a pixel."""
        return parse_composite(self.composite).method

    @property
    def scene_count(self) -> int:
        """Number of scenes: a scene and its backstop, or several rasters of one, count once."""
        return len({each.record.item_id if each.record else each.index for each in self.scenes})

    @property
    def holes(self) -> str | None:
        """File name of the places that were never seen clear; None if the area is covered."""
        hole_file = self.assessment.hole_file if self.assessment else None
        return hole_file.rpartition("/")[2] if hole_file else None

    @property
    def acquisition_times(self) -> list[datetime]:
        """Known acquisition times of the scenes, ascending."""
        records = (scene.record for scene in self.scenes)
        return sorted(record.acquired for record in records if record and record.acquired)


def mosaic_item(mosaic: MosaicDescription) -> pystac.Item:
    """Make the STAC item of a mosaic, with hrefs relative to the item.

    Parameters
    ----------
    mosaic : MosaicDescription
        Description of the mosaic.

    Returns
    -------
    pystac.Item
        Item with the extensions eo 1.1, projection 1.1, raster 1.1 and processing 1.2.
    """
    geometry, bbox = lonlat_footprint(mosaic.grid)
    start, end = _period(mosaic)
    item = pystac.Item(
        id=mosaic.name,
        geometry=geometry,
        bbox=bbox,
        datetime=start + (end - start) / 2,
        start_datetime=start,
        end_datetime=end,
        stac_extensions=list(EXTENSIONS),
        properties=_properties(mosaic),
    )
    for key, asset in _assets(mosaic).items():
        item.add_asset(key, asset)
    for link in _source_links(mosaic.scenes, mosaic.folder):
        item.add_link(link)
    return item


def write_item(item: pystac.Item, uri: str) -> None:
    """Write an item as indented JSON without a self link and without secrets in its addresses.

    Raises
    ------
    OutputError, TryAgainError
        If the file cannot be written, or the disk is full.
    """
    content = redacted_json(item.to_dict(include_self_link=False, transform_hrefs=False))
    write_bytes(uri, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def lonlat_footprint(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """Outline of a grid in longitude and latitude.

    Parameters
    ----------
    grid : Grid
        Grid in any CRS.

    Returns
    -------
    geometry : dict
        GeoJSON polygon, counter-clockwise; two polygons if it crosses the antimeridian (RFC 7946,
        section 3.1.9). Around a pole it extends to the pole.
    bbox : list of float
        (west, south, east, north); west is greater than east across the antimeridian.
    """
    polygon = _unwrapped_outline(grid)
    bbox = [float(value) for value in polygon.bounds]
    halves = [orient(polygon)]
    if bbox[2] > 180:
        around = bbox[2] - bbox[0] >= 360
        bbox[0] = -180.0 if around else bbox[0]
        bbox[2] = 180.0 if around else round(bbox[2] - 360, DEGREE_DECIMALS)
        halves = _halves(polygon)
    footprint = halves[0] if len(halves) == 1 else shapely.MultiPolygon(halves)
    if bbox[2] - bbox[0] == 360:
        # Around a pole, the halves also meet at the meridian of the outline's first point.
        footprint = orient(shapely.union_all(halves, grid_size=10**-DEGREE_DECIMALS))
    geometry: dict[str, Any] = orjson.loads(shapely.to_geojson(footprint))
    return geometry, bbox


def _halves(polygon: shapely.Polygon) -> list[shapely.Polygon]:
    """Split a polygon at longitude 180 into parts west and east of the antimeridian."""
    western = polygon.intersection(shapely.box(-180, -90, 180, 90))
    eastern = polygon.intersection(shapely.box(180, -90, 540, 90))
    shifted = shapely.transform(eastern, lambda points: points - (360, 0))
    return [orient(western), orient(shifted)]


def _unwrapped_outline(grid: Grid) -> shapely.Polygon:
    """Outline of a grid in degrees, with continuous longitudes that start in -180 to 180."""
    outline = shapely.box(*grid.bounds)
    step = max(grid.x_size * grid.width, grid.y_size * grid.height) / SEGMENTS_PER_EDGE
    x, y = shapely.get_coordinates(shapely.segmentize(outline, step)).T
    lon, lat = transformer(grid.crs, LONLAT).transform(x, y)
    # Consecutive points are close to each other, so a jump of 360 degrees is the antimeridian.
    lon = np.unwrap(lon, period=360)
    if abs(lon[-1] - lon[0]) > 180:
        # The outline encloses a pole: extend it to the pole along the last meridian.
        pole = math.copysign(90.0, lat.mean())
        lon, lat = np.append(lon, [lon[-1], lon[0]]), np.append(lat, [pole, pole])
    lon -= 360 * np.floor((lon.min() + 180) / 360)
    return shapely.Polygon(np.round(np.column_stack([lon, lat]), DEGREE_DECIMALS))


def _period(mosaic: MosaicDescription) -> tuple[datetime, datetime]:
    """Period of the scenes; without dates that of the query, or else that of the mission."""
    times = mosaic.acquisition_times
    if times:
        return times[0], times[-1]
    query = mosaic.request.query if mosaic.request else QueryOptions()
    first = min(first for first, _ in query.periods)
    last = max(last for _, last in query.periods)
    return (
        datetime(first.year, first.month, first.day, tzinfo=UTC),
        datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=UTC),
    )


def _properties(mosaic: MosaicDescription) -> dict[str, Any]:
    """Properties of the item: the mosaic, its processing, its scenes and its request."""
    properties = {
        "title": f"Cloud-free Sentinel-2 mosaic {mosaic.name}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": gsd_m(mosaic.grid),
        **_projection(mosaic.grid.crs),
        **_placing(mosaic.grid),
        "processing:level": "L3",
        "processing:lineage": f"clouds masked, composite {mosaic.composite}: {mosaic.method.rule}; "
        "offset-free DN, reflectance = DN * 0.0001",
        "processing:software": {"cloudbuster": installed_version()},
        "cloudbuster:composite": mosaic.composite,
        "cloudbuster:synthetic": mosaic.method.is_synthetic,
        "cloudbuster:clear_fraction": mosaic.clear_fraction,
        "cloudbuster:backstop_fraction": mosaic.backstop_fraction,
        "cloudbuster:hole_fraction": mosaic.hole_fraction,
        **_coverage(mosaic),
        "cloudbuster:scene_count": mosaic.scene_count,
        "cloudbuster:scenes": [_scene_row(scene) for scene in mosaic.scenes],
    }
    if mosaic.self_check is not None:
        properties["cloudbuster:self_check"] = mosaic.self_check.model_dump(
            mode="json", by_alias=True
        )
    if mosaic.request is not None:
        # Items are passed on with the mosaic, so signatures and keys in addresses are removed.
        content = mosaic.request.model_dump(mode="json", by_alias=True)
        properties["cloudbuster:request"] = redacted_json(content)
    return properties


def _coverage(mosaic: MosaicDescription) -> dict[str, Any]:
    """Properties that repeat the assessment: what is covered, and how the run ended."""
    assessment = mosaic.assessment
    if assessment is None:
        return {}
    found: dict[str, Any] = {
        "covered": assessment.covered,
        "never_seen_clear_fraction": assessment.never_seen_clear_fraction,
        "end": assessment.end,
        "rounds": assessment.rounds,
    }
    if mosaic.request is not None:
        found["max_never_clear"] = mosaic.request.filter.max_never_clear
    if assessment.reasons:
        found["reasons"] = list(assessment.reasons)
    return {f"cloudbuster:{key}": value for key, value in found.items()}


def gsd_m(grid: Grid) -> float:
    """Size of a cell on the ground in the middle of a grid, metres."""
    return round(math.sqrt(math.prod(cell_size_m(grid))), 3)


def _projection(crs: str) -> dict[str, Any]:
    """Fields of the projection extension for a CRS: its EPSG code, or else its WKT."""
    parsed = parse_crs(crs)
    authority = parsed.to_authority(min_confidence=100)
    if authority and authority[0] == "EPSG":
        return {"proj:epsg": int(authority[1])}
    return {"proj:epsg": None, "proj:wkt2": parsed.to_wkt("WKT2_2019")}


def _placing(grid: Grid, shape: tuple[int, int] | None = None) -> dict[str, Any]:
    """Fields of the projection extension for a grid, or for a picture of it of another shape."""
    rows, cols = shape or grid.shape
    x_size, y_size = grid.x_size * grid.width / cols, grid.y_size * grid.height / rows
    return {
        "proj:shape": [rows, cols],
        "proj:transform": [x_size, 0.0, grid.west, 0.0, -y_size, grid.north],
    }


def _scene_row(scene: MosaicScene) -> dict[str, Any]:
    """Row of the scene table; a scene without a record has only its role and its share."""
    record = scene.record
    row: dict[str, Any] = {
        "index": scene.index,
        "backstop": scene.backstop,
        "share": scene.share,
    }
    if scene.expected_share is not None:
        row["expected_share"] = scene.expected_share
    if record is None:
        return row
    return {
        **row,
        "item_id": record.item_id,
        "catalog": record.catalog,
        "collection": record.collection,
        "datetime": datetime_to_str(record.acquired) if record.acquired else None,
        "platform": record.platform,
        "mgrs_tile": record.mgrs_tile,
        "baseline": record.baseline,
        "radiometry": record.radiometry.verdict,
        "radiometry_confidence": record.radiometry.confidence,
        "radiometry_conflict": record.radiometry.conflict,
        "radiometry_evidence": list(record.radiometry.evidence),
        "cloud_cover": record.cloud_cover,
        "detector": record.detector,
        **({"notes": list(record.notes)} if record.notes else {}),
    }


def _assets(mosaic: MosaicDescription) -> dict[str, pystac.Asset]:
    """Assets of the products, with the descriptions of their bands."""
    # The cloudless asset comes first: some readers use the first asset that has a band's name.
    return {
        **_cog_assets(mosaic),
        "preview": pystac.Asset(
            f"./{mosaic.preview}",
            title="Preview in true colour",
            media_type=pystac.MediaType.PNG,
            roles=["overview", "visual"],
            extra_fields=_placing(mosaic.grid, mosaic.preview_shape),
        ),
        "report": pystac.Asset(
            f"./{mosaic.report}",
            title="What the mosaic covers, and which scene gave what",
            media_type=pystac.MediaType.HTML,
            roles=["metadata"],
        ),
        **_hole_asset(mosaic),
    }


def _hole_asset(mosaic: MosaicDescription) -> dict[str, pystac.Asset]:
    """Asset of the places that were never seen clear, if there are any."""
    if mosaic.holes is None:
        return {}
    asset = pystac.Asset(
        f"./{mosaic.holes}",
        title="Places that were never seen clear",
        media_type=pystac.MediaType.GEOJSON,
        roles=["metadata"],
    )
    return {"holes": asset}


def _cog_assets(mosaic: MosaicDescription) -> dict[str, pystac.Asset]:
    """Assets of the rasters."""
    bands = [_eo_band(name) for name in mosaic.bands]
    spectral = [*bands, _index_band(is_synthetic=mosaic.method.is_synthetic)]
    backstop = [*bands, _index_band(is_synthetic=False)]
    gsd = gsd_m(mosaic.grid)
    reflectance = {
        "data_type": "uint16",
        "nodata": NODATA,
        "scale": REFLECTANCE_SCALE,
        "offset": 0.0,
        "spatial_resolution": gsd,
    }
    code = {"data_type": "uint16", "spatial_resolution": gsd}
    pixels = [*(dict(reflectance) for _ in mosaic.bands), {**code, "nodata": NODATA}]
    return {
        **_cloudless_assets(mosaic, spectral, pixels),
        "cloudy": _cog(mosaic.cloudy, "Unmasked backstop alone", backstop, pixels),
        "quality": _cog(
            mosaic.quality,
            "How often each cell was seen, its distance to cloud, and its state",
            [{"name": name, "description": text} for name, text in QUALITY_BANDS.items()],
            [
                {**code, "unit": "m"} if name == CLOUD_DISTANCE_BAND else dict(code)
                for name in QUALITY_BANDS
            ],
        ),
    }


def _cloudless_assets(
    mosaic: MosaicDescription,
    eo_bands: list[dict[str, Any]],
    raster_bands: list[dict[str, Any]],
) -> dict[str, pystac.Asset]:
    """Assets of the mosaic: one of all bands, or one of each, under the name of the band."""
    if not mosaic.band_files:
        title = "Cloud-free mosaic"
        return {"cloudless": _cog(mosaic.cloudless, title, eo_bands, raster_bands)}
    return {
        band["name"]: _cog(
            mosaic.band_files[band["name"]], f"Cloud-free mosaic, {band['name']}", [band], [raster]
        )
        for band, raster in zip(eo_bands, raster_bands, strict=True)
    }


def _cog(
    name: str, title: str, eo_bands: list[dict[str, Any]], raster_bands: list[dict[str, Any]]
) -> pystac.Asset:
    """Make the asset of a COG."""
    return pystac.Asset(
        f"./{name}",
        title=title,
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={"eo:bands": eo_bands, "raster:bands": raster_bands},
    )


def _eo_band(name: str) -> dict[str, Any]:
    """Entry of ``eo:bands`` for a reflectance band; a band of the original may be unknown."""
    band = BANDS.get(name)
    if band is None:
        return {"name": name}
    return {
        "name": name,
        "common_name": band.common_name,
        "center_wavelength": band.center_wavelength_um,
        "full_width_half_max": band.full_width_half_max_um,
    }


def _index_band(*, is_synthetic: bool) -> dict[str, Any]:
    """Entry of ``eo:bands`` for the band of scene indices."""
    whose = "the scene whose pixel is nearest" if is_synthetic else "the pixel's scene"
    return {
        "name": SCENE_INDEX_BAND,
        "description": f"index of {whose} in cloudbuster:scenes, 0 for none",
    }


def _source_links(scenes: Sequence[MosaicScene], folder: str | None) -> list[pystac.Link]:
    """One ``derived_from`` link for each source item, ordered by its first index."""
    records: dict[str, SceneRecord] = {}
    for scene in scenes:
        if scene.record is not None:
            records.setdefault(scene.record.item_id, scene.record)
    return [
        pystac.Link(
            "derived_from",
            _source_href(record, folder),
            media_type="application/geo+json",
            title=item_id,
        )
        for item_id, record in records.items()
    ]


def _source_href(record: SceneRecord, folder: str | None) -> str:
    """Href of a source item: its self or canonical link, or else its address in the catalog.

    Of an item on this machine it is relative to ``folder``, with the id of the item as fragment.
    """
    by_rel = {link.get("rel"): link.get("href") for link in record.item.get("links", ())}
    own = next((str(by_rel[rel]) for rel in ("self", "canonical") if by_rel.get(rel)), None)
    if own is not None and is_remote(own):
        return own
    item_id = quote(record.item_id)
    if is_remote(record.catalog):
        collection = quote(record.collection or "")
        if not collection:
            return f"{quote(record.catalog, safe=URL_CHARACTERS)}#{item_id}"
        return join(record.catalog, "collections", collection, "items", item_id)
    place = own or record.catalog
    if is_file_uri(place):
        place = str(local_path(place))
    if folder is not None and not is_remote(folder) and Path(place).is_absolute():
        place = os.path.relpath(place, local_path(folder).absolute())
    return f"{quote(place)}#{item_id}"
