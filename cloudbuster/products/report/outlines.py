"""Lines of the report's map: the area, footprints and the graticule, in cells of the mosaic.

x counts columns from the western edge, y counts rows from the northern edge.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.antimeridian import placed_near
from cloudbuster.core.areas.footprint import read_footprint
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.mosaic_grid import project_area
from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.models import SceneRecord

Ring = list[list[float]]

# Nodes along each side of the lattice of coordinates. Between them positions are interpolated: in a
# UTM mosaic of 110 km (4.6 km between nodes) with an error below half a metre.
LATTICE_NODES = 25
# A page of 1000 pixels shows a thousandth of the mosaic, or of a larger outline.
SIMPLIFY_SHARE = 1 / 2000
# A footprint has 5 to 32 vertices; what still has more than these after simplification is replaced
# by its hull.
MAX_VERTICES = 1000
# Lines of the graticule across the longer side, and the steps to choose from, degrees.
GRATICULE_LINES = 4
STEPS_DEG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
POINTS_PER_LINE = 33


def outline(geometry: BaseGeometry | None, grid: Grid) -> list[Ring]:
    """Return the rings of an area in cells of a grid.

    Parameters
    ----------
    geometry : shapely geometry or None
        Area, longitude (unwrapped) and latitude.
    grid : Grid
        Grid of the mosaic.

    Returns
    -------
    list of list of [x, y]
        Rings; empty without an area, and if the CRS of the grid cannot hold it.
    """
    if geometry is None or geometry.is_empty:
        return []
    try:
        projected = project_area(geometry, grid.crs)
    except (ValueError, ShapelyError):
        return []
    cells = shapely.transform(projected, lambda xy: _in_cells(xy, grid))
    west, north, east, south = cells.bounds
    size = max(*grid.shape, east - west, south - north)
    cells = shapely.simplify(cells, size * SIMPLIFY_SHARE)
    if shapely.get_num_coordinates(cells) > MAX_VERTICES:
        cells = cells.convex_hull
    rings = [ring for ring in shapely.get_rings(shapely.get_parts(cells)) if not ring.is_empty]
    return [np.round(shapely.get_coordinates(ring), 1).tolist() for ring in rings]


def _in_cells(xy: npt.NDArray[np.float64], grid: Grid) -> npt.NDArray[np.float64]:
    """Transform coordinates of the CRS to columns and rows."""
    return np.column_stack(
        [(xy[:, 0] - grid.west) / grid.x_size, (grid.north - xy[:, 1]) / grid.y_size]
    )


def footprint(record: SceneRecord, grid: Grid, longitude: float | None) -> list[Ring]:
    """Return the rings of a scene's footprint; empty if it is unknown.

    Parameters
    ----------
    record : SceneRecord
        Record of the scene.
    grid : Grid
        Grid of the mosaic.
    longitude : float or None
        Middle of the mosaic, degrees: the footprint is placed near it.
    """
    item = record.item
    try:
        found = read_footprint(item.get("geometry"), box=item.get("bbox"), tile=record.mgrs_tile)
        if found is None or longitude is None:
            return []
        return outline(placed_near(found, longitude), grid)
    except (ValueError, ShapelyError):
        return []


def lattice(grid: Grid) -> dict[str, Any] | None:
    """Return longitude and latitude at nodes over a grid.

    Returns
    -------
    dict or None
        ``size``: number of nodes along each side; ``lon`` and ``lat``: degrees, row by row from the
        northwest, longitudes unwrapped. None if the CRS has no longitude and latitude there, and
        around a pole, where longitudes cannot be interpolated.
    """
    west, south, east, north = grid.bounds
    x, y = np.meshgrid(
        np.linspace(west, east, LATTICE_NODES), np.linspace(north, south, LATTICE_NODES)
    )
    lon, lat = transformer(grid.crs, LONLAT).transform(x.ravel(), y.ravel())
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    lon = np.unwrap(np.unwrap(lon.reshape(x.shape), period=360, axis=1), period=360, axis=0)
    if np.ptp(lon) > 180:
        return None
    return {
        "size": LATTICE_NODES,
        "lon": np.round(lon, 7).ravel().tolist(),
        "lat": np.round(lat, 7).tolist(),
    }


def graticule(grid: Grid, nodes: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return meridians and parallels over a grid, each with its label.

    Parameters
    ----------
    grid : Grid
        Grid of the mosaic.
    nodes : dict or None
        What `lattice` returns.

    Returns
    -------
    list of dict
        ``label`` and ``line``, a list of [x, y]. Empty without coordinates.
    """
    if nodes is None:
        return []
    west, east = min(nodes["lon"]), max(nodes["lon"])
    south, north = min(nodes["lat"]), max(nodes["lat"])
    wanted = max(east - west, north - south) / GRATICULE_LINES
    step = next((step for step in STEPS_DEG if step >= wanted), STEPS_DEG[-1])
    decimals = max(0, -math.floor(math.log10(step)))
    lats = np.linspace(south, north, POINTS_PER_LINE)
    lons = np.linspace(west, east, POINTS_PER_LINE)
    lines = []
    for lon in _ticks(west, east, step):
        turned = (lon + 180) % 360 - 180
        label = f"{abs(turned):.{decimals}f}°{'W' if turned < 0 else 'E'}"
        lines.append((label, np.full_like(lats, lon), lats))
    for lat in _ticks(south, north, step):
        label = f"{abs(lat):.{decimals}f}°{'S' if lat < 0 else 'N'}"
        lines.append((label, lons, np.full_like(lons, lat)))
    to_grid = transformer(LONLAT, grid.crs)
    found = []
    for label, x, y in lines:
        cells = _in_cells(np.column_stack(to_grid.transform(x, y)), grid)
        if np.isfinite(cells).all():
            found.append({"label": label, "line": np.round(cells, 1).tolist()})
    return found


def _ticks(low: float, high: float, step: float) -> list[float]:
    """Return the multiples of a step between two numbers."""
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 6) for number in range(first, last + 1)]
