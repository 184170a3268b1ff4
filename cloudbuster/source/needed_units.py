"""Units of a scene that a mosaic needs: the cells they hold, and the pixels to read for them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.regrid import Method
from cloudbuster.core.projections.transformers import transformer
from cloudbuster.source.warp import LATTICE_CELLS, bounds_in
from cloudbuster.storage.rasters.tiled_raster import TILE_SIZE

# Pixels read around a block for cubic resampling: two for the kernel, one for misalignment.
KERNEL_MARGIN = 3

Indices = npt.NDArray[np.intp]
Places = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class NeededUnits:
    """Units of a scene, and which of them a mosaic needs.

    A cell of the mosaic belongs to the unit that holds its centre. Cells of other units, and those
    outside of the grid of units, are not needed.

    Attributes
    ----------
    grid : Grid
        Grid of the units, in the CRS of the scene.
    needed : ndarray of bool, shape (y, x) of ``grid``
        Units that are needed.
    """

    grid: Grid
    needed: BoolRaster

    @property
    def extent(self) -> GridWindow:
        """Smallest window of units that holds all needed ones; empty if there are none."""
        rows, cols = (np.flatnonzero(self.needed.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return GridWindow(0, 0, 0, 0)
        return GridWindow(
            int(rows[0]), int(cols[0]), int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1)
        )

    def target_window(self, target: Grid) -> GridWindow:
        """Return a window of ``target`` that holds all needed cells; it may be empty.

        It consists of whole tiles of `TILE_SIZE` cells from the corner of ``target``.
        """
        extent = self.extent
        if extent.is_empty:
            return extent
        bounds = self.grid.window_bounds(extent)
        found = target.window_of(bounds_in(bounds, self.grid.crs, target.crs, near=target.bounds))
        if target.crs != self.grid.crs:
            # One cell more, because the edges of the units are curved.
            found = found.grown(1)
        row, col = (edge // TILE_SIZE * TILE_SIZE for edge in (found.row, found.col))
        tiles = GridWindow(
            row,
            col,
            -(-(found.row + found.height - row) // TILE_SIZE) * TILE_SIZE,
            -(-(found.col + found.width - col) // TILE_SIZE) * TILE_SIZE,
        )
        return tiles.intersection(target.window)

    def source_window(self, source: Grid, units: GridWindow, reach: int) -> GridWindow:
        """Return the pixels of a scene that the cells of some units are resampled from.

        Parameters
        ----------
        source : Grid
            Grid of the scene.
        units : GridWindow
            Window of units.
        reach : int
            Result of `resampling_reach`.
        """
        pixels = source.window_of(self.grid.window_bounds(units)).grown(reach)
        return pixels.intersection(source.window)

    def cells(self, target: Grid, window: GridWindow) -> tuple[BoolRaster, BoolRaster]:
        """Find the needed cells of a window, and the units that hold them.

        Parameters
        ----------
        target : Grid
            Part of the mosaic's grid. Centres are computed from its corner, so that the result for
            a cell does not depend on ``window``.
        window : GridWindow
            Window of ``target``.

        Returns
        -------
        cells : ndarray of bool, shape (y, x) of ``window``
            Cells whose centre lies in a needed unit.
        units : ndarray of bool, shape (y, x) of `grid`
            Needed units that hold the centre of a cell of ``window``.
        """
        rows, cols = self._unit_of(target, window)
        inside = (rows >= 0) & (rows < self.grid.height) & (cols >= 0) & (cols < self.grid.width)
        rows, cols = np.where(inside, rows, 0), np.where(inside, cols, 0)
        cells: BoolRaster = self.needed[rows, cols] & inside
        units = np.zeros_like(self.needed)
        units[rows[cells], cols[cells]] = True
        return cells, units

    def _unit_of(self, target: Grid, window: GridWindow) -> tuple[Indices, Indices]:
        """Row and column of the unit at the centre of each cell, both of the window's shape."""
        x, y = _centres(target, window, self.grid.crs)
        # Centres that cannot be projected lie outside of the grid.
        row, col = (
            np.nan_to_num(np.floor(place), nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.intp)
            for place in (
                (self.grid.north - y) / self.grid.y_size,
                (x - self.grid.west) / self.grid.x_size,
            )
        )
        shape = (window.height, window.width)
        return np.broadcast_to(row, shape), np.broadcast_to(col, shape)


