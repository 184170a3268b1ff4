"""Repair of invalid polygons whose meaning is not in doubt."""

import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.polygons import polygonal

# Greatest share of a polygon by which its area may be uncertain: a cell of 10 m in a square
# kilometre. The loops that digitising leaves at a vertex are far smaller.
MAX_DOUBT = 1e-4


def repaired(polygon: Polygon) -> BaseGeometry | None:
    """Repair an invalid polygon, unless it can be understood in several ways.

    What the rings enclose is computed in two ways: with the sign of each loop's direction (the
    shoelace formula), and by `shapely.make_valid` (``structure``). They agree for rings that touch
    themselves, for spikes and for repeated points. They differ where loops overlap or run in
    opposite directions, as in a bow tie, whose corners may only be out of order.

    Parameters
    ----------
    polygon : shapely Polygon
        Invalid. Not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon or None
        Valid; None if the two areas differ by more than ``MAX_DOUBT`` of the polygon.
    """
    mended = polygonal(shapely.make_valid(polygon, method="structure"))
    doubt = abs(polygon.area - mended.area)
    return mended if mended.area > 0 and doubt <= MAX_DOUBT * mended.area else None


def invalid_reason(polygon: BaseGeometry) -> str:
    """Describe why and where a polygon is invalid; GEOS reports ``Self-intersection[2 1]``."""
    reason, _, place = str(shapely.is_valid_reason(polygon)).partition("[")
    longitude, _, latitude = place.rstrip("]").partition(" ")
    where = f" at longitude {longitude}, latitude {latitude}" if latitude else ""
    return f"{reason.lower()}{where}"
