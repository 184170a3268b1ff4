"""Footprint of a scene: its geometry, else its bounding box, else the square of its tile."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.antimeridian import box_area, split, unwrapped
from cloudbuster.core.areas.polygons import have_empty_rings, polygonal
from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.core.projections.utm import utm_epsg

# A tile of Sentinel-2 is 109.8 km wide (Sentinel-2 tiling grid, ESA): 9.4 degrees at 84 degrees of
# latitude, where the tiles end. A footprint several times as wide is a known error of items across
# the antimeridian (Element84/earth-search#28: a tile that covers the Earth).
MAX_WIDTH_DEG = 30.0
# Side of a tile, metres. Its upper left corner is that of its MGRS square, which has 100 km.
TILE_SIDE_M = 109_800.0
SQUARE_M = 100_000.0
# MGRS (NGA.STND.0037 2.0.0 GRIDS, 2014): letters of the columns by zone modulo 3; letters of the
# rows, which repeat every 2000 km and start five letters later in even zones; letters of the
# latitude bands of 8 degrees.
COLUMNS = {1: "ABCDEFGH", 2: "JKLMNPQR", 0: "STUVWXYZ"}
ROWS = "ABCDEFGHJKLMNPQRSTUV"
EVEN_ZONE_ROWS = 5
LATITUDE_BANDS = "CDEFGHJKLMNPQRSTUVWX"
TILE_CODE = re.compile(r"(0?[1-9]|[1-5]\d|60)([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])")
# Latitudes beyond which there is no tile, degrees. The squares of all codes that the letters allow
# in the bands that end at 84 and -80 degrees reach 85.23 and -81.10 (computed by `tile_square`).
TILES_NORTH_END_DEG, TILES_SOUTH_END_DEG = 85.3, -81.2
# Size of the cache of tile squares: computing one takes 3 ms, and many scenes share a tile.
SQUARES_KEPT = 1024
# Vertices on each side of a tile's square, since its sides are curved in degrees.
POINTS_PER_SIDE = 8


def read_footprint(
    geometry: object, *, box: object = None, tile: str | None = None
) -> BaseGeometry | None:
    """Make the footprint of a scene from what its catalog says.

    Parameters
    ----------
    geometry : object
        GeoJSON geometry, longitude and latitude. Anything else counts as none.
    box : object
        Bounding box of 4 or 6 numbers (STAC, RFC 7946 section 5); used if there is no usable
        geometry. Anything else counts as none.
    tile : str, optional
        MGRS tile, for example ``33TWL``; its square is used if there is neither of the two.

    Returns
    -------
    shapely Polygon or MultiPolygon, or None
        Valid, not empty, longitudes from -180 to 180, split at the antimeridian. None if the
        location of the scene is unknown.
    """
    footprint = _of_geometry(geometry)
    if footprint is None:
        footprint = _of_box(box)
    if footprint is not None:
        return footprint
    square = None if tile is None else tile_square(tile)
    return None if square is None else split(square)


@functools.lru_cache(maxsize=SQUARES_KEPT)
def tile_square(tile: str) -> BaseGeometry | None:
    """Compute the square of a Sentinel-2 tile, with an error of about 50 m.

    Parameters
    ----------
    tile : str
        MGRS code, for example ``33TWL`` or ``1WCR``.

    Returns
    -------
    shapely Polygon or None
        Degrees, unwrapped. None if there cannot be such a tile.
    """
    parts = TILE_CODE.fullmatch(tile)
    if parts is None or parts[3] not in COLUMNS[int(parts[1]) % 3]:
        return None
    zone, band = int(parts[1]), parts[2]
    from_lonlat = transformer(LONLAT, f"EPSG:{utm_epsg(zone, north=band >= 'N')}")
    west_m = SQUARE_M * (1 + COLUMNS[zone % 3].index(parts[3]))
    top_m = _row_south_m(zone, band, parts[4], from_lonlat) + SQUARE_M
    outline = shapely.segmentize(
        shapely.box(west_m, top_m - TILE_SIDE_M, west_m + TILE_SIDE_M, top_m),
        TILE_SIDE_M / POINTS_PER_SIDE,
    )
    x, y = shapely.get_coordinates(outline).T
    longitude, latitude = from_lonlat.transform(x, y, direction="INVERSE")
    return unwrapped(Polygon(np.column_stack([longitude, latitude])))


def _row_south_m(zone: int, band: str, letter: str, from_lonlat: pyproj.Transformer) -> float:
    """Return the northing of the southern edge of an MGRS square, by zone, band and row letter.

    The letters of the rows repeat every 2000 km. A latitude band is less than 1400 km high, so the
    repetition nearest to the middle of the band is meant.
    """
    middle = -80.0 + 8.0 * LATITUDE_BANDS.index(band) + (6.0 if band == "X" else 4.0)
    _, band_m = from_lonlat.transform(6.0 * zone - 183.0, middle)
    row = (ROWS.index(letter) - (EVEN_ZONE_ROWS if zone % 2 == 0 else 0)) % len(ROWS)
    south_m, period = row * SQUARE_M, SQUARE_M * len(ROWS)
    return float(south_m + period * round((band_m - SQUARE_M / 2 - south_m) / period))


def refuse_beyond_tiles(area: BaseGeometry) -> None:
    """Raise ValueError for an area that no tile of Sentinel-2 reaches.

    Parameters
    ----------
    area : shapely geometry
        Not empty, degrees of longitude and latitude.
    """
    west, south, east, north = shapely.bounds(shapely.get_parts(area)).T
    if not ((south > TILES_NORTH_END_DEG) | (north < TILES_SOUTH_END_DEG)).all():
        return
    is_swapped = (west.min() > TILES_SOUTH_END_DEG) & (east.max() < TILES_NORTH_END_DEG)
    remedy = (
        "if latitude and longitude are swapped, write longitude first"
        if is_swapped
        else "choose an area nearer to the equator"
    )
    msg = (
        f"no tile of Sentinel-2 lies between {south.min():.2f} and {north.max():.2f} degrees of "
        f"latitude (they end at 84 north and 80 south); {remedy}"
    )
    raise ValueError(msg)


def repaired_footprints(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Repair many footprints at once, as `read_footprint` repairs one.

    Parameters
    ----------
    geometries : ndarray of shapely geometry or None
        Degrees. Not modified.

    Returns
    -------
    ndarray of shapely geometry or None
        Footprints that need no repair are the same objects; None for those that are unusable.
    """
    west, _, east, _ = shapely.bounds(geometries).T
    plain = shapely.is_valid(geometries) & (west >= -180) & (east <= 180)
    plain &= (east - west <= MAX_WIDTH_DEG) & ~have_empty_rings(geometries)
    result = geometries.copy()
    for index in np.flatnonzero(~plain & ~shapely.is_missing(geometries)):
        result[index] = _usable_or_none(geometries[index])
    return result


