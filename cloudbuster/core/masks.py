"""Cloud masks: what the product's classes mean, the classes of a pixel, growth and distances."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.digital_numbers import NODATA, SATURATED
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.core.regrid import sample_nearest

# A smaller group of zeros is dark water clipped at 0 (0.01 to 0.04 % of the pixels of some
# scenes), a larger one is a hole or the edge of the swath.
ISOLATED_ZERO_PIXELS = 16
# The original masked where sen2cor's cloud probability was above 40 percent.
CLD_THRESHOLD_PERCENT = 40
# Compositing loses interest in a cloud three kilometres away (the reach that FORCE calls DREQ).
DISTANCE_LIMIT_M = 3000
# Block of the distance transform: with a halo of 3 km at 20 m it takes about 40 MB.
DISTANCE_BLOCK_CELLS = 1024
# A distance that rounding puts a hair above the radius still is the radius.
ROUNDING = 1e-9
# Zeros that touch at a corner are one group: at a swath's slanted edge this joins the steps.
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)

Preset = Literal["standard", "strict", "original"]


class PixelClass(IntEnum):
    """What one scene saw of one cell; the codes of the band ``pixel_class`` of a gathered scene."""

    UNOBSERVED = 0
    """No data."""
    MASKED = 1
    """Cloud, cloud shadow, their growth, or a defective pixel."""
    LOW_RANK = 2
    """Clear as far as is known, but taken after every other look (snow, dark land)."""
    CLEAR = 3
    """Clear."""


@dataclass(frozen=True, eq=False)
class DetectedMask:
    """What a detector found, on a grid in the scene's own CRS; nothing is grown yet.

    Attributes
    ----------
    grid : Grid
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

    grid: Grid
    cloud: BoolRaster
    defective: BoolRaster
    low_rank: BoolRaster
    detector: str


class MaskLayers(NamedTuple):
    """What classes mean, cell by cell; each an ndarray of bool of the same shape (y, x)."""

    cloud: BoolRaster
    """Masked, and grown."""
    defective: BoolRaster
    """Masked, not grown."""
    low_rank: BoolRaster
    """Kept, after every other look."""


@dataclass(frozen=True)
class ClassPreset:
    """What the classes of sen2cor's scene classification (SCL) mean; others are clear.

    Attributes
    ----------
    cloud : frozenset of int
        Masked and grown.
    defective : frozenset of int
        Masked, not grown.
    low_rank : frozenset of int
        Kept, after every other look.
    """

    cloud: frozenset[int]
    defective: frozenset[int]
    low_rank: frozenset[int]


# SCL: 0 no data, 1 saturated or defective, 2 dark or topographic shadow, 3 cloud shadow,
# 4 vegetation, 5 bare, 6 water, 7 unclassified, 8 and 9 cloud of medium and high probability,
# 10 thin cirrus, 11 snow (Sentinel-2 Products Specification Document, L2A quality indicators).
# Above 11 there is no class: such a value is an average of classes, and says nothing.
_BLENDED = frozenset(range(12, 256))
_CLOUD = frozenset({3, 7, 8, 9, 10})
# On real crops 7 is brighter than a clear date in 74 to 77 % of its pixels: cloud, so it grows.
# 2 and 11 hold dark land and real snow beside shadow and cloud: kept, but ranked last. `strict`
# masks 2 without growing it, as most of it is terrain that growth would only widen.
SCL_PRESETS: dict[str, ClassPreset] = {
    "standard": ClassPreset(_CLOUD, frozenset({0, 1}) | _BLENDED, frozenset({2, 11})),
    "strict": ClassPreset(_CLOUD, frozenset({0, 1, 2}) | _BLENDED, frozenset({11})),
}


def classes_to_mask(scl: UInt8Raster, preset: str = "standard") -> MaskLayers:
    """Tell cloud from clear by sen2cor's scene classification.

    Parameters
    ----------
    scl : ndarray of uint8, shape (y, x)
        Classes 0 to 11; a higher value is a blend of classes and counts as defective.
    preset : str
        A key of `SCL_PRESETS`.

    Returns
    -------
    MaskLayers

    Raises
    ------
    ValueError
        For a preset that does not go by classes.
    """
    if preset not in SCL_PRESETS:
        msg = f"preset {preset} does not go by classes; those that do: {', '.join(SCL_PRESETS)}"
        raise ValueError(msg)
    classes = SCL_PRESETS[preset]
    return MaskLayers(*(_lookup(group)[scl] for group in _groups(classes)))


def _groups(preset: ClassPreset) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    return preset.cloud, preset.defective, preset.low_rank


