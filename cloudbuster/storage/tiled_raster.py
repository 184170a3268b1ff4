"""What every raster here shares: uint16, tiled, sparse; and whether all of it is there."""

import math
from itertools import product
from pathlib import Path
from typing import Any

import pyproj
import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.errors import GridError, RasterError
from cloudbuster.storage.uri import is_remote, local_path

NODATA = 0
# Cells in x and y of a tile, the smallest unit that is read, written or left out where empty.
TILE_SIZE = 512
# The side of a tile is a multiple of 16 (TIFF 6.0, section 15, TileWidth), and GDAL's COG driver
# takes none under 128.
TILE_STEP = 16
MIN_TILE_SIZE = 128


def raster_crs(text: str) -> CRS:
    """Make the CRS of a raster of any text that pyproj reads.

    Raises
    ------
    GridError
        Where it names no coordinate reference system.
    """
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        msg = f"{text!r} is no coordinate reference system; give EPSG:<code> or WKT"
        raise GridError(msg) from error
    return CRS.from_wkt(crs.to_wkt())


def tile_size(shape: tuple[int, int]) -> int:
    """Side of the square tiles of a raster of so many rows and columns, in cells.

    It is `TILE_SIZE`, or less if one smaller tile holds the whole raster: GDAL compresses, writes
    and reads whole tiles, so a raster of a few cells would cost as much as one of 512 x 512.
    """
    needed = math.ceil(max(shape) / TILE_STEP) * TILE_STEP
    return min(TILE_SIZE, max(MIN_TILE_SIZE, needed))


def raster_profile(grid: Grid, band_count: int) -> dict[str, Any]:
    """Profile of every uint16 raster that this package writes in blocks.

    Tiled and sparse; photometric ``MINISBLACK``, so that a fourth band is not taken for alpha.
    """
    side = tile_size(grid.shape)
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": band_count,
        "dtype": "uint16",
        "crs": raster_crs(grid.crs),
        "transform": grid.transform,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": side,
        "blockysize": side,
        "interleave": "band",
        "photometric": "MINISBLACK",
        "predictor": 2,
        "sparse_ok": True,
    }


def rasterio_window(window: GridWindow) -> Window:
    """``window`` as rasterio counts it."""
    return Window(window.col, window.row, window.width, window.height)


def check_written(path: Path) -> None:
    """Look whether all tiles of a raster that was just closed lie within the file.

    What is written last is written when a file is closed, and of that GDAL's callers hear nothing:
    on a full disk (seen on one that lacked the last 2 % of a COG) everything seemed to be well.

    Raises
    ------
    rasterio.errors.RasterioIOError
        Where the file is short of something; `writing` tells why.
    """
    length = path.stat().st_size
    with rasterio.open(path, driver="GTiff") as dataset:
        for level in (None, *range(len(dataset.overviews(1)))):
            factor = 1 if level is None else dataset.overviews(1)[level]
            for band, (height, width) in enumerate(dataset.block_shapes, start=1):
                rows = math.ceil(math.ceil(dataset.height / factor) / height)
                columns = math.ceil(math.ceil(dataset.width / factor) / width)
                for tile in product(range(columns), range(rows)):
                    if _tile_end(dataset, tile, band, level) > length:
                        msg = f"{path.name}: it ends before its tiles do, at {length} bytes"
                        raise RasterioIOError(msg)


def _tile_end(dataset: Any, tile: tuple[int, int], band: int, level: int | None) -> int:  # noqa: ANN401 -- rasterio is untyped
    """Byte after the last of a tile (column, row); 0 for one that is left out as empty."""
    name = f"{tile[0]}_{tile[1]}"
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{name}", "TIFF", bidx=band, ovr=level)
    size = dataset.get_tag_item(f"BLOCK_SIZE_{name}", "TIFF", bidx=band, ovr=level)
    return int(offset or 0) + int(size or 0)


def check_length(path: Path | str, dataset: Any) -> None:  # noqa: ANN401 -- rasterio is untyped
    """Refuse a file that ends before the last tile of any band, even if nobody reads that tile."""
    if is_remote(str(path)):
        return  # An object of S3 is there whole, or not at all.
    length = local_path(str(path)).stat().st_size
    for band, (height, width) in enumerate(dataset.block_shapes, start=1):
        last = ((dataset.width - 1) // width, (dataset.height - 1) // height)
        if _tile_end(dataset, last, band, None) > length:
            msg = f"{path}: truncated at {length} bytes; gather this scene again"
            raise RasterError(msg)
