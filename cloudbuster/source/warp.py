"""Put a block of a scene on the mosaic's grid, by GDAL's warper."""

import math

import numpy as np
import numpy.typing as npt
import pyproj
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from cloudbuster.core.arrays import Raster, UInt8Raster, UInt16Raster
from cloudbuster.core.digital_numbers import NODATA, SATURATED
from cloudbuster.core.grid import ALIGNMENT_TOLERANCE, Bounds, Grid
from cloudbuster.core.masks import PixelClass
from cloudbuster.core.regrid import Method, any_in_boxes
from cloudbuster.core.transformers import transformer

# Points on each edge of a rectangle that is projected: its edges bend (S2Mosaic's lesson, kept in
# the tests: four corners alone lose scenes at the corner of an area).
DENSIFY_POINTS = 21
# The corners of every so many cells are projected, the others lie between them: at 10 m this is
# 0.0002 m off, at 120 m 0.02 m (a chord of so many cells against the curvature of the Earth).
LATTICE_CELLS = 8

IndexRaster = npt.NDArray[np.intp]
RESAMPLING = {"mean": Resampling.average, "cubic": Resampling.cubic}


def bounds_in(bounds: Bounds, crs: str, target_crs: str, *, near: Bounds | None = None) -> Bounds:
    """Bounds in another CRS, of densified edges.

    Parameters
    ----------
    bounds : tuple of float
        (west, south, east, north) in ``crs``.
    crs, target_crs : str
        Coordinate reference systems.
    near : tuple of float, optional
        Bounds in ``target_crs`` that the result is compared with: longitudes come out in the turn
        that lies nearest to these.

    Returns
    -------
    tuple of float
        In ``target_crs``; west is less than east across the antimeridian too.
    """
    if crs == target_crs:
        return bounds
    west, south, east, north = transform_bounds(
        crs, target_crs, *bounds, densify_pts=DENSIFY_POINTS
    )
    axes = pyproj.CRS.from_user_input(target_crs)
    if axes.is_geographic:
        turn = 2 * math.pi / axes.axis_info[0].unit_conversion_factor
        # GDAL lets the west be greater than the east where the antimeridian lies between them.
        east += turn if east < west else 0.0
        if near is not None:
            shift = turn * round(((near[0] + near[2]) - (west + east)) / 2 / turn)
            west, east = west + shift, east + shift
    return (west, south, east, north)


def place_reflectance(
    bands: UInt16Raster, grid: Grid, target: Grid, *, method: Method
) -> UInt16Raster:
    """Put reflectance on ``target``.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        Harmonised DN on ``grid``; 0 in every band where a pixel is not to be used. Not modified.
    grid, target : Grid
        Where the pixels lie and where they go.
    method : {"copy", "mean", "cubic"}
        See `cloudbuster.core.regrid.resampling_method`.

    Returns
    -------
    ndarray of uint16, shape (band, *target.shape)
        0 where no usable pixel lies under the cell; unusable pixels take no part in the weights.
    """
    if method == "copy":
        return _copied(bands, grid, target)
    placed = np.zeros((len(bands), *target.shape), dtype=np.uint16)
    if not bands.any():
        return placed
    _warp(bands, grid, placed, target, RESAMPLING[method])
    seen = (placed != NODATA).any(axis=0)
    # The overshoot of a cubic kernel may reach the two values that have a meaning of their own.
    return np.where(seen, np.clip(placed, 1, SATURATED - 1), np.uint16(NODATA))


def place_classes(classes: UInt8Raster, grid: Grid, target: Grid, *, method: Method) -> UInt8Raster:
    """Put pixel classes on ``target``: the worst class of the pixels under a cell is its own.

    Parameters
    ----------
    classes : ndarray of uint8, shape (y, x)
        Codes of `cloudbuster.core.masks.PixelClass`, on ``grid``. Not modified.
    grid, target : Grid
        Where the codes lie and where they go.
    method : {"copy", "mean", "cubic"}
        With ``mean`` a cell is observed where any pixel under it is, else where the nearest is.

    Returns
    -------
    ndarray of uint8, shape of ``target``
    """
    if method == "copy":
        return np.asarray(_copied(classes[None], grid, target)[0], dtype=np.uint8)
    rows, cols = _touched_boxes(grid, target)
    codes = np.full(target.shape, PixelClass.CLEAR, dtype=np.uint8)
    for code in (PixelClass.LOW_RANK, PixelClass.MASKED):
        marked = classes == code
        if marked.any():
            codes[any_in_boxes(marked, rows, cols)] = code
    observed = np.zeros((1, *target.shape), dtype=np.uint8)
    seen = (classes != PixelClass.UNOBSERVED).astype(np.uint8)
    # Whatever gives the reflectance a value must give the cell one here.
    resampling = Resampling.max if method == "mean" else Resampling.nearest
    _warp(seen[None], grid, observed, target, resampling, nodata=None)
    return np.where(observed[0] != 0, codes, np.uint8(PixelClass.UNOBSERVED))


