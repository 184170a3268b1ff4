"""Areas across the antimeridian, in split and in unwrapped form.

The split form (RFC 7946, section 3.1.9) has longitudes from -180 to 180; an area that crosses the
antimeridian is cut there into the parts of a MultiPolygon. Documents and indexes hold this form.

The unwrapped form has longitudes in one continuous range, which may reach beyond 180. Widths,
centres, hulls and grids are computed in this form.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

TURN_DEG = 360.0
# Two neighbouring vertices that are further apart than this are taken to be joined the short way,
# across the antimeridian.
HALF_TURN_DEG = 180.0
# Greatest width of a ring that crosses the antimeridian by such a jump, degrees. A wider one is
# ambiguous: 160 degrees the short way are 200 degrees the long way, which RFC 7946 (section 3.1.1)
# prescribes.
MAX_JUMPING_WIDTH_DEG = 90.0


def unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Convert an area to the unwrapped form.

    Parts that meet at the antimeridian are joined, a ring that jumps from 179 to -179 continues to
    181 instead, and longitudes beyond 180 are reduced by full turns.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        Degrees of longitude and latitude, in any of the ways in which areas across the
        antimeridian are written. Not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon
        In the narrowest range of longitudes, with its western end in [-180, 180). The same object
        if it is unwrapped already. Only the jumps of a ring are repaired, nothing else.

    Raises
    ------
    ValueError
        If a ring goes round a pole, or a polygon is wider than 180 degrees.
    """
    if _is_plain(geometry):
        return geometry
    parts = arranged([unwrapped_polygon(part) for part in _polygons(geometry)])
    if len(parts) == 1 or not all(part.is_valid for part in parts):
        return parts[0] if len(parts) == 1 else MultiPolygon(parts)
    united = shapely.union_all(parts)
    return _shifted(united, _turns_home(united.bounds[0]))


def split(geometry: BaseGeometry) -> BaseGeometry:
    """Convert an unwrapped area to the split form, cut at the antimeridian.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        Valid, unwrapped (see `unwrapped`). Not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Longitudes from -180 to 180. The same object if it lies in that range already.
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
    """Unwrap an area and shift it by full turns until it is nearest to a longitude.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        As for `unwrapped`; may be empty.
    longitude : float
        Degrees; usually the middle of another area that ``geometry`` is compared with.

    Returns
    -------
    shapely Polygon or MultiPolygon
        The same object if it is there already.

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
    """Return the middle longitude of an unwrapped area's bounding box, degrees."""
    west, _, east, _ = geometry.bounds
    return float(west + east) / 2


