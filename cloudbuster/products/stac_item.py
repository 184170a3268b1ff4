"""The STAC item of a mosaic: what it is made of, and how to read it.

Bands are told by ``eo:bands`` and ``raster:bands`` v1.1 (odc-stac misreads the ``bands`` of STAC
1.1 in an asset of several bands). Nothing in an item depends on when or where it was made.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import pyproj
import pystac
import shapely
from pystac.utils import datetime_to_str
from shapely.geometry.polygon import orient

from cloudbuster.core.bands import BANDS
from cloudbuster.core.grid import Grid
from cloudbuster.core.transformers import LONLAT, transformer
from cloudbuster.errors import redacted
from cloudbuster.gathered.scene_raster import CLOUD_DISTANCE_BAND, SCENE_INDEX_BAND
from cloudbuster.models import MosaicRequest, SceneRecord
from cloudbuster.storage.tiled_raster import NODATA
from cloudbuster.storage.uri import is_remote, join, write_bytes

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("eo/v1.1.0", "projection/v1.1.0", "raster/v1.1.0", "processing/v1.2.0")
)
# Reflectance = DN * 0.0001 once the offset is removed: Sentinel-2 Products Specification Document.
REFLECTANCE_SCALE = 0.0001
QUALITY_BANDS = {
    "times_observed": "acquisitions that saw the cell",
    "times_clear": "acquisitions that saw the cell clear",
    CLOUD_DISTANCE_BAND: "metres from the winning look to its nearest masked cloud, 3000 or more "
    "as 3000; 0 for a backstop, for none and where unknown",
    "state": "0 never observed, 1 never clear and no backstop, 2 backstop, 3 clear",
}
# Life of the mission, for scenes that nobody dated: launch of Sentinel-2A, and no end in sight.
MISSION = (datetime(2015, 6, 23, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
# Of the longest edge of a footprint: that of a 110 km tile bends by less than 1 m in between.
SEGMENTS_PER_EDGE = 16
# Decimals of longitude and latitude: a centimetre.
DEGREE_DECIMALS = 7
# Metres of one radian on the ground (semi-major axis of WGS 84).
EARTH_RADIUS_M = 6_378_137.0


@dataclass(frozen=True)
class MosaicScene:
    """One scene of a mosaic.

    Attributes
    ----------
    index : int
        As in the band ``scene_index``.
    backstop : bool
        Whether its pixels are unmasked.
    share : float
        Share of the mosaic's cells that it gives.
    record : SceneRecord or None
        What is known of it.
    """

    index: int
    backstop: bool
    share: float
    record: SceneRecord | None


@dataclass(frozen=True)
class MosaicDescription:
    """Everything that the item of a mosaic says.

    Attributes
    ----------
    name : str
        Of the mosaic, and id of the item.
    grid : Grid
        Of its rasters.
    bands : tuple of str
        Reflectance bands.
    composite : str
        How a pixel was chosen.
    scenes : tuple of MosaicScene
        All scenes that were merged, whether or not they give a pixel.
    clear_fraction, backstop_fraction, hole_fraction : float
        Shares of the grid's cells; they add up to 1.
    never_observed_fraction : float
        The part of the holes that no scene saw.
    cloudless, cloudy, quality, preview, report : str
        File names, beside the item.
    preview_shape : tuple of int
        (rows, columns) of the preview.
    request : MosaicRequest or None
        What was asked for.
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


