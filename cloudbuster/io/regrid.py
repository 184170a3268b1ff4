"""Put a block of a scene on the mosaic's grid, by GDAL's warper."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from cloudbuster.core.grid import Bounds, MosaicGrid
from cloudbuster.core.masks import Look
from cloudbuster.core.radiometry import NODATA, SATURATED
from cloudbuster.core.regrid import Method

# Points on each edge of a rectangle that is projected: its edges bend (S2Mosaic's lesson, kept in
# the tests: four corners alone lose scenes at the corner of an area).
DENSIFY_POINTS = 21
# Error of the warper's interpolated transformation, source pixels: a twentieth is far under the
# geolocation error of 0.4 pixels (5 m at 95 %, Sentinel-2 annual performance report).
TRANSFORM_TOLERANCE = 0.05

Raster = npt.NDArray[np.uint16]
RESAMPLING = {"mean": Resampling.average, "cubic": Resampling.cubic}


def project_bounds(
    bounds: Bounds, crs: str, target_crs: str, *, near: Bounds | None = None
) -> Bounds:
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
    bands: Raster, grid: MosaicGrid, target: MosaicGrid, *, method: Method
) -> Raster:
    """Put reflectance on ``target``.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        Harmonised DN on ``grid``; 0 in every band where a pixel is not to be used. Not modified.
    grid, target : MosaicGrid
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


def place_look(
    look: npt.NDArray[np.uint8], grid: MosaicGrid, target: MosaicGrid, *, method: Method
) -> npt.NDArray[np.uint8]:
    """Put look codes on ``target``: any masked pixel under a cell masks it, any low rank lowers it.

    Parameters
    ----------
    look : ndarray of uint8, shape (y, x)
        Codes of `cloudbuster.core.masks.Look`, on ``grid``. Not modified.
    grid, target : MosaicGrid
        Where the codes lie and where they go.
    method : {"copy", "mean", "cubic"}
        With ``mean`` a cell is observed where any pixel under it is, else where the nearest is.

    Returns
    -------
    ndarray of uint8, shape of ``target``
    """
    if method == "copy":
        return np.asarray(_copied(look[None], grid, target)[0], dtype=np.uint8)
    flags = np.stack([look == Look.MASKED, look == Look.LOW_RANK, look != Look.UNOBSERVED]).astype(
        np.uint8
    )
    touched = np.zeros((3, *target.shape), dtype=np.uint8)
    _warp(flags, grid, touched, target, Resampling.max, nodata=None)
    masked, low_rank, observed = touched.astype(bool)
    if method == "cubic":
        nearest = np.zeros((1, *target.shape), dtype=np.uint8)
        _warp(flags[2:], grid, nearest, target, Resampling.nearest, nodata=None)
        observed = nearest[0].astype(bool)
    codes = np.where(masked, Look.MASKED, np.where(low_rank, Look.LOW_RANK, Look.CLEAR))
    return np.where(observed, codes, Look.UNOBSERVED).astype(np.uint8)


def place_distance(
    distance_m: Raster, grid: MosaicGrid, target: MosaicGrid, *, method: Method
) -> Raster:
    """Put distances to cloud on ``target``, nearest; 0 outside of ``grid``."""
    if method == "copy":
        return np.asarray(_copied(distance_m[None], grid, target)[0], dtype=np.uint16)
    placed = np.zeros((1, *target.shape), dtype=np.uint16)
    _warp(distance_m[None], grid, placed, target, Resampling.nearest, nodata=None)
    return np.asarray(placed[0], dtype=np.uint16)


def _copied(values: npt.NDArray[Any], grid: MosaicGrid, target: MosaicGrid) -> npt.NDArray[Any]:
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
    values: npt.NDArray[Any],
    grid: MosaicGrid,
    placed: npt.NDArray[Any],
    target: MosaicGrid,
    resampling: Resampling,
    *,
    nodata: int | None = NODATA,
) -> None:
    """Warp into ``placed``; the kernel is that of the cell sizes, whatever block is asked for."""
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
        tolerance=0 if grid.crs == target.crs else TRANSFORM_TOLERANCE,
        **({"XSCALE": 1, "YSCALE": 1} if resampling is Resampling.cubic else {}),
    )