def box_area(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Make the unwrapped rectangle of a bounding box.

    Parameters
    ----------
    west, south, east, north : float
        Degrees. If ``west`` is greater than ``east``, the box crosses the antimeridian (RFC 7946,
        section 5.2).

    Returns
    -------
    shapely Polygon
        With its western edge in [-180, 180).
    """
    eastern = east + TURN_DEG if east < west else east
    return _shifted(shapely.box(west, south, eastern, north), _turns_home(west))


def unwrapped_polygon(polygon: Polygon) -> Polygon:
    """Remove the jumps across the antimeridian from the rings of a polygon.

    Parameters
    ----------
    polygon : shapely Polygon
        Valid or not. Not modified.

    Returns
    -------
    shapely Polygon
        Rings are continuous, and holes are shifted by full turns into the shell.

    Raises
    ------
    ValueError
        If a ring goes round a pole, or the polygon is wider than 180 degrees.
    """
    shell, jumps = _without_jumps(shapely.get_coordinates(polygon.exterior))
    west, east = float(shell[:, 0].min()), float(shell[:, 0].max())
    limit = MAX_JUMPING_WIDTH_DEG if jumps else HALF_TURN_DEG
    if east - west > limit or (jumps and east == west):
        raise ValueError(too_wide(polygon.bounds[0], polygon.bounds[2]))
    holes = []
    for interior in polygon.interiors:
        hole, _ = _without_jumps(shapely.get_coordinates(interior))
        middle = (hole[:, 0].min() + hole[:, 0].max()) / 2
        hole[:, 0] += TURN_DEG * round(((west + east) / 2 - middle) / TURN_DEG)
        holes.append(hole)
    return Polygon(shell, holes)


def too_wide(west: float, east: float) -> str:
    """Return the message of the error about a polygon that is too wide."""
    return (
        f"it is {east - west:g} degrees of longitude wide, from {west:g} to {east:g}: make it "
        "narrower than 180, or split it (at the antimeridian, if it crosses that)"
    )


def arranged(parts: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Shift parts by full turns so that together they span the narrowest range of longitudes.

    Parameters
    ----------
    parts : sequence of shapely geometry
        Each unwrapped, not empty. Not modified.

    Returns
    -------
    list of shapely geometry
        In the order given, with the western end of the range in [-180, 180). Parts that lie between
        -180 and 180 and span at most 180 degrees together are not shifted.
    """
    bounds = np.array([part.bounds for part in parts])
    west, east = float(bounds[:, 0].min()), float(bounds[:, 2].max())
    if west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG and east - west <= HALF_TURN_DEG:
        return list(parts)
    turns = [_turns_home(float(value)) for value in bounds[:, 0]]
    starts = bounds[:, 0] + TURN_DEG * np.array(turns)
    ends = starts + bounds[:, 2] - bounds[:, 0]
    # On the circle of longitudes, the narrowest range starts after the widest gap between parts.
    order = np.argsort(starts)
    reached = np.maximum.accumulate(ends[order])
    gaps = np.append(starts[order][1:], starts[order][0] + TURN_DEG) - reached
    first = starts[order][(int(gaps.argmax()) + 1) % len(parts)]
    return [
        _shifted(part, turn + int(start < first))
        for part, turn, start in zip(parts, turns, starts, strict=True)
    ]


def _is_plain(geometry: BaseGeometry) -> bool:
    """Return whether an area lies between -180 and 180 and spans at most 180 degrees.

    Such an area neither jumps across the antimeridian nor is cut by it.
    """
    if geometry.is_empty:
        return True
    west, _, east, _ = geometry.bounds
    return bool(west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG and east - west <= HALF_TURN_DEG)


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    """Return the polygons among the parts of a geometry."""
    return [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]


def _turns_home(longitude: float) -> int:
    """Return how many full turns to add to bring a longitude into [-180, 180)."""
    return -math.floor((longitude + HALF_TURN_DEG) / TURN_DEG)


def _shifted(geometry: BaseGeometry, turns: int) -> BaseGeometry:
    """Shift a geometry by full turns of longitude; the same object for 0 turns."""
    if turns == 0:
        return geometry
    shift = np.array([turns * TURN_DEG, 0.0])
    return shapely.transform(geometry, lambda points: points + shift)


def _without_jumps(ring: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], bool]:
    """Return the coordinates of a ring with its jumps removed, and whether it had any.

    Parameters
    ----------
    ring : ndarray of float64, shape (vertex, 2)
        Degrees of longitude and latitude; the last vertex equals the first. Not modified.

    Raises
    ------
    ValueError
        If the ring does not close any more, because it goes round a pole.
    """
    steps = np.diff(ring[:, 0])
    jumping = np.abs(steps) > HALF_TURN_DEG
    if not jumping.any():
        return ring, False
    turns = -np.round(steps / TURN_DEG) * jumping
    moved = ring.copy()
    moved[1:, 0] += TURN_DEG * np.cumsum(turns)
    if moved[-1, 0] != moved[0, 0]:
        raise ValueError(_round_a_pole(ring))
    return moved, True


def _round_a_pole(ring: npt.NDArray[np.float64]) -> str:
    """Return the message of the error about a ring that does not close without its jumps.

    Its jump may also be meant as an edge of over 180 degrees.
    """
    pole = "north" if ring[:, 1].mean() > 0 else "south"
    west, east = float(ring[:, 0].min()), float(ring[:, 0].max())
    return (
        f"it goes round the {pole} pole, or it is {east - west:g} degrees of longitude wide, "
        f"from {west:g} to {east:g}: leave the pole out (Sentinel-2 does not see it), cut a "
        "ring round it along a meridian, and split what is wider than 180"
    )
