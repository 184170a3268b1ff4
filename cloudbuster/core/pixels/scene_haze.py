"""Level of haze of a scene: one number from the haze index of its clear pixels."""

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import UInt8Raster, UInt16Raster
from cloudbuster.core.pixels.best import haze_index
from cloudbuster.core.pixels.masks import PixelClass

Counts = npt.NDArray[np.int64]
"""Number of clear pixels by haze index, in bins of 1 DN."""

# Bins of the haze index, from the first: it spans the DN of blue less half of red.
HAZE_BINS, FIRST_HAZE_DN = 2**16, -(2**15)
# The haze index that this share of the clear pixels does not exceed is the level.
HAZE_SHARE = 1 / 3


def no_haze_counts() -> Counts:
    """Return counts of 0, to which those of blocks are added."""
    return np.zeros(HAZE_BINS, dtype=np.int64)


def haze_counts(reflectance: UInt16Raster, classes: UInt8Raster, bands: tuple[str, ...]) -> Counts:
    """Count the clear pixels of a block by their haze index.

    Parameters
    ----------
    reflectance : ndarray of uint16, shape (band, y, x)
        Harmonised DN of ``bands``. Not modified.
    classes : ndarray of uint8, shape (y, x)
        Codes of `PixelClass`. Not modified.
    bands : tuple of str
        Names of the bands; without B02 and B04 nothing is counted.
    """
    clear = classes == PixelClass.CLEAR
    if not {"B02", "B04"} <= set(bands) or not clear.any():
        return no_haze_counts()
    blue, red = (reflectance[bands.index(name)][clear] for name in ("B02", "B04"))
    index = np.rint(haze_index(blue, red)).astype(np.int64) - FIRST_HAZE_DN
    return np.bincount(np.clip(index, 0, HAZE_BINS - 1), minlength=HAZE_BINS)


def haze_level(counts: Counts) -> float | None:
    """Return the haze index that a third of the counted pixels do not exceed; None without any."""
    if not counts.any():
        return None
    place = int(np.searchsorted(np.cumsum(counts), HAZE_SHARE * counts.sum()))
    return float(place + FIRST_HAZE_DN)
