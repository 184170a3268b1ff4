"""Array types of rasters. The axis order is always (band, y, x) or (y, x)."""

from typing import Any

import numpy as np
import numpy.typing as npt

Raster = npt.NDArray[Any]
BoolRaster = npt.NDArray[np.bool_]
UInt8Raster = npt.NDArray[np.uint8]
UInt16Raster = npt.NDArray[np.uint16]
