"""From coordinates to a cell of a mosaic, and back."""

import math
from dataclasses import dataclass

from pyproj.exceptions import ProjError

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.errors import PlaceError

# A place this far outside is reported in cells; further away the distance says nothing.
NEAR_CELLS = 1000


@dataclass(frozen=True)
class Cell:
    """A cell of a mosaic.

    Attributes
    ----------
    row, col : int
        Row and column, from 0.
    longitude, latitude : float
        Its centre, degrees; longitude from -180 to 180.
    """

    row: int
    col: int
    longitude: float
    latitude: float

    @property
    def window(self) -> GridWindow:
        """Window of the cell alone."""
        return GridWindow(self.row, self.col, 1, 1)


def cell_at(grid: Grid, row: int, col: int) -> Cell:
    """Return a cell by its row and column; raise PlaceError if it is outside."""
    if not (0 <= row < grid.height and 0 <= col < grid.width):
        msg = (
            f"row {row}, column {col} is outside of the mosaic, whose rows are 0 to "
            f"{grid.height - 1} and whose columns are 0 to {grid.width - 1}"
        )
        raise PlaceError(msg)
    x, y = grid.west + (col + 0.5) * grid.x_size, grid.north - (row + 0.5) * grid.y_size
    lon, lat = transformer(grid.crs, LONLAT).transform(x, y)
    return Cell(row, col, _home(lon), float(lat))


def cell_of(grid: Grid, x: float, y: float, *, crs: str | None = None) -> Cell:
    """Find the cell of a place.

    Parameters
    ----------
    grid : Grid
        Grid of the mosaic.
    x, y : float
        Longitude and latitude, degrees (longitudes beyond 180 continue to the east); or
        coordinates in ``crs``.
    crs : str, optional
        Coordinate reference system of ``x`` and ``y``, any text that PROJ reads.

    Returns
    -------
    Cell

    Raises
    ------
    PlaceError
        If the place is outside of the mosaic, or the coordinates are none.
    """
    if not (math.isfinite(x) and math.isfinite(y)):
        msg = f"{x:g} {y:g} is no place; give longitude and latitude in degrees"
        raise PlaceError(msg)
    if crs is None:
        _check_degrees(grid, x, y)
    row, col = _cell(grid, x, y, crs or LONLAT)
    if not _is_inside(grid, row, col):
        raise PlaceError(_outside(grid, x, y, row, col, crs))
    return cell_at(grid, math.floor(row), math.floor(col))


def _check_degrees(grid: Grid, lon: float, lat: float) -> None:
    """Raise PlaceError if a pair of numbers cannot be longitude and latitude in degrees."""
    if abs(lat) <= 90 and abs(lon) <= 360:
        return
    if abs(lon) <= 90 and abs(lat) <= 360:
        msg = f"latitude {lat:g} is not in -90 to 90; give the longitude first: {lat:g} {lon:g}"
        raise PlaceError(msg)
    hint = f"for coordinates in the CRS of the mosaic, add --crs {grid.crs}"
    if not grid.crs.startswith("EPSG:"):
        hint = "for coordinates in another CRS, name it with --crs"
    msg = f"{lon:.10g} {lat:.10g} is no longitude and latitude in degrees; {hint}"
    raise PlaceError(msg)


def _cell(grid: Grid, x: float, y: float, crs: str) -> tuple[float, float]:
    """Return the row and column of a place, as real numbers; infinite if it has none."""
    try:
        place_x, place_y = transformer(crs, grid.crs).transform(x, y)
    except ProjError as error:
        msg = f"--crs {crs} is no coordinate reference system ({error}); give an EPSG code"
        raise PlaceError(msg) from error
    row, col = (grid.north - place_y) / grid.y_size, (place_x - grid.west) / grid.x_size
    turn = _turn(grid)
    if turn is not None and math.isfinite(col):
        # Longitudes of the grid are continuous, and may reach beyond 180.
        col -= turn * math.floor(col / turn)
    return row, col


def _turn(grid: Grid) -> float | None:
    """Return the columns of a full turn of longitude; None for a grid that is not in degrees."""
    from_grid = transformer(grid.crs, LONLAT)
    is_degrees = from_grid.source_crs is not None and from_grid.source_crs.is_geographic
    return 360 / grid.x_size if is_degrees else None


def _is_inside(grid: Grid, row: float, col: float) -> bool:
    """Return whether a place lies on a grid."""
    return 0 <= row < grid.height and 0 <= col < grid.width


def _outside(grid: Grid, x: float, y: float, row: float, col: float, crs: str | None) -> str:
    """Describe how far a place is outside, and what may be meant."""
    where = f"{x:.10g} {y:.10g} is outside of the mosaic"
    if crs is None and abs(x) <= 90 and _is_inside(grid, *_cell(grid, y, x, LONLAT)):
        return f"{where}, but {y:.10g} {x:.10g} is on it; give the longitude first"
    beyond = max(-row, row - grid.height, -col, col - grid.width)
    if beyond <= NEAR_CELLS:
        where = f"{where} by {math.ceil(beyond)} cells"
    return f"{where}, which extends from {_extent(grid)}"


def _extent(grid: Grid) -> str:
    """Describe the extent of a grid by its corners in longitude and latitude."""
    west, south, east, north = grid.bounds
    x, y = [west, west, east, east], [south, north, south, north]
    lons, lats = transformer(grid.crs, LONLAT).transform(x, y)
    west_lon, east_lon = _home(min(lons[0], lons[1])), _home(max(lons[2], lons[3]))
    return (
        f"{west_lon:.5g} to {east_lon:.5g} degrees of longitude and {min(lats):.5g} to "
        f"{max(lats):.5g} of latitude"
    )


def _home(lon: float) -> float:
    """Return a longitude from -180 to 180."""
    return float(lon - 360 * math.floor((lon + 180) / 360))
