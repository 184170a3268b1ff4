"""Polygons: the polygonal part of a geometry, and its area on the ground."""

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry import MultiPolygon, Polygon
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
        return _without_empty_rings(flat)
    parts = shapely.get_parts(flat)
    while (shapely.get_type_id(parts) == shapely.GeometryType.GEOMETRYCOLLECTION).any():
        parts = shapely.get_parts(parts)
    parts = parts[shapely.get_dimensions(parts) == 2]
    return _without_empty_rings(shapely.union_all(parts)) if len(parts) else MultiPolygon()


def have_empty_rings(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return which of the geometries have a ring without a vertex.

    GEOS reads beyond its memory if such a polygon is prepared and asked what it touches.

    Parameters
    ----------
    geometries : ndarray of shapely geometry or None
        Not modified.
    """
    parts, owners = shapely.get_parts(geometries, return_index=True)
    rings, part_numbers = shapely.get_rings(parts, return_index=True)
    found = np.zeros(len(geometries), dtype=bool)
    found[owners[part_numbers[shapely.is_empty(rings)]]] = True
    return found


def _without_empty_rings(geometry: BaseGeometry) -> BaseGeometry:
    """Return a polygon or multipolygon without its empty rings; the same object if it has none."""
    if not have_empty_rings(np.array([geometry], dtype=object))[0]:
        return geometry
    parts = [part for part in shapely.get_parts(geometry) if not part.exterior.is_empty]
    kept = [
        Polygon(part.exterior, [ring for ring in part.interiors if not ring.is_empty])
        for part in parts
    ]
    return kept[0] if len(kept) == 1 else MultiPolygon(kept)


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
