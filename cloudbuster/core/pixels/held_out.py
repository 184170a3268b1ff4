"""Compare a mosaic with dates that were held out of it, in whole numbers that can be added up.

Sums are integers, so that they are the same in whatever order blocks are added.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster

Counts = npt.NDArray[np.int64]

# Band in which cloud and haze show first, and how much brighter than the clear date a pixel is that
# counts as cloud left, DN. Between clear dates two days apart, .02 to .07 % of the pixels of real
# crops are that much brighter; of cloud that a classification missed, nearly all are.
CLOUD_BAND, BRIGHT_DN = "B02", 500
# The same for shadow: darker in the near infrared. Between those dates .8 % of the pixels are, by
# harvest.
SHADOW_BAND, DARK_DN = "B08", 800
# Normalised difference of green and short-wave infrared of snow, and its least reflectance in the
# near infrared and in green, DN (Hall et al., Remote Sensing of Environment 54, 1995).
SNOW_INDEX, SNOW_NIR_DN, SNOW_GREEN_DN = 0.4, 1100, 1000
# What `HeldOutTally.band_errors` returns: probable and least error, difference, floor, mean size
# of the differences and their mean.
ERRORS = ("error_dn", "least_error_dn", "difference_dn", "floor_dn", "mae_dn", "bias_dn")


class GroundType(IntEnum):
    """What a cell shows on the date that was held out."""

    LAND = 0
    WATER = 1
    SNOW = 2


def ground_types(reflectance: UInt16Raster, bands: Sequence[str]) -> UInt8Raster:
    """Distinguish land, water and snow by reflectance.

    Water is brighter in green than in the near infrared. Without green and near infrared all is
    land, and without short-wave infrared (B11) no cell is snow.

    Parameters
    ----------
    reflectance : ndarray of uint16, shape (band, y, x)
        Harmonised DN of a clear date. Not modified.
    bands : sequence of str
        Names of the bands.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        Codes of `GroundType`.
    """
    types = np.full(reflectance.shape[1:], GroundType.LAND, dtype=np.uint8)
    if "B03" not in bands or "B08" not in bands:
        return types
    green, infrared = (reflectance[bands.index(band)].astype(np.int32) for band in ("B03", "B08"))
    types[green > infrared] = GroundType.WATER
    if "B11" in bands:
        short = reflectance[bands.index("B11")].astype(np.int32)
        is_snow = (green - short) > SNOW_INDEX * (green + short)
        is_snow &= (infrared > SNOW_NIR_DN) & (green > SNOW_GREEN_DN)
        types[is_snow] = GroundType.SNOW
    return types


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A block of a mosaic beside the date that was held out of it.

    Attributes
    ----------
    mosaic, reference, second : ndarray of uint16, shape (band, y, x)
        Harmonised DN of the mosaic of the other dates, of the date that was held out, and of the
        second clearest date.
    shown : ndarray of bool, shape (y, x)
        Cells that the mosaic shows clear.
    usable, second_usable : ndarray of bool, shape (y, x)
        Cells of the two dates that are clear beyond doubt, inside the area.
    inside : ndarray of bool, shape (y, x)
        Cells inside the area.
    """

    mosaic: UInt16Raster
    reference: UInt16Raster
    second: UInt16Raster
    shown: BoolRaster
    usable: BoolRaster
    second_usable: BoolRaster
    inside: BoolRaster


