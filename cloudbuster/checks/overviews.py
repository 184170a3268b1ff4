"""Check that the overviews of a raster are made of the pixels below them.

GDAL averages reflectance from the level below, each cell weighted by its share, and takes codes
from the pixel at full resolution whose corner is nearest.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from scipy import sparse

from cloudbuster.checks.results import Count
from cloudbuster.core.arrays import BoolRaster, Raster
from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.models import Check
from cloudbuster.storage.rasters.tiled_raster import NODATA, rasterio_window

# Side of the blocks of an overview that are compared at a time, cells.
BLOCK_CELLS = 512
# Difference of an average that rounding explains, DN.
ROUNDING_DN = 1
# GDAL works in strips. Where a side is not a multiple of the factor, the rows and columns at their
# edges are made of a part of the pixels below, or of their neighbours (measured: the edges are
# multiples of 1024 pixels at full resolution, and the neighbours up to 3 pixels away). There,
# codes and values of the neighbouring pixels are accepted.
STRIP_PIXELS = 1024
NEIGHBOUR_PIXELS = 3

CODE_BANDS = frozenset(
    {"scene_index", "times_observed", "times_clear", "cloud_distance_m", "confidence", "state"}
)


def check_overviews(paths: list[Path]) -> Check:
    """Compare all overviews of some rasters with the pixels below them."""
    count = Count("overviews", "cells of overviews")
    for path in paths:
        with rasterio.open(path, driver="GTiff") as dataset:
            levels, shape = len(dataset.overviews(1)), dataset.shape
            bands = [
                (number, str(name) in CODE_BANDS)
                for number, name in enumerate(dataset.descriptions, start=1)
            ]
        for level in range(levels):
            for band, is_code in bands:
                _check_level(count, path, level, band, shape if is_code else None)
    return count.check


def _check_level(
    count: Count, path: Path, level: int, band: int, base: tuple[int, int] | None
) -> None:
    """Compare one band of one overview with the level below, or with ``base`` for codes."""
    below = {} if level == 0 or base else {"overview_level": level - 1}
    with (
        rasterio.open(path, driver="GTiff", overview_level=level) as upper,
        rasterio.open(path, driver="GTiff", **below) as lower,
    ):
        nodata = lower.nodatavals[band - 1]
        for row in range(0, upper.height, BLOCK_CELLS):
            for col in range(0, upper.width, BLOCK_CELLS):
                window = GridWindow(
                    row,
                    col,
                    min(BLOCK_CELLS, upper.height - row),
                    min(BLOCK_CELLS, upper.width - col),
                )
                found = upper.read(band, window=rasterio_window(window))
                factor = 2 ** (level + 1)
                rows = _Axis(lower.height, upper.height, row, window.height, factor)
                cols = _Axis(lower.width, upper.width, col, window.width, factor)
                source = GridWindow(rows.first, cols.first, rows.count, cols.count)
                pixels = lower.read(band, window=rasterio_window(source))
                wrong = (
                    _wrong_codes(found, pixels, rows, cols)
                    if base
                    else _wrong_means(found, pixels, rows, cols, nodata)
                )
                finding = f"{path.name}: band {band} of the overview of factor {factor}"
                count.add(
                    wrong.size,
                    int(np.count_nonzero(wrong)),
                    f"{finding} is not made of the pixels below it",
                )


class _Axis:
    """Rows or columns of an overview, and the pixels below them.

    Parameters
    ----------
    below, above : int
        Length of the level below, and of the overview.
    start, cells : int
        First cell of the overview, and number of cells.
    factor : int
        Factor of the overview from full resolution.
    """

    def __init__(self, below: int, above: int, start: int, cells: int, factor: int) -> None:
        self.ratio = below / above
        self.cells = np.arange(start, start + cells)
        self.first = max(0, int(start * self.ratio) - NEIGHBOUR_PIXELS)
        last = int(np.ceil((start + cells) * self.ratio)) + NEIGHBOUR_PIXELS
        self.count = min(below, last) - self.first
        self.strip_edges: BoolRaster = (self.cells * factor % STRIP_PIXELS == 0) & bool(
            below % above
        )

    def weights(self) -> sparse.csr_array:
        """Return the share of each pixel in each cell, shape (cell, pixel)."""
        low = self.cells * self.ratio
        high = low + self.ratio
        pixels = self.first + np.arange(self.count)
        shares = np.minimum(pixels + 1, high[:, None]) - np.maximum(pixels, low[:, None])
        return sparse.csr_array(np.where(shares > 1e-8, shares, 0))

    def boxes(self) -> npt.NDArray[np.intp]:
        """Return the first and last pixel (exclusive) of each cell and its neighbours."""
        low = np.floor(self.cells * self.ratio).astype(np.intp) - NEIGHBOUR_PIXELS - self.first
        high = (
            np.ceil((self.cells + 1) * self.ratio).astype(np.intp) + NEIGHBOUR_PIXELS - self.first
        )
        return np.stack([np.clip(low, 0, self.count - 1), np.clip(high, 1, self.count)])

    def corners(self) -> list[npt.NDArray[np.intp]]:
        """Return the pixel whose corner is nearest to that of each cell, for both ways of a tie."""
        place = self.cells * self.ratio
        ways = (np.floor(place + 0.5 + 1e-8), np.ceil(place - 0.5 - 1e-8))
        return [np.clip(way.astype(np.intp) - self.first, 0, self.count - 1) for way in ways]


def _wrong_codes(found: Raster, pixels: Raster, rows: _Axis, cols: _Axis) -> BoolRaster:
    """Return which codes are not those of the nearest pixel at full resolution."""
    wrong = np.ones(found.shape, dtype=np.bool_)
    for row in rows.corners():
        for col in cols.corners():
            wrong &= found != pixels[np.ix_(row, col)]
    for row, col in np.argwhere(wrong & _strip_edges(rows, cols)):
        wrong[row, col] = found[row, col] not in _around(pixels, rows, cols, row, col)
    return wrong


def _wrong_means(
    found: Raster, pixels: Raster, rows: _Axis, cols: _Axis, nodata: float | None
) -> BoolRaster:
    """Return which values are not the mean of the valid pixels below."""
    valid = np.ones(pixels.shape, dtype=np.bool_) if nodata is None else pixels != nodata
    by_row, by_col = rows.weights(), cols.weights()
    total = by_row @ np.where(valid, pixels, 0).astype(np.float64) @ by_col.T
    weight = by_row @ valid.astype(np.float64) @ by_col.T
    mean = np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), NODATA)
    wrong: BoolRaster = np.abs(found - mean) > ROUNDING_DN
    for row, col in np.argwhere(wrong & _strip_edges(rows, cols)):
        around = _around(pixels, rows, cols, row, col)
        wrong[row, col] = not around.min() <= found[row, col] <= around.max()
    return wrong


def _around(pixels: Raster, rows: _Axis, cols: _Axis, row: int, col: int) -> Raster:
    """Return the pixels of a cell and their neighbours."""
    (top, bottom), (left, right) = rows.boxes()[:, row], cols.boxes()[:, col]
    return pixels[top:bottom, left:right]


def _strip_edges(rows: _Axis, cols: _Axis) -> BoolRaster:
    """Return the cells at the edges of GDAL's strips."""
    edges: BoolRaster = rows.strip_edges[:, None] | cols.strip_edges[None, :]
    return edges
