"""Coarse images of what scenes show clear, and their cells on a common grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt8Raster
from cloudbuster.core.clear_cover import SceneCells
from cloudbuster.core.delivery import SceneUnits
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.core.masks import PixelClass
from cloudbuster.core.transformers import transformer

# Side of a unit of delivery in cells of the thumbnail: 1024 pixels of 10 m if cells are of 320 m,
# which is the size of a tile of the products' files.
UNIT_CELLS = 32


@dataclass(frozen=True, eq=False)
class SkyThumbnail:
    """A scene at low resolution: where it has data, and where it is clear.

    Attributes
    ----------
    grid : Grid
        Grid of the cells, in the CRS of the scene; it begins at the corner of the scene's rasters.
    classes : ndarray of uint8, shape (y, x)
        Codes of `PixelClass`; the mask is grown already.
    """

    grid: Grid
    classes: UInt8Raster

    @property
    def units(self) -> Grid:
        """Grid of the units of delivery: squares of `UNIT_CELLS` cells from the scene's corner."""
        grid = self.grid
        return Grid(
            grid.crs,
            grid.west,
            grid.north,
            grid.x_size * UNIT_CELLS,
            grid.y_size * UNIT_CELLS,
            -(-grid.width // UNIT_CELLS),
            -(-grid.height // UNIT_CELLS),
        )