class HeldOutTally:
    """Sums of comparisons with dates that were held out.

    Parameters
    ----------
    bands : sequence of str
        Reflectance bands.

    Attributes
    ----------
    blocks : ndarray of int64, shape (5,)
        Number of blocks, of those compared, of cells inside the area, of those in compared blocks,
        and of those that the mosaic shows clear there.
    cells : ndarray of int64, shape (ground type, 4)
        Number of usable cells of the reference, of those that the mosaic shows clear, and of those
        that are too bright and too dark in it.
    sums : ndarray of int64, shape (ground type, band, 5)
        Sum of differences, of their sizes and squares; number and sum of squares of the differences
        between the two clear dates.
    """

    def __init__(self, bands: Sequence[str]) -> None:
        """Start with nothing compared."""
        self.bands = tuple(bands)
        self.blocks: Counts = np.zeros(5, dtype=np.int64)
        self.cells: Counts = np.zeros((len(GroundType), 4), dtype=np.int64)
        self.sums: Counts = np.zeros((len(GroundType), len(bands), 5), dtype=np.int64)

    def skip(self, inside: BoolRaster) -> None:
        """Count a block of which no date is clear enough."""
        self.blocks += np.array([1, 0, np.count_nonzero(inside), 0, 0])

    def add(self, block: HeldOut) -> None:
        """Compare a block."""
        many = int(np.count_nonzero(block.inside))
        shown = int(np.count_nonzero(block.shown & block.inside))
        self.blocks += np.array([1, 1, many, many, shown])
        types = ground_types(block.reference, self.bands)
        compared, pair = block.usable & block.shown, block.usable & block.second_usable
        bright = self._beyond(block, CLOUD_BAND, BRIGHT_DN)
        dark = self._beyond(block, SHADOW_BAND, -DARK_DN)
        for ground in GroundType:
            own = types == ground
            both = compared & own
            for place, cells in enumerate((block.usable & own, both, bright & both, dark & both)):
                self.cells[ground, place] += np.count_nonzero(cells)
            for band in range(len(self.bands)):
                error = _differences(block.mosaic[band], block.reference[band], both)
                floor = _differences(block.second[band], block.reference[band], pair & own)
                self.sums[ground, band] += [
                    error.sum(),
                    np.abs(error).sum(),
                    (error * error).sum(),
                    len(floor),
                    (floor * floor).sum(),
                ]

    def _beyond(self, block: HeldOut, band: str, limit: int) -> BoolRaster:
        """Find cells whose band differs from the reference by more than a limit, with its sign."""
        if band not in self.bands:
            return np.zeros_like(block.shown)
        place = self.bands.index(band)
        difference = block.mosaic[place].astype(np.int32) - block.reference[place]
        return np.asarray(difference > limit if limit > 0 else difference < limit)

    def add_tally(self, blocks: Sequence[int], cells: Sequence[int], sums: Sequence[int]) -> None:
        """Add the flattened sums of another tally of the same bands.

        Raises
        ------
        ValueError
            If they are not as many.
        """
        for own, other in ((self.blocks, blocks), (self.cells, cells), (self.sums, sums)):
            own += np.array(other, dtype=np.int64).reshape(own.shape)

    def band_errors(self, grounds: Sequence[GroundType], band: str) -> Mapping[str, float | None]:
        """Return the errors of a band over some types of ground; see `error_bounds`.

        Returns
        -------
        mapping of str to float or None
            The keys of `ERRORS`; None where there is nothing to compute it from.
        """
        place = self.bands.index(band)
        total, sizes, squares, pairs, floors = self.sums[list(grounds), place].sum(axis=0).tolist()
        many = int(self.cells[list(grounds), 1].sum())
        if not many:
            return dict.fromkeys(ERRORS)
        difference = math.sqrt(squares / many)
        floor = math.sqrt(floors / pairs) if pairs else None
        least, probable = (None, None) if floor is None else error_bounds(difference, floor)
        values = (probable, least, difference, floor, sizes / many, total / many)
        return dict(zip(ERRORS, values, strict=True))


def error_bounds(difference: float, floor: float) -> tuple[float, float]:
    """Estimate the least error of a mosaic, and its probable error, as root mean squares.

    The difference between the mosaic and a date that was held out contains the errors of both. If
    the errors of dates are independent, two of them differ by ``floor``, one has an error of floor
    / sqrt(2), and without it the mosaic's remains: the least error. What all dates have in common
    (haze, a season that none of them meets) no difference shows; with it, the error comes near the
    whole difference. The probable error is the middle between the two, by their squares.

    Parameters
    ----------
    difference : float
        Root mean square difference between the mosaic and the date that was held out.
    floor : float
        Root mean square difference between two clear dates.

    Returns
    -------
    tuple of float
        The least error and the probable error.
    """
    least = math.sqrt(max(0.0, difference**2 - floor**2 / 2))
    return least, math.sqrt((least**2 + difference**2) / 2)


def _differences(one: UInt16Raster, other: UInt16Raster, cells: BoolRaster) -> Counts:
    """Differences of two bands in some cells."""
    return one[cells].astype(np.int64) - other[cells].astype(np.int64)
