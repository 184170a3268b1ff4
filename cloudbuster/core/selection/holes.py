"""Places of a mosaic that a round of scenes has left to fill."""

from dataclasses import dataclass

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid


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
