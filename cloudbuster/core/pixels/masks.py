"""Cloud masks: meaning of the product's classes, classes of a pixel, growth and distances."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import CellSize, uniform_parts
from cloudbuster.core.scenes.digital_numbers import MAX_DN, NODATA, has_value

# A group of fewer zeros than this is dark water clipped at 0 (0.01 to 0.04 % of the pixels of some
# scenes); a larger one is a hole or the edge of the swath.
ISOLATED_ZERO_PIXELS = 16
# sen2cor's cloud probability above which the original masked a pixel, percent.
CLD_THRESHOLD_PERCENT = 40
# Code of a mask's pixel without a usable value: declared as nodata, or outside of its range.
NO_VALUE = 255
# Classes of SCL (no data; saturated or defective) that say that a pixel is no observation at all,
# whatever its DN.
UNOBSERVED_CLASSES = (0, 1)
# Harmonised DN up to which a pixel beside nodata belongs to the rim of a swath: 0.01 of
# reflectance. Such rims hold 1 in some products (deafrica-sandbox-notebooks#403), or negative
# reflectance (earth-search#23).
RIM_DN = 100
# Greatest width of the rim, pixels.
RIM_PIXELS = 16
# Greatest distance to a cloud that is recorded, metres. The cloud weights of the composites FORCE
# (parameter DREQ) and WASP are flat beyond it.
DISTANCE_LIMIT_M = 3000
# Block of the distance transform: with a halo of 3 km at 20 m it takes about 40 MB.
DISTANCE_BLOCK_CELLS = 1024
# Relative tolerance of a distance that equals a radius except for rounding.
ROUNDING = 1e-9
# Zeros that touch at a corner are one group: this joins the steps of a swath's slanted edge.
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)

Preset = Literal["standard", "strict", "original"]


class PixelClass(IntEnum):
    """Class of a cell in one scene; codes of the band ``pixel_class`` of a gathered scene."""

    UNOBSERVED = 0
    """No data, or a value that the product's own classification says is none."""
    MASKED = 1
    """Cloud, cloud shadow, their growth, or a defective pixel."""
    LOW_RANK = 2
    """Probably clear, but used only if no scene saw the cell clear (snow, dark land)."""
    CLEAR = 3
    """Clear."""


class MaskLayers(NamedTuple):
    """The layers of a `DetectedMask`: ndarrays of bool of the same shape (y, x)."""

    cloud: BoolRaster
    defective: BoolRaster
    low_rank: BoolRaster
    unobserved: BoolRaster
    shadow: BoolRaster


@dataclass(frozen=True, eq=False)
class DetectedMask:
    """Result of a cloud detector, on a grid in the scene's own CRS, before growth.

    Attributes
    ----------
    grid : Grid
        Grid of the arrays; its corner is a corner of the scene's grid.
    cloud : ndarray of bool, shape (y, x)
        Cloud: to be grown and masked.
    defective : ndarray of bool, shape (y, x)
        To be masked without growth (no data, saturated, unknown class).
    low_rank : ndarray of bool, shape (y, x)
        To be used only if no scene saw the cell clear.
    detector : str
        Name and parameters of the detector, for the scene's record.
    unobserved : ndarray of bool, shape (y, x), or None
        Cells whose pixels are no observation, whatever their DN; None for none.
    shadow : ndarray of bool, shape (y, x), or None
        Shadow of a cloud: to be grown and masked as well. A cell may be cloud and shadow. None for
        a detector that finds no shadow.
    agreement : ndarray of uint8, shape (y, x), or None
        Percentage of the joined detectors that say of the cell what most of them say; None for a
        single detector.
    firm_cloud : ndarray of bool, shape (y, x), or None
        Cloud or shadow that no other mask overrules; None for all of it.
    """

    grid: Grid
    cloud: BoolRaster
    defective: BoolRaster
    low_rank: BoolRaster
    detector: str
    unobserved: BoolRaster | None = None
    shadow: BoolRaster | None = None
    agreement: UInt8Raster | None = None
    firm_cloud: BoolRaster | None = None

    @property
    def layers(self) -> MaskLayers:
        """The layers of the mask; those that are None become arrays of False."""
        unobserved, shadow = (
            np.zeros_like(self.cloud) if layer is None else layer
            for layer in (self.unobserved, self.shadow)
        )
        return MaskLayers(self.cloud, self.defective, self.low_rank, unobserved, shadow)

    @property
    def cloud_or_shadow(self) -> BoolRaster:
        """Cells that are cloud or the shadow of one, shape (y, x)."""
        return self.cloud if self.shadow is None else self.cloud | self.shadow