def mosaic_item(mosaic: MosaicDescription) -> pystac.Item:
    """Make the STAC item of a mosaic; hrefs are relative to the item.

    Parameters
    ----------
    mosaic : MosaicDescription
        What to say.

    Returns
    -------
    pystac.Item
        With extensions eo 1.1, projection 1.1, raster 1.1 and processing 1.2.
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
    for link in _source_links(mosaic.scenes):
        item.add_link(link)
    return item


def write_item(item: pystac.Item, uri: str) -> None:
    """Write an item as indented JSON, whole or not at all, without a link to itself.

    Raises
    ------
    OutputError, TryAgainError
        Where the file cannot be written, or the disk is full.
    """
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    write_bytes(uri, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def lonlat_footprint(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """Outline of a grid in longitude and latitude.

    Parameters
    ----------
    grid : Grid
        In any CRS.

    Returns
    -------
    geometry : dict
        GeoJSON polygon, counter-clockwise; two polygons where it crosses the antimeridian
        (RFC 7946, section 3.1.9); round a pole it reaches up to it.
    bbox : list of float
        (west, south, east, north); west is greater than east across the antimeridian.
    """
    outline = shapely.box(*grid.bounds)
    step = max(grid.x_size * grid.width, grid.y_size * grid.height) / SEGMENTS_PER_EDGE
    x, y = shapely.get_coordinates(shapely.segmentize(outline, step)).T
    lon, lat = transformer(grid.crs, LONLAT).transform(x, y)
    # Neighbours on the outline are close: a jump of 360 degrees is the antimeridian.
    lon = np.unwrap(lon, period=360)
    if abs(lon[-1] - lon[0]) > 180:
        # The outline goes round a pole: the area reaches up to it along the last meridian.
        pole = math.copysign(90.0, lat.mean())
        lon, lat = np.append(lon, [lon[-1], lon[0]]), np.append(lat, [pole, pole])
    lon -= 360 * np.floor((lon.min() + 180) / 360)
    polygon = shapely.Polygon(np.round(np.column_stack([lon, lat]), DEGREE_DECIMALS))
    bbox = [float(value) for value in polygon.bounds]
    halves = [orient(polygon)]
    if bbox[2] > 180:
        around = bbox[2] - bbox[0] >= 360
        bbox[0] = -180.0 if around else bbox[0]
        bbox[2] = 180.0 if around else round(bbox[2] - 360, DEGREE_DECIMALS)
        eastern = polygon.intersection(shapely.box(180, -90, 540, 90))
        halves = [
            orient(polygon.intersection(shapely.box(-180, -90, 180, 90))),
            orient(shapely.transform(eastern, lambda points: points - (360, 0))),
        ]
    footprint = halves[0] if len(halves) == 1 else shapely.MultiPolygon(halves)
    if bbox[2] - bbox[0] == 360:
        # Round a pole the halves meet at the meridian of the outline's first point as well.
        footprint = orient(shapely.union_all(halves, grid_size=10**-DEGREE_DECIMALS))
    geometry: dict[str, Any] = orjson.loads(shapely.to_geojson(footprint))
    return geometry, bbox


def _period(mosaic: MosaicDescription) -> tuple[datetime, datetime]:
    """First and last acquisition; without any date the period asked for, else the mission's."""
    times = sorted(
        scene.record.acquired for scene in mosaic.scenes if scene.record and scene.record.acquired
    )
    if times:
        return times[0], times[-1]
    if mosaic.request is None:
        return MISSION
    query = mosaic.request.query
    first, last = min(query.mindate), max(query.maxdate)
    return (
        datetime(first.year, first.month, first.day, tzinfo=UTC),
        datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=UTC),
    )


def _properties(mosaic: MosaicDescription) -> dict[str, Any]:
    """Properties of the mosaic's item: what it is, how it was made, and of which scenes."""
    properties = {
        "title": f"Cloud-free Sentinel-2 mosaic {mosaic.name}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": gsd_m(mosaic.grid),
        **_projection(mosaic.grid.crs),
        **_placing(mosaic.grid),
        "processing:level": "L3",
        "processing:lineage": f"clouds masked, composite {mosaic.composite}: the bands of a pixel "
        "come from one scene; offset-free DN, reflectance = DN * 0.0001",
        "processing:software": {"cloudbuster": version("cloudbuster")},
        "cloudbuster:composite": mosaic.composite,
        "cloudbuster:clear_fraction": mosaic.clear_fraction,
        "cloudbuster:backstop_fraction": mosaic.backstop_fraction,
        "cloudbuster:hole_fraction": mosaic.hole_fraction,
        "cloudbuster:scenes": [_scene_row(scene) for scene in mosaic.scenes],
    }
    if mosaic.request is not None:
        # Whoever gets the mosaic gets the item: keys that the request was read with stay here.
        text = redacted(mosaic.request.model_dump_json(by_alias=True))
        properties["cloudbuster:request"] = orjson.loads(text)
    return properties


