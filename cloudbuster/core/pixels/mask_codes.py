"""The values of a mask file, of any data type, as the codes that detectors read."""

from typing import Literal

import numpy as np

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster
from cloudbuster.core.pixels.masks import NO_VALUE

# Greatest class of the scene classification (Sentinel-2 Products Specification Document).
LAST_CLASS = 11
# Greatest share of the pixels of a scene classification that may hold something else. Averaging
# leaves a few classes of 12 and above at boundaries (0.1 % of real crops).
MAX_UNKNOWN_SHARE = 0.5
# Greatest value that a probability may reach by interpolation, as a multiple of its whole (102 % in
# real crops).
OVERSHOOT = 1.1
WHOLE_PERCENT = 100.0

ProbabilityUnit = Literal["fraction", "percent"]


def class_codes(values: Raster, valid: BoolRaster) -> UInt8Raster:
    """Convert a scene classification (SCL) to codes.

    Parameters
    ----------
    values : ndarray of any number, shape (y, x)
        Classes in the data type of their file. Not modified.
    valid : ndarray of bool, shape (y, x)
        False where the file declares that there is no value.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        Classes 0 to 11; 0 (no data) where ``valid`` is False, `NO_VALUE` for anything else.

    Raises
    ------
    ValueError
        If more than half of the pixels hold something else than a class.
    """
    known = (values >= 0) & (values <= LAST_CLASS)
    if np.issubdtype(values.dtype, np.floating):
        known &= values == np.floor(values)
    _check_share(values, valid & ~known, valid)
    codes = np.full(values.shape, NO_VALUE, dtype=np.uint8)
    codes[known] = values[known].astype(np.uint8)
    codes[~valid] = 0
    return codes


def _check_share(values: Raster, strange: BoolRaster, valid: BoolRaster) -> None:
    """Raise ValueError if too many of the valid values are ``strange``."""
    share = float(strange.sum()) / max(1, int(valid.sum()))
    if share > MAX_UNKNOWN_SHARE:
        msg = (
            f"{share:.0%} of its values are no class from 0 to {LAST_CLASS} "
            f"(for example {values[strange][0]:g})"
        )
        raise ValueError(msg)


def flag_codes(values: Raster, valid: BoolRaster) -> UInt8Raster:
    """Convert a mask of yes and no (MSK_CLASSI) to codes: 0 no, 1 yes, `NO_VALUE` unknown.

    Parameters
    ----------
    values, valid : ndarray
        As for `class_codes`; any value but 0 means yes.
    """
    codes = np.where(values == 0, np.uint8(0), np.uint8(1))
    return np.where(valid, codes, np.uint8(NO_VALUE))


def percent_codes(values: Raster, valid: BoolRaster, *, unit: ProbabilityUnit) -> UInt8Raster:
    """Convert a cloud probability to codes: percent, `NO_VALUE` where unknown.

    Parameters
    ----------
    values, valid : ndarray
        As for `class_codes`.
    unit : {"fraction", "percent"}
        Unit of ``values``; see `probability_unit`.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        0 to 100, rounded up so that no cloud is lost; 101 for more than the whole. Values far
        below 0 are unknown.
    """
    factor = WHOLE_PERCENT if unit == "fraction" else 1.0
    least = -(OVERSHOOT - 1) * WHOLE_PERCENT / factor
    usable = valid & np.isfinite(values) & (values >= least)
    # The digits keep 40.000001, which is 40 except for rounding, from becoming 41.
    percent = np.ceil(np.round(np.where(usable, values, 0).astype(np.float64) * factor, 4))
    codes: UInt8Raster = np.clip(percent, 0, WHOLE_PERCENT + 1).astype(np.uint8)
    codes[~usable] = NO_VALUE
    return codes


def probability_unit(top: float) -> ProbabilityUnit:
    """Decide the unit of a cloud probability by its greatest value.

    A mask of percent whose values are all below 1 is taken for fractions, which masks too much. A
    larger unit is never assumed, because that would leave cloud.

    Parameters
    ----------
    top : float
        Greatest value of the mask, with its declared scale applied.

    Returns
    -------
    {"fraction", "percent"}

    Raises
    ------
    ValueError
        If the values are larger than percent.
    """
    if top <= OVERSHOOT:
        return "fraction"
    if top <= OVERSHOOT * WHOLE_PERCENT:
        return "percent"
    msg = (
        f"its values reach {top:g}, and neither the file nor the item declares their scale; "
        "a cloud probability is percent (0 to 100) or a fraction (0 to 1)"
    )
    raise ValueError(msg)