@dataclass(frozen=True)
class ClassPreset:
    """Meaning of the classes of sen2cor's scene classification (SCL).

    Attributes
    ----------
    cloud, defective, low_rank, shadow : frozenset of int
        Classes of each layer of `MaskLayers`; all other classes are clear.
    """

    cloud: frozenset[int]
    defective: frozenset[int]
    low_rank: frozenset[int]
    shadow: frozenset[int]


# SCL: 0 no data, 1 saturated or defective, 2 dark or topographic shadow, 3 cloud shadow,
# 4 vegetation, 5 bare, 6 water, 7 unclassified, 8 and 9 cloud of medium and high probability,
# 10 thin cirrus, 11 snow (Sentinel-2 Products Specification Document, L2A quality indicators).
# There is no class above 11. Such a value is an average of classes and has no meaning.
_BLENDED = frozenset(range(12, 256))
_CLOUD = frozenset({7, 8, 9, 10})
_SHADOW = frozenset({3})
# Class 7 is cloud: on real crops 74 to 77 % of its pixels are brighter than on a clear date.
# Classes 2 and 11 contain dark land and real snow as well as shadow and cloud: they are kept and
# ranked last. `strict` masks class 2 without growth, because most of it is terrain.
SCL_PRESETS: dict[str, ClassPreset] = {
    "standard": ClassPreset(_CLOUD, frozenset({0, 1}) | _BLENDED, frozenset({2, 11}), _SHADOW),
    "strict": ClassPreset(_CLOUD, frozenset({0, 1, 2}) | _BLENDED, frozenset({11}), _SHADOW),
}


def classes_to_mask(scl: UInt8Raster, preset: str = "standard") -> MaskLayers:
    """Derive a mask from sen2cor's scene classification.

    Parameters
    ----------
    scl : ndarray of uint8, shape (y, x)
        Classes 0 to 11; a higher value is an average of classes, or `NO_VALUE`, and counts as
        defective.
    preset : str
        A key of `SCL_PRESETS`.

    Returns
    -------
    MaskLayers

    Raises
    ------
    ValueError
        If the preset is not one of `SCL_PRESETS`.
    """
    if preset not in SCL_PRESETS:
        msg = f"preset {preset} does not use classes; those that do: {', '.join(SCL_PRESETS)}"
        raise ValueError(msg)
    classes = SCL_PRESETS[preset]
    groups = (
        classes.cloud,
        classes.defective,
        classes.low_rank,
        UNOBSERVED_CLASSES,
        classes.shadow,
    )
    return MaskLayers(*(_lookup(group)[scl] for group in groups))


def _lookup(group: Collection[int]) -> BoolRaster:
    """Make a table of 256 entries that is True for the classes of a group."""
    table = np.zeros(256, dtype=np.bool_)
    table[sorted(group)] = True
    return table


def classification_to_mask(classi: UInt8Raster) -> MaskLayers:
    """Derive a mask from the product's MSK_CLASSI.

    Parameters
    ----------
    classi : ndarray of uint8, shape (3, y, x)
        Opaque cloud, cirrus, snow: 0 no, `NO_VALUE` unknown, anything else yes.

    Returns
    -------
    MaskLayers
        Opaque cloud and cirrus are cloud, snow is of low rank, and unknown pixels are defective.
    """
    unknown: BoolRaster = (classi == NO_VALUE).any(axis=0)
    opaque, cirrus, snow = (classi != 0) & (classi != NO_VALUE)
    nothing = np.zeros_like(unknown)
    return MaskLayers(opaque | cirrus, unknown, snow, nothing, nothing.copy())


def probability_to_mask(cld: UInt8Raster) -> MaskLayers:
    """Derive a mask from sen2cor's cloud probability, as the original did.

    Parameters
    ----------
    cld : ndarray of uint8, shape (y, x)
        Percent; a value above 100 is an average and counts as cloud. `NO_VALUE` is unknown.

    Returns
    -------
    MaskLayers
        Cloud above `CLD_THRESHOLD_PERCENT`; unknown pixels are defective.
    """
    unknown: BoolRaster = cld == NO_VALUE
    cloud = (cld > CLD_THRESHOLD_PERCENT) & ~unknown
    nothing = np.zeros_like(cloud)
    return MaskLayers(cloud, unknown, nothing, nothing.copy(), nothing.copy())


def valid_pixels(bands: UInt16Raster) -> BoolRaster:
    """Return where every band has a value.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        DN. Not modified.

    Returns
    -------
    ndarray of bool, shape (y, x)
        False where any band is 0 (nodata) or over 32 767 (saturated, or no DN at all).
    """
    return np.asarray(has_value(bands).all(axis=0))