def _lookup(group: frozenset[int]) -> BoolRaster:
    table = np.zeros(256, dtype=np.bool_)
    table[sorted(group)] = True
    return table


def classification_to_mask(classi: UInt8Raster) -> MaskLayers:
    """Tell cloud from clear by MSK_CLASSI.

    Parameters
    ----------
    classi : ndarray of uint8, shape (3, y, x)
        Opaque cloud, cirrus, snow; anything but 0 is a yes.

    Returns
    -------
    MaskLayers
        Opaque cloud and cirrus are cloud, snow is ranked last.
    """
    opaque, cirrus, snow = classi != 0
    return MaskLayers(opaque | cirrus, np.zeros_like(opaque), snow)


def probability_to_mask(cld: UInt8Raster) -> MaskLayers:
    """Tell cloud from clear as the original did, by sen2cor's cloud probability.

    Parameters
    ----------
    cld : ndarray of uint8, shape (y, x)
        Percent; a blend of more than 100 counts as cloud.

    Returns
    -------
    MaskLayers
        Cloud above `CLD_THRESHOLD_PERCENT`; nothing is known of shadow, snow and defects.
    """
    cloud = cld > CLD_THRESHOLD_PERCENT
    nothing = np.zeros_like(cloud)
    return MaskLayers(cloud, nothing, nothing.copy())


def valid_pixels(bands: UInt16Raster) -> BoolRaster:
    """Tell where every band has a value.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        DN. Not modified.

    Returns
    -------
    ndarray of bool, shape (y, x)
        False where any band is 0 (no data) or 65535 (saturated).
    """
    valid: BoolRaster = ((bands != NODATA) & (bands != SATURATED)).all(axis=0)
    return valid


def repair_isolated_zeros(
    band: UInt16Raster, *, max_pixels: int = ISOLATED_ZERO_PIXELS
) -> UInt16Raster:
    """Make dark water that was clipped to 0 valid again.

    Parameters
    ----------
    band : ndarray of uint16, shape (y, x)
        DN of one band. Not modified. To work on a part of a scene, pass ``max_pixels`` more rows
        and columns on each side: the part itself then comes out as it would of the whole.
    max_pixels : int
        Groups with fewer pixels than this are repaired.

    Returns
    -------
    ndarray of uint16, shape (y, x)
        1 where a group of zeros (joined by edges or corners) is small and does not touch the
        array's border; ``band`` itself where there is no such group.
    """
    zeros = band == NODATA
    if not zeros[1:-1, 1:-1].any() or zeros.all():
        return band
    groups, count = ndimage.label(zeros, structure=EIGHT_NEIGHBOURS)
    small = np.bincount(groups.ravel(), minlength=count + 1) < max_pixels
    small[0] = False
    for edge in (groups[0], groups[-1], groups[:, 0], groups[:, -1]):
        small[edge] = False
    if not small.any():
        return band
    return np.where(small[groups], np.uint16(1), band)


def growth_cells(radius_m: float, grid: Grid) -> tuple[int, int]:
    """(rows, columns) that a growth by ``radius_m`` reaches; (0, 0) says that nothing grows."""
    reach = radius_m * (1 + ROUNDING)
    return math.floor(reach / grid.y_size), math.floor(reach / grid.x_size)


def grow(mask: BoolRaster, radius_m: float, grid: Grid) -> BoolRaster:
    """Widen a mask by a Euclidean distance.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        On ``grid``. Not modified.
    radius_m : float
        Greatest distance between cell centres, metres, inclusive. Below one cell nothing grows;
        `growth_cells` tells.
    grid : Grid
        In a CRS in metres; its cells need not be square.

    Returns
    -------
    ndarray of bool, shape (y, x)
        True where the centre of a True cell of ``mask`` lies within ``radius_m``; exact.

    Raises
    ------
    ValueError
        Where ``mask`` is not on ``grid``, or the radius is negative.
    """
    _check_shape(mask, grid)
    if radius_m < 0:
        msg = f"a mask cannot grow by {radius_m:g} m"
        raise ValueError(msg)
    grown = np.zeros_like(mask)
    # A disk is a stack of rows, widest in the middle: `wide` holds the mask widened sideways, and
    # grows as the rows come closer to the middle.
    wide = mask.copy()
    half = 0
    reach = radius_m * (1 + ROUNDING)
    for rows in range(min(growth_cells(radius_m, grid)[0], grid.height - 1), -1, -1):
        chord = math.sqrt(max(0.0, reach**2 - (rows * grid.y_size) ** 2))
        widest = min(math.floor(chord / grid.x_size), grid.width - 1)
        for cols in range(half + 1, widest + 1):
            wide[:, cols:] |= mask[:, :-cols]
            wide[:, :-cols] |= mask[:, cols:]
        half = max(half, widest)
        grown[rows:] |= wide[: grid.height - rows]
        grown[: grid.height - rows] |= wide[rows:]
    return grown


