"""Polygons: the polygonal part of a geometry, and its area on the ground."""

import pyproj
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

WGS84 = pyproj.Geod(ellps="WGS84")


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """Make a valid, two-dimensional polygon or multipolygon of any geometry.

    A valid polygon keeps its vertices and their order. An invalid one is repaired by
    `shapely.make_valid`. Points and lines are left out, also those that the repair produces.

    Parameters
    ----------
    geometry : shapely geometry
        In any coordinate reference system. Not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Empty if ``geometry`` has no area.
    """
    flat = shapely.force_2d(geometry)
    if not flat.is_valid:
        flat = shapely.make_valid(flat)
    if flat.geom_type in ("Polygon", "MultiPolygon"):
        return flat
    parts = shapely.get_parts(flat)
    while (shapely.get_type_id(parts) == shapely.GeometryType.GEOMETRYCOLLECTION).any():
        parts = shapely.get_parts(parts)
    parts = parts[shapely.get_dimensions(parts) == 2]
    return shapely.union_all(parts) if len(parts) else MultiPolygon()


def geodesic_area_m2(geometry: BaseGeometry) -> float:
    """Compute the area on the WGS 84 ellipsoid.

    Edges are taken as geodesics (Karney, Algorithms for geodesics, 2013, as PROJ has them).

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        Degrees of longitude and latitude; may be empty.

    Returns
    -------
    float
        Square metres, 0 or more.
    """
    # PROJ takes the sign of a ring's area from its direction. `normalize` makes shells and holes
    # run in opposite directions, so that holes are subtracted.
    area_m2, _ = WGS84.geometry_area_perimeter(shapely.normalize(geometry))
    return abs(float(area_m2))
