"""The mosaic's grid: which coordinate reference system, which cells, over which extent."""

import math

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.antimeridian import unwrapped
from cloudbuster.core.aoi import polygonal
from cloudbuster.core.coverage import surface
from cloudbuster.core.grid import Bounds, Grid, snapped_grid
from cloudbuster.core.transformers import LONLAT, transformer
from cloudbuster.core.utm import utm_epsg

# Width of a zone of the Universal Transverse Mercator grid, degrees of longitude; zone 1 begins at
# 180 degrees west (Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395, p. 57).
UTM_ZONE_DEG = 6.0
# UTM ends here, degrees of latitude (Snyder, as above); Sentinel-2's tiles do as well.
UTM_NORTH_END_DEG, UTM_SOUTH_END_DEG = 84.0, -80.0
# Zones of another width, as the Military Grid Reference System has them and with it Sentinel-2's
# tiles (NGA.STND.0037 2.0.0 GRIDS, 2014, UTM zone exceptions): band V (Norway), band X (Svalbard).
# (south, north, west, east) in degrees, south and west inclusive, to the zone.
UTM_EXCEPTIONS: dict[tuple[float, float, float, float], int] = {
    (56.0, 64.0, 3.0, 12.0): 32,
    (72.0, 84.0, 0.0, 9.0): 31,
    (72.0, 84.0, 9.0, 21.0): 33,
    (72.0, 84.0, 21.0, 33.0): 35,
    (72.0, 84.0, 33.0, 42.0): 37,
}
# Metres per degree of latitude by which the original made its cells in degrees.
ORIGINAL_M_PER_DEG = 110_000.0
# Sentinel-2's native cell sizes, metres: every tile's corner is a multiple of each of them.
NATIVE_GSDS_M = (10.0, 20.0, 60.0)
# Vertices are at most this far apart when an area is projected, degrees. The edge between two of
# them then strays from the true curve by less than 1100 m squared / (8 x 6371 km) x tan(latitude):
# 0.024 m at 45 degrees, 0.23 m at 84.
EDGE_STEP_DEG = 0.01
# GDAL counts columns and rows with 32 bits, signed.
MAX_CELLS_ASIDE = 2**31 - 1
# What a zone holds of an area is left out below one cell of 10 m, square metres.
LEAST_PART_M2 = 100.0
# Mean radius of the Earth, metres (IUGG, as Moritz, Geodetic Reference System 1980, gives it).
EARTH_RADIUS_M = 6_371_008.8
# Two points of an outline that lie EDGE_STEP_DEG apart, 1113 m at most, are never this far apart in
# a map that holds the area in one piece: Mercator stretches a hundredfold at 89.4 degrees.
MAX_STEP_M = 111_300.0

EACH_ZONE = "utm-each"
CRS_CHOICES = (
    "take an equal-area CRS by --crs (EPSG:6933 for the world, EPSG:3035 for Europe, EPSG:5070 for "
    f"the United States), or make one mosaic per zone by --crs {EACH_ZONE}"
)
POLAR_CHOICES = (
    "cut the area there, or take a polar CRS by --crs (EPSG:3413 in the north, EPSG:3031 in the "
    "south)"
)


def utm_crs_of(aoi: BaseGeometry) -> str:
    """UTM zone of an area's centroid, on WGS 84.

    The zone is the one that MGRS gives the place, exceptions of Norway and Svalbard included,
    because the tiles of Sentinel-2 lie in that zone. The centroid of an area across the
    antimeridian is that of the unwrapped area.

    Parameters
    ----------
    aoi : shapely geometry
        Not empty, degrees of longitude and latitude.

    Returns
    -------
    str
        ``EPSG:326zz`` in the north, ``EPSG:327zz`` in the south.

    Raises
    ------
    ValueError
        Where the area is wider than a zone, lies in both hemispheres, or reaches beyond UTM.
    """
    whole = unwrapped(aoi)
    west, south, east, north = whole.bounds
    _check_latitudes(south, north)
    if east - west > UTM_ZONE_DEG:
        msg = (
            f"the area is {east - west:.2f} degrees of longitude wide, a UTM zone "
            f"{UTM_ZONE_DEG:g}: {CRS_CHOICES}"
        )
        raise ValueError(msg)
    if south < 0 < north:
        msg = (
            f"the area lies in both hemispheres ({south:.2f} to {north:.2f} degrees of latitude), "
            f"a UTM zone in one: {CRS_CHOICES}"
        )
        raise ValueError(msg)
    return _utm_crs(_zone_of(whole.centroid), north=north > 0)


