"""Make the STAC documents of the sample world, in the dialect of Earth Search v1."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.polygon import orient

from cloudbuster.core.projections.transformers import transformer
from cloudbuster.core.scenes.bands import BANDS, BANDS_BY_KIND, Kind
from cloudbuster.sample.world.plan import (
    EPSG,
    MISSING_NIR,
    PLAN,
    Datatake,
    Size,
    Tile,
    world_bounds,
)
from cloudbuster.sample.world.sky import swath_edge

COLLECTIONS: dict[Kind, str] = {"L1C": "sentinel-2-l1c", "L2A": "sentinel-2-l2a"}
# Folders of the catalog, named after the public buckets.
ROOTS: dict[Kind, str] = {"L1C": "sentinel-s2-l1c", "L2A": "sentinel-s2-l2a-cogs"}
# Asset keys and titles of Earth Search v1.
ASSETS = {
    "B01": ("coastal", "Coastal aerosol (band 1) - 60m"),
    "B02": ("blue", "Blue (band 2) - 10m"),
    "B03": ("green", "Green (band 3) - 10m"),
    "B04": ("red", "Red (band 4) - 10m"),
    "B05": ("rededge1", "Red edge 1 (band 5) - 20m"),
    "B06": ("rededge2", "Red edge 2 (band 6) - 20m"),
    "B07": ("rededge3", "Red edge 3 (band 7) - 20m"),
    "B08": ("nir", "NIR 1 (band 8) - 10m"),
    "B8A": ("nir08", "NIR 2 (band 8A) - 20m"),
    "B09": ("nir09", "NIR 3 (band 9) - 60m"),
    "B10": ("cirrus", "Cirrus (band 10) - 60m"),
    "B11": ("swir16", "SWIR 1 (band 11) - 20m"),
    "B12": ("swir22", "SWIR 2 (band 12) - 20m"),
}
# Masks of L2A: asset key and title by file stem.
MASKS = {
    "SCL": ("scl", "Scene classification map (SCL)"),
    "CLD": ("cloud", "Cloud Probabilities"),
}
# Item properties with the share of each scene class, as sen2cor reports them.
CLASS_SHARES = {
    "s2:dark_features_percentage": 2,
    "s2:cloud_shadow_percentage": 3,
    "s2:vegetation_percentage": 4,
    "s2:not_vegetated_percentage": 5,
    "s2:water_percentage": 6,
    "s2:unclassified_percentage": 7,
    "s2:medium_proba_clouds_percentage": 8,
    "s2:high_proba_clouds_percentage": 9,
    "s2:thin_cirrus_percentage": 10,
    "s2:snow_ice_percentage": 11,
}
STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
]
MEDIA_TYPES = {
    "tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    "jp2": "image/jp2",
}
# Time from the start of the datatake to each tile, seconds; the northern one is imaged first.
TILE_DELAY_S = {"33TWL": 457.248, "33TWM": 442.871}
# Time from sensing to the product in the ground segment, and date of the reprocessing.
GENERATION_DELAY = dt.timedelta(hours=4, minutes=32, seconds=29)
REPROCESSED_AT = dt.datetime(2024, 2, 11, 7, 12, 5, tzinfo=dt.UTC)
SAFE_TIME = "%Y%m%dT%H%M%S"
DEGREE_DIGITS = 7
# Longest segment of the edges of footprints before they are projected, metres.
SEGMENT_M = 5000.0


def item_id(datatake: Datatake, tile: Tile, kind: Kind) -> str:
    """Id of an item in the form of Earth Search, ``S2A_33TWL_20230510_0_L2A``."""
    day = datatake.sensing.strftime("%Y%m%d")
    return f"{datatake.platform}_{tile.name}_{day}_{datatake.sequence}_{kind}"


def item_folder(datatake: Datatake, tile: Tile, kind: Kind) -> str:
    """Folder of an item in the catalog, with the layout of the public buckets."""
    zone, band, square = tile.name[:2], tile.name[2], tile.name[3:]
    date = datatake.sensing
    if kind == "L2A":
        name = item_id(datatake, tile, kind)
        return f"{ROOTS[kind]}/{zone}/{band}/{square}/{date.year}/{date.month}/{name}"
    place = f"{zone}/{band}/{square}/{date.year}/{date.month}/{date.day}"
    return f"{ROOTS[kind]}/tiles/{place}/{datatake.sequence}"


def to_degrees(polygon: shapely.Polygon) -> dict[str, Any]:
    """GeoJSON geometry in degrees of a polygon in the UTM zone of the world."""
    ring = shapely.segmentize(orient(polygon), SEGMENT_M).exterior.coords
    lonlat = transformer(f"EPSG:{EPSG}", "EPSG:4326")
    east, north = lonlat.transform([p[0] for p in ring], [p[1] for p in ring])
    corners = [
        [round(float(lon), DEGREE_DIGITS), round(float(lat), DEGREE_DIGITS)]
        for lon, lat in zip(east, north, strict=True)
    ]
    return {"type": "Polygon", "coordinates": [corners]}


def _bbox(geometry: Mapping[str, Any]) -> list[float]:
    """Bounding box of a GeoJSON polygon."""
    lon, lat = ([float(corner[axis]) for corner in geometry["coordinates"][0]] for axis in (0, 1))
    return [min(lon), min(lat), max(lon), max(lat)]


def footprint(datatake: Datatake, tile: Tile, size: Size) -> shapely.Polygon:
    """Outline of the valid pixels of a scene, metres: the tile, cut at the edge of the swath."""
    whole = shapely.box(*tile.bounds)
    edge = swath_edge(datatake, world_bounds(size))
    if edge is None:
        return whole
    west, south, _, north = tile.bounds
    at_south, at_north = (edge[0] + edge[1] * y for y in (south, north))
    swath = shapely.Polygon(
        [(west - 1, south), (at_south, south), (at_north, north), (west - 1, north)]
    )
    return shapely.normalize(whole.intersection(swath))


def _band_asset(
    band: str, datatake: Datatake, tile: Tile, kind: Kind, suffix: str
) -> dict[str, Any]:
    """Make the asset of a band, with the offset that the plan states, right or wrong."""
    facts = BANDS[band]
    eo_band = {
        "name": ASSETS[band][0],
        "common_name": facts.common_name,
        "description": ASSETS[band][1].split(" - ")[0],
        "center_wavelength": facts.center_wavelength_um,
        "full_width_half_max": facts.full_width_half_max_um,
    }
    raster = {
        "nodata": 0,
        "data_type": "uint16",
        "bits_per_sample": 15,
        "spatial_resolution": facts.gsd_m,
        "scale": 0.0001,
        "offset": asset_offset(datatake, kind),
    }
    return {
        "href": f"./{band}.{suffix}",
        "type": MEDIA_TYPES[suffix],
        "title": ASSETS[band][1],
        "eo:bands": [eo_band],
        "gsd": facts.gsd_m,
        **_grid(tile, facts.gsd_m),
        "raster:bands": [raster],
        "roles": ["data", "reflectance"],
    }


def asset_offset(datatake: Datatake, kind: Kind) -> float:
    """Offset in ``raster:bands``: as planned for L2A, and the right one for L1C."""
    if kind == "L2A":
        return datatake.offset
    return 0.0 if datatake.convention == "none" else -0.1


def _grid(tile: Tile, gsd_m: int) -> dict[str, Any]:
    """Fields of the projection extension for a raster of a tile."""
    side = tile.side(gsd_m)
    transform = [gsd_m, 0, tile.west_m, 0, -gsd_m, tile.north_m]
    return {"proj:shape": [side, side], "proj:transform": transform}


def _mask_asset(name: str, tile: Tile, suffix: str) -> dict[str, Any]:
    """Make the asset of a mask."""
    raster: dict[str, Any] = {"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}
    if name == "CLD":
        # 0 is a valid probability, not nodata.
        raster = {"data_type": "uint8", "spatial_resolution": 20, "unit": "percent"}
    return {
        "href": f"./{name}.{suffix}",
        "type": MEDIA_TYPES[suffix],
        "title": MASKS[name][1],
        "gsd": 20,
        **_grid(tile, 20),
        "raster:bands": [raster],
        "roles": ["data"],
    }


def _assets(datatake: Datatake, tile: Tile, kind: Kind, suffix: str) -> dict[str, Any]:
    """Make all assets of an item; the plan leaves one of them out."""
    assets = {
        ASSETS[band][0]: _band_asset(band, datatake, tile, kind, suffix)
        for band in BANDS_BY_KIND[kind]
    }
    if kind == "L2A":
        assets |= {key: _mask_asset(name, tile, suffix) for name, (key, _) in MASKS.items()}
        if (datatake.index, tile.name) == MISSING_NIR:
            del assets["nir"]
    return dict(sorted(assets.items()))


def _zulu(time: dt.datetime, digits: int) -> str:
    """Format a time in UTC as ISO 8601 with so many digits of the second's fraction."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text[: len(text) - 6 + digits]}Z"