def repair_isolated_zeros(
    band: UInt16Raster, *, max_pixels: int = ISOLATED_ZERO_PIXELS
) -> UInt16Raster:
    """Set isolated zeros, which are dark water clipped at 0, to 1.

    Parameters
    ----------
    band : ndarray of uint16, shape (y, x)
        DN of one band; values over 32 767 are invalid. Not modified. If it is a part of a scene,
        pass ``max_pixels`` more rows and columns on each side: the part itself is then repaired as
        in the whole scene.
    max_pixels : int
        Groups with fewer pixels than this are repaired.

    Returns
    -------
    ndarray of uint16, shape (y, x)
        1 where a group of zeros (joined by edges or corners) is small and touches neither the
        array's border nor an invalid pixel. The same object if there is no such group.
    """
    zeros = band == NODATA
    if not zeros[1:-1, 1:-1].any() or zeros.all():
        return band
    groups, count = ndimage.label(~has_value(band), structure=EIGHT_NEIGHBOURS)
    small = np.bincount(groups.ravel(), minlength=count + 1) < max_pixels
    small[0] = False
    small[groups[band > MAX_DN]] = False
    for edge in (groups[0], groups[-1], groups[:, 0], groups[:, -1]):
        small[edge] = False
    if not small.any():
        return band
    return np.where(small[groups], np.uint16(1), band)


def may_cut_isolated_zeros(band: UInt16Raster, *, max_pixels: int = ISOLATED_ZERO_PIXELS) -> bool:
    """Return whether `repair_isolated_zeros` needs the surroundings of a part of a scene.

    Parameters
    ----------
    band : ndarray of uint16, shape (y, x)
        DN of one band. Not modified.
    max_pixels : int
        As for `repair_isolated_zeros`.

    Returns
    -------
    bool
        True if a small group of zeros touches the array's border: it may be isolated, or a part of
        a larger group. All other groups are the same in the whole scene.
    """
    zeros = band == NODATA
    edges = (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])
    if not any(zeros[edge].any() for edge in edges):
        return False
    groups, count = ndimage.label(zeros, structure=EIGHT_NEIGHBOURS)
    small = np.bincount(groups.ravel(), minlength=count + 1) < max_pixels
    small[0] = False
    return any(bool(small[groups[edge]].any()) for edge in edges)


def low_rim(band: UInt16Raster, invalid: BoolRaster) -> BoolRaster:
    """Find the rim of low values at the edge of a swath.

    Parameters
    ----------
    band : ndarray of uint16, shape (y, x)
        Harmonised DN of one band. Not modified. If it is a part of a scene, pass `RIM_PIXELS` more
        rows and columns on each side.
    invalid : ndarray of bool, shape (y, x)
        True where any band has no data. Not modified.

    Returns
    -------
    ndarray of bool, shape (y, x)
        True for values of 1 to `RIM_DN` that are joined to nodata by at most `RIM_PIXELS` others
        such.
    """
    low = (band != NODATA) & (band <= RIM_DN) & ~invalid
    if not (low.any() and invalid.any()):
        return np.zeros_like(low)
    reached: BoolRaster = ndimage.binary_dilation(
        invalid, structure=EIGHT_NEIGHBOURS, iterations=RIM_PIXELS, mask=low | invalid
    )
    rim: BoolRaster = reached & low
    return rim


def grown_by(mask: BoolRaster, cells: int) -> BoolRaster:
    """Dilate a mask by some cells on every side; not modified."""
    if not cells or not mask.any():
        return mask
    wide: BoolRaster = ndimage.binary_dilation(mask, structure=EIGHT_NEIGHBOURS, iterations=cells)
    return wide


def grows(radius_m: float, grid: Grid) -> bool:
    """Return whether a growth by ``radius_m`` reaches the next cell anywhere in a grid."""
    return any(max(_reach(radius_m, size)) > 0 for _, size in uniform_parts(grid))


def grow(mask: BoolRaster, radius_m: float, grid: Grid) -> BoolRaster:
    """Dilate a mask by a Euclidean distance on the ground.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        On ``grid``. Not modified.
    radius_m : float
        Greatest distance between cell centres, metres on the ground, inclusive. A radius of less
        than a cell has no effect (see `grows`).
    grid : Grid
        In any CRS; its cells need not be square. Where their size on the ground varies, it is that
        in the middle of each of `cloudbuster.core.grids.ground.uniform_parts`.

    Returns
    -------
    ndarray of bool, shape (y, x)
        True where the centre of a True cell of ``mask`` is within ``radius_m``; exact.

    Raises
    ------
    ValueError
        If ``mask`` is not on ``grid``, or the radius is negative.
    """
    _check_shape(mask, grid)
    if radius_m < 0:
        msg = f"a mask cannot grow by {radius_m:g} m"
        raise ValueError(msg)
    grown = np.zeros_like(mask)
    for part, size in uniform_parts(grid):
        around = part.grown(max(_reach(radius_m, size))).intersection(grid.window)
        wide = _grown(mask[around.slices], radius_m, size)
        grown[part.slices] = wide[part.shifted(-around.row, -around.col).slices]
    return grown


