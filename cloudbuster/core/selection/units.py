"""Units of a scene that can be delivered by themselves, and what a scene shows in them."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import GridWindow

UnitNumbers = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class UnitLayout:
    """How the units of a scene, and the parts of units, are numbered: row by row.

    Attributes
    ----------
    rows, cols : int
        Rows and columns of parts.
    side : int
        Rows and columns of parts in a unit; fewer at the southern and the eastern edge.
    """

    rows: int
    cols: int
    side: int

    @property
    def unit_cols(self) -> int:
        """Columns of units."""
        return -(-self.cols // self.side)

    @cached_property
    def unit(self) -> UnitNumbers:
        """Number of the unit of each part, shape (rows, cols)."""
        row, col = np.arange(self.rows) // self.side, np.arange(self.cols) // self.side
        return (row[:, None] * self.unit_cols + col[None, :]).astype(np.int32)

    def neighbours(self, step: tuple[int, int]) -> UnitNumbers:
        """Return the unit that lies beside each part in a direction, shape (rows, cols).

        It is -1 for a part that is not at that edge of its unit, and at the edge of the scene.
        """
        row, col = (
            _beside(count, self.side, along)
            for count, along in zip((self.rows, self.cols), step, strict=True)
        )
        row, col = row[:, None], col[None, :]
        return np.where((row >= 0) & (col >= 0), row * self.unit_cols + col, -1).astype(np.int32)

    def parts(self, units: Collection[int]) -> BoolRaster:
        """Return which parts belong to some units, shape (rows, cols)."""
        return np.isin(self.unit, np.fromiter(units, dtype=np.int32, count=len(units)))


def _beside(count: int, side: int, step: int) -> UnitNumbers:
    """Return the row of units beside each of ``count`` rows of parts; -1 if none is adjacent."""
    part = np.arange(count)
    beside = part + step
    is_next = (beside // side == part // side + step) & (beside >= 0) & (beside < count)
    return np.where(is_next, beside // side, -1).astype(np.int32)


@dataclass(frozen=True, eq=False)
class SceneUnits:
    """What one scene can deliver.

    Attributes
    ----------
    window : GridWindow
        Cells that the scene may show; inside the grid of cells.
    clear, seen : ndarray of bool, shape (y, x) of the window
        Where it is clear, and where it has data.
    safe : ndarray of bool, shape (y, x) of the window
        Cells of ``clear`` that are clear even if the thumbnail is off by a cell.
    unit : ndarray of int32, shape (y, x) of the window
        Number of the unit that holds the centre of each cell; negative outside of the raster.
    part : ndarray of int32, shape (y, x) of the window, or None
        Number of the part of a unit that holds it; None if units have no parts.
    layout : UnitLayout or None
        Numbering of units and parts; None if units have no parts.
    """

    window: GridWindow
    clear: BoolRaster
    seen: BoolRaster
    safe: BoolRaster
    unit: UnitNumbers
    part: UnitNumbers | None = None
    layout: UnitLayout | None = None