def utm_parts(aoi: BaseGeometry) -> list[tuple[str, BaseGeometry]]:
    """Cut an area by UTM zone and hemisphere.

    Parameters
    ----------
    aoi : shapely Polygon or MultiPolygon
        Not empty, valid, degrees of longitude and latitude. Not modified.

    Returns
    -------
    list of (str, shapely geometry)
        ``EPSG:326zz`` or ``EPSG:327zz``, as in `utm_crs_of`, and what lies there: from west to
        east, the north before the south. Parts of less than ``LEAST_PART_M2`` are left out.

    Raises
    ------
    ValueError
        Where the area reaches beyond UTM.
    """
    whole = unwrapped(aoi)
    west, south, east, north = whole.bounds
    _check_latitudes(south, north)
    parts = []
    # The exceptions reach into the strips beside their own. Strips of other turns repeat.
    for strip in range(math.floor(west / UTM_ZONE_DEG) - 1, math.floor(east / UTM_ZONE_DEG) + 2):
        turn, column = divmod(strip + 30, 60)
        zone = column + 1
        shift = np.array([360.0 * turn, 0.0])
        area = shapely.transform(_zone_area(zone), lambda points, shift=shift: points + shift)
        inside = shapely.intersection(whole, area)
        for is_north, low, high in ((True, 0.0, 90.0), (False, -90.0, 0.0)):
            half = shapely.box(west - 1, low, east + 1, high)
            part = polygonal(shapely.intersection(inside, half))
            if surface(part) * EARTH_RADIUS_M**2 >= LEAST_PART_M2:
                parts.append((_utm_crs(zone, north=is_north), unwrapped(part)))
    return parts


def _zone_area(zone: int) -> BaseGeometry:
    """Where a zone is used: its strip without the exceptions, and its own exceptions."""
    west = (zone - 31) * UTM_ZONE_DEG
    strip = shapely.box(west, UTM_SOUTH_END_DEG, west + UTM_ZONE_DEG, UTM_NORTH_END_DEG)
    exceptions = shapely.union_all([_box_of(place) for place in UTM_EXCEPTIONS])
    own = [_box_of(place) for place, owner in UTM_EXCEPTIONS.items() if owner == zone]
    return shapely.union_all([shapely.difference(strip, exceptions), *own])


def _box_of(place: tuple[float, float, float, float]) -> BaseGeometry:
    south, north, west, east = place
    return shapely.box(west, south, east, north)


def _utm_crs(zone: int, *, north: bool) -> str:
    return f"EPSG:{utm_epsg(zone, north=north)}"


def _check_latitudes(south: float, north: float) -> None:
    """Refuse an area of which any part lies beyond UTM, where Sentinel-2 has no tiles either."""
    if south < UTM_SOUTH_END_DEG or north > UTM_NORTH_END_DEG:
        msg = (
            f"the area reaches from {south:.2f} to {north:.2f} degrees of latitude and UTM ends at "
            f"{UTM_NORTH_END_DEG:g} and {UTM_SOUTH_END_DEG:g}: {POLAR_CHOICES}"
        )
        raise ValueError(msg)


