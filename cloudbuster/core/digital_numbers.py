"""Digital numbers of Sentinel-2: their special values, and how they come to mean reflectance."""

import numpy as np

from cloudbuster.core.arrays import UInt16Raster

# Sentinel-2 Products Specification Document, Special_Values: NODATA 0, SATURATED 65535.
NODATA = 0
SATURATED = 65_535
# RADIO_ADD_OFFSET and BOA_ADD_OFFSET of every band and baseline so far.
OFFSET_DN = -1000


def harmonise(bands: UInt16Raster, offset_dn: int) -> UInt16Raster:
    """Make DN mean reflectance times 10 000, whatever the baseline.

    Parameters
    ----------
    bands : ndarray of uint16, any shape
        DN, 0 nodata. Not modified.
    offset_dn : int
        -1000 where the offset is in the pixels, else 0.

    Returns
    -------
    ndarray of uint16
        0 where `bands` is 0 or saturated (65535); elsewhere DN plus offset, at least 1, so that
        dark ground never turns into nodata.
    """
    valid = (bands != NODATA) & (bands != SATURATED)
    shifted = np.maximum(bands.astype(np.int32) + offset_dn, 1).astype(np.uint16)
    return np.where(valid, shifted, np.uint16(NODATA))
