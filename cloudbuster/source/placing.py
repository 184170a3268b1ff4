"""Read a scene block by block, apply its mask, and warp each block to the grid of the mosaic."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import ALIGNMENT_TOLERANCE, Grid, GridWindow
from cloudbuster.core.grids.regrid import Method, resampling_method, sample_nearest
from cloudbuster.core.grids.windows import any_in_cells
from cloudbuster.core.pixels.joined_masks import FULL_AGREEMENT
from cloudbuster.core.pixels.masks import PixelClass, grown_by, valid_pixels
from cloudbuster.source.needed_units import (
    KERNEL_MARGIN,
    NeededUnits,
    rectangles,
    resampling_reach,
)
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.source.warp import bounds_in, place_classes, place_nearest, place_reflectance

# Side of a block in source pixels: 13 bands take 27 MB, and it is a multiple of the tiles of the
# products (512) and of Sentinel-2's JP2 files (1024).
BLOCK_PIXELS = 1024
# Largest side of a target block: a power of two, so that blocks are whole tiles (512) or nest.
MAX_TARGET_BLOCK = 1024
# Pixels on each side of a place that a cubic kernel takes into account.
CUBIC_REACH = 2


@dataclass(frozen=True)
class ClassMap:
    """Pixel classes and distances to cloud from the mask of a scene, before its bands are read.

    Attributes
    ----------
    grid : Grid
        Grid of the mask, in the CRS of the scene.
    classes : ndarray of uint8, shape (y, x)
        Codes of `PixelClass`.
    distance_m : ndarray of uint16, shape (y, x)
        Distance to the nearest cloud, metres.
    agreement : ndarray of uint8, shape (y, x), or None
        Percentage of the joined detectors that agree; None for a single detector.
    """

    grid: Grid
    classes: UInt8Raster
    distance_m: UInt16Raster
    agreement: UInt8Raster | None = None


@dataclass(frozen=True)
class PlacedBlock:
    """A block of a scene on the grid of the mosaic.

    Attributes
    ----------
    window : GridWindow
        Cells of the target grid.
    clear : ndarray of uint16, shape (band, y, x)
        Harmonised DN where the pixel is clear, else 0.
    observed : ndarray of uint16, shape (band, y, x), or None
        Harmonised DN wherever the scene has data; None unless requested.
    classes : ndarray of uint8, shape (y, x)
        Codes of `PixelClass`.
    distance_m : ndarray of uint16, shape (y, x)
        Distance to the nearest cloud, metres; 0 where nothing was observed.
    confidence : ndarray of uint16, shape (y, x)
        Percentage of the joined detectors that agree, 100 for a single detector; 0 where nothing
        was observed.
    """

    window: GridWindow
    clear: UInt16Raster
    observed: UInt16Raster | None
    classes: UInt8Raster
    distance_m: UInt16Raster
    confidence: UInt16Raster


def placed_blocks(
    source: RasterSceneSource,
    class_map: ClassMap,
    target: Grid,
    bands: tuple[str, ...],
    *,
    keep_observed: bool,
    units: NeededUnits | None = None,
    windows: Iterable[GridWindow] | None = None,
) -> Iterator[PlacedBlock]:
    """Read a scene and place it on a grid, block by block.

    Parameters
    ----------
    source : RasterSceneSource
        Open scene.
    class_map : ClassMap
        Mask of the scene, already grown.
    target : Grid
        Part of the mosaic's grid that the scene may fill.
    bands : tuple of str
        Bands to read.
    keep_observed : bool
        Whether to return the unmasked pixels as well.
    units : NeededUnits or None
        Units of the scene to read; None reads all of it. Their cells are the same in both cases,
        and all other cells are unobserved.
    windows : iterable of GridWindow, optional
        Blocks of ``target`` to place; by default all of it. Between two CRS, the cells of a block
        depend slightly on where it ends; see `cloudbuster.source.warp.warp`.

    Yields
    ------
    PlacedBlock
        Blocks in row order, which tile ``target``, or with ``units`` their window of it.
    """
    method = placing_method(source.grid, target)
    for piece in _pieces(source.grid, target, units, windows):
        if piece.grid is None or not piece.wanted:
            yield _empty_block(piece.kept, len(bands), keep_observed=keep_observed)
            continue
        pixels, rim = _read(source, bands, piece.grid, piece.wanted)
        part = target.crop(piece.window)
        block = _placed(
            pixels, rim, class_map, piece.grid, part, method, keep_observed=keep_observed
        )
        yield _cut(block, piece.cells, piece.window, piece.kept)


def planned_reads(source: Grid, target: Grid, units: NeededUnits | None) -> Iterator[Grid]:
    """Yield the parts of a scene that `placed_blocks` reads.

    Parameters
    ----------
    source : Grid
        Grid of the scene.
    target, units : Grid, NeededUnits or None
        As for `placed_blocks`.

    Yields
    ------
    Grid
        Parts of ``source``.
    """
    for piece in _pieces(source, target, units):
        if piece.grid is not None:
            yield from map(piece.grid.crop, piece.wanted)


@dataclass(frozen=True, eq=False)
class _Piece:
    """A block of the target, and what is read for it.

    Attributes
    ----------
    window, kept : GridWindow
        The whole block, and the part of it that is needed.
    grid : Grid or None
        Part of the scene that the block is resampled from; None if they do not overlap.
    cells : ndarray of bool, shape (y, x) of ``window``, or None
        Cells that are needed; None if all are.
    wanted : list of GridWindow
        Windows of ``grid`` to read.
    """

    window: GridWindow
    kept: GridWindow
    grid: Grid | None
    cells: BoolRaster | None
    wanted: list[GridWindow]


def _pieces(
    source: Grid,
    target: Grid,
    units: NeededUnits | None,
    windows: Iterable[GridWindow] | None = None,
) -> Iterator[_Piece]:
    """Cut the needed part of the target into blocks, and find what is read for each."""
    method = placing_method(source, target)
    reach = resampling_reach(source, target, method)
    extent = target.window if units is None else units.target_window(target)
    size = _block_size(_scale(source, target))
    for window in target.blocks(size) if windows is None else windows:
        kept = window.intersection(extent)
        if kept.is_empty:
            continue
        # Whole blocks are placed even where a part of them is needed, because the warp of a cell
        # between two CRS depends slightly on the block.
        grid = _source_grid(source, target.crop(window), method)
        cells, wanted = _wanted(source, grid, target, window, units, reach)
        yield _Piece(window, kept, grid, cells, wanted)


def placing_method(source: Grid, target: Grid) -> Method:
    """Return how a scene on grid ``source`` is resampled to a part of the mosaic's grid."""
    return resampling_method(source, target, scale=_scale(source, target))