def gsd_m(grid: Grid) -> float:
    """Size of a cell in y, metres."""
    crs = pyproj.CRS.from_user_input(grid.crs)
    factor = crs.axis_info[0].unit_conversion_factor
    return round(grid.y_size * factor * (EARTH_RADIUS_M if crs.is_geographic else 1.0), 3)


def _projection(crs: str) -> dict[str, Any]:
    parsed = pyproj.CRS.from_user_input(crs)
    authority = parsed.to_authority(min_confidence=100)
    if authority and authority[0] == "EPSG":
        return {"proj:epsg": int(authority[1])}
    return {"proj:epsg": None, "proj:wkt2": parsed.to_wkt("WKT2_2019")}


def _placing(grid: Grid, shape: tuple[int, int] | None = None) -> dict[str, Any]:
    """Shape and transform of the grid, or of a picture of it."""
    rows, cols = shape or grid.shape
    x_size, y_size = grid.x_size * grid.width / cols, grid.y_size * grid.height / rows
    return {
        "proj:shape": [rows, cols],
        "proj:transform": [x_size, 0.0, grid.west, 0.0, -y_size, grid.north],
    }


def _scene_row(scene: MosaicScene) -> dict[str, Any]:
    """Row of the scene table; short where the scene came without a record."""
    record = scene.record
    row: dict[str, Any] = {
        "index": scene.index,
        "backstop": scene.backstop,
        "share": scene.share,
    }
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
    }


def _assets(mosaic: MosaicDescription) -> dict[str, pystac.Asset]:
    """Describe each product by its bands."""
    # The cloudless asset comes first: readers that look a band up by its name take the first one.
    spectral = [*(_eo_band(name) for name in mosaic.bands), _index_band()]
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
        "cloudless": _cog(mosaic.cloudless, "Cloud-free mosaic", spectral, pixels),
        "cloudy": _cog(mosaic.cloudy, "Unmasked backstop alone", spectral, pixels),
        "quality": _cog(
            mosaic.quality,
            "Looks, distance to cloud and state of each cell",
            [{"name": name, "description": text} for name, text in QUALITY_BANDS.items()],
            [
                {**code, "unit": "m"} if name == CLOUD_DISTANCE_BAND else dict(code)
                for name in QUALITY_BANDS
            ],
        ),
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
    }


def _cog(
    name: str, title: str, eo_bands: list[dict[str, Any]], raster_bands: list[dict[str, Any]]
) -> pystac.Asset:
    return pystac.Asset(
        f"./{name}",
        title=title,
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={"eo:bands": eo_bands, "raster:bands": raster_bands},
    )


def _eo_band(name: str) -> dict[str, Any]:
    band = BANDS.get(name)
    if band is None:
        return {"name": name}
    return {
        "name": name,
        "common_name": band.common_name,
        "center_wavelength": band.center_wavelength_um,
        "full_width_half_max": band.full_width_half_max_um,
    }


def _index_band() -> dict[str, Any]:
    return {
        "name": SCENE_INDEX_BAND,
        "description": "index of the pixel's scene in cloudbuster:scenes, 0 for none",
    }


def _source_links(scenes: Sequence[MosaicScene]) -> list[pystac.Link]:
    """One ``derived_from`` for each item, in order of its first index."""
    records = {scene.record.item_id: scene.record for scene in reversed(scenes) if scene.record}
    return [
        pystac.Link(
            "derived_from", _source_href(record), media_type="application/geo+json", title=item_id
        )
        for item_id, record in reversed(records.items())
    ]


def _source_href(record: SceneRecord) -> str:
    """Where the item says it is, else where its catalog would have it."""
    by_rel = {link.get("rel"): link.get("href") for link in record.item.get("links", ())}
    for rel in ("self", "canonical"):
        if by_rel.get(rel):
            return str(by_rel[rel])
    item_id = quote(record.item_id)
    if is_remote(record.catalog) and record.collection:
        return join(record.catalog, "collections", quote(record.collection), "items", item_id)
    return f"{quote(record.catalog)}#{item_id}"
