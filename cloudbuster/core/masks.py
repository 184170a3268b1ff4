"""Cloud masks: the codes of a look, their growth and their distances (stub: see below)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudbuster.core.grid import MosaicGrid


class Look(IntEnum):
    """What one scene saw of one cell; the codes of the band ``look`` of a gathered scene."""

    UNOBSERVED = 0
    """No data."""
    MASKED = 1
    """Cloud, cloud shadow, their growth, or a defective pixel."""
    LOW_RANK = 2
    """Clear as far as is known, but taken after every other look (snow, dark land)."""
    CLEAR = 3
    """Clear."""


BoolRaster = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DetectedMask:
    """What a detector found, on a grid in the scene's own CRS; nothing is grown yet.

    Attributes
    ----------
    grid : MosaicGrid
        Cells of the arrays below; its corner is a corner of the scene's grid.
    cloud : ndarray of bool, shape (y, x)
        Cloud or cloud shadow: masked, and grown.
    defective : ndarray of bool, shape (y, x)
        Masked but not grown (no data, saturated, unknown class).
    low_rank : ndarray of bool, shape (y, x)
        Usable only where no other look is.
    detector : str
        Name and parameters, for the scene's record.
    """

    grid: MosaicGrid
    cloud: BoolRaster
    defective: BoolRaster
    low_rank: BoolRaster
    detector: str


Raster = npt.NDArray[Any]
