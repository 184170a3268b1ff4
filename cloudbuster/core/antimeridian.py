"""Areas across the antimeridian: two ways to write one area down, and how to get from one to other.

Split (RFC 7946, section 3.1.9): longitudes from -180 to 180, an area that crosses the antimeridian
cut there into the parts of a MultiPolygon. Documents and indexes hold this form.

Unwrapped: longitudes in one continuous range, which may reach beyond 180. Widths, centres, hulls
and grids are computed in this form.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

TURN_DEG = 360.0
# A ring whose neighbours lie further apart than this runs the short way, across the antimeridian.
HALF_TURN_DEG = 180.0
# A ring that jumps, read the short way, is believed up to this width, degrees: one of 160 might as
# well be 200 degrees the other way round, as RFC 7946 (section 3.1.1) would have it.
MAX_JUMPING_WIDTH_DEG = 90.0


def unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Write an area in one continuous range of longitudes.

    Parts that meet at the antimeridian become one part, a ring that jumps from 179 to -179 runs on
    to 181, and longitudes of other turns come back.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        Degrees of longitude and latitude, in any of the ways in which areas across the
        antimeridian are written. Not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon
        The narrowest range that holds all parts, its western end in [-180, 180). The very object
        that was given where it is in this form already. A ring that was invalid only because it
        jumped is valid; nothing else is repaired.

    Raises
    ------
    ValueError
        Where a ring goes round a pole, or a polygon is wider than 180 degrees.
    """
    if _is_plain(geometry):
        return geometry
    parts = arranged([unwrapped_polygon(part) for part in _polygons(geometry)])
    if len(parts) == 1 or not all(part.is_valid for part in parts):
        return parts[0] if len(parts) == 1 else MultiPolygon(parts)
    united = shapely.union_all(parts)
    return _shifted(united, _turns_home(united.bounds[0]))


def split(geometry: BaseGeometry) -> BaseGeometry:
    """Write an area with longitudes from -180 to 180, cut at the antimeridian.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        Valid, unwrapped (see `unwrapped`). Not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Of the same area; the very object that was given where it lies in that range already.
    """
    west, _, east, _ = geometry.bounds
    if geometry.is_empty or (west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG):
        return geometry
    pieces: list[BaseGeometry] = []
    for turn in range(_turns_home(west), _turns_home(east) - 1, -1):
        start = -HALF_TURN_DEG - turn * TURN_DEG
        strip = shapely.box(start, -90, start + TURN_DEG, 90)
        piece = shapely.intersection(geometry, strip)
        pieces += _polygons(_shifted(piece, turn))
    return pieces[0] if len(pieces) == 1 else MultiPolygon(pieces)


def placed_near(geometry: BaseGeometry, longitude: float) -> BaseGeometry:
    """Unwrap an area into the turn in which it lies nearest to a longitude.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        As for `unwrapped`; may be empty.
    longitude : float
        Degrees; of the middle of what ``geometry`` is compared with.

    Returns
    -------
    shapely Polygon or MultiPolygon
        The very object that was given where it lies there already.

    Raises
    ------
    ValueError
        As `unwrapped`.
    """
    if geometry.is_empty:
        return geometry
    whole = unwrapped(geometry)
    return _shifted(whole, round((longitude - middle_longitude(whole)) / TURN_DEG))


def middle_longitude(geometry: BaseGeometry) -> float:
    """Longitude of the middle of an unwrapped area's bounding box, degrees."""
    west, _, east, _ = geometry.bounds
    return float(west + east) / 2