def _esa_names(datatake: Datatake, tile: Tile, kind: Kind) -> dict[str, Any]:
    """Properties with ESA's names of the product, datatake, datastrip and granule."""
    generated = REPROCESSED_AT if datatake.sequence else datatake.sensing + GENERATION_DELAY
    if kind == "L1C":
        generated -= dt.timedelta(hours=1)
    start, made = datatake.sensing.strftime(SAFE_TIME), generated.strftime(SAFE_TIME)
    strip = (datatake.sensing + dt.timedelta(seconds=1)).strftime(SAFE_TIME)
    platform, baseline = datatake.platform, datatake.baseline
    # There are 143 orbits in the repeat cycle of 10 days.
    orbit = f"{41000 + datatake.day * 143 // 10:06d}"
    station = f"{platform}_OPER_MSI_{kind}"
    number = baseline.replace(".", "")
    safe = f"{platform}_MSI{kind}_{start}_N{number}_R{datatake.orbit:03d}_T{tile.name}_{made}.SAFE"
    return {
        "s2:product_type": f"S2MSI{kind[1:]}",
        "s2:processing_baseline": baseline,
        "s2:product_uri": safe,
        "s2:generation_time": _zulu(generated, 6),
        "s2:datatake_id": f"G{platform}_{start}_{orbit}_N{baseline}",
        "s2:datatake_type": "INS-NOBS",
        "s2:datastrip_id": f"{station}_DS_2APS_{made}_S{strip}_N{baseline}",
        "s2:granule_id": f"{station}_TL_2APS_{made}_A{orbit}_T{tile.name}_N{baseline}",
    }


