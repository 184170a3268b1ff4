"""Resampling between grids of one CRS, and the choice of the method."""

from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid

# Ratio of the cell sizes above which a target cell contains whole source cells, so that their mean
# is a better value than an interpolation between a few of them.
COARSER_RATIO = 1.5

# Digits to which shares of a pixel are rounded, so that rounding errors at a common grid line of
# two grids do not leave a tiny share.
WEIGHT_DIGITS = 6

Method = Literal["copy", "mean", "cubic"]
Scalar = TypeVar("Scalar", bound=np.generic)
Edges = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""First row or column of some boxes, and the one after their last."""


def resampling_method(source: Grid, target: Grid, *, scale: float) -> Method:
    """Choose the method of resampling from a scene's grid to the mosaic's.

    Parameters
    ----------
    source, target : Grid
        Grids of the scene and of the mosaic.
    scale : float
        Size of a target cell on the ground divided by that of a source cell.

    Returns
    -------
    {"copy", "mean", "cubic"}
        ``copy`` if the grids are aligned, ``mean`` if a target cell contains several source cells,
        else ``cubic``.
    """
    if source.is_aligned(target):
        return "copy"
    return "mean" if scale > COARSER_RATIO else "cubic"


def sample_nearest(
    values: npt.NDArray[Scalar], grid: Grid, target: Grid, *, fill: int
) -> npt.NDArray[Scalar]:
    """Resample by nearest neighbour: each target cell takes the value at its centre.

    Parameters
    ----------
    values : ndarray, shape (y, x)
        On ``grid``. Not modified.
    grid, target : Grid
        In the same CRS.
    fill : int
        Value of the cells outside of ``grid``.

    Returns
    -------
    ndarray, shape of ``target``, dtype of ``values``
    """
    rows, inside_rows = _indices(
        grid.north - target.north, target.y_size, grid.y_size, target.height, grid.height
    )
    cols, inside_cols = _indices(
        target.west - grid.west, target.x_size, grid.x_size, target.width, grid.width
    )
    picked: Raster = values[rows[:, None], cols[None, :]]
    inside = inside_rows[:, None] & inside_cols[None, :]
    return np.where(inside, picked, np.asarray(fill, dtype=values.dtype))


def valid_means(pixels: UInt16Raster, grid: Grid, target: Grid) -> UInt16Raster:
    """Resample by mean: average the valid pixels in each cell, weighted by the share inside.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (y, x)
        On ``grid``; 0 is nodata. Not modified.
    grid, target : Grid
        In the same CRS.

    Returns
    -------
    ndarray of uint16, shape of ``target``
        Means, halves rounded up; 0 where a cell contains no valid pixel.
    """
    rows = _shares(
        grid.north - target.north, target.y_size, grid.y_size, target.height, grid.height
    )
    cols = _shares(target.west - grid.west, target.x_size, grid.x_size, target.width, grid.width)
    total = (cols @ (rows @ pixels.astype(np.float64)).T).T
    weight = (cols @ (rows @ (pixels != 0).astype(np.float64)).T).T
    mean = np.divide(total, weight, out=np.zeros(target.shape), where=weight > 0)
    rounded: UInt16Raster = np.floor(mean + 0.5).astype(np.uint16)
    return rounded


def _shares(start: float, step: float, size: float, count: int, length: int) -> sparse.csr_array:
    """Return the share of each pixel in each cell along one axis, sparse, (count, length)."""
    first = (start + np.arange(count) * step) / size
    last = first + step / size
    reach = np.arange(int(np.ceil(step / size)) + 2)
    index = np.floor(first).astype(np.intp)[:, None] + reach
    share = np.minimum(last[:, None], index + 1) - np.maximum(first[:, None], index)
    share = np.round(np.clip(share, 0, 1), WEIGHT_DIGITS)
    used = (share > 0) & (index >= 0) & (index < length)
    cells = np.broadcast_to(np.arange(count)[:, None], index.shape)
    return sparse.csr_array((share[used], (cells[used], index[used])), shape=(count, length))


def count_in_boxes(mask: BoolRaster, rows: Edges, cols: Edges) -> npt.NDArray[np.int32]:
    """Count the True cells in many boxes, at the same cost for large boxes as for small ones.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        Not modified.
    rows, cols : tuple of two ndarrays of int
        First row or column of each box, and the one after its last. The four arrays are broadcast
        against each other. Boxes may reach outside of ``mask``, where nothing is True.

    Returns
    -------
    ndarray of int32, shape of the boxes
    """
    # A summed-area table (Crow, Summed-area tables for texture mapping, 1984): each entry counts
    # the True cells above and left of a corner, so that four entries give the count in a box.
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int32)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int32), axis=1, out=table[1:, 1:])
    top, bottom = (np.clip(edge, 0, mask.shape[0]) for edge in rows)
    left, right = (np.clip(edge, 0, mask.shape[1]) for edge in cols)
    count: npt.NDArray[np.int32] = (
        table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    )
    return count


def _indices(
    start: float, step: float, size: float, count: int, length: int
) -> tuple[npt.NDArray[np.intp], BoolRaster]:
    """Return the index of the cell at each centre along one axis, and whether it is inside.

    Indices of cells outside are clipped to 0 and ``length`` - 1.
    """
    index = np.floor((start + (np.arange(count) + 0.5) * step) / size).astype(np.intp)
    inside = (index >= 0) & (index < length)
    return np.clip(index, 0, max(0, length - 1)), inside
