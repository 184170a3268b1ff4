"""The cells of a grid that lie in an area."""

import numpy as np
import shapely
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.mosaic_grid import project_area

# Rows and columns of the blocks in which an area is looked for; the result does not depend on it.
BLOCK_CELLS = 1024


class AreaCells:
    """The cells of a grid whose centres lie in an area.

    An area of less than a cell may contain no centre: then the cells that it touches count.

    Parameters
    ----------
    area : shapely Polygon or MultiPolygon
        Longitude (unwrapped) and latitude, degrees.
    grid : Grid
        Grid in any CRS.

    Raises
    ------
    ValueError
        If the area cannot be transformed to the CRS of the grid.
    """

    def __init__(self, area: BaseGeometry, grid: Grid) -> None:
        """Transform the area, and find out whether it contains a centre."""
        self._grid = grid
        self._area = project_area(area, grid.crs)
        self._touched = False
        self._touched = not any(self.inside(each).any() for each in grid.blocks(BLOCK_CELLS))

    def inside(self, window: GridWindow) -> BoolRaster:
        """Return which cells of a window lie in the area, shape (y, x)."""
        part = self._grid.crop(window)
        # The area is cut first, because GDAL processes all its vertices for every block.
        cut = shapely.clip_by_rect(self._area, *part.bounds)
        if cut.is_empty:
            return np.zeros(part.shape, dtype=bool)
        burnt = rasterize(
            [(cut, 1)],
            out_shape=part.shape,
            transform=part.transform,
            dtype="uint8",
            all_touched=self._touched,
        )
        return np.asarray(burnt, dtype=bool)