def needed_pixels(source: Grid, target: Grid, units: NeededUnits | None) -> GridWindow:
    """Return the pixels of a scene that a part of the mosaic is resampled from.

    Parameters
    ----------
    source : Grid
        Grid of the scene.
    target : Grid
        Part of the mosaic's grid.
    units : NeededUnits or None
        Units of the scene that are needed; None for all of it.

    Returns
    -------
    GridWindow
        Window of ``source``, without the margin of resampling where it ends with ``target``.
    """
    window = source.window_of(bounds_in(target.bounds, target.crs, source.crs))
    if units is None:
        return window
    method = placing_method(source, target)
    reach = resampling_reach(source, target, method)
    return window.intersection(units.source_window(source, units.extent, reach))


def _wanted(
    source: Grid,
    grid: Grid | None,
    target: Grid,
    window: GridWindow,
    units: NeededUnits | None,
    reach: int,
) -> tuple[BoolRaster | None, list[GridWindow]]:
    """Find what is needed of one block.

    Returns
    -------
    ndarray of bool or None
        Cells of ``window`` that are needed; None if all are.
    list of GridWindow
        Windows of ``grid``, the source of the block, that must be read.
    """
    if grid is None:
        return None, []
    if units is None:
        return None, [grid.window]
    cells, holding = units.cells(target, window)
    row, col = source.offset_of(grid)
    found = (
        units.source_window(source, rectangle, reach).shifted(-row, -col).intersection(grid.window)
        for rectangle in rectangles(holding)
    )
    return cells, [each for each in found if not each.is_empty]


