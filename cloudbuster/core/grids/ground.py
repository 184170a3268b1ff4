"""Size of a grid's cells on the ground, in metres, in any coordinate reference system."""

import math
from collections.abc import Iterator
from functools import lru_cache

import pyproj

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.projections.transformers import LONLAT, transformer

# Tolerance of the size of a cell. UTM stretches distances by 0.9996 to 1.0015 over the tiles of
# Sentinel-2: a cell of 10 m in UTM counts as 10 m. Within a part of a grid whose cells differ by no
# more, distances are computed with one size.
SIZE_TOLERANCE = 0.005

CellSize = tuple[float, float]
"""(x, y) size of a cell on the ground, metres."""


def cell_size_m(grid: Grid) -> CellSize:
    """Return the size on the ground of the cell in the middle of a grid.

    Parameters
    ----------
    grid : Grid
        In any coordinate reference system.

    Returns
    -------
    tuple of float
        (x, y), metres. In a projected CRS this is the size in the unit of the CRS, if that is
        within `SIZE_TOLERANCE` of the distance on the ellipsoid; else it is that distance.

    Raises
    ------
    ValueError
        If the cell is no place on the ground, or has no size there.
    """
    size = _size_at(grid, grid.height / 2, grid.width / 2)
    if not min(size) > 0:
        # Tiny cells, or cells so far away that rounding leaves nothing of them.
        msg = f"cells of {grid.x_size:g} by {grid.y_size:g} have no size on the ground there"
        raise ValueError(msg)
    return size


def uniform_parts(grid: Grid) -> Iterator[tuple[GridWindow, CellSize]]:
    """Cut a grid into parts within which the size of a cell on the ground hardly varies.

    Parameters
    ----------
    grid : Grid
        In any coordinate reference system.

    Yields
    ------
    window : GridWindow
        Part of the grid; the parts tile it. The whole grid in UTM.
    size : tuple of float
        (x, y) size of its cells, metres.
    """
    yield from _parts(grid, grid.window)


def reach_in_cells(distance_m: float, grid: Grid) -> int:
    """Return the number of cells that span at least ``distance_m`` anywhere in a grid."""
    smallest = min(min(size) for _, size in uniform_parts(grid))
    return math.ceil(distance_m / (smallest * (1 - SIZE_TOLERANCE)))


def _parts(grid: Grid, window: GridWindow) -> Iterator[tuple[GridWindow, CellSize]]:
    """Halve a window of a grid until its cells are of one size."""
    middle = _size_at(grid, window.row + window.height / 2, window.col + window.width / 2)
    rows_vary, cols_vary = _variation(grid, window, middle)
    if rows_vary and window.height > 1:
        half = window.height // 2
        yield from _parts(grid, GridWindow(window.row, window.col, half, window.width))
        below = GridWindow(window.row + half, window.col, window.height - half, window.width)
        yield from _parts(grid, below)
    elif cols_vary and window.width > 1:
        half = window.width // 2
        yield from _parts(grid, GridWindow(window.row, window.col, window.height, half))
        right = GridWindow(window.row, window.col + half, window.height, window.width - half)
        yield from _parts(grid, right)
    else:
        yield window, middle


def _variation(grid: Grid, window: GridWindow, middle: CellSize) -> tuple[bool, bool]:
    """Return whether the size of a cell varies along the rows, and along the columns, of a window.

    The size is compared with that in the middle of the window at the middles of its four edges.
    """
    row, col = window.row + window.height / 2, window.col + window.width / 2
    above, below = window.row, window.row + window.height
    left, right = window.col, window.col + window.width
    return (
        any(_differs(_size_at(grid, edge, col), middle) for edge in (above, below)),
        any(_differs(_size_at(grid, row, edge), middle) for edge in (left, right)),
    )


def _differs(size: CellSize, other: CellSize) -> bool:
    """Return whether two sizes differ by more than the tolerance."""
    return any(abs(one - two) > SIZE_TOLERANCE * two for one, two in zip(size, other, strict=True))


def _size_at(grid: Grid, row: float, col: float) -> CellSize:
    """Return the size of a cell at a place of a grid, given in rows and columns."""
    x, y = grid.west + col * grid.x_size, grid.north - row * grid.y_size
    geod, unit_m = _geodesy(grid.crs)
    half_x, half_y = grid.x_size / 2, grid.y_size / 2
    longitudes, latitudes = transformer(grid.crs, LONLAT).transform(
        [x - half_x, x + half_x, x, x], [y, y, y - half_y, y + half_y]
    )
    if not all(map(math.isfinite, (*longitudes, *latitudes))):
        msg = f"{x:.10g} {y:.10g} is no place on the ground in {grid.crs}"
        raise ValueError(msg)
    _, _, lengths = geod.inv(longitudes[::2], latitudes[::2], longitudes[1::2], latitudes[1::2])
    sizes = (grid.x_size, grid.y_size)
    width, height = (
        _nominal(length, size * unit_m) if unit_m else length
        for length, size in zip(lengths, sizes, strict=True)
    )
    return width, height


def _nominal(length_m: float, nominal_m: float) -> float:
    """Return the nominal length, if it is within the tolerance of the true one."""
    return nominal_m if abs(length_m - nominal_m) <= SIZE_TOLERANCE * nominal_m else length_m


@lru_cache(maxsize=32)
def _geodesy(text: str) -> tuple[pyproj.Geod, float | None]:
    """Return the ellipsoid of a CRS, and its metres per unit.

    The last is None for a geographic CRS.
    """
    crs = parse_crs(text)
    unit_m = None if crs.is_geographic else crs.axis_info[0].unit_conversion_factor
    return crs.get_geod() or pyproj.Geod(ellps="WGS84"), unit_m
