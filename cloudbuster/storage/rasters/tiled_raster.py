"""The format of every raster that this package writes, and checks that a file is complete."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.errors import GridError, RasterError
from cloudbuster.storage.files.uri import is_remote, local_path, replacing
from cloudbuster.storage.rasters.gdal_env import writing

NODATA = 0
# Width and height of a tile in cells: the smallest unit that is read, written, or omitted if empty.
TILE_SIZE = 512
# The sides of a tile are multiples of 16 (TIFF 6.0, section 15, TileWidth). GDAL's COG driver
# refuses tiles smaller than 128 cells.
TILE_STEP = 16
MIN_TILE_SIZE = 128


def raster_crs(text: str) -> CRS:
    """Make the CRS of a raster from the code of an authority or WKT.

    Raises
    ------
    GridError
        If there is no such CRS, or a mosaic cannot have it.
    """
    try:
        crs = parse_crs(text)
    except ValueError as error:
        raise GridError(str(error)) from error
    return CRS.from_wkt(crs.to_wkt())


def tile_size(shape: tuple[int, int]) -> int:
    """Width and height in cells of the tiles of a raster with this shape (rows, columns).

    The result is `TILE_SIZE`, or less if one smaller tile covers the whole raster: GDAL compresses,
    writes and reads whole tiles, so small rasters would cost as much as one of 512 x 512 cells.
    """
    needed = math.ceil(max(shape) / TILE_STEP) * TILE_STEP
    return min(TILE_SIZE, max(MIN_TILE_SIZE, needed))


def raster_profile(grid: Grid, band_count: int) -> dict[str, Any]:
    """Rasterio profile of a uint16 raster on ``grid``; 0 is nodata.

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
    """Convert a window to rasterio's type."""
    return Window(window.col, window.row, window.width, window.height)


@contextmanager
def open_raster_writer(path: Path, profile: Mapping[str, Any]) -> Iterator[Any]:
    """Open a GeoTIFF for writing; it replaces ``path`` once the body succeeds and it is complete.

    Parameters
    ----------
    path : Path
        Path of the raster.
    profile : mapping
        Creation options; see `raster_profile`.

    Yields
    ------
    rasterio dataset
        Open dataset of a temporary file beside ``path``.

    Raises
    ------
    OutputError
        If the folder or the file cannot be written.
    TryAgainError
        If the disk is full.
    """
    with replacing(path) as partial, writing(path):
        with rasterio.open(partial, "w", **profile) as dataset:
            yield dataset
        check_written(partial)


def check_written(path: Path) -> None:
    """Check that all tiles of a raster that was just closed lie within the file.

    GDAL writes the last tiles when a file is closed and reports no error then: on a full disk a COG
    without its last 2 % was closed as if it were complete.

    Raises
    ------
    rasterio.errors.RasterioIOError
        If a tile lies beyond the end of the file; `writing` turns it into the error to report.
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
    """Offset of the end of a tile (column, row) in the file; 0 for an omitted one."""
    name = f"{tile[0]}_{tile[1]}"
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{name}", "TIFF", bidx=band, ovr=level)
    size = dataset.get_tag_item(f"BLOCK_SIZE_{name}", "TIFF", bidx=band, ovr=level)
    return int(offset or 0) + int(size or 0)


def check_length(
    path: Path | str,
    dataset: Any,  # noqa: ANN401 -- rasterio is untyped
    *,
    remedy: str = "gather this scene again",
) -> None:
    """Check that a local GeoTIFF does not end before the last tiles of a band.

    Parameters
    ----------
    path : Path or str
        Path or URI of the file; nothing is checked on other machines.
    dataset : rasterio dataset
        The open file.
    remedy : str
        What to do about a truncated file, for the message.

    Raises
    ------
    RasterError
        If the file is truncated.
    """
    if is_remote(str(path)):
        return  # S3 has either the complete object or none.
    length = local_path(str(path)).stat().st_size
    for band in dataset.indexes:
        if _last_tile_end(dataset, band) > length:
            msg = f"{path}: truncated at {length} bytes; {remedy}"
            raise RasterError(msg)


def _last_tile_end(dataset: Any, band: int) -> int:  # noqa: ANN401 -- rasterio is untyped
    """End in the file of the tiles in the last row of a band that has any; 0 if none has."""
    height, width = dataset.block_shapes[band - 1]
    columns = range(math.ceil(dataset.width / width))
    for row in reversed(range(math.ceil(dataset.height / height))):
        end = max(_tile_end(dataset, (column, row), band, None) for column in columns)
        if end:
            return end
    return 0
