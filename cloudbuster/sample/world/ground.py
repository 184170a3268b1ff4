"""Ground of the sample world, a pure function of absolute coordinates.

Every cell of `CELL_M` has a lake with a beach, a hill with a snow patch, a town and a sand pit, so
that even the small world has every surface, whatever the seed. Woods and fields fill the rest.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import UInt8Raster
from cloudbuster.sample.world import spectra
from cloudbuster.sample.world.noise import (
    Axis,
    Field,
    fractal_noise,
    hash_unit,
    spline_noise,
    stable_key,
)

# Side of a cell and origin of the lattice (EPSG:32633, metres). The small world has two cells.
CELL_M = 9000.0
CELL_ORIGIN = (500_600.0, 5_090_400.0)
# Centres of the four quarters of a cell, metres from its corner.
QUARTERS = ((2300.0, 2300.0), (6700.0, 2300.0), (2300.0, 6700.0), (6700.0, 6700.0))
# Radii, metres. Even with irregular outlines, all features stay inside a quarter.
LAKE_M, BEACH_M, SNOW_M, TOWN_M, PIT_M = 1050.0, 130.0, 720.0, 900.0, 420.0
RIVER_HALF_WIDTH_M = 45.0
# Standard deviation of the difference in height over 28 m towards the south-east, where the light
# comes from (measured over 20 km).
SLOPE_STD = 0.0432

# Numbers of the noise fields, see `stable_key`.
(_QUARTER, _WOBBLE, _WOOD, _RELIEF, _FINE, _PARCEL, _TURN, _ROOF, _RIVER, _VIGOUR) = range(10)


@dataclass(frozen=True)
class Ground:
    """Ground of a window.

    Attributes
    ----------
    surface : ndarray of uint8, shape (y, x)
        Surface class, an index into `spectra.surface_table`.
    light : ndarray of float32, shape (y, x)
        Factor about 1 on the reflectance of every band, from relief and texture.
    vigour : ndarray of float32, shape (y, x)
        Factor about 1 on the near-infrared bands, from the vigour of plants.
    """

    surface: npt.NDArray[np.uint8]
    light: Field
    vigour: Field


def _feature_distance(x: Axis, y: Axis, which: int, seed: int) -> Field:
    """Distance to the centre of feature ``which`` (0 to 3) of each cell, metres, shape (y, x)."""
    column = np.floor((x - CELL_ORIGIN[0]) / CELL_M).astype(np.int64)
    row = np.floor((y - CELL_ORIGIN[1]) / CELL_M).astype(np.int64)
    columns = np.arange(column.min(), column.max() + 1)[np.newaxis, :]
    rows = np.arange(row.min(), row.max() + 1)[:, np.newaxis]
    key = stable_key(seed, (_QUARTER,))
    # Neighbouring cells of a column have different layouts.
    turn = (hash_unit(columns, 0 * rows, key) * 4).astype(np.int64) + rows
    quarter = np.array(QUARTERS)[(which + turn) % 4]
    moved_x = (hash_unit(columns, rows, key + 1 + which) - 0.5) * 700
    moved_y = (hash_unit(columns, rows, key + 11 + which) - 0.5) * 700
    center_x = CELL_ORIGIN[0] + CELL_M * columns + quarter[..., 0] + moved_x
    center_y = CELL_ORIGIN[1] + CELL_M * rows + quarter[..., 1] + moved_y
    cell = np.ix_(row - rows[0, 0], column - columns[0, 0])
    in_x = (x[np.newaxis, :] - center_x[cell]).astype(np.float32)
    in_y = (y[:, np.newaxis] - center_y[cell]).astype(np.float32)
    away: Field = np.sqrt(in_x * in_x + in_y * in_y)
    return away


def _fields(x: Axis, y: Axis, seed: int) -> npt.NDArray[np.uint8]:
    """Surface class of the fields, which run in two directions, shape (y, x)."""
    turned = spline_noise(x, y, cell_m=(1700, 1700), key=stable_key(seed, (_TURN,))) > 0
    cos = np.where(turned, 0.9455, 0.7071)
    sin = np.where(turned, 0.3256, -0.7071)
    # Coordinates relative to a constant origin, to keep the products small.
    east, north = (x - CELL_ORIGIN[0])[np.newaxis, :], (y - CELL_ORIGIN[1])[:, np.newaxis]
    along, across = east * cos + north * sin, north * cos - east * sin
    # Strips of the two directions get different numbers.
    strip = np.floor(across / 130).astype(np.int64) + np.where(turned, 1_000_000, 0)
    key = stable_key(seed, (_PARCEL,))
    zero = np.zeros((1, 1), np.int64)
    shift = 700 * hash_unit(strip, zero, key)
    length = 220 + 260 * hash_unit(strip, zero, key + 1)
    parcel = np.floor((along + shift) / length).astype(np.int64)
    kind = (hash_unit(strip, parcel, key + 2) * 20).astype(np.int64)
    crop = np.where(kind < spectra.CROP_KINDS, spectra.CROP + kind, spectra.GRASS)
    return crop.astype(np.uint8)


def _paint_town(surface: npt.NDArray[np.uint8], away: Field, x: Axis, y: Axis, seed: int) -> None:
    """Paint houses, greens and bright roofs where the distance ``away``, metres, is in a town."""
    key = stable_key(seed, (_ROOF,))
    column = np.floor(x / 60).astype(np.int64)[np.newaxis, :]
    row = np.floor(y / 50).astype(np.int64)[:, np.newaxis]
    lot = hash_unit(column, row, key)
    # Halls of 180 m x 100 m, large enough to fill most of a 160 m pixel of a coarse cloud mask.
    hall_column = np.floor(x / 180).astype(np.int64)[np.newaxis, :]
    hall_row = np.floor(y / 100).astype(np.int64)[:, np.newaxis]
    hall = hash_unit(hall_column, hall_row, key + 1)
    town = away < TOWN_M
    surface[town & (lot < 0.68)] = spectra.URBAN
    surface[town & (lot > 0.93)] = spectra.ROOF
    surface[(away < 0.75 * TOWN_M) & (hall > 0.93)] = spectra.ROOF


def _river(x: Axis, y: Axis, seed: int) -> npt.NDArray[np.bool_]:
    """Mask of the rivers, one in each column of cells, shape (y, x)."""
    key = stable_key(seed, (_RIVER,))
    origin = np.zeros(1)
    bend = fractal_noise(origin, y, cell_m=(1.0, 2600.0), octaves=3, gain=0.45, key=key)[:, 0]
    column = np.floor((x - CELL_ORIGIN[0]) / CELL_M)
    middle = CELL_ORIGIN[0] + CELL_M * (column + 0.5)
    away = x[np.newaxis, :] - (middle[np.newaxis, :] + 260 * bend[:, np.newaxis])
    return np.abs(away) < RIVER_HALF_WIDTH_M


def _surface(x: Axis, y: Axis, wobble: Field, slope: Field, seed: int) -> npt.NDArray[np.uint8]:
    """Surface class, shape (y, x); later features are painted over earlier ones."""
    wood = fractal_noise(
        x, y, cell_m=(2200, 2200), octaves=5, gain=0.55, key=stable_key(seed, (_WOOD,))
    )
    surface = _fields(x, y, seed)
    surface[wood > 0.35] = spectra.BROADLEAF
    surface[wood > 1.05] = spectra.CONIFER
    surface[(wood > 1.05) & (slope < -1.4)] = spectra.SHADED
    wobble_m = 170 * wobble
    hill = _feature_distance(x, y, 1, seed) + wobble_m
    surface[(hill < 2.0 * SNOW_M) & (wood > -0.9)] = spectra.CONIFER
    surface[hill < 1.3 * SNOW_M] = spectra.GRASS
    surface[hill < SNOW_M] = spectra.SNOW
    _paint_town(surface, _feature_distance(x, y, 2, seed) + wobble_m, x, y, seed)
    surface[_feature_distance(x, y, 3, seed) + 0.5 * wobble_m < PIT_M] = spectra.SAND
    surface[_river(x, y, seed)] = spectra.WATER
    lake = _feature_distance(x, y, 0, seed) + wobble_m
    surface[(lake < LAKE_M + BEACH_M) & (wood > -0.3)] = spectra.SAND
    surface[lake < LAKE_M] = spectra.WATER
    return surface


def _relief(x: Axis, y: Axis, key: int) -> Field:
    """Height of the terrain, approximately standard normal, shape (y, x)."""
    return fractal_noise(x, y, cell_m=(1900.0, 1900.0), octaves=4, gain=0.5, key=key)


def _light(surface: UInt8Raster, fine: Field, slope: Field) -> Field:
    """How bright the ground is: less varied where it is flat."""
    flat = np.isin(surface, (spectra.WATER, spectra.SNOW, spectra.SAND, spectra.ROOF))
    light = 1 + np.where(flat, np.float32(0.3), np.float32(1)) * (
        np.float32(0.05) * fine + np.float32(0.035) * np.clip(slope, -2.5, 2.5)
    )
    bright: Field = np.clip(light, np.float32(0.6), np.float32(1.4))
    return bright


def make_ground(x: Axis, y: Axis, *, seed: int) -> Ground:
    """Make the ground of a window.

    Parameters
    ----------
    x, y : ndarray of float64, shapes (x,) and (y,)
        Eastings and northings of the pixel centres, metres.
    seed : int
        Seed of the sample.

    Returns
    -------
    Ground
        Surface classes and factors, shape (y, x).
    """
    relief_key, fine_key = stable_key(seed, (_RELIEF,)), stable_key(seed, (_FINE,))
    slope = _relief(x, y, relief_key) - _relief(x + 28, y - 28, relief_key)
    slope *= np.float32(1 / SLOPE_STD)
    wobble = fractal_noise(
        x, y, cell_m=(900, 900), octaves=4, gain=0.5, key=stable_key(seed, (_WOBBLE,))
    )
    surface = _surface(x, y, np.clip(wobble, -2.2, 2.2), slope, seed)
    fine = fractal_noise(x, y, cell_m=(110, 110), octaves=3, gain=0.7, key=fine_key)
    vigour = spline_noise(x, y, cell_m=(260, 260), key=stable_key(seed, (_VIGOUR,)))
    return Ground(
        surface=surface,
        light=_light(surface, fine, slope),
        vigour=1 + np.float32(0.04) * np.clip(vigour, -3, 3),
    )
