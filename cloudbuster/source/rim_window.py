"""How far around a part of a scene must be read to find the rim of low values at a swath's edge.

A rim is joined to missing data by low values. What lies beyond the part matters only if a low value
lies on its border, or in a strip beyond it from where a coarser band is interpolated into the part.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.pixels.masks import RIM_DN
from cloudbuster.core.scenes.digital_numbers import NODATA

Reader = Callable[[GridWindow], UInt16Raster]
"""Function that reads a window as harmonised DN, shape (band, y, x)."""
# Sides of a window, as the axis and whether it is the far end.
SIDES = ((0, False), (0, True), (1, False), (1, True))
Side = tuple[int, bool]


@dataclass(frozen=True)
class RimReads:
    """How the surroundings of a part of a scene are read.

    Attributes
    ----------
    reach : int
        Cells beyond the part that may matter.
    rimmed : list of int
        Positions of the bands that may have a rim.
    read : callable
        Reads all bands.
    read_coarse : callable or None
        Reads those that are interpolated; None if there are none.
    may_lack_data : callable
        Whether the edge of the data may lie in or near a window.
    """

    reach: int
    rimmed: list[int]
    read: Reader
    read_coarse: Reader | None
    may_lack_data: Callable[[GridWindow], bool]


def rim_window(
    part: GridWindow, pixels: UInt16Raster, reads: RimReads
) -> tuple[GridWindow, UInt16Raster]:
    """Find the window that shows the rim of a part of a scene as the whole scene does.

    Parameters
    ----------
    part : GridWindow
        The part.
    pixels : ndarray of uint16, shape (band, y, x)
        Its harmonised DN. Not modified.
    reads : RimReads
        How its surroundings are read.

    Returns
    -------
    GridWindow, ndarray of uint16
        The part with the surroundings that matter, and its DN.
    """
    sides = _low_beyond(part, reads)
    window, values = part, pixels
    while True:
        if sides:
            # Once is enough unless the rim turns a corner.
            window = _extended(part, sides, reads.reach)
            values = reads.read(window)
        # A rim that leaves the window crosses its border.
        crossed = {
            side
            for side in SIDES
            if side not in sides and _low(values[reads.rimmed][_border(side)]).any()
        }
        if not crossed:
            return window, values
        sides |= crossed


def _low_beyond(part: GridWindow, reads: RimReads) -> set[Side]:
    """Return the sides beyond which an interpolated band is low where the swath may end."""
    if reads.read_coarse is None:
        return set()
    strips = {side: _strip(part, side, reads.reach) for side in SIDES}
    lacking = [side for side in SIDES if reads.may_lack_data(strips[side])]
    if not lacking:
        return set()
    window = _extended(part, lacking, reads.reach)
    low = _low(reads.read_coarse(window))
    return {
        side
        for side in lacking
        if low[strips[side].intersection(window).shifted(-window.row, -window.col).slices].any()
    }


def _low(values: UInt16Raster) -> BoolRaster:
    """Mark the cells where any band has a low value, without the axis of bands."""
    low: BoolRaster = ((values != NODATA) & (values <= RIM_DN)).any(axis=0)
    return low


def _border(side: Side) -> tuple[slice | int, ...]:
    """Return the indices of the outermost row or column on one side, of all bands."""
    axis, is_far = side
    place = slice(-1, None) if is_far else slice(0, 1)
    return (slice(None), place) if axis == 0 else (slice(None), slice(None), place)


def _strip(part: GridWindow, side: Side, reach: int) -> GridWindow:
    """Return the strip beyond one side of a window, with the corners at its ends."""
    axis, is_far = side
    wide = part.grown(reach)
    if axis == 0:
        row = part.row + part.height if is_far else wide.row
        return GridWindow(row, wide.col, reach, wide.width)
    col = part.col + part.width if is_far else wide.col
    return GridWindow(wide.row, col, wide.height, reach)


def _extended(part: GridWindow, sides: Collection[Side], reach: int) -> GridWindow:
    """Extend a window on some sides."""
    top, bottom, left, right = (reach if side in sides else 0 for side in SIDES)
    return GridWindow(
        part.row - top,
        part.col - left,
        part.height + top + bottom,
        part.width + left + right,
    )