def _read(
    source: RasterSceneSource, bands: tuple[str, ...], grid: Grid, windows: list[GridWindow]
) -> tuple[UInt16Raster, BoolRaster]:
    """Read some windows of ``grid``, shape (band, y, x), and the rim of the swath, shape (y, x).

    The pixels between the windows are 0.
    """
    if windows == [grid.window]:
        return source.read_with_rim(bands, grid)
    pixels = np.zeros((len(bands), *grid.shape), dtype=np.uint16)
    rim = np.zeros(grid.shape, dtype=np.bool_)
    for window in windows:
        part, part_rim = source.read_with_rim(bands, grid.crop(window))
        pixels[:, *window.slices] = part
        rim[window.slices] = part_rim
    return pixels, rim


def _placed(
    pixels: UInt16Raster,
    rim: BoolRaster,
    class_map: ClassMap,
    grid: Grid,
    part: Grid,
    method: Method,
    *,
    keep_observed: bool,
) -> PlacedBlock:
    """Place pixels on ``grid`` on ``part``; the window of the result is that of ``part`` alone."""
    classes = _classes_on(class_map, grid)
    classes[~valid_pixels(pixels)] = PixelClass.UNOBSERVED
    classes[_spread(rim, method) & (classes == PixelClass.CLEAR)] = PixelClass.LOW_RANK
    clear, placed, distance_m = _place_clear(pixels, classes, class_map, grid, part, method)
    observed = None
    if keep_observed:
        observed = np.where(classes != PixelClass.UNOBSERVED, pixels, np.uint16(0))
        observed = place_reflectance(observed, grid, part, method=method)
    confidence = _place_confidence(class_map, grid, part, method)
    confidence *= placed != PixelClass.UNOBSERVED
    return PlacedBlock(part.window, clear, observed, placed, distance_m, confidence)


def _cut(
    block: PlacedBlock, cells: BoolRaster | None, window: GridWindow, kept: GridWindow
) -> PlacedBlock:
    """Cut a block at ``window`` to the window ``kept``; only ``cells`` keep their values."""
    if cells is None:
        return replace(block, window=kept)
    rows, cols = kept.shifted(-window.row, -window.col).slices
    needed = cells[rows, cols]
    observed = None if block.observed is None else block.observed[:, rows, cols] * needed
    return PlacedBlock(
        kept,
        block.clear[:, rows, cols] * needed,
        observed,
        block.classes[rows, cols] * needed,
        block.distance_m[rows, cols] * needed,
        block.confidence[rows, cols] * needed,
    )


def _spread(rim: BoolRaster, method: Method) -> BoolRaster:
    """Extend the rim of a swath to the pixels whose resampled value it has a share in."""
    if method != "cubic":
        return rim
    return grown_by(rim, CUBIC_REACH)


def _place_clear(
    pixels: UInt16Raster,
    classes: UInt8Raster,
    class_map: ClassMap,
    grid: Grid,
    part: Grid,
    method: Method,
) -> tuple[UInt16Raster, UInt8Raster, UInt16Raster]:
    """Mask pixels on ``grid``, and place them on ``part`` with their classes and distances.

    Returns ``clear``, ``classes`` and ``distance_m`` of a `PlacedBlock`; the argument ``classes``
    are those of the pixels.
    """
    distance = sample_nearest(class_map.distance_m, class_map.grid, grid, fill=0)
    placed_classes = place_classes(classes, grid, part, method=method)
    clear = np.where(classes >= PixelClass.LOW_RANK, pixels, np.uint16(0))
    clear = place_reflectance(clear, grid, part, method=method)
    # Rounding at the edge of the data can leave a clear cell without a value: mask such cells.
    missing = (placed_classes >= PixelClass.LOW_RANK) & (clear == 0).any(axis=0)
    placed_classes[missing] = PixelClass.MASKED
    clear *= placed_classes >= PixelClass.LOW_RANK
    placed_distance = place_nearest(distance, grid, part, method=method)
    placed_distance *= placed_classes != PixelClass.UNOBSERVED
    return clear, placed_classes, placed_distance


