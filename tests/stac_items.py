"""STAC items of Sentinel-2 scenes, small, and true to the dialect of Earth Search."""

from typing import Any

from cloudbuster.core.bands import BANDS, BANDS_BY_KIND, Kind


def square(west: float, south: float, size: float = 1.0) -> dict[str, Any]:
    """GeoJSON square with its lower left corner at (west, south), degrees."""
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def make_item(
    *,
    taken: str = "2020-05-10T10:00:31",
    kind: Kind = "L2A",
    tile: str = "33TWL",
    platform: str = "a",
    baseline: str = "05.00",
    cloud_cover: float | None = 10.0,
    geometry: dict[str, Any] | None = None,
    suffix: str = "0",
    folder: str = "s3://bucket/scenes",
    properties: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """STAC item as of Earth Search v1; ``properties`` are added, None removes one."""
    compact = taken.replace("-", "").replace(":", "")
    unit = f"S2{platform.upper()}"
    name = f"{unit}_{tile}_{compact[:8]}_{suffix}_{kind}"
    known: dict[str, Any] = {
        "datetime": f"{taken}.024Z",
        "platform": f"sentinel-2{platform}",
        "constellation": "sentinel-2",
        "eo:cloud_cover": cloud_cover,
        "grid:code": f"MGRS-{tile}",
        "s2:processing_baseline": baseline,
        "s2:datatake_id": f"G{unit}_{compact}_025000_N{baseline}",
        "s2:product_type": f"S2MSI{kind[1:]}",
        **(properties or {}),
    }
    bands = BANDS_BY_KIND[kind]
    keys = {name: BANDS[name].common_name for name in bands}
    keys |= {"B05": "rededge1", "B06": "rededge2", "B07": "rededge3"}
    assets = {keys[band]: {"href": f"{folder}/{name}/{band}.tif"} for band in bands}
    if kind == "L2A":
        assets["scl"] = {"href": f"{folder}/{name}/SCL.tif"}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": f"sentinel-2-{kind.lower()}",
        "geometry": square(14.5, 45.5) if geometry is None else geometry,
        "bbox": [14.5, 45.5, 15.5, 46.5],
        "properties": {key: value for key, value in known.items() if value is not None},
        "links": [],
        "assets": assets,
    }


def item_collection(*items: dict[str, Any]) -> dict[str, Any]:
    """STAC ItemCollection of ``items``."""
    return {"type": "FeatureCollection", "features": list(items)}
