"""Which value a cell takes from another grid of the same CRS; the choice of resampling."""

from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.grid import Grid

# A target cell this much larger than the source's holds whole source cells: their mean is then the
# better value than one interpolated between a few of them.
COARSER_RATIO = 1.5

# Shares of a pixel are rounded to this many digits: a line that two grids share leaves none behind.
WEIGHT_DIGITS = 6

Method = Literal["copy", "mean", "cubic"]
Scalar = TypeVar("Scalar", bound=np.generic)


def resampling_method(source: Grid, target: Grid, *, scale: float) -> Method:
    """Choose how pixels get from a scene's grid to the mosaic's.

    Parameters
    ----------
    source, target : Grid
        Grids of the scene and of the mosaic.
    scale : float
        Size of a target cell on the ground over that of a source cell.

    Returns
    -------
    {"copy", "mean", "cubic"}
        ``copy`` where the grids share their lines, ``mean`` where the target's cells hold several
        of the source's, else ``cubic``.
    """
    if source.is_aligned(target):
        return "copy"
    return "mean" if scale > COARSER_RATIO else "cubic"


def sample_nearest(
    values: npt.NDArray[Scalar], grid: Grid, target: Grid, *, fill: int
) -> npt.NDArray[Scalar]:
    """Look up, for each cell of ``target``, the cell of ``grid`` that holds its centre.

    Parameters
    ----------
    values : ndarray, shape (y, x)
        On ``grid``. Not modified.
    grid, target : Grid
        Same CRS.
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
    """Average the valid pixels that lie in each cell, by the share of each that does.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (y, x)
        On ``grid``, 0 nodata. Not modified.
    grid, target : Grid
        Same CRS.

    Returns
    -------
    ndarray of uint16, shape of ``target``
        Means, halves rounded up; 0 where a cell holds no valid pixel.
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


def _shares(start: float, step: float, size: float, count: int, length: int) -> Any:  # noqa: ANN401
    """Share of each pixel in each cell along one axis, sparse, shape (count, length)."""
    first = (start + np.arange(count) * step) / size
    last = first + step / size
    reach = np.arange(int(np.ceil(step / size)) + 2)
    index = np.floor(first).astype(np.intp)[:, None] + reach
    share = np.minimum(last[:, None], index + 1) - np.maximum(first[:, None], index)
    share = np.round(np.clip(share, 0, 1), WEIGHT_DIGITS)
    used = (share > 0) & (index >= 0) & (index < length)
    cells = np.broadcast_to(np.arange(count)[:, None], index.shape)
    return sparse.csr_array((share[used], (cells[used], index[used])), shape=(count, length))


def any_in_boxes(
    mask: BoolRaster,
    rows: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    cols: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> BoolRaster:
    """Tell which boxes hold a True cell; as fast for large boxes as for small ones.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        Not modified.
    rows, cols : tuple of two ndarrays of int, of one shape
        First row or column of each box, and the one after its last; may lie outside of ``mask``,
        where nothing is True.

    Returns
    -------
    ndarray of bool, shape of the boxes
    """
    # Sums over everything above and left of a corner (a summed-area table, Crow 1984): four of
    # them count what is in a box.
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int32)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int32), axis=1, out=table[1:, 1:])
    top, bottom = (np.clip(edge, 0, mask.shape[0]) for edge in rows)
    left, right = (np.clip(edge, 0, mask.shape[1]) for edge in cols)
    count = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    held: BoolRaster = count > 0
    return held


def _indices(
    start: float, step: float, size: float, count: int, length: int
) -> tuple[npt.NDArray[np.intp], BoolRaster]:
    """Index of the cell at each centre along one axis, clipped, and whether it was inside."""
    index = np.floor((start + (np.arange(count) + 0.5) * step) / size).astype(np.intp)
    inside = (index >= 0) & (index < length)
    return np.clip(index, 0, max(0, length - 1)), inside