def _centres(target: Grid, window: GridWindow, crs: str) -> tuple[Places, Places]:
    """Coordinates x and y in ``crs`` of the centres of cells, which broadcast to the window.

    Between coordinate reference systems, only the centres of every eighth row and column of
    ``target`` are projected and the others interpolated, as in `warp`.
    """
    row, col = (
        np.arange(first, first + count)
        for first, count in ((window.row, window.height), (window.col, window.width))
    )
    if crs == target.crs:
        return _coordinates(target, row, col)
    nodes = [
        np.arange(first // LATTICE_CELLS, (first + count - 1) // LATTICE_CELLS + 2)
        for first, count in ((window.row, window.height), (window.col, window.width))
    ]
    x, y = np.broadcast_arrays(*_coordinates(target, *(node * LATTICE_CELLS for node in nodes)))
    x, y = transformer(target.crs, crs).transform(x, y)
    # A centre beside one that cannot be projected becomes nan, by infinity times 0.
    with np.errstate(invalid="ignore"):
        for axis, cell in enumerate((row, col)):
            x, y = (_interpolated(values, cell, axis) for values in (x, y))
    return x, y


def _coordinates(grid: Grid, row: Indices, col: Indices) -> tuple[Places, Places]:
    """Coordinates of the centres of some rows and columns: x of shape (1, x), y of (y, 1)."""
    x: Places = grid.west + (col + 0.5) * grid.x_size
    y: Places = grid.north - (row + 0.5) * grid.y_size
    return x[None, :], y[:, None]


def _interpolated(values: Places, cell: Indices, axis: int) -> Places:
    """Interpolate values at every `LATTICE_CELLS`-th cell along an axis to all of ``cell``."""
    node, rest = np.divmod(cell, LATTICE_CELLS)
    node = node - node[0]
    share = np.expand_dims(rest / LATTICE_CELLS, 1 - axis)
    low, high = values.take(node, axis=axis), values.take(node + 1, axis=axis)
    between: Places = low * (1 - share) + high * share
    return between


def rectangles(flags: BoolRaster) -> list[GridWindow]:
    """Cut the True cells of a mask into rectangles: equal runs in consecutive rows are joined.

    Parameters
    ----------
    flags : ndarray of bool, shape (y, x)
        Not modified.

    Returns
    -------
    list of GridWindow
        Disjoint windows that hold every True cell and no other.
    """
    found: list[GridWindow] = []
    growing: dict[tuple[int, int], int] = {}
    for row in range(len(flags) + 1):
        edges = np.diff(flags[row].astype(np.int8), prepend=0, append=0) if row < len(flags) else []
        runs = np.flatnonzero(edges).reshape(-1, 2).tolist()
        here = {(first, last): growing.get((first, last), row) for first, last in runs}
        for run, start in growing.items():
            if run not in here:
                found.append(GridWindow(start, run[0], row - start, run[1] - run[0]))
        growing = here
    return found


def resampling_reach(source: Grid, target: Grid, method: Method) -> int:
    """Pixels beyond a unit that the cells with their centre in it are resampled from.

    Parameters
    ----------
    source, target : Grid
        Grids of the scene and of the mosaic.
    method : {"copy", "mean", "cubic"}
        Method of resampling.

    Returns
    -------
    int
        0 for ``copy``; else half the longest side of a cell in pixels, and `KERNEL_MARGIN`.
    """
    if method == "copy":
        return 0
    rows, cols = {0, target.height // 2, target.height - 1}, {0, target.width - 1}
    sides = [1.0]
    for cell in (GridWindow(row, col, 1, 1) for row in rows for col in cols):
        west, south, east, north = bounds_in(target.window_bounds(cell), target.crs, source.crs)
        sides += [(east - west) / source.x_size, (north - south) / source.y_size]
    return math.ceil(max(sides) / 2) + KERNEL_MARGIN