def _of_geometry(document: object) -> BaseGeometry | None:
    """Make a footprint of a GeoJSON geometry; None if that is not possible."""
    if not isinstance(document, Mapping) or not document.get("coordinates"):
        return None
    try:
        return _usable(shape(document))
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _of_box(box: object) -> BaseGeometry | None:
    """Make a footprint of a bounding box; None if that is not possible."""
    if not isinstance(box, Sequence) or isinstance(box, str) or len(box) not in (4, 6):
        return None
    numbers: list[Any] = [*box[:2], *box[len(box) // 2 :][:2]]
    try:
        west, south, east, north = map(float, numbers)
        # Such a box was computed from the extremes of a footprint across the antimeridian.
        if east - west > MAX_WIDTH_DEG:
            west, east = east, west
        return _usable(box_area(west, south, east, north))
    except (ShapelyError, ValueError, TypeError):
        return None


def _usable_or_none(geometry: BaseGeometry) -> BaseGeometry | None:
    """Repair a footprint as `_usable`; None also if shapely cannot repair it."""
    try:
        return _usable(geometry)
    except (ShapelyError, ValueError):
        return None


def _usable(geometry: BaseGeometry) -> BaseGeometry | None:
    """Repair and split a footprint; None if it has no area, or is wider than a scene can be."""
    flat = shapely.force_2d(geometry)
    whole = polygonal(unwrapped(flat) if flat.geom_type.endswith("Polygon") else flat)
    if whole.is_empty or whole.bounds[2] - whole.bounds[0] > MAX_WIDTH_DEG:
        return None
    return split(whole)