def box_area(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Make a rectangle of a bounding box, unwrapped; ``west`` > ``east`` crosses the antimeridian.

    Parameters
    ----------
    west, south, east, north : float
        Degrees (RFC 7946, section 5.2).

    Returns
    -------
    shapely Polygon
        Its western edge in [-180, 180).
    """
    eastern = east + TURN_DEG if east < west else east
    return _shifted(shapely.box(west, south, eastern, north), _turns_home(west))


def unwrapped_polygon(polygon: Polygon) -> Polygon:
    """Let the rings of one polygon run on where they jump from one end of the map to the other.

    Parameters
    ----------
    polygon : shapely Polygon
        Valid or not. Not modified.

    Returns
    -------
    shapely Polygon
        Holes lie in the turn of the shell.

    Raises
    ------
    ValueError
        Where a ring goes round a pole, or the polygon is wider than 180 degrees.
    """
    shell, jumps = _run_on(shapely.get_coordinates(polygon.exterior))
    west, east = float(shell[:, 0].min()), float(shell[:, 0].max())
    limit = MAX_JUMPING_WIDTH_DEG if jumps else HALF_TURN_DEG
    given_west, _, given_east, _ = polygon.bounds
    if east - west > limit or (jumps and east == west):
        raise ValueError(too_wide(given_west, given_east))
    holes = []
    for interior in polygon.interiors:
        hole, _ = _run_on(shapely.get_coordinates(interior))
        middle = (hole[:, 0].min() + hole[:, 0].max()) / 2
        hole[:, 0] += TURN_DEG * round(((west + east) / 2 - middle) / TURN_DEG)
        holes.append(hole)
    return Polygon(shell, holes)


def too_wide(west: float, east: float) -> str:
    """Say that a polygon is too wide, and what to do."""
    return (
        f"it is {east - west:g} degrees of longitude wide, from {west:g} to {east:g}: make it "
        "narrower than 180, or split it (at the antimeridian, where it crosses that)"
    )


def arranged(parts: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Move whole parts by full turns, so that together they take the narrowest range of longitudes.

    Parameters
    ----------
    parts : sequence of shapely geometry
        Each unwrapped, not empty. Not modified.

    Returns
    -------
    list of shapely geometry
        In the order given, the western end of all in [-180, 180). Parts that lie between -180 and
        180 and take no more than 180 degrees together stay where they are.
    """
    bounds = np.array([part.bounds for part in parts])
    west, east = float(bounds[:, 0].min()), float(bounds[:, 2].max())
    if west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG and east - west <= HALF_TURN_DEG:
        return list(parts)
    turns = [_turns_home(float(value)) for value in bounds[:, 0]]
    starts = bounds[:, 0] + TURN_DEG * np.array(turns)
    ends = starts + bounds[:, 2] - bounds[:, 0]
    # On the circle, the range begins after the widest gap between a part and the next.
    order = np.argsort(starts)
    reached = np.maximum.accumulate(ends[order])
    gaps = np.append(starts[order][1:], starts[order][0] + TURN_DEG) - reached
    first = starts[order][(int(gaps.argmax()) + 1) % len(parts)]
    return [
        _shifted(part, turn + int(start < first))
        for part, turn, start in zip(parts, turns, starts, strict=True)
    ]


def _is_plain(geometry: BaseGeometry) -> bool:
    """Whether an area lies between -180 and 180, and is too narrow to jump or to be cut."""
    if geometry.is_empty:
        return True
    west, _, east, _ = geometry.bounds
    return bool(west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG and east - west <= HALF_TURN_DEG)


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]


def _turns_home(longitude: float) -> int:
    """Full turns that bring a longitude into [-180, 180)."""
    return -math.floor((longitude + HALF_TURN_DEG) / TURN_DEG)


def _shifted(geometry: BaseGeometry, turns: int) -> BaseGeometry:
    if turns == 0:
        return geometry
    shift = np.array([turns * TURN_DEG, 0.0])
    return shapely.transform(geometry, lambda points: points + shift)


def _run_on(ring: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], bool]:
    """Coordinates of a ring without jumps, and whether it had any."""
    steps = np.diff(ring[:, 0])
    jumping = np.abs(steps) > HALF_TURN_DEG
    if not jumping.any():
        return ring, False
    turns = -np.round(steps / TURN_DEG) * jumping
    moved = ring.copy()
    moved[1:, 0] += TURN_DEG * np.cumsum(turns)
    if moved[-1, 0] != moved[0, 0]:
        pole = "north" if ring[:, 1].mean() > 0 else "south"
        west, east = float(ring[:, 0].min()), float(ring[:, 0].max())
        # Straight in degrees, the jump would be an edge of over 180 degrees: the other reading.
        msg = (
            f"it goes round the {pole} pole, or it is {east - west:g} degrees of longitude wide, "
            f"from {west:g} to {east:g}: leave the pole out (Sentinel-2 does not see it), cut a "
            "ring round it along a meridian, and split what is wider than 180"
        )
        raise ValueError(msg)
    return moved, True