def distance_to(
    mask: BoolRaster,
    grid: Grid,
    limit_m: int = DISTANCE_LIMIT_M,
    *,
    block: int = DISTANCE_BLOCK_CELLS,
) -> UInt16Raster:
    """Measure how far the nearest True cell is.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        On ``grid``. Not modified.
    grid : Grid
        In a CRS in metres; its cells need not be square.
    limit_m : int
        Distances from here on are not told apart, 1 to 65534.
    block : int
        Side of the pieces that are worked on, cells. The result does not depend on it.

    Returns
    -------
    ndarray of uint16, shape (y, x)
        Metres between cell centres, rounded down, at least 1; 0 on a True cell; ``limit_m`` where
        there is none nearer than that.

    Raises
    ------
    ValueError
        Where ``mask`` is not on ``grid``.
    """
    _check_shape(mask, grid)
    distance = np.full(grid.shape, limit_m, dtype=np.uint16)
    halo = math.ceil(limit_m / min(grid.x_size, grid.y_size))
    for window in grid.blocks(block):
        around = window.grown(halo).intersection(grid.window)
        near = mask[around.slices]
        if near.any():
            distance[window.slices] = _block_distance(near, window, around, grid, limit_m)
    distance[mask] = 0
    return distance


def _block_distance(
    near: BoolRaster, window: GridWindow, around: GridWindow, grid: Grid, limit_m: int
) -> UInt16Raster:
    exact = ndimage.distance_transform_edt(~near, sampling=(grid.y_size, grid.x_size))
    metres = exact[window.shifted(-around.row, -around.col).slices]
    # 99.9999999 is a hundred metres that rounding made less.
    metres = np.floor(metres * (1 + ROUNDING))
    clipped: UInt16Raster = np.clip(metres, 1, limit_m).astype(np.uint16)
    return clipped


def combine(first: DetectedMask, second: DetectedMask) -> DetectedMask:
    """Join two masks of one scene: what either calls cloud, defective or low rank, is.

    Parameters
    ----------
    first, second : DetectedMask
        In the same CRS.

    Returns
    -------
    DetectedMask
        On the grid whose cells are smaller (``first``'s where they are equal); each cell takes the
        other mask's cell that holds its centre, and nothing where the other mask ends.

    Raises
    ------
    ValueError
        Where the coordinate reference systems differ.
    """
    if first.grid.crs != second.grid.crs:
        msg = f"masks in {first.grid.crs} and {second.grid.crs} cannot be joined"
        raise ValueError(msg)
    fine, coarse = first, second
    if _cell_area(second.grid) < _cell_area(first.grid):
        fine, coarse = second, first
    cloud, defective, low_rank = (
        here | sample_nearest(there, coarse.grid, fine.grid, fill=0)
        for here, there in (
            (fine.cloud, coarse.cloud),
            (fine.defective, coarse.defective),
            (fine.low_rank, coarse.low_rank),
        )
    )
    return DetectedMask(
        grid=fine.grid,
        cloud=cloud,
        defective=defective,
        low_rank=low_rank,
        detector=f"{first.detector} + {second.detector}",
    )


def pixel_classes(mask: DetectedMask, dilate_m: float) -> UInt8Raster:
    """Grow a mask's cloud and say what each cell is good for.

    Parameters
    ----------
    mask : DetectedMask
        Not modified.
    dilate_m : float
        Growth of cloud and shadow, metres between cell centres.

    Returns
    -------
    ndarray of uint8, shape of the mask
        Codes of `PixelClass`: masked for grown cloud and defective cells, else low rank or clear.
        What is not observed, the pixels show.
    """
    codes = np.full(mask.grid.shape, PixelClass.CLEAR, dtype=np.uint8)
    codes[mask.low_rank] = PixelClass.LOW_RANK
    codes[mask.defective] = PixelClass.MASKED
    codes[grow(mask.cloud, dilate_m, mask.grid)] = PixelClass.MASKED
    return codes


def _cell_area(grid: Grid) -> float:
    return grid.x_size * grid.y_size


def _check_shape(mask: BoolRaster, grid: Grid) -> None:
    if mask.shape != grid.shape:
        msg = f"mask {mask.shape} does not match its grid {grid.shape}"
        raise ValueError(msg)