def _classified(
    affected: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Properties of an item that its scene classification gives, percent."""
    valid, total = int(affected[1:].sum()), int(affected.sum())
    return {
        "s2:nodata_pixel_percentage": round(100 * int(affected[0]) / total, 6),
        **{
            name: round(100 * int(classes[code]) / max(valid, 1), 6)
            for name, code in CLASS_SHARES.items()
        },
    }


def _properties(
    datatake: Datatake,
    tile: Tile,
    kind: Kind,
    affected: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Properties of an item; the shares of cloud and of classes are those counted in the pixels."""
    valid = int(affected[1:].sum())
    sensed = datatake.sensing + dt.timedelta(seconds=TILE_DELAY_S[tile.name])
    properties: dict[str, Any] = {
        "datetime": _zulu(sensed, 6),
        "platform": f"sentinel-{datatake.platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(100 * int(affected[2]) / max(valid, 1), 6),
        "proj:epsg": EPSG,
        "mgrs:utm_zone": int(tile.name[:2]),
        "mgrs:latitude_band": tile.name[2],
        "mgrs:grid_square": tile.name[3:],
        "grid:code": f"MGRS-{tile.name}",
        "view:sun_azimuth": datatake.sun[0],
        "view:sun_elevation": datatake.sun[1],
        **_esa_names(datatake, tile, kind),
        "s2:sequence": str(datatake.sequence),
    }
    if kind == "L2A":
        properties |= _classified(affected, classes)
        properties["earthsearch:boa_offset_applied"] = datatake.flag
    properties["description"] = "Synthetic: made by cloudbuster sample, not by a satellite"
    return properties


def _links(datatake: Datatake, tile: Tile, kind: Kind) -> list[dict[str, Any]]:
    """Links of an item to the catalog and its collection; an L2A item also links to its twin."""
    up = "../" * (item_folder(datatake, tile, kind).count("/") + 1)
    links = [
        {"rel": "root", "href": f"{up}catalog.json", "type": "application/json"},
        {"rel": "parent", "href": f"{up}catalog.json", "type": "application/json"},
        {
            "rel": "collection",
            "href": f"{up}{ROOTS[kind]}/collection.json",
            "type": "application/json",
        },
    ]
    if kind == "L2A":
        twin = f"{item_folder(datatake, tile, 'L1C')}/{item_id(datatake, tile, 'L1C')}.json"
        links.append({"rel": "derived_from", "href": up + twin, "type": "application/geo+json"})
    return links


def make_item(
    datatake: Datatake,
    tile: Tile,
    kind: Kind,
    *,
    size: Size,
    suffix: str,
    affected: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Make the STAC item of a product.

    Parameters
    ----------
    datatake : Datatake
        Datatake of the plan.
    tile : Tile
        Tile of the scene.
    kind : {"L1C", "L2A"}
        Product level.
    size : {"small", "full"}
        Size of the world.
    suffix : {"tif", "jp2"}
        Suffix of the rasters beside the item.
    affected : ndarray of int64, shape (4,)
        Number of 20 m pixels that are nodata, clear, cloud and shadow in the truth.
    classes : ndarray of int64, shape (12,)
        Number of 20 m pixels of each scene class.

    Returns
    -------
    dict
        STAC item with hrefs relative to its folder (`item_folder`).
    """
    geometry = to_degrees(footprint(datatake, tile, size))
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": STAC_EXTENSIONS,
        "id": item_id(datatake, tile, kind),
        "collection": COLLECTIONS[kind],
        "bbox": _bbox(geometry),
        "geometry": geometry,
        "properties": _properties(datatake, tile, kind, affected, classes),
        "links": _links(datatake, tile, kind),
        "assets": _assets(datatake, tile, kind, suffix),
    }


def make_catalog(item_hrefs: Sequence[str]) -> dict[str, Any]:
    """Make the catalog, with a link to every item."""
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "cloudbuster-sample",
        "title": "Sample world of cloudbuster",
        "description": "A synthetic Sentinel-2 world with its cloud-free truth",
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": "application/json"},
            *(
                {"rel": "item", "href": f"./{href}", "type": "application/geo+json"}
                for href in item_hrefs
            ),
        ],
    }


def make_collection(kind: Kind, *, bbox: Sequence[float]) -> dict[str, Any]:
    """Make the collection of a product level; ``bbox`` is in degrees."""
    first, last = (PLAN[i].sensing.strftime("%Y-%m-%dT00:00:00Z") for i in (0, -1))
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": COLLECTIONS[kind],
        "title": f"Synthetic Sentinel-2 {kind}",
        "description": "Synthetic: made by cloudbuster sample, not by a satellite",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [list(bbox)]},
            "temporal": {"interval": [[first, last]]},
        },
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
        ],
    }


def make_aoi(size: Size) -> dict[str, Any]:
    """Make the area of interest: the world without a margin of 7 % and without one corner."""
    west, south, east, north = (float(edge) for edge in world_bounds(size))
    margin, cut = 0.07 * (east - west), 0.3 * (east - west)
    west, south, east, north = west + margin, south + margin, east - margin, north - margin
    corners = [
        (west, south),
        (east, south),
        (east, north - cut),
        (east - cut, north),
        (west, north),
    ]
    return to_degrees(shapely.Polygon(corners))


def world_bbox_deg(size: Size) -> list[float]:
    """Bounding box (west, south, east, north) of the world, degrees."""
    return _bbox(to_degrees(shapely.box(*world_bounds(size))))


def make_request(aoi: Mapping[str, Any]) -> dict[str, Any]:
    """Make the request for a mosaic of the whole season; its paths are relative to its file."""
    return {
        "schema": "cloudbuster.request/1",
        "name": "sample",
        "aoi": dict(aoi),
        "query": {
            "catalog": "catalog",
            "mindate": ["2023-05-01"],
            "maxdate": ["2023-09-10"],
            "maxclouds": 95,
        },
        # All the candidates together see 2 % of the area never clear.
        "filter": {"max_never_clear": 0.03},
        "output": "output",
    }
