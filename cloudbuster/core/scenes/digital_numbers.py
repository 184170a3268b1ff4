"""Digital numbers (DN) of Sentinel-2: special values, and conversion to scaled reflectance."""

import numpy as np

from cloudbuster.core.arrays import BoolRaster, UInt16Raster

# Sentinel-2 Products Specification Document, Special_Values: NODATA 0, SATURATED 65535.
NODATA = 0
SATURATED = 65_535
# Greatest DN: the JPEG 2000 files of the products have 15 bits (their box NBITS). Greater values
# occur as garbage outside of the swath.
MAX_DN = 32_767
# RADIO_ADD_OFFSET (L1C) and BOA_ADD_OFFSET (L2A) of every band and every baseline so far.
OFFSET_DN = -1000
# QUANTIFICATION_VALUE: DN per reflectance, the same for every band and every baseline so far.
DN_PER_REFLECTANCE = 10_000


def has_value(bands: UInt16Raster) -> BoolRaster:
    """Return where DN are neither nodata nor over `MAX_DN`; bool, shape of ``bands``."""
    valid: BoolRaster = (bands != NODATA) & (bands <= MAX_DN)
    return valid


def harmonise(bands: UInt16Raster, offset_dn: int) -> UInt16Raster:
    """Convert DN of any processing baseline to reflectance times 10 000.

    Parameters
    ----------
    bands : ndarray of uint16, any shape
        DN; 0 is nodata, and values over `MAX_DN` are invalid. Not modified.
    offset_dn : int
        Offset to add: -1000 if the pixels contain it, else 0.

    Returns
    -------
    ndarray of uint16, shape of ``bands``
        0 where ``bands`` has no value; elsewhere DN plus offset, at least 1, so that dark ground
        never becomes nodata.
    """
    shifted = np.maximum(bands.astype(np.int32) + offset_dn, 1).astype(np.uint16)
    return np.where(has_value(bands), shifted, np.uint16(NODATA))
