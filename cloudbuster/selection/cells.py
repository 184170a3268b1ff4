"""Cells of an area, on which strategy ``clear`` compares scenes."""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import LambertAzimuthalEqualAreaConversion
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.mosaic_grid import project_area, projected_bounds, resolve_crs
from cloudbuster.core.projections.transformers import transformer

# Cells along the longer side of the area. A cell is at least as large as a pixel of the product's
# masks, and at most a kilometre, over which clouds differ.
CELLS_ACROSS = 512
LEAST_CELL_M, MOST_CELL_M = 20.0, 1000.0
# Points along the longer side of the mosaic's box, whose edges are curved in another CRS.
EDGE_POINTS = 21


@dataclass(frozen=True, eq=False)
class SelectionCells:
    """Cells of an area on which scenes are compared.

    Attributes
    ----------
    grid : Grid
        Grid of the cells, in an equal-area projection about the area's centre.
    area : ndarray of bool, shape (y, x)
        Cells that the area touches.
    frame : ndarray of bool, shape (y, x)
        Cells that the mosaic touches: its bounding box in its CRS holds more than the area.
    """

    grid: Grid
    area: BoolRaster
    frame: BoolRaster


def area_cells(aoi: BaseGeometry, crs: str = "utm") -> SelectionCells:
    """Lay the grid of cells over an area and the mosaic of it.

    Parameters
    ----------
    aoi : shapely geometry
        Area in longitude and latitude, unwrapped.
    crs : str
        CRS of the mosaic, as in a request.
    """
    centre = aoi.centroid
    equal = equal_area_crs(centre.x, centre.y)
    area = project_area(aoi, equal)
    frame = area.union(_mosaic_box(aoi, crs, equal))
    west, south, east, north = frame.bounds
    size = min(MOST_CELL_M, max(LEAST_CELL_M, max(east - west, north - south) / CELLS_ACROSS))
    width = max(1, math.ceil((east - west) / size))
    height = max(1, math.ceil((north - south) / size))
    grid = Grid(equal, west, north, size, size, width, height)
    return SelectionCells(grid, _touched(area, grid), _touched(frame, grid))


def equal_area_crs(longitude: float, latitude: float) -> str:
    """Return Lambert's azimuthal equal-area projection about a place, in metres, as WKT."""
    conversion = LambertAzimuthalEqualAreaConversion(round(latitude, 4), round(longitude, 4))
    return str(ProjectedCRS(conversion, "WGS 84 / equal area").to_wkt())


def _mosaic_box(aoi: BaseGeometry, crs: str, target_crs: str) -> BaseGeometry:
    """Return the bounding box of an area in the CRS of its mosaic, in another CRS.

    For an area that the CRS cannot hold it is the box in ``target_crs``: gather refuses the area.
    """
    try:
        resolved = resolve_crs(crs, aoi)
        box = shapely.box(*projected_bounds(aoi, resolved))
    except ValueError:
        return shapely.box(*project_area(aoi, target_crs).bounds)
    west, south, east, north = box.bounds
    dense = shapely.segmentize(box, max(east - west, north - south) / EDGE_POINTS)
    to_target = transformer(resolved, target_crs)
    return shapely.transform(dense, lambda xy: np.column_stack(to_target.transform(*xy.T)))


def _touched(geometry: BaseGeometry, grid: Grid) -> BoolRaster:
    """Return the cells that a geometry touches, however narrow it is."""
    burnt = rasterize(
        [(geometry, 1)],
        out_shape=grid.shape,
        transform=grid.transform,
        dtype="uint8",
        all_touched=True,
    )
    return np.asarray(burnt, dtype=np.bool_)