def _zone_of(place: shapely.Point) -> int:
    longitude = (place.x + 180.0) % 360.0 - 180.0
    for (south, north, west, east), zone in UTM_EXCEPTIONS.items():
        if south <= place.y < north and west <= longitude < east:
            return zone
    return int((longitude + 180.0) // UTM_ZONE_DEG) + 1


def resolve_crs(text: str, aoi: BaseGeometry) -> str:
    """Canonical text of the CRS that a request asks for.

    Parameters
    ----------
    text : str
        ``utm`` for the zone of the area's centroid, or any text that pyproj reads (``EPSG:3035``,
        a PROJ string, WKT).
    aoi : shapely geometry
        Not empty, degrees of longitude and latitude.

    Returns
    -------
    str
        ``EPSG:<code>``, or that of another authority; WKT of 2019 where no authority has the CRS.

    Raises
    ------
    ValueError
        Where the CRS does not exist, or has not two horizontal axes, or by `utm_crs_of`.
    """
    if text.strip().lower() == "utm":
        return utm_crs_of(aoi)
    if text.strip().lower() == EACH_ZONE:
        msg = (
            f"{EACH_ZONE} makes one mosaic per zone, and this is one mosaic: take "
            f"`cloudbuster run --crs {EACH_ZONE}`, or the zone's own code as EPSG:32633"
        )
        raise ValueError(msg)
    try:
        crs = pyproj.CRS.from_user_input(text)
    except CRSError as error:
        msg = f"no CRS {text!r} exists ({_one_line(error)}): give utm or a code as EPSG:32633"
        raise ValueError(msg) from error
    if len(crs.axis_info) != 2 or not (crs.is_projected or crs.is_geographic):
        msg = (
            f"CRS {text!r} ({crs.name}) is a {crs.type_name}: give one with two axes, projected or "
            "geographic"
        )
        raise ValueError(msg)
    # 70 percent, PROJ's default, still means an equivalent CRS; only the name may differ.
    authority = crs.to_authority()
    return crs.to_wkt() if authority is None else ":".join(authority)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def cell_size(crs: str, *, gsd_m: float, latitude: float) -> tuple[float, float]:
    """Extent of a cell in the units of a CRS.

    In a geographic CRS by the rule of the original: ``gsd_m`` / 110 000 degrees of latitude, and of
    longitude that divided by the cosine of the latitude, so that a cell is about square.

    Parameters
    ----------
    crs : str
        As `resolve_crs` gives it.
    gsd_m : float
        Metres, above 0.
    latitude : float
        Of the area's centre, degrees; matters in a geographic CRS only.

    Returns
    -------
    tuple of float
        (x, y), both positive.

    Raises
    ------
    ValueError
        Where ``gsd_m`` is not above 0, or a geographic CRS is asked for at a pole.
    """
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        msg = f"gsd {gsd_m:g} m is not above 0"
        raise ValueError(msg)
    axes = pyproj.CRS.from_user_input(crs)
    # Metres (projected) or radians (geographic) per unit of the axes.
    factor = axes.axis_info[0].unit_conversion_factor
    if not axes.is_geographic:
        return gsd_m / factor, gsd_m / factor
    if abs(latitude) >= 90:
        msg = f"cells in degrees have no width at latitude {latitude:g}: take a polar CRS by --crs"
        raise ValueError(msg)
    height = math.radians(gsd_m / ORIGINAL_M_PER_DEG) / factor
    return height / math.cos(math.radians(latitude)), height


def project_area(geometry: BaseGeometry, crs: str) -> BaseGeometry:
    """Put an area into another CRS, its edges followed every ``EDGE_STEP_DEG``.

    Parameters
    ----------
    geometry : shapely geometry
        Not empty, degrees of longitude and latitude (WGS 84), edges straight in degrees.
    crs : str
        As `resolve_crs` gives it.

    Returns
    -------
    shapely geometry
        Units of ``crs``; x is the easting or the longitude, whatever order of axes the CRS
        declares. Longitudes run on across the antimeridian.

    Raises
    ------
    ValueError
        Where a part of the area has no place in ``crs``, or ``crs`` cuts it apart.
    """
    axes = pyproj.CRS.from_user_input(crs)
    factor = axes.axis_info[0].unit_conversion_factor
    dense = shapely.segmentize(unwrapped(geometry), EDGE_STEP_DEG)
    points, ring = shapely.get_coordinates(dense), _ring_numbers(dense)
    x, y = transformer(LONLAT, crs).transform(*points.T)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        msg = f"a part of the area has no place in {_short(crs)}: take a CRS made for the area"
        raise ValueError(msg)
    if axes.is_geographic:
        # PROJ wraps longitudes when it changes the datum.
        turn = 2 * math.pi / factor
        x = x + turn * np.round((np.radians(points[:, 0]) / factor - x) / turn)
    elif (np.hypot(np.diff(x), np.diff(y))[ring[1:] == ring[:-1]] * factor > MAX_STEP_M).any():
        msg = (
            f"{_short(crs)} cuts the area apart (at the antimeridian?): take --crs utm, or a CRS "
            "centred near the area (EPSG:8859 and EPSG:3832 for the Pacific)"
        )
        raise ValueError(msg)
    return shapely.set_coordinates(dense, np.column_stack([x, y]))


def projected_bounds(geometry: BaseGeometry, crs: str) -> Bounds:
    """Bounding box of an area in another CRS: that of `project_area`.

    Parameters
    ----------
    geometry : shapely geometry
        As for `project_area`.
    crs : str
        As `resolve_crs` gives it.

    Returns
    -------
    tuple of float
        (west, south, east, north) in units of ``crs``.

    Raises
    ------
    ValueError
        As `project_area`.
    """
    west, south, east, north = map(float, project_area(geometry, crs).bounds)
    return (west, south, east, north)


def _ring_numbers(geometry: BaseGeometry) -> npt.NDArray[np.intp]:
    """Which ring each vertex of an area belongs to."""
    rings = shapely.get_rings(shapely.get_parts(geometry))
    return np.repeat(np.arange(len(rings)), shapely.get_num_coordinates(rings))


def _short(crs: str) -> str:
    return crs if len(crs) <= 40 else pyproj.CRS.from_user_input(crs).name


def has_native_phase(crs: str, gsd_m: float) -> bool:
    """Whether the grid lines are those of every Sentinel-2 tile: UTM, and 10, 20 or 60 m.

    Elsewhere `plan_grid` wants the phase of a raster, so that cells need not be resampled.
    """
    return gsd_m in NATIVE_GSDS_M and pyproj.CRS.from_user_input(crs).utm_zone is not None


def plan_grid(
    aoi: BaseGeometry,
    *,
    crs: str,
    gsd_m: float,
    phase: tuple[float, float] = (0.0, 0.0),
    extent_bounds: Bounds | None = None,
) -> Grid:
    """Fix the grid of a mosaic.

    Parameters
    ----------
    aoi : shapely geometry
        Not empty, degrees of longitude and latitude.
    crs : str
        As `resolve_crs` gives it.
    gsd_m : float
        Cell size, metres (see `cell_size`).
    phase : tuple of float
        (x, y) of any corner of the wanted grid, units of ``crs``: that of the finest requested
        band's raster. Not looked at where `has_native_phase`: lines are multiples of the cell then.
    extent_bounds : tuple of float, optional
        (west, south, east, north) in ``crs`` to hold instead of the area's own.

    Returns
    -------
    Grid
        The smallest that holds the extent, at least one cell in each direction.

    Raises
    ------
    ValueError
        By `cell_size` and `projected_bounds`, or where a side has over 2**31 - 1 cells.
    """
    _, south, _, north = aoi.bounds
    cells = cell_size(crs, gsd_m=gsd_m, latitude=(south + north) / 2)
    bounds = projected_bounds(aoi, crs) if extent_bounds is None else extent_bounds
    aside = max((bounds[2] - bounds[0]) / cells[0], (bounds[3] - bounds[1]) / cells[1])
    if aside >= MAX_CELLS_ASIDE:
        msg = f"{aside:.3g} cells a side at {gsd_m:g} m are over {MAX_CELLS_ASIDE}: raise --gsd"
        raise ValueError(msg)
    corner = (0.0, 0.0) if has_native_phase(crs, gsd_m) else phase
    return snapped_grid(crs, bounds, cell_size=cells, phase=corner)
