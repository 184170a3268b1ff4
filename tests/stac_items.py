"""STAC items of Sentinel-2 scenes, small, and true to the dialect of Earth Search."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shapely.geometry import shape

from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.core.scenes.bands import BANDS, BANDS_BY_KIND, Kind


def square(west: float, south: float, size: float = 1.0) -> dict[str, Any]:
    """GeoJSON square with its lower left corner at (west, south), degrees."""
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


# The western and the eastern half of `square(14.5, 45.5)`, with a narrow overlap.
WEST_HALF = {
    "type": "Polygon",
    "coordinates": [[[14.5, 45.5], [15.01, 45.5], [15.01, 46.5], [14.5, 46.5], [14.5, 45.5]]],
}
EAST_HALF = {
    "type": "Polygon",
    "coordinates": [[[14.8, 45.5], [15.5, 45.5], [15.5, 46.5], [14.8, 46.5], [14.8, 45.5]]],
}


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


def wanted_of(items: list[dict[str, Any]], search: SceneSearch) -> list[str]:
    """Ids of the items of `thousand_items` that a search wants, looked at one by one."""
    return [
        item["id"]
        for item in items
        if item["collection"] == f"sentinel-2-{search.kind.lower()}"
        and search.minclouds <= item["properties"]["eo:cloud_cover"] <= search.maxclouds
        and any(
            first.isoformat() <= item["properties"]["datetime"][:10] <= last.isoformat()
            for first, last in search.periods
        )
        # To meet at an edge is not enough.
        and shape(item["geometry"]).intersection(search.aoi).area > 0
    ]


def thousand_items() -> list[dict[str, Any]]:
    """Make a thousand items, always the same: 25 tiles side by side over two years.

    Half of them are L2A, half L1C of the same datatakes; cloud cover takes every value, every
    tenth L2A item is an older processing of the one before it, and one of them is of calibration.
    """
    items = []
    for number in range(500):
        observation = number - 1 if number % 10 == 9 else number
        tile, visit = observation % 25, observation // 25
        taken = datetime(2019, 1, 3, 10, tile, 31, tzinfo=UTC) + timedelta(days=37 * visit + tile)
        west, south = 13.0 + 0.9 * (tile % 5), 44.0 + 0.9 * (tile // 5)
        known: dict[str, Any] = {
            "taken": f"{taken:%Y-%m-%dT%H:%M:%S}",
            "tile": f"33T{'ABCDE'[tile % 5]}{'FGHJK'[tile // 5]}",
            "platform": "ab"[visit % 2],
            "geometry": square(west, south),
        }
        older = "99.05" if number == 499 else "02.14"
        baseline = older if number % 10 == 9 else "05.09"
        for kind in BANDS_BY_KIND:
            item = make_item(
                kind=kind,
                baseline=baseline,
                cloud_cover=number * 37 % 101,
                suffix="1" if number % 10 == 9 else "0",
                **known,
            )
            items.append({**item, "bbox": [west, south, west + 1, south + 1]})
    return items
