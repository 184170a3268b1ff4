"""Places of a mosaic that a round of scenes has left to fill."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid, GridWindow

# Greatest number of coarse cells along a side, in which holes are looked for, and the share of such
# a cell that must be missing for a scene to be picked for it: specks are no larger than what a
# thumbnail resolves.
HOLE_CELLS = 1024
HOLE_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Holes:
    """Places of the mosaic that are left to fill, on a coarse grid.

    Attributes
    ----------
    grid : Grid
        Grid of the cells, in the CRS of the mosaic.
    never_clear : ndarray of bool, shape (y, x)
        Cells with a place that no gathered scene shows clear.
    empty : ndarray of bool, shape (y, x)
        Cells with a place that has no value at all.
    total : int
        Number of cells that hold a part of the area.
    never_clear_share : float
        Share of the area that no gathered scene shows clear, 0 to 1; it includes specks in cells
        that are not among ``never_clear``.
    """

    grid: Grid
    never_clear: BoolRaster
    empty: BoolRaster
    total: int
    never_clear_share: float


class HoleShares:
    """Counts, in coarse cells, of the cells that are never clear and of those without a value."""

    def __init__(self, grid: Grid, *, block_cells: int) -> None:
        """Lay the coarse grid over that of the mosaic, which is added in blocks of this side."""
        self.step = 1
        while max(grid.shape) > self.step * HOLE_CELLS and self.step < block_cells:
            self.step *= 2
        width, height = -(-grid.width // self.step), -(-grid.height // self.step)
        size = (grid.x_size * self.step, grid.y_size * self.step)
        self.grid = Grid(grid.crs, grid.west, grid.north, *size, width, height)
        self.inside, self.never_clear, self.empty = np.zeros((3, height, width), dtype=np.int64)

    def add(
        self, window: GridWindow, within: BoolRaster, clear: BoolRaster, filled: BoolRaster
    ) -> None:
        """Count the cells of one block: those in the area, seen clear, and with a value."""
        row, col = window.row // self.step, window.col // self.step
        for counts, cells in (
            (self.inside, within),
            (self.never_clear, within & ~clear),
            (self.empty, within & ~filled),
        ):
            coarse = self._coarse(cells)
            counts[row : row + coarse.shape[0], col : col + coarse.shape[1]] += coarse

    def _coarse(self, cells: BoolRaster) -> npt.NDArray[np.int64]:
        """Count the cells that are set in each coarse cell of a block."""
        rows, cols = (-(-side // self.step) * self.step for side in cells.shape)
        padded = np.zeros((rows, cols), dtype=np.bool_)
        padded[: cells.shape[0], : cells.shape[1]] = cells
        parts = padded.reshape(rows // self.step, self.step, cols // self.step, self.step)
        return np.asarray(parts.sum(axis=(1, 3)), dtype=np.int64)

    def holes(self) -> Holes:
        """Return the coarse cells that are left to fill."""
        wanted = self.never_clear >= np.maximum(1, HOLE_SHARE * self.inside)
        return Holes(
            grid=self.grid,
            never_clear=wanted & (self.inside > 0),
            empty=self.empty > 0,
            total=int(np.count_nonzero(self.inside)),
            never_clear_share=float(self.never_clear.sum() / max(1, self.inside.sum())),
        )
