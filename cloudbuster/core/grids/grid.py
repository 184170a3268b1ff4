"""Pixel grids: the location of each cell of a raster on the ground."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from affine import Affine

# Two grid lines that are this share of a cell apart count as the same line. Real transforms have
# rounding errors in the ninth digit; a real shift is a tenth of a cell or more.
ALIGNMENT_TOLERANCE = 1e-3
# GDAL counts columns and rows in signed 32-bit integers.
MAX_CELLS_ASIDE = 2**31 - 1

Bounds = tuple[float, float, float, float]
"""(west, south, east, north) in the units of the coordinate reference system."""


@dataclass(frozen=True)
class GridWindow:
    """A rectangle of cells of a grid.

    Attributes
    ----------
    row, col : int
        First row and column; may be outside of the grid.
    height, width : int
        Number of rows and columns, 0 or more.
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index that selects this window in an array of the whole grid."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    @property
    def is_empty(self) -> bool:
        """Whether the window holds no cell."""
        return self.height <= 0 or self.width <= 0

    def intersection(self, other: "GridWindow") -> "GridWindow":
        """Return the cells that both windows have; of size 0 if they do not meet."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return GridWindow(row, col, max(0, height), max(0, width))

    def grown(self, cells: int) -> "GridWindow":
        """Return the window with ``cells`` more rows and columns on every side."""
        return GridWindow(
            self.row - cells, self.col - cells, self.height + 2 * cells, self.width + 2 * cells
        )

    def shifted(self, rows: int, cols: int) -> "GridWindow":
        """Return the window moved by whole cells."""
        return GridWindow(self.row + rows, self.col + cols, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """A north-up grid of a mosaic, a scene or a mask.

    Attributes
    ----------
    crs : str
        ``EPSG:<code>``, the code of another authority, or WKT.
    west, north : float
        Outer corner of the first cell, in units of ``crs``.
    x_size, y_size : float
        Size of a cell, positive, in units of ``crs``.
    width, height : int
        Number of columns and rows.
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
        """Make a grid from an affine transform; raise ValueError if it is not north-up.

        A rotation that moves no corner by more than `ALIGNMENT_TOLERANCE` is a rounding error.
        """
        slant = max(abs(transform.b) * height, abs(transform.d) * width)
        turned = slant > ALIGNMENT_TOLERANCE * min(abs(transform.a), abs(transform.e))
        if turned or transform.a <= 0 or transform.e >= 0:
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
        """Window of all cells."""
        return GridWindow(0, 0, self.height, self.width)

    def window_bounds(self, window: GridWindow) -> Bounds:
        """Return (west, south, east, north) of the outer edges of ``window``."""
        return (
            self.west + window.col * self.x_size,
            self.north - (window.row + window.height) * self.y_size,
            self.west + (window.col + window.width) * self.x_size,
            self.north - window.row * self.y_size,
        )

    def crop(self, window: GridWindow) -> "Grid":
        """Return the grid of ``window`` alone; the window may reach outside of this grid."""
        west, _, _, north = self.window_bounds(window)
        return Grid(self.crs, west, north, self.x_size, self.y_size, window.width, window.height)

    def window_of(self, bounds: Bounds) -> GridWindow:
        """Return the window of all cells that touch ``bounds`` (same CRS).

        The window is not clipped to the grid.
        """
        west, south, east, north = bounds
        col = math.floor((west - self.west) / self.x_size + ALIGNMENT_TOLERANCE)
        row = math.floor((self.north - north) / self.y_size + ALIGNMENT_TOLERANCE)
        last_col = math.ceil((east - self.west) / self.x_size - ALIGNMENT_TOLERANCE)
        last_row = math.ceil((self.north - south) / self.y_size - ALIGNMENT_TOLERANCE)
        return GridWindow(row, col, max(0, last_row - row), max(0, last_col - col))

    def is_aligned(self, other: "Grid") -> bool:
        """Return whether both grids have the same CRS, cell size and grid lines."""
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
        """Return (rows, columns) from this grid's first cell to that of an aligned ``other``."""
        return (
            round((self.north - other.north) / self.y_size),
            round((other.west - self.west) / self.x_size),
        )

    def blocks(self, size: int) -> Iterator[GridWindow]:
        """Yield windows of at most ``size`` by ``size`` cells that tile the grid, row by row."""
        for row in range(0, self.height, size):
            for col in range(0, self.width, size):
                yield GridWindow(
                    row, col, min(size, self.height - row), min(size, self.width - col)
                )


def snapped_grid(
    crs: str, bounds: Bounds, *, cell_size: tuple[float, float], phase: tuple[float, float]
) -> Grid:
    """Make the smallest grid of a given cell size and phase that contains ``bounds``.

    Parameters
    ----------
    crs : str
        Coordinate reference system of ``bounds`` and of the grid.
    bounds : tuple of float
        (west, south, east, north).
    cell_size : tuple of float
        (x, y) size of a cell, units of ``crs``.
    phase : tuple of float
        (x, y) of any corner of a cell: all grid lines are a whole number of cells from it.

    Returns
    -------
    Grid
        With one cell or more in each direction.
    """
    anchor = Grid(crs, phase[0], phase[1], cell_size[0], cell_size[1], 0, 0)
    window = anchor.window_of(bounds)
    return anchor.crop(
        GridWindow(window.row, window.col, max(1, window.height), max(1, window.width))
    )
