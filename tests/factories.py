"""Small scenes on disk: rasters of a few dozen cells with a STAC item beside them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.warp import transform_bounds

from cloudbuster.models import Delivery

CRS = "EPSG:32633"
WEST, NORTH = 500_040.0, 5_000_040.0
BANDS = ("B02", "B03", "B04", "B08")


@dataclass
class SceneSpec:
    """One L2A scene: constant reflectance, and an SCL that a test draws."""

    id: str = "S2A_33TWL_20230510_0_L2A"
    datetime: str = "2023-05-10T10:00:00Z"
    tile: str = "33TWL"
    dn: int = 500
    size: int = 60
    gsd: int = 10
    west: float = WEST
    north: float = NORTH
    cloud_cover: float = 10.0
    baseline: str = "03.01"
    crs: str = CRS
    # Of the item, where it is not to be the box of the raster's corners.
    geometry: dict[str, Any] | None = None
    bbox: list[float] | None = None
    bands: tuple[str, ...] = BANDS
    # (row slice, column slice, class) painted on an SCL of class 4, in cells of 20 m.
    scl: list[tuple[slice, slice, int]] = field(default_factory=list)
    pixels: np.ndarray | None = None
    properties: dict[str, Any] = field(default_factory=dict)


def write_raster(
    path: Path, pixels: np.ndarray, *, west: float, north: float, gsd: float, crs: str = CRS
) -> None:
    """A one-band GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=pixels.shape[1],
        height=pixels.shape[0],
        count=1,
        dtype=pixels.dtype.name,
        crs=crs,
        transform=Affine(gsd, 0, west, 0, -gsd, north),
        nodata=0,
        compress="DEFLATE",
    ) as dataset:
        dataset.write(pixels, 1)


def write_scene(folder: Path, spec: SceneSpec) -> dict[str, Any]:
    """Write a scene's rasters and its item; return the item."""
    home = folder / spec.id
    place: dict[str, Any] = {"west": spec.west, "north": spec.north, "crs": spec.crs}
    pixels = spec.pixels
    if pixels is None:
        pixels = np.full((spec.size, spec.size), spec.dn, np.uint16)
    scl = np.full((spec.size // 2, spec.size // 2), 4, np.uint8)
    for rows, cols, value in spec.scl:
        scl[rows, cols] = value
    for offset, band in enumerate(spec.bands):
        shifted = np.where(pixels > 0, pixels + offset, 0).astype(np.uint16)
        write_raster(home / f"{band}.tif", shifted, gsd=spec.gsd, **place)
    write_raster(home / "SCL.tif", scl, gsd=2 * spec.gsd, **place)
    extent = spec.size * spec.gsd
    west, south, east, north = transform_bounds(
        spec.crs, "EPSG:4326", spec.west, spec.north - extent, spec.west + extent, spec.north
    )
    taken = spec.datetime.replace("-", "").replace(":", "").rstrip("Z")
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": spec.id,
        "collection": "sentinel-2-l2a",
        "geometry": spec.geometry or box_document(west, south, east, north),
        "bbox": spec.bbox or [west, south, east, north],
        "properties": {
            "datetime": spec.datetime,
            "platform": f"sentinel-{spec.id[1:3].lower()}",
            "constellation": "sentinel-2",
            "eo:cloud_cover": spec.cloud_cover,
            "proj:epsg": int(spec.crs.removeprefix("EPSG:")),
            "grid:code": f"MGRS-{spec.tile}",
            "s2:processing_baseline": spec.baseline,
            "s2:datatake_id": f"G{spec.id[:3]}_{taken}_000001_N{spec.baseline}",
            **spec.properties,
        },
        "links": [],
        "assets": {
            **{band: {"href": f"{band}.tif", "roles": ["data"]} for band in spec.bands},
            "scl": {"href": "SCL.tif", "roles": ["data"]},
        },
    }
    (home / f"{spec.id}.json").write_text(json.dumps(item))
    return item


def box_document(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A rectangle as GeoJSON."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def area_of(spec: SceneSpec, *, inset_m: float = 15.0) -> dict[str, Any]:
    """An area of interest inside a scene."""
    extent = spec.size * spec.gsd
    return box_document(
        *transform_bounds(
            CRS,
            "EPSG:4326",
            spec.west + inset_m,
            spec.north - extent + inset_m,
            spec.west + extent - inset_m,
            spec.north - inset_m,
        )
    )


def unit_rows(delivery: Delivery) -> tuple[str, ...]:
    """Return rows of units, of 16 by 16 parts, with ``1`` for each of which a part is delivered."""
    needed = delivery.needed()
    height, width = needed.shape
    blocks = needed.reshape(height // 16, 16, width // 16, 16).transpose(0, 2, 1, 3)
    return tuple("".join("01"[int(block.any())] for block in row) for row in blocks)


def request_of_may(folder: Path, *, dilate_m: float = 0) -> dict[str, Any]:
    """Request of a mosaic of the scenes in ``folder/catalog``, all of May 2023."""
    return {
        "name": "m",
        "aoi": area_of(SceneSpec()),
        "query": {
            "catalog": str(folder / "catalog"),
            "mindate": ["2023-05-01"],
            "maxdate": ["2023-05-31"],
            "maxclouds": 100,
        },
        "filter": {"coverage_count": 2, "max_never_clear": 0.2},
        "gather": {"bands": BANDS, "dilate_m": dilate_m, "detector": {"type": "stock"}},
        "output": str(folder / "run"),
    }
