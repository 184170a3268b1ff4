"""Grids and windows of a mask: cells that cover an area, windows with context, cells combined."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import ALIGNMENT_TOLERANCE, Grid, GridWindow, snapped_grid
from cloudbuster.core.grids.ground import cell_size_m

# Relative tolerance within which a cell size means a multiple of the scene's own cells: a raster of
# 9.995 m is a 10 m raster, and 160 m are 16 of its cells.
CELL_SIZE_TOLERANCE = 0.005


@dataclass(frozen=True)
class ContextWindow:
    """A window to read, and the part of it to keep.

    Attributes
    ----------
    read : GridWindow
        Cells to read, with their context; may reach outside of the grid.
    keep : GridWindow
        Cells whose result is used. The windows to keep tile the area.
    """

    read: GridWindow
    keep: GridWindow


def covering_grid(native: Grid, area: Grid) -> Grid:
    """Return the cells of ``native``, extended beyond its edges, that cover ``area`` (same CRS)."""
    return native.crop(native.window_of(area.bounds))


def cells_of_size(anchor: Grid, area: Grid, gsd_m: float) -> Grid:
    """Make a grid of cells of about ``gsd_m`` that covers an area.

    Parameters
    ----------
    anchor : Grid
        Grid whose corner is a corner of cells of the result.
    area : Grid
        Area to cover, in the same CRS.
    gsd_m : float
        Wanted cell size, metres on the ground. A size within 0.5 % of a multiple or a whole
        fraction of the anchor's cells is replaced by it, so that the cells nest.

    Returns
    -------
    Grid
    """
    width_m, height_m = cell_size_m(anchor)
    size = (
        nested_size(gsd_m / width_m * anchor.x_size, anchor.x_size),
        nested_size(gsd_m / height_m * anchor.y_size, anchor.y_size),
    )
    return snapped_grid(anchor.crs, area.bounds, cell_size=size, phase=(anchor.west, anchor.north))


def nested_size(wanted: float, cell: float) -> float:
    """Return ``wanted``, or a multiple or whole fraction of ``cell`` that is within 0.5 % of it."""
    ratio = wanted / cell
    count = round(ratio) if ratio >= 1 else round(1 / ratio)
    nested = cell * count if ratio >= 1 else cell / count
    return nested if abs(nested - wanted) <= CELL_SIZE_TOLERANCE * wanted else wanted


def nearest_multiple(wanted: float, cell: float) -> float:
    """Return the multiple of ``cell`` nearest to ``wanted``, at least one cell."""
    return cell * max(1, round(wanted / cell))


def any_in_cells(mask: BoolRaster, grid: Grid, target: Grid) -> BoolRaster:
    """Mark each target cell that touches a True cell.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        On ``grid``. Not modified.
    grid, target : Grid
        In the same CRS; the cells of the target are usually larger.

    Returns
    -------
    ndarray of bool, shape of ``target``
        False outside of ``grid``.
    """
    result = np.zeros(target.shape, dtype=np.bool_)
    if grid.is_aligned(target):
        window = GridWindow(*grid.offset_of(target), *target.shape)
        shared = window.intersection(grid.window)
        result[shared.shifted(-window.row, -window.col).slices] = mask[shared.slices]
        return result
    rows = np.zeros((target.height, grid.width), dtype=np.bool_)
    for row in range(target.height):
        touched = grid.window_of(target.window_bounds(GridWindow(row, 0, 1, 1)))
        rows[row] = mask[_inside(touched.row, touched.height, grid.height)].any(axis=0)
    for col in range(target.width):
        touched = grid.window_of(target.window_bounds(GridWindow(0, col, 1, 1)))
        result[:, col] = rows[:, _inside(touched.col, touched.width, grid.width)].any(axis=1)
    return result


def _inside(first: int, count: int, length: int) -> slice:
    """Return the slice of ``count`` indices from ``first`` on, clipped to 0 and ``length``."""
    start = min(max(first, 0), length)
    return slice(start, min(max(first + count, start), length))


def context_windows(
    scene: Grid, area: GridWindow, *, size: int, context: int
) -> Iterator[ContextWindow]:
    """Cut an area into overlapping windows of one size.

    Parameters
    ----------
    scene : Grid
        Grid of the whole scene. Windows are placed from its corner, so that the result of a cell
        does not depend on ``area``.
    area : GridWindow
        Wanted cells of ``scene``.
    size, context : int
        Rows and columns of every window, and how many cells on each side are not kept.

    Yields
    ------
    ContextWindow
        Row by row.
    """
    step = size - 2 * context
    if step < 1:
        msg = f"windows of {size} cells with a context of {context} on each side keep no cell"
        raise ValueError(msg)
    wanted = area.intersection(scene.window)
    for row in _lattice(wanted.row, wanted.height, step):
        for col in _lattice(wanted.col, wanted.width, step):
            core = GridWindow(row, col, step, step)
            yield ContextWindow(core.grown(context), core.intersection(wanted))


def _lattice(first: int, count: int, step: int) -> range:
    """Return the multiples of ``step`` at which intervals start that contain the indices.

    There are ``count`` indices from ``first`` on.
    """
    return range(first - first % step, first + count, step) if count else range(0)


def mirrored(first: int, count: int, length: int) -> npt.NDArray[np.intp]:
    """Return ``count`` indices from ``first`` on, mirrored at 0 and ``length``."""
    folded = np.arange(first, first + count) % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded).astype(np.intp)


def row_strips(height: int, width: int, max_cells: int) -> Iterator[tuple[int, int]]:
    """Yield (first row, number of rows) of strips of at most ``max_cells`` cells, or of one row."""
    rows = max(1, math.floor(max_cells / max(1, width)))
    for row in range(0, height, rows):
        yield row, min(rows, height - row)


def overhang_cells(native: Grid, grid: Grid) -> BoolRaster:
    """Mark the cells of ``grid`` (same CRS) that are wholly outside of ``native``."""
    west, south, east, north = native.bounds
    tops = grid.north - np.arange(grid.height) * grid.y_size
    lefts = grid.west + np.arange(grid.width) * grid.x_size
    slack_y, slack_x = grid.y_size * ALIGNMENT_TOLERANCE, grid.x_size * ALIGNMENT_TOLERANCE
    rows = (tops - grid.y_size >= north - slack_y) | (tops <= south + slack_y)
    cols = (lefts + grid.x_size <= west + slack_x) | (lefts >= east - slack_x)
    outside: BoolRaster = rows[:, None] | cols[None, :]
    return outside