def _place_confidence(class_map: ClassMap, grid: Grid, part: Grid, method: Method) -> UInt16Raster:
    """Place the agreement of a mask on ``part``, by nearest neighbour; full for one detector."""
    if class_map.agreement is None:
        return np.full(part.shape, FULL_AGREEMENT, dtype=np.uint16)
    sampled = sample_nearest(class_map.agreement, class_map.grid, grid, fill=FULL_AGREEMENT)
    return place_nearest(sampled.astype(np.uint16), grid, part, method=method)


def _classes_on(class_map: ClassMap, grid: Grid) -> UInt8Raster:
    """Sample the pixel classes on a grid; a pixel that touches several cells gets the worst."""
    codes = sample_nearest(class_map.classes, class_map.grid, grid, fill=PixelClass.MASKED)
    if not _nests(grid, class_map.grid):
        worst = [
            code
            for code in (PixelClass.LOW_RANK, PixelClass.MASKED)
            if (class_map.classes == code).any()
        ]
        for code in worst:
            codes[
                any_in_cells(class_map.classes == code, class_map.grid, grid) & (codes > code)
            ] = code
        absent = any_in_cells(class_map.classes == PixelClass.UNOBSERVED, class_map.grid, grid)
        codes[absent & (codes > PixelClass.MASKED)] = PixelClass.MASKED
    return codes


def _nests(fine: Grid, coarse: Grid) -> bool:
    """Whether each cell of ``fine`` lies within one of ``coarse``."""
    counts = (coarse.x_size / fine.x_size, coarse.y_size / fine.y_size)
    shifts = ((coarse.west - fine.west) / fine.x_size, (fine.north - coarse.north) / fine.y_size)
    return min(counts) > 1 - ALIGNMENT_TOLERANCE and all(
        abs(value - round(value)) < ALIGNMENT_TOLERANCE for value in (*counts, *shifts)
    )


def _scale(source: Grid, target: Grid) -> float:
    """Ratio of the size of a target cell to that of a source cell, on the ground."""
    west, south, east, north = bounds_in(target.bounds, target.crs, source.crs)
    source_cells = (east - west) * (north - south) / (source.x_size * source.y_size)
    return math.sqrt(source_cells / (target.width * target.height))


def _block_size(scale: float) -> int:
    """Side of a target block of about `BLOCK_PIXELS` source pixels: a power of two, in cells."""
    side = 1 << round(math.log2(max(1.0, BLOCK_PIXELS / scale)))
    return min(MAX_TARGET_BLOCK, side)


def _source_grid(source: Grid, part: Grid, method: Method) -> Grid | None:
    """Part of the scene's grid that ``part`` is resampled from; None if they do not overlap."""
    window = source.window_of(bounds_in(part.bounds, part.crs, source.crs))
    if method != "copy":
        window = window.grown(KERNEL_MARGIN)
    inside = window.intersection(source.window)
    return None if inside.is_empty else source.crop(inside)


def _empty_block(window: GridWindow, bands: int, *, keep_observed: bool) -> PlacedBlock:
    """Make the block of a window outside the scene."""
    nothing = np.zeros((bands, window.height, window.width), dtype=np.uint16)
    classes = np.zeros(nothing.shape[1:], dtype=np.uint8)
    observed = nothing if keep_observed else None
    empty = np.zeros(classes.shape, dtype=np.uint16)
    return PlacedBlock(window, nothing, observed, classes, empty, empty)