def _reach(radius_m: float, size: CellSize) -> tuple[int, int]:
    """Return the (rows, columns) that a growth by ``radius_m`` reaches; (0, 0) for no growth."""
    reach = radius_m * (1 + ROUNDING)
    return math.floor(reach / size[1]), math.floor(reach / size[0])


def _grown(mask: BoolRaster, radius_m: float, size: CellSize) -> BoolRaster:
    """Dilate a mask whose cells are of one size, metres."""
    x_size, y_size = size
    height, width = mask.shape
    grown = np.zeros_like(mask)
    # A disk is a stack of rows, widest in the middle. `wide` is the mask widened sideways to the
    # chord of the current row; rows are taken from the rim to the middle, so that it only grows.
    wide = mask.copy()
    half = 0
    reach = radius_m * (1 + ROUNDING)
    for rows in range(min(_reach(radius_m, size)[0], height - 1), -1, -1):
        chord = math.sqrt(max(0.0, reach**2 - (rows * y_size) ** 2))
        widest = min(math.floor(chord / x_size), width - 1)
        for cols in range(half + 1, widest + 1):
            wide[:, cols:] |= mask[:, :-cols]
            wide[:, :-cols] |= mask[:, cols:]
        half = max(half, widest)
        grown[rows:] |= wide[: height - rows]
        grown[: height - rows] |= wide[rows:]
    return grown


def distance_to(
    mask: BoolRaster,
    grid: Grid,
    limit_m: int = DISTANCE_LIMIT_M,
    *,
    block: int = DISTANCE_BLOCK_CELLS,
) -> UInt16Raster:
    """Measure the distance on the ground to the nearest True cell.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        On ``grid``. Not modified.
    grid : Grid
        In any CRS; its cells need not be square.
    limit_m : int
        Greatest distance that is measured, metres, 1 to 65534.
    block : int
        Side of the blocks that are computed one by one, cells. It does not change the result.

    Returns
    -------
    ndarray of uint16, shape (y, x)
        Metres between cell centres, rounded down, at least 1 and at most ``limit_m``; 0 on a True
        cell.

    Raises
    ------
    ValueError
        If ``mask`` is not on ``grid``.
    """
    _check_shape(mask, grid)
    distance = np.full(grid.shape, limit_m, dtype=np.uint16)
    for part, size in uniform_parts(grid):
        halo = math.ceil(limit_m / min(size))
        for cells in grid.crop(part).blocks(block):
            window = cells.shifted(part.row, part.col)
            around = window.grown(halo).intersection(grid.window)
            near = mask[around.slices]
            if near.any():
                inner = window.shifted(-around.row, -around.col)
                distance[window.slices] = _block_distance(near, inner, size, limit_m)
    distance[mask] = 0
    return distance


def _block_distance(
    near: BoolRaster, window: GridWindow, size: CellSize, limit_m: int
) -> UInt16Raster:
    """Compute the distances in a window of the mask ``near``, whose cells are of one size."""
    exact = ndimage.distance_transform_edt(~near, sampling=(size[1], size[0]))
    # The tolerance keeps 99.9999999, which is 100 except for rounding, from becoming 99.
    metres = np.floor(exact[window.slices] * (1 + ROUNDING))
    clipped: UInt16Raster = np.clip(metres, 1, limit_m).astype(np.uint16)
    return clipped


def pixel_classes(mask: DetectedMask, dilate_m: float) -> UInt8Raster:
    """Grow the cloud and the shadow of a mask and classify its cells.

    Parameters
    ----------
    mask : DetectedMask
        Not modified.
    dilate_m : float
        Growth of cloud and shadow, metres between cell centres.

    Returns
    -------
    ndarray of uint8, shape of the mask
        Codes of `PixelClass`: unobserved where the mask says so, masked for grown cloud
        and shadow and for defective cells, else low rank or clear. Where the pixels of the scene
        have no value, it is unobserved as well.
    """
    codes = np.full(mask.grid.shape, PixelClass.CLEAR, dtype=np.uint8)
    codes[mask.low_rank] = PixelClass.LOW_RANK
    codes[mask.defective] = PixelClass.MASKED
    codes[grow(mask.cloud_or_shadow, dilate_m, mask.grid)] = PixelClass.MASKED
    codes[mask.layers.unobserved] = PixelClass.UNOBSERVED
    return codes


def _check_shape(mask: BoolRaster, grid: Grid) -> None:
    """Raise ValueError if a mask is not of the shape of its grid."""
    if mask.shape != grid.shape:
        msg = f"mask {mask.shape} does not match its grid {grid.shape}"
        raise ValueError(msg)
