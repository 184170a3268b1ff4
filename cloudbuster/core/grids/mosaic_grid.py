"""The grid of a mosaic: its coordinate reference system, cell size and extent."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.antimeridian import unwrapped
from cloudbuster.core.areas.polygons import geodesic_area_m2, polygonal
from cloudbuster.core.grids.grid import MAX_CELLS_ASIDE, Bounds, Grid, snapped_grid
from cloudbuster.core.projections.crs import parse_crs
from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.core.projections.utm import utm_epsg

# Width of a zone of the Universal Transverse Mercator grid, degrees of longitude; zone 1 begins at
# 180 degrees west (Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395, p. 57).
UTM_ZONE_DEG = 6.0
# Latitudes at which UTM ends, degrees (Snyder, as above); the tiles of Sentinel-2 end there too.
UTM_NORTH_END_DEG, UTM_SOUTH_END_DEG = 84.0, -80.0
# Zones of another width in the Military Grid Reference System, and so in the tiles of Sentinel-2
# (NGA.STND.0037 2.0.0 GRIDS, 2014, UTM zone exceptions): band V (Norway) and band X (Svalbard).
# The keys are (south, north, west, east) in degrees, south and west inclusive; the values zones.
UTM_EXCEPTIONS: dict[tuple[float, float, float, float], int] = {
    (56.0, 64.0, 3.0, 12.0): 32,
    (72.0, 84.0, 0.0, 9.0): 31,
    (72.0, 84.0, 9.0, 21.0): 33,
    (72.0, 84.0, 21.0, 33.0): 35,
    (72.0, 84.0, 33.0, 42.0): 37,
}
# Metres per degree of latitude that the original used for cells in degrees.
ORIGINAL_M_PER_DEG = 110_000.0
# Sentinel-2's native cell sizes, metres. The corner of every tile is a multiple of each of them.
NATIVE_GSDS_M = (10.0, 20.0, 60.0)
# Greatest distance between vertices when an area is projected, degrees. The straight edge between
# two of them is off the true curve by less than (1100 m)**2 / (8 x 6371 km) x tan(latitude):
# 0.024 m at 45 degrees, 0.23 m at 84.
EDGE_STEP_DEG = 0.01
# Least area of the part of an area in one zone, square metres: one cell of 10 m.
LEAST_PART_M2 = 100.0
# Greatest distance between two projected vertices, metres. On the ground they are EDGE_STEP_DEG
# apart, 1113 m at most. A longer step means that the projection cuts the area apart: even Mercator
# stretches a hundredfold only at 89.4 degrees.
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
    """Return the CRS of the UTM zone of an area's centroid, on WGS 84.

    The zone is that of MGRS, with its exceptions in Norway and Svalbard, because the tiles of
    Sentinel-2 are in that zone. The centroid is that of the unwrapped area.

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
        If the area is wider than a zone, is in both hemispheres, or reaches beyond UTM.
    """
    whole = unwrapped(aoi)
    _check_one_zone(*whole.bounds)
    return _utm_crs(_zone_of(whole.centroid), north=whole.bounds[3] > 0)


def _check_one_zone(west: float, south: float, east: float, north: float) -> None:
    """Raise ValueError if the bounds of an area, degrees, are too large for one UTM zone."""
    _check_latitudes(south, north)
    if east - west > UTM_ZONE_DEG:
        msg = (
            f"the area is {east - west:.2f} degrees of longitude wide, a UTM zone "
            f"{UTM_ZONE_DEG:g}: {CRS_CHOICES}"
        )
        raise ValueError(msg)
    if south < 0 < north:
        msg = (
            f"the area is in both hemispheres ({south:.2f} to {north:.2f} degrees of latitude), "
            f"a UTM zone in one: {CRS_CHOICES}"
        )
        raise ValueError(msg)


def utm_parts(aoi: BaseGeometry) -> list[tuple[str, BaseGeometry]]:
    """Cut an area by UTM zone and hemisphere.

    Parameters
    ----------
    aoi : shapely Polygon or MultiPolygon
        Not empty, valid, degrees of longitude and latitude. Not modified.

    Returns
    -------
    list of (str, shapely geometry)
        CRS as in `utm_crs_of`, and the part of the area in it: from west to east, the north before
        the south. Parts of less than ``LEAST_PART_M2`` are left out.

    Raises
    ------
    ValueError
        If the area reaches beyond UTM.
    """
    whole = unwrapped(aoi)
    west, south, east, north = whole.bounds
    _check_latitudes(south, north)
    parts = []
    # One strip more on each side, because the exceptions reach into the neighbouring strips.
    for strip in range(math.floor(west / UTM_ZONE_DEG) - 1, math.floor(east / UTM_ZONE_DEG) + 2):
        zone, area = _zone_area(strip)
        for is_north, half in _halves(shapely.intersection(whole, area), west, east):
            if geodesic_area_m2(half) >= LEAST_PART_M2:
                parts.append((_utm_crs(zone, north=is_north), unwrapped(half)))
    return parts


def _halves(area: BaseGeometry, west: float, east: float) -> Iterator[tuple[bool, BaseGeometry]]:
    """Yield the northern and the southern part of an area, each with whether it is north.

    The area is between the longitudes ``west`` and ``east``; its parts may be empty.
    """
    for is_north, low, high in ((True, 0.0, 90.0), (False, -90.0, 0.0)):
        half = shapely.box(west - 1, low, east + 1, high)
        yield is_north, polygonal(shapely.intersection(area, half))


def _zone_area(strip: int) -> tuple[int, BaseGeometry]:
    """Return the zone of a strip of 6 degrees, and the area of this zone there.

    The area is the strip without all exceptions, plus the zone's own exceptions. Strips count from
    the one east of Greenwich, 0; the zones repeat every 60 strips, beyond 180 degrees.
    """
    turn, column = divmod(strip + 30, 60)
    zone, west = column + 1, (column - 30) * UTM_ZONE_DEG
    plain = shapely.box(west, UTM_SOUTH_END_DEG, west + UTM_ZONE_DEG, UTM_NORTH_END_DEG)
    exceptions = shapely.union_all([_box_of(place) for place in UTM_EXCEPTIONS])
    own = [_box_of(place) for place, owner in UTM_EXCEPTIONS.items() if owner == zone]
    area = shapely.union_all([shapely.difference(plain, exceptions), *own])
    return zone, shapely.transform(area, lambda points: points + np.array([360.0 * turn, 0.0]))


def _box_of(place: tuple[float, float, float, float]) -> BaseGeometry:
    """Make the rectangle of a key of `UTM_EXCEPTIONS`."""
    south, north, west, east = place
    return shapely.box(west, south, east, north)


def _utm_crs(zone: int, *, north: bool) -> str:
    """Return the ``EPSG:<code>`` of a UTM zone."""
    return f"EPSG:{utm_epsg(zone, north=north)}"


def _check_latitudes(south: float, north: float) -> None:
    """Raise ValueError if an area reaches beyond UTM, where Sentinel-2 has no tiles either."""
    if south < UTM_SOUTH_END_DEG or north > UTM_NORTH_END_DEG:
        msg = (
            f"the area reaches from {south:.2f} to {north:.2f} degrees of latitude and UTM ends at "
            f"{UTM_NORTH_END_DEG:g} and {UTM_SOUTH_END_DEG:g}: {POLAR_CHOICES}"
        )
        raise ValueError(msg)


def _zone_of(place: shapely.Point) -> int:
    """Return the UTM zone of a point, exceptions included."""
    longitude = (place.x + 180.0) % 360.0 - 180.0
    for (south, north, west, east), zone in UTM_EXCEPTIONS.items():
        if south <= place.y < north and west <= longitude < east:
            return zone
    return int((longitude + 180.0) // UTM_ZONE_DEG) + 1


def resolve_crs(text: str, aoi: BaseGeometry) -> str:
    """Return the canonical text of the CRS that a request asks for.

    Parameters
    ----------
    text : str
        ``utm`` for the zone of the area's centroid, the code of an authority (``EPSG:3035``), or
        WKT.
    aoi : shapely geometry
        Not empty, degrees of longitude and latitude.

    Returns
    -------
    str
        ``EPSG:<code>`` or the code of another authority; WKT 2:2019 if no authority has the CRS.

    Raises
    ------
    ValueError
        If the CRS does not exist or a mosaic cannot have it, or as `utm_crs_of`.
    """
    if text.strip().lower() == "utm":
        return utm_crs_of(aoi)
    crs = _parsed_crs(text)
    # At PROJ's default confidence of 70 percent the CRS is equivalent; only its name may differ.
    authority = crs.to_authority()
    return crs.to_wkt() if authority is None else ":".join(authority)


def _parsed_crs(text: str) -> pyproj.CRS:
    """Parse the CRS of one mosaic; raise ValueError as `core.projections.crs.parse_crs`."""
    if text.strip().lower() == EACH_ZONE:
        msg = (
            f"{EACH_ZONE} makes one mosaic per zone, and this is one mosaic: take "
            f"`cloudbuster run --crs {EACH_ZONE}`, or the code of one zone, for example EPSG:32633"
        )
        raise ValueError(msg)
    return parse_crs(text)


def cell_size(crs: str, *, gsd_m: float, latitude: float) -> tuple[float, float]:
    """Return the size of a cell in the units of a CRS.

    In a geographic CRS a cell has, as in the original, ``gsd_m`` / 110 000 degrees of latitude, and
    that divided by the cosine of the latitude in longitude, so that it is about square.

    Parameters
    ----------
    crs, gsd_m, latitude : str, float, float
        As returned by `resolve_crs`; metres; and latitude of the area's centre, degrees.

    Returns
    -------
    tuple of float
        (x, y), both positive.

    Raises
    ------
    ValueError
        If ``gsd_m`` is not above 0, or the CRS is geographic and the latitude that of a pole.
    """
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        msg = f"gsd {gsd_m:g} m is not above 0"
        raise ValueError(msg)
    axes = parse_crs(crs)
    # Metres per unit of the axes of a projected CRS, radians per unit of a geographic one.
    factor = axes.axis_info[0].unit_conversion_factor
    return (
        _size_in_degrees(gsd_m, latitude, factor) if axes.is_geographic else (gsd_m / factor,) * 2
    )


def _size_in_degrees(gsd_m: float, latitude: float, factor: float) -> tuple[float, float]:
    """Return the size of a cell in a geographic CRS; ``factor`` is radians per unit of its axes."""
    if abs(latitude) >= 90:
        msg = f"cells in degrees have no width at latitude {latitude:g}: take a polar CRS by --crs"
        raise ValueError(msg)
    height = math.radians(gsd_m / ORIGINAL_M_PER_DEG) / factor
    return height / math.cos(math.radians(latitude)), height


def project_area(geometry: BaseGeometry, crs: str) -> BaseGeometry:
    """Transform an area to another CRS, with vertices at most ``EDGE_STEP_DEG`` apart.

    Parameters
    ----------
    geometry : shapely geometry
        Not empty, degrees of longitude and latitude (WGS 84), edges straight in degrees.
    crs : str
        As returned by `resolve_crs`.

    Returns
    -------
    shapely geometry
        In units of ``crs``. x is the easting or the longitude, whatever the order of the axes of
        the CRS. Longitudes are continuous across the antimeridian.

    Raises
    ------
    ValueError
        If the area or a part of it cannot be transformed, or ``crs`` cuts the area apart.
    """
    axes = parse_crs(crs)
    try:
        to_crs = transformer(LONLAT, crs)
    except ProjError as error:
        msg = f"nothing transforms longitude and latitude to {_short(crs)}: take another CRS"
        raise ValueError(msg) from error
    factor = axes.axis_info[0].unit_conversion_factor
    dense = shapely.segmentize(unwrapped(geometry), EDGE_STEP_DEG)
    points, ring = shapely.get_coordinates(dense), _ring_numbers(dense)
    x, y = to_crs.transform(*points.T)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        msg = f"a part of the area is outside of {_short(crs)}: take a CRS made for the area"
        raise ValueError(msg)
    if axes.is_geographic:
        # PROJ wraps longitudes at 180 degrees if it changes the datum: undo that.
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
    """Return the bounding box of an area in another CRS.

    Parameters
    ----------
    geometry, crs
        As for `project_area`.

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
    """Return the number of the ring of each vertex of an area."""
    rings = shapely.get_rings(shapely.get_parts(geometry))
    return np.repeat(np.arange(len(rings)), shapely.get_num_coordinates(rings))


