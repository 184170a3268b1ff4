"""Where a scene lies: its footprint, else its bounding box, else the square of its tile."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.antimeridian import box_area, split, unwrapped
from cloudbuster.core.aoi import polygonal
from cloudbuster.core.transformers import LONLAT, transformer
from cloudbuster.core.utm import utm_epsg

# A tile of Sentinel-2 is 109.8 km wide (Sentinel-2 tiling grid, ESA): 9.4 degrees at 84 degrees of
# latitude, where the tiles end. A footprint several times as wide is a mistake across the
# antimeridian (Element84/earth-search#28: a tile that covers the Earth).
MAX_WIDTH_DEG = 30.0
# Of a tile's square, metres: it hangs from the upper left corner of its MGRS square of 100 km.
TILE_SIDE_M = 109_800.0
SQUARE_M = 100_000.0
# MGRS (NGA.STND.0037 2.0.0 GRIDS, 2014): letters of the columns by zone modulo 3, of the rows (the
# even zones begin five letters on), which repeat every 2000 km, and of the bands of 8 degrees.
COLUMNS = {1: "ABCDEFGH", 2: "JKLMNPQR", 0: "STUVWXYZ"}
ROWS = "ABCDEFGHJKLMNPQRSTUV"
EVEN_ZONE_ROWS = 5
LATITUDE_BANDS = "CDEFGHJKLMNPQRSTUVWX"
TILE_CODE = re.compile(r"(0?[1-9]|[1-5]\d|60)([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])")
# No tile reaches further, degrees of latitude: the squares of every code that the letters allow, in
# the bands that end at 84 and -80 degrees, reach 85.23 and -81.10 as `tile_square` makes them.
TILES_NORTH_END_DEG, TILES_SOUTH_END_DEG = 85.3, -81.2
# Squares that are kept, of tiles that are asked for again with every scene: to make one takes 3 ms.
SQUARES_KEPT = 1024
# Vertices on each side of a tile's square: its sides bend in degrees.
POINTS_PER_SIDE = 8


def read_footprint(
    geometry: object, *, box: object = None, tile: str | None = None
) -> BaseGeometry | None:
    """Make the footprint of a scene of what its catalog tells.

    Parameters
    ----------
    geometry : object
        GeoJSON geometry, longitude and latitude; or anything else a document may have there.
    box : object
        Bounding box of 4 or 6 numbers (STAC, RFC 7946 section 5); taken where there is no usable
        geometry.
    tile : str or None
        MGRS tile as ``33TWL``; its square is taken where there is neither.

    Returns
    -------
    shapely Polygon or MultiPolygon, or None
        Valid, with area, longitudes from -180 to 180, split at the antimeridian. None where
        nothing tells where the scene lies.
    """
    told = _of_geometry(geometry)
    if told is None:
        told = _of_box(box)
    if told is not None:
        return told
    square = None if tile is None else tile_square(tile)
    return None if square is None else split(square)


@functools.lru_cache(maxsize=SQUARES_KEPT)
def tile_square(tile: str) -> BaseGeometry | None:
    """Square of a Sentinel-2 tile, to about 50 m.

    Parameters
    ----------
    tile : str
        MGRS code as ``33TWL`` or ``1WCR``.

    Returns
    -------
    shapely Polygon or None
        Degrees, unwrapped. None where no such tile can be.
    """
    parts = TILE_CODE.fullmatch(tile)
    if parts is None or parts[3] not in COLUMNS[int(parts[1]) % 3]:
        return None
    zone, band = int(parts[1]), parts[2]
    north = band >= "N"
    west_m = SQUARE_M * (1 + COLUMNS[zone % 3].index(parts[3]))
    row = (ROWS.index(parts[4]) - (EVEN_ZONE_ROWS if zone % 2 == 0 else 0)) % len(ROWS)
    crs = f"EPSG:{utm_epsg(zone, north=north)}"
    from_lonlat = transformer(LONLAT, crs)
    # The rows repeat every 2000 km; a band is under 1400 km high, so its middle tells which.
    middle = -80.0 + 8.0 * LATITUDE_BANDS.index(band) + (6.0 if band == "X" else 4.0)
    _, band_m = from_lonlat.transform(6.0 * zone - 183.0, middle)
    period = SQUARE_M * len(ROWS)
    south_m = row * SQUARE_M
    south_m += period * round((band_m - SQUARE_M / 2 - south_m) / period)
    top_m = south_m + SQUARE_M
    outline = shapely.segmentize(
        shapely.box(west_m, top_m - TILE_SIDE_M, west_m + TILE_SIDE_M, top_m),
        TILE_SIDE_M / POINTS_PER_SIDE,
    )
    x, y = shapely.get_coordinates(outline).T
    longitude, latitude = from_lonlat.transform(x, y, direction="INVERSE")
    return unwrapped(Polygon(np.column_stack([longitude, latitude])))


def refuse_beyond_tiles(area: BaseGeometry) -> None:
    """Raise ValueError for an area that lies wholly where no tile of Sentinel-2 reaches.

    Parameters
    ----------
    area : shapely geometry
        Not empty, degrees of longitude and latitude.
    """
    _, south, _, north = shapely.bounds(shapely.get_parts(area)).T
    if not ((south > TILES_NORTH_END_DEG) | (north < TILES_SOUTH_END_DEG)).all():
        return
    msg = (
        f"no tile of Sentinel-2 lies between {south.min():.2f} and {north.max():.2f} degrees of "
        "latitude (they end at 84 north and 80 south); choose an area nearer to the equator"
    )
    raise ValueError(msg)


def repaired_footprints(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Repair many footprints at once, as `read_footprint` does; most need nothing.

    Parameters
    ----------
    geometries : ndarray of shapely geometry or None
        Degrees. Not modified.

    Returns
    -------
    ndarray of shapely geometry or None
        None where there is no usable one.
    """
    west, _, east, _ = shapely.bounds(geometries).T
    plain = shapely.is_valid(geometries) & (west >= -180) & (east <= 180)
    plain &= east - west <= MAX_WIDTH_DEG
    result = geometries.copy()
    for index in np.flatnonzero(~plain & ~shapely.is_missing(geometries)):
        result[index] = _usable_or_none(geometries[index])
    return result


def _of_geometry(document: object) -> BaseGeometry | None:
    if not isinstance(document, Mapping) or not document.get("coordinates"):
        return None
    try:
        return _usable(shape(document))
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _of_box(box: object) -> BaseGeometry | None:
    if not isinstance(box, Sequence) or isinstance(box, str) or len(box) not in (4, 6):
        return None
    numbers: list[Any] = [*box[:2], *box[len(box) // 2 :][:2]]
    try:
        west, south, east, north = map(float, numbers)
        # A box that spans the map was made of the split parts' extremes, or of a ring that jumps.
        if east - west > MAX_WIDTH_DEG:
            west, east = east, west
        return _usable(box_area(west, south, east, north))
    except (ShapelyError, ValueError, TypeError):
        return None


def _usable_or_none(geometry: BaseGeometry) -> BaseGeometry | None:
    try:
        return _usable(geometry)
    except (ShapelyError, ValueError):
        return None


def _usable(geometry: BaseGeometry) -> BaseGeometry | None:
    """Repair and split a footprint; None where it encloses no ground or more than a scene can."""
    flat = shapely.force_2d(geometry)
    whole = polygonal(unwrapped(flat) if flat.geom_type.endswith("Polygon") else flat)
    if whole.is_empty or whole.bounds[2] - whole.bounds[0] > MAX_WIDTH_DEG:
        return None
    return split(whole)
