"""Pixel grids: where each cell of a raster lies on the ground."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from affine import Affine

# A grid line may miss another by this share of a cell and still count as the same line: real
# transforms carry rounding in the ninth digit, a real shift is at least a tenth of a cell.
ALIGNMENT_TOLERANCE = 1e-3

Bounds = tuple[float, float, float, float]
"""(west, south, east, north) in the units of the coordinate reference system."""


@dataclass(frozen=True)
class GridWindow:
    """A rectangle of cells of a grid.

    Attributes
    ----------
    row, col : int
        First row and column; may lie outside of the grid.
    height, width : int
        Cells in y and x, at least 0.
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this window in an array of the whole grid."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    @property
    def is_empty(self) -> bool:
        """Whether the window holds no cell."""
        return self.height <= 0 or self.width <= 0

    def intersection(self, other: "GridWindow") -> "GridWindow":
        """Cells that both windows hold; of size 0 where they do not meet."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return GridWindow(row, col, max(0, height), max(0, width))

    def grown(self, cells: int) -> "GridWindow":
        """Add ``cells`` rows and columns on every side."""
        return GridWindow(
            self.row - cells, self.col - cells, self.height + 2 * cells, self.width + 2 * cells
        )

    def shifted(self, rows: int, cols: int) -> "GridWindow":
        """Move by whole cells."""
        return GridWindow(self.row + rows, self.col + cols, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """A north-up grid: of the mosaic, and of a scene's own raster as well.

    Attributes
    ----------
    crs : str
        ``EPSG:<code>`` or another text that pyproj reads.
    west, north : float
        Outer corner of the first cell, in units of ``crs``.
    x_size, y_size : float
        Extent of a cell, positive, in units of ``crs``.
    width, height : int
        Columns and rows.
    """

    crs: str
    west: float
    north: float
    x_size: float
    y_size: float
    width: int
    height: int

    @classmethod
    def from_transform(cls, crs: str, transform: Affine, *, width: int, height: int) -> "Grid":
        """Make a grid of an affine transform; ValueError where it is rotated or not north-up."""
        if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
            msg = f"transform {tuple(transform)[:6]} is not north-up"
            raise ValueError(msg)
        return cls(crs, transform.c, transform.f, transform.a, -transform.e, width, height)

    @property
    def transform(self) -> Affine:
        """Affine transform from (column, row) to (x, y)."""
        return Affine(self.x_size, 0.0, self.west, 0.0, -self.y_size, self.north)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.height, self.width)

    @property
    def bounds(self) -> Bounds:
        """(west, south, east, north) of the outer edges."""
        return self.window_bounds(GridWindow(0, 0, self.height, self.width))

    @property
    def window(self) -> GridWindow:
        """All cells."""
        return GridWindow(0, 0, self.height, self.width)

    def window_bounds(self, window: GridWindow) -> Bounds:
        """(west, south, east, north) of the outer edges of ``window``."""
        return (
            self.west + window.col * self.x_size,
            self.north - (window.row + window.height) * self.y_size,
            self.west + (window.col + window.width) * self.x_size,
            self.north - window.row * self.y_size,
        )

    def crop(self, window: GridWindow) -> "Grid":
        """Make the grid of ``window`` alone; the window may reach outside."""
        west, _, _, north = self.window_bounds(window)
        return Grid(self.crs, west, north, self.x_size, self.y_size, window.width, window.height)

    def window_of(self, bounds: Bounds) -> GridWindow:
        """Cells that touch ``bounds`` (same CRS), not clipped to the grid."""
        west, south, east, north = bounds
        col = math.floor((west - self.west) / self.x_size + ALIGNMENT_TOLERANCE)
        row = math.floor((self.north - north) / self.y_size + ALIGNMENT_TOLERANCE)
        last_col = math.ceil((east - self.west) / self.x_size - ALIGNMENT_TOLERANCE)
        last_row = math.ceil((self.north - south) / self.y_size - ALIGNMENT_TOLERANCE)
        return GridWindow(row, col, max(0, last_row - row), max(0, last_col - col))

    def is_aligned(self, other: "Grid") -> bool:
        """Whether both grids share CRS, cell size and grid lines."""
        if self.crs != other.crs:
            return False
        same_size = math.isclose(self.x_size, other.x_size, rel_tol=1e-9) and math.isclose(
            self.y_size, other.y_size, rel_tol=1e-9
        )
        shift_x = (self.west - other.west) / self.x_size
        shift_y = (self.north - other.north) / self.y_size
        return same_size and all(
            abs(shift - round(shift)) < ALIGNMENT_TOLERANCE for shift in (shift_x, shift_y)
        )

    def offset_of(self, other: "Grid") -> tuple[int, int]:
        """(rows, columns) from this grid's first cell to that of an aligned ``other``."""
        return (
            round((self.north - other.north) / self.y_size),
            round((other.west - self.west) / self.x_size),
        )

    def blocks(self, size: int) -> Iterator[GridWindow]:
        """Windows of at most ``size`` by ``size`` cells that tile the grid, row by row."""
        for row in range(0, self.height, size):
            for col in range(0, self.width, size):
                yield GridWindow(
                    row, col, min(size, self.height - row), min(size, self.width - col)
                )


def snapped_grid(
    crs: str, bounds: Bounds, *, cell_size: tuple[float, float], phase: tuple[float, float]
) -> Grid:
    """Smallest grid of given cell size and phase that holds ``bounds``.

    Parameters
    ----------
    crs : str
        Coordinate reference system of ``bounds`` and of the grid.
    bounds : tuple of float
        (west, south, east, north).
    cell_size : tuple of float
        (x, y) extent of a cell, units of ``crs``.
    phase : tuple of float
        (x, y) of any one grid corner: every grid line is a whole number of cells from it.

    Returns
    -------
    Grid
        At least one cell in each direction.
    """
    anchor = Grid(crs, phase[0], phase[1], cell_size[0], cell_size[1], 0, 0)
    window = anchor.window_of(bounds)
    return anchor.crop(
        GridWindow(window.row, window.col, max(1, window.height), max(1, window.width))
    )