def _short(crs: str) -> str:
    """Return a text for messages: the name of the CRS if ``crs`` is long WKT."""
    return crs if len(crs) <= 40 else parse_crs(crs).name[:80]


def has_native_phase(crs: str, gsd_m: float) -> bool:
    """Return whether multiples of the cell size are grid lines of every Sentinel-2 tile.

    This holds in UTM at 10, 20 and 60 m. Otherwise `plan_grid` needs the phase of a raster so that
    its pixels need not be resampled.
    """
    return gsd_m in NATIVE_GSDS_M and parse_crs(crs).utm_zone is not None


def plan_grid(
    aoi: BaseGeometry,
    *,
    crs: str,
    gsd_m: float,
    phase: tuple[float, float] = (0.0, 0.0),
    extent_bounds: Bounds | None = None,
) -> Grid:
    """Make the grid of a mosaic.

    Parameters
    ----------
    aoi : shapely geometry
        Not empty, degrees of longitude and latitude.
    crs : str
        As returned by `resolve_crs`.
    gsd_m : float
        Cell size, metres (see `cell_size`).
    phase : tuple of float
        (x, y) of any corner of a cell, units of ``crs``. Ignored if `has_native_phase`: grid lines
        are then multiples of the cell size.
    extent_bounds : tuple of float, optional
        (west, south, east, north) in ``crs`` to contain instead of the area's bounds.

    Returns
    -------
    Grid
        The smallest grid that contains the bounds, with one cell or more in each direction.

    Raises
    ------
    ValueError
        As `cell_size` and `projected_bounds`, or if a side has over 2**31 - 1 cells.
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
