"""Synthetic input of the benchmarks, made once and cached: textured land under soft clouds.

The pixels only need to compress and to be masked like real ones: everything has a noise of 25 DN,
and 40 % of each scene is cloud.
"""

import functools
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import rasterio
import rasterio.shutil
import shapely
from pyarrow import parquet
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from scipy import ndimage
from shapely.geometry import shape

from cloudbuster.core.arrays import UInt8Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.gather import gather_scenes
from cloudbuster.models import DetectorOptions, GatherTask, GridDocument

# Version of the cached files. Raise it when they change, so that they are made again.
INPUT_VERSION = 1

BANDS = ("B02", "B03", "B04", "B08")
ASSET_KEYS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
LAND_DN = {"B02": 450.0, "B03": 700.0, "B04": 600.0, "B08": 2600.0}
CLOUD_DN = 6500.0
NOISE_DN = 25.0
CLOUD_SHARE = 0.4
SCL_VEGETATION, SCL_CLOUD = 4, 9
# Classes of `make_classification`, and the shares of the tile below each but the first.
SCL_CLASSES = (4, 5, 6, 3, 7, 8, 9)
SCL_QUANTILES = (0.25, 0.5, 0.55, 0.6, 0.7, 0.85)

TILE = Grid("EPSG:32633", 499_980.0, 5_100_000.0, 10.0, 10.0, 10_980, 10_980)
"""A full Sentinel-2 tile (33TWL) at 10 m."""
MERGE_GRID = TILE.crop(GridWindow(0, 0, 3_840, 3_840))
MERGE_SCENES = 8
MERGE_NAME = "bench"
CATALOG_ITEMS = 1_000
GEOPARQUET_ITEMS = 100_000
GEOPARQUET_PART = 10_000
BLOCK = 1_024
FIRST_DAY = datetime(2023, 5, 1, 10, 0, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Inputs:
    """Paths of the input in one folder.

    Attributes
    ----------
    root : Path
        The folder.
    """

    root: Path

    @property
    def tile_item(self) -> Path:
        """STAC item of the full tile."""
        return self.root / "tile" / "item.json"

    @property
    def scenes(self) -> Path:
        """Folder of the gathered scenes that are merged."""
        return self.root / "scenes"

    @property
    def plain(self) -> Path:
        """Folder of the same scenes as plain GeoTIFFs of reflectance, in the order of merging."""
        return self.root / "plain"

    @property
    def catalog(self) -> Path:
        """Local catalog, an ItemCollection."""
        return self.root / "catalog.json"


def make_inputs(cache: Path) -> Inputs:
    """Find the input in a folder, or make it there.

    Parameters
    ----------
    cache : Path
        Folder of the input. It needs about 3 GB while the input is made.

    Returns
    -------
    Inputs
    """
    inputs = Inputs(cache / f"inputs-{INPUT_VERSION}")
    if not inputs.root.is_dir():
        partial = Inputs(inputs.root.with_name(f"{inputs.root.name}.partial"))
        shutil.rmtree(partial.root, ignore_errors=True)
        partial.root.mkdir(parents=True)
        _make_catalog(partial.catalog)
        _make_merge_scenes(partial)
        write_scene(partial.tile_item, TILE, number=0)
        partial.root.rename(inputs.root)
    return inputs


def gather_task(item_path: Path, grid: Grid, index: int, output: Path) -> GatherTask:
    """Make the gather task of a scene from `write_scene`; the last index is the backstop."""
    item = orjson.loads(item_path.read_bytes())
    for asset in item["assets"].values():
        asset["href"] = str(item_path.parent.absolute() / asset["href"])
    backstop = index == MERGE_SCENES
    return GatherTask(
        name=MERGE_NAME,
        kind="L2A",
        catalog=str(item_path.parent),
        item=item,
        index=None if backstop else index,
        backstop_index=index if backstop else None,
        bands=BANDS,
        grid=GridDocument.of(grid),
        detector=DetectorOptions(type="stock"),
        dilate_m=50,
        output=str(output),
    )


def write_scene(item_path: Path, grid: Grid, *, number: int) -> None:
    """Write the COGs of a synthetic L2A scene, and its item beside them.

    Parameters
    ----------
    item_path : Path
        Path of the item; its folder is made.
    grid : Grid
        Grid of the 10 m bands, with an even number of rows and columns.
    number : int
        Seed of the pixels, and number of days after the first scene.
    """
    folder = item_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    cloud = _clouds(rng, (grid.height // 2, grid.width // 2))
    classes = np.where(cloud, SCL_CLOUD, SCL_VEGETATION).astype(np.uint8)
    coarse = Grid(grid.crs, grid.west, grid.north, 20.0, 20.0, grid.width // 2, grid.height // 2)
    with rasterio.open(folder / "work.tif", "w", **_profile(coarse, "uint8")) as work:
        work.write(classes, 1)
    _copy_to_cog(folder / "work.tif", folder / "scl.tif", "nearest")
    for band in BANDS:
        with rasterio.open(folder / "work.tif", "w", **_profile(grid, "uint16")) as work:
            for block in grid.blocks(BLOCK):
                pixels = _pixels(rng, LAND_DN[band], block, cloud)
                work.write(pixels, 1, window=_rasterio_window(block))
        _copy_to_cog(folder / "work.tif", folder / f"{ASSET_KEYS[band]}.tif", "average")
    (folder / "work.tif").unlink()
    item_path.write_bytes(orjson.dumps(stac_item(grid, number)))


def stac_item(grid: Grid, number: int) -> dict[str, Any]:
    """Make a STAC item like those of Earth Search; hrefs are relative to its folder.

    Parameters
    ----------
    grid : Grid
        Grid of the 10 m bands.
    number : int
        Number of days after the first scene.
    """
    acquired = FIRST_DAY + timedelta(days=number)
    west, south, east, north = _lonlat_bounds(grid)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    keys = (*ASSET_KEYS.values(), "scl")
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2A_33TWL_{acquired:%Y%m%d}_{number}_L2A",
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": _properties(acquired),
        "links": [],
        "assets": {key: {"href": f"{key}.tif", "roles": ["data"]} for key in keys},
    }


def _properties(acquired: datetime) -> dict[str, Any]:
    """Return the properties of the item of a scene."""
    return {
        "datetime": f"{acquired:%Y-%m-%dT%H:%M:%SZ}",
        "platform": "sentinel-2a",
        "grid:code": "MGRS-33TWL",
        "proj:epsg": 32633,
        "eo:cloud_cover": 100 * CLOUD_SHARE,
        "s2:processing_baseline": "05.09",
        "s2:datatake_id": f"GS2A_{acquired:%Y%m%dT%H%M%S}_041234_N05.09",
        "earthsearch:boa_offset_applied": True,
    }


@functools.cache
def _lonlat_bounds(grid: Grid) -> tuple[float, float, float, float]:
    """Return the bounds of a grid in degrees of longitude and latitude."""
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
    return west, south, east, north


def make_geoparquet(cache: Path) -> Path:
    """Find the stac-geoparquet file of 100 000 items in the folder ``cache``, or make it there.

    It has twenty tiles side by side with one item for each day and tile. All items are in one row
    group, which is the default of common writers, so that no row group can be skipped.
    """
    path = cache / f"catalog-{GEOPARQUET_ITEMS}-{INPUT_VERSION}.parquet"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        parts = [
            pa.Table.from_pylist([_row(number) for number in range(start, start + GEOPARQUET_PART)])
            for start in range(0, GEOPARQUET_ITEMS, GEOPARQUET_PART)
        ]
        partial = path.with_suffix(".partial")
        parquet.write_table(pa.concat_tables(parts), partial, row_group_size=GEOPARQUET_ITEMS)
        partial.rename(path)
    return path


def _classes(side: int) -> UInt8Raster:
    """Make a scene classification of fields, water and clouds of every size."""
    height = np.zeros((side, side), dtype=np.float32)
    rng = np.random.default_rng(3)
    for cells, amplitude in ((12, 1.0), (40, 0.6), (160, 0.4), (600, 0.25), (2000, 0.12)):
        noise = rng.random((cells + 4, cells + 4), dtype=np.float32)
        height += amplitude * ndimage.zoom(noise, side / (cells + 1), order=1)[:side, :side]
    limits = np.quantile(height[::16, ::16], SCL_QUANTILES)
    return np.array(SCL_CLASSES, dtype=np.uint8)[np.digitize(height, limits)]


def make_classification(cache: Path) -> Path:
    """Find the scene classification of a full tile in a folder, or make it there.

    Fields, water and clouds of every size, so that its overviews compress as badly as real ones:
    the smallest, of 344 pixels, takes 30 kB.

    Parameters
    ----------
    cache : Path
        Folder of the file.

    Returns
    -------
    Path
        COG with the overviews 2 to 16, as those of Earth Search.
    """
    path = cache / f"classification-{INPUT_VERSION}" / "scl.tif"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        side = TILE.width // 2
        grid = Grid(TILE.crs, TILE.west, TILE.north, 20.0, 20.0, side, side)
        with rasterio.open(path.with_name("work.tif"), "w", **_profile(grid, "uint8")) as work:
            work.write(_classes(side), 1)
        partial = path.with_name("partial.tif")
        rasterio.shutil.copy(
            path.with_name("work.tif"),
            partial,
            driver="COG",
            compress="DEFLATE",
            predictor="YES",
            overview_count=4,
            overview_resampling="nearest",
        )
        path.with_name("work.tif").unlink()
        partial.rename(path)
    return path


def _row(number: int) -> dict[str, Any]:
    """Row of stac-geoparquet 1.1: properties as columns, geometry as WKB."""
    day, column = divmod(number, 20)
    item = stac_item(TILE.crop(TILE.window.shifted(0, column * 10_000)), day)
    properties = item.pop("properties") | {"eo:cloud_cover": float(number * 37 % 101)}
    properties["datetime"] = datetime.fromisoformat(properties["datetime"])
    for key, asset in item["assets"].items():
        asset |= {"type": "image/tiff; application=geotiff", "title": f"{key} of {number}"}
        asset |= {"proj:shape": [10_980, 10_980], "proj:transform": list(TILE.transform)[:6]}
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True))
    geometry = shapely.to_wkb(shape(item["geometry"]))
    ids = {"id": f"{item['id']}_{column}", "geometry": geometry, "bbox": box}
    return {**{key: value for key, value in item.items() if key != "links"}, **ids, **properties}


def _make_catalog(path: Path) -> None:
    """Write a thousand items over ten tiles side by side, one a day and tile."""
    items = []
    for number in range(CATALOG_ITEMS):
        day, column = divmod(number, 10)
        grid = TILE.crop(TILE.window.shifted(0, column * 10_000))
        item = stac_item(grid, day)
        item["id"] = f"{item['id']}_{column}"
        item["properties"]["grid:code"] = f"MGRS-33T{'ABCDEFGHJK'[column]}L"
        item["properties"]["eo:cloud_cover"] = number * 7 % 100
        items.append(item)
    path.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": items}))


def _make_merge_scenes(inputs: Inputs) -> None:
    """Gather small scenes on one grid, and copy them to plain GeoTIFFs for the reference."""
    tasks = []
    for index in range(1, MERGE_SCENES + 1):
        item_path = inputs.root / "sources" / f"{index:02d}" / "item.json"
        write_scene(item_path, MERGE_GRID, number=index)
        tasks.append(gather_task(item_path, MERGE_GRID, index, inputs.scenes))
    report = gather_scenes(tasks)
    inputs.plain.mkdir()
    for record in report.records:
        _copy_reflectance(inputs.scenes / record.raster, inputs.plain / f"{record.index:02d}.tif")
    shutil.rmtree(inputs.root / "sources")


def _copy_reflectance(source: Path, target: Path) -> None:
    """Copy the reflectance bands of a gathered scene to a plain GeoTIFF."""
    bands = list(range(1, len(BANDS) + 1))
    profile = _profile(MERGE_GRID, "uint16") | {
        "count": len(bands),
        "compress": "DEFLATE",
        "predictor": 2,
        "zlevel": 1,
        "interleave": "band",
    }
    with rasterio.open(source) as scene, rasterio.open(target, "w", **profile) as plain:
        for _, window in plain.block_windows(1):
            plain.write(scene.read(bands, window=window), window=window)


def _clouds(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Make soft round clouds that cover `CLOUD_SHARE`: interpolated noise of 32 by 32 cells."""
    coarse = rng.random((34, 34), dtype=np.float32)
    rows = np.linspace(0, 32, shape[0], dtype=np.float32)
    columns = np.linspace(0, 32, shape[1], dtype=np.float32)
    limit = np.quantile(ndimage.zoom(coarse, 8, order=1), 1 - CLOUD_SHARE)
    cloud = np.empty(shape, dtype=np.bool_)
    for start in range(0, shape[0], BLOCK):
        part = slice(start, start + BLOCK)
        where = np.meshgrid(rows[part], columns, indexing="ij")
        cloud[part] = ndimage.map_coordinates(coarse, where, order=1) > limit
    return cloud


def _pixels(
    rng: np.random.Generator, land_dn: float, block: GridWindow, cloud: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint16]:
    """Make one block of one band; ``cloud`` covers the whole scene at half the resolution."""
    row, column = block.row // 2, block.col // 2
    part = cloud[row : row + -(-block.height // 2), column : column + -(-block.width // 2)]
    cloudy = part.repeat(2, axis=0).repeat(2, axis=1)[: block.height, : block.width]
    y = np.arange(block.row, block.row + block.height, dtype=np.float32)[:, None]
    x = np.arange(block.col, block.col + block.width, dtype=np.float32)[None, :]
    fields = 1 + 0.4 * np.sin(y / 37) * np.cos(x / 53) + 0.2 * np.sin((x + y) / 311)
    noise = rng.standard_normal((block.height, block.width), dtype=np.float32) * NOISE_DN
    pixels = np.where(cloudy, CLOUD_DN, land_dn * fields) + noise
    return np.asarray(np.clip(pixels, 1, 60_000), dtype=np.uint16)


def _profile(grid: Grid, dtype: str) -> dict[str, Any]:
    """Return the rasterio profile of a tiled GeoTIFF of one band."""
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": dtype,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": 0,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
    }


def _copy_to_cog(source: Path, target: Path, resampling: str) -> None:
    """Copy a GeoTIFF to a COG with overviews."""
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        blocksize=BLOCK,
        compress="DEFLATE",
        predictor="YES",
        resampling=resampling,
    )


def _rasterio_window(block: GridWindow) -> Window:
    """Convert a window to rasterio's type."""
    return Window(block.col, block.row, block.width, block.height)