def place_distance(
    distance_m: UInt16Raster, grid: Grid, target: Grid, *, method: Method
) -> UInt16Raster:
    """Put distances to cloud on ``target``, nearest; 0 outside of ``grid``."""
    if method == "copy":
        return np.asarray(_copied(distance_m[None], grid, target)[0], dtype=np.uint16)
    placed = np.zeros((1, *target.shape), dtype=np.uint16)
    _warp(distance_m[None], grid, placed, target, Resampling.nearest, nodata=None)
    return np.asarray(placed[0], dtype=np.uint16)


def _touched_boxes(
    grid: Grid, target: Grid
) -> tuple[tuple[IndexRaster, IndexRaster], tuple[IndexRaster, IndexRaster]]:
    """Rows and columns (first, one after the last) of ``grid`` that each target cell may touch.

    The box around the four corners of the cell: a cell that lies askew reaches further than
    between two opposite corners, which is where GDAL's ``max`` looks.
    """
    x, y = _corners(target, grid.crs)
    places = ((grid.north - y) / grid.y_size, (x - grid.west) / grid.x_size)
    boxes = []
    for place in places:
        around = np.stack([place[:-1, :-1], place[:-1, 1:], place[1:, :-1], place[1:, 1:]])
        # Where a projection has no answer there is no pixel either.
        around = np.nan_to_num(around, nan=-1.0, posinf=-1.0, neginf=-1.0)
        first = np.floor(around.min(axis=0) + ALIGNMENT_TOLERANCE).astype(np.intp)
        last = np.ceil(around.max(axis=0) - ALIGNMENT_TOLERANCE).astype(np.intp)
        boxes.append((first, np.maximum(last, first + 1)))
    return boxes[0], boxes[1]


def _corners(target: Grid, crs: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Places in ``crs`` of all corners of the cells, x and y, shape (rows + 1, columns + 1)."""
    row, col = (
        np.arange(0, cells + LATTICE_CELLS, LATTICE_CELLS, dtype=np.float64)
        for cells in target.shape
    )
    x, y = np.meshgrid(target.west + col * target.x_size, target.north - row * target.y_size)
    if crs != target.crs:
        x, y = transformer(target.crs, crs).transform(x, y)
    return _between(x, target.shape), _between(y, target.shape)


def _between(values: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Interpolate a lattice of every `LATTICE_CELLS` corners to all, linearly in y and x."""
    for axis, cells in enumerate(shape):
        corner = np.arange(cells + 1)
        step = np.minimum(corner // LATTICE_CELLS, values.shape[axis] - 2)
        share = np.expand_dims(corner / LATTICE_CELLS - step, 1 - axis)
        low, high = values.take(step, axis=axis), values.take(step + 1, axis=axis)
        values = low * (1 - share) + high * share
    return values


def _copied(values: Raster, grid: Grid, target: Grid) -> Raster:
    """Cut ``target`` out of an aligned ``grid``; 0 outside."""
    row, col = grid.offset_of(target)
    window = target.window.shifted(row, col)
    inside = window.intersection(grid.window)
    placed = np.zeros((len(values), *target.shape), dtype=values.dtype)
    if not inside.is_empty:
        to_rows, to_cols = inside.shifted(-row, -col).slices
        rows, cols = inside.slices
        placed[:, to_rows, to_cols] = values[:, rows, cols]
    return placed


def _warp(
    values: Raster,
    grid: Grid,
    placed: Raster,
    target: Grid,
    resampling: Resampling,
    *,
    nodata: int | None = NODATA,
) -> None:
    """Warp into ``placed``; the kernel is that of the cell sizes, whatever block is asked for.

    Between two coordinate reference systems GDAL interpolates the places of a row's cells, so that
    they depend on the block, by 0.012 pixels as measured over 900 cells between two UTM zones
    (rasterio 1.4 sets GDAL's limit, an eighth of a pixel, and takes no other).
    """
    reproject(
        values,
        placed,
        src_transform=grid.transform,
        src_crs=grid.crs,
        src_nodata=nodata,
        dst_transform=target.transform,
        dst_crs=target.crs,
        dst_nodata=nodata,
        resampling=resampling,
        **({"XSCALE": 1, "YSCALE": 1} if resampling is Resampling.cubic else {}),
    )
