"""Areas of interest: one geometry in longitude and latitude, from GeoJSON and back."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.affinity import scale as scaled
from shapely.geometry import Polygon, mapping
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.antimeridian import (
    arranged,
    box_area,
    split,
    too_wide,
    unwrapped,
    unwrapped_polygon,
)
from cloudbuster.core.areas.area_crs import AreaCrs, Points, area_crs
from cloudbuster.core.areas.area_repair import invalid_reason, repaired
from cloudbuster.core.areas.polygons import polygonal
from cloudbuster.core.texts.json_values import with_lists
from cloudbuster.core.texts.names import shown

# RFC 7946 section 3.1.6: a linear ring has four or more positions, the first equal to the last.
MIN_RING_POSITIONS = 4
MAX_POSITIONS = 500_000
"""Greatest number of positions of an area: at 10 m apart they follow a border of 5000 km."""
# Longitudes beyond 180 are accepted for areas across the antimeridian: 181 means -179.
MAX_LONGITUDE_DEG = 360.0
# Least and greatest distance by which `simplified` moves an edge, degrees of latitude: a cell of
# 10 m (10 m / 111 320 m per degree, WGS 84), and 128 such cells.
LEAST_SIMPLIFICATION_DEG = 8.98e-5
MOST_SIMPLIFICATION_DEG = 128 * LEAST_SIMPLIFICATION_DEG


@dataclass(frozen=True)
class ReadArea:
    """An area, and what was done to it.

    Attributes
    ----------
    geometry : shapely Polygon or MultiPolygon
        As from `parse_aoi`.
    notes : tuple of str
        One text for each conversion and each repair.
    """

    geometry: BaseGeometry
    notes: tuple[str, ...] = ()


def parse_aoi(
    geojson: Mapping[str, Any], *, scale: float | None = None, original_shape: bool = False
) -> BaseGeometry:
    """Make one geometry of a GeoJSON geometry, Feature or FeatureCollection.

    Parameters
    ----------
    geojson : mapping
        Longitude and latitude, degrees (RFC 7946), or another CRS that the member ``crs`` names.
        Not modified. An area across the antimeridian may be a MultiPolygon that is cut there, a
        ring with longitudes beyond 180, a ring that jumps from 179 to -179, or a Feature that has
        only a bounding box whose west is greater than its east.
    scale : float, optional
        Factor by which each feature is scaled about the centre of its own bounding box.
    original_shape : bool
        Whether to ignore ``scale``.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Union of the features: valid, two-dimensional, not empty. Longitudes are unwrapped and may
        exceed 180 (see `core.areas.antimeridian`); `geometry_document` splits them again.

    Raises
    ------
    ValueError
        If there is no polygon, or a polygon cannot be used. The message names the feature and the
        place, and says what to do.
    """
    return read_area(geojson, scale=scale, original_shape=original_shape).geometry


def read_area(
    geojson: Mapping[str, Any], *, scale: float | None = None, original_shape: bool = False
) -> ReadArea:
    """Make one geometry as `parse_aoi`, and describe what was converted and repaired."""
    factor = 1.0 if scale is None or original_shape else float(scale)
    if not math.isfinite(factor) or factor <= 0:
        msg = f"scale {factor:g} must be a number above 0"
        raise ValueError(msg)
    crs = area_crs(geojson)
    reader = _Reader(crs)
    is_round = crs is None or crs.crs.is_geographic
    shapes = []
    count = 0
    for label, geometry in _geometries(geojson, is_round=is_round):
        area = shapely.union_all(arranged(list(reader.polygons(geometry, label))))
        count += int(shapely.get_num_coordinates(area))
        _check_positions(count, label)
        shapes.append(scaled(area, factor, factor, origin="center") if factor != 1 else area)
    union = shapely.union_all(arranged(shapes))
    label = f"AOI scaled by {factor:g}"
    _check_range(union.bounds, label)
    _check_width(union, label)
    return ReadArea(unwrapped(union), tuple(reader.notes))


def each_feature(geojson: Mapping[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """Take the features of a GeoJSON object apart.

    Parameters
    ----------
    geojson : mapping
        FeatureCollection or Feature.
    name : str
        Property that names each feature.

    Returns
    -------
    list of (str, dict)
        For each feature the value of the property as text, and a Feature in the CRS of ``geojson``.

    Raises
    ------
    ValueError
        If there is no feature, or one lacks the property.
    """
    is_collection = geojson.get("type") == "FeatureCollection"
    features = geojson.get("features") if is_collection else [geojson]
    if not isinstance(features, list) or not features:
        msg = "the FeatureCollection holds no feature; draw at least one polygon"
        raise ValueError(msg)
    crs = {"crs": geojson["crs"]} if geojson.get("crs") is not None else {}
    return [
        (_property(feature, name, f"feature {number}"), {**feature, **crs})
        for number, feature in enumerate(features, start=1)
    ]


def geometry_document(geometry: BaseGeometry) -> dict[str, Any]:
    """Return an area as GeoJSON, split at the antimeridian, with lists in place of tuples."""
    document: dict[str, Any] = with_lists(mapping(split(geometry)))
    return document


def simplified(geometry: BaseGeometry, *, max_vertices: int) -> BaseGeometry:
    """Simplify an area that has too many vertices for repeated overlays.

    Parameters
    ----------
    geometry : shapely Polygon or MultiPolygon
        Degrees, valid. Not modified.
    max_vertices : int
        A geometry with no more vertices than this is returned as it is.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Valid. Edges are moved by at most ``LEAST_SIMPLIFICATION_DEG``. The distance is doubled
        while more than ``max_vertices`` remain, up to ``MOST_SIMPLIFICATION_DEG``.
    """
    result, tolerance = geometry, LEAST_SIMPLIFICATION_DEG
    while (
        shapely.get_num_coordinates(result) > max_vertices and tolerance <= MOST_SIMPLIFICATION_DEG
    ):
        result = polygonal(shapely.simplify(geometry, tolerance, preserve_topology=True))
        tolerance *= 2
    return result


def feature_property(geojson: Mapping[str, Any], name: str) -> str:
    """Return the property ``name`` of the first feature as text.

    Raises
    ------
    ValueError
        If there is no feature, or it does not have the property.
    """
    features = geojson.get("features") if geojson.get("type") == "FeatureCollection" else [geojson]
    first = features[0] if isinstance(features, list) and features else None
    return _property(first, name, "the first feature")


def _property(feature: object, name: str, label: str) -> str:
    """Return a property of a feature as text; raise ValueError if it has none."""
    properties = feature.get("properties") if isinstance(feature, Mapping) else None
    value = properties.get(name) if isinstance(properties, Mapping) else None
    if value is None or value == "":
        known = ", ".join(sorted(properties)) if isinstance(properties, Mapping) else ""
        msg = f"{label} has no property {shown(name)}; it has {known[:200] or 'none'}"
        raise ValueError(msg)
    # A table of numbers with a gap holds 3 as 3.0.
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _geometries(
    geojson: Mapping[str, Any], *, is_round: bool
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a label for messages and the GeoJSON geometry of each feature.

    With ``is_round`` the x of the positions are longitudes, which repeat every 360 degrees.
    """
    kind = geojson.get("type")
    if kind == "FeatureCollection":
        features = geojson.get("features")
        if not isinstance(features, list) or not features:
            msg = "the FeatureCollection holds no feature; draw at least one polygon"
            raise ValueError(msg)
        for number, feature in enumerate(features, start=1):
            label = f"feature {number}"
            yield label, _geometry_of(feature, label, is_round=is_round)
    elif kind == "Feature":
        yield "the feature", _geometry_of(geojson, "the feature", is_round=is_round)
    else:
        yield "the geometry", geojson


def _geometry_of(feature: object, label: str, *, is_round: bool) -> Mapping[str, Any]:
    """Return the geometry of a feature, or that of its bounding box if it has none."""
    members = feature if isinstance(feature, Mapping) else {}
    geometry = members.get("geometry")
    if isinstance(geometry, Mapping):
        return geometry
    if geometry is None and isinstance(members.get("bbox"), list):
        return {
            "type": "Polygon",
            "coordinates": _box_rings(members["bbox"], label, is_round=is_round),
        }
    msg = f"{label} has no geometry; remove it or draw a polygon"
    raise ValueError(msg)


def _box_rings(box: list[Any], label: str, *, is_round: bool) -> list[list[list[float]]]:
    """Return the ring of a bounding box of 4 or 6 numbers (RFC 7946, section 5)."""
    if len(box) not in (4, 6):
        msg = f"{label}: a bbox of {len(box)} numbers; give west, south, east, north"
        raise ValueError(msg)
    west, south = _position(box[:2], f"{label}, bbox")
    east, north = _position(box[len(box) // 2 :][:2], f"{label}, bbox")
    if south > north or (west > east and not is_round):
        msg = (
            f"{label}: a bbox from ({west:g}, {south:g}) to ({east:g}, {north:g}); give west, "
            "south, east, north in this order"
        )
        raise ValueError(msg)
    area = box_area(west, south, east, north) if is_round else shapely.box(west, south, east, north)
    return [shapely.get_coordinates(area).tolist()]


class _Reader:
    """Reads the polygons of one GeoJSON object.

    Parameters
    ----------
    crs : AreaCrs or None
        CRS of the coordinates; None for longitude and latitude.
    """

    def __init__(self, crs: AreaCrs | None) -> None:
        """Note the conversion from ``crs``."""
        self._crs = crs
        self.notes = [f"reprojected from {crs.label}"] if crs else []

    def polygons(self, geometry: Mapping[str, Any], label: str) -> Iterator[BaseGeometry]:
        """Check the polygons of one GeoJSON geometry and yield each of them unwrapped."""
        kind = geometry.get("type")
        if kind == "GeometryCollection":
            members = geometry.get("geometries")
            if not isinstance(members, list) or not members:
                msg = f"{label} is an empty GeometryCollection; draw a polygon"
                raise ValueError(msg)
            for member in members:
                yield from self.polygons(member if isinstance(member, Mapping) else {}, label)
            return
        coordinates = geometry.get("coordinates")
        if kind not in ("Polygon", "MultiPolygon"):
            found = f"is a {kind[:40]}" if isinstance(kind, str) else "has no GeoJSON type"
            msg = (
                f"{label} {found}; only Polygon and MultiPolygon have an area: draw one, buffer "
                "it, or give a bounding box"
            )
            raise ValueError(msg)
        parts = [coordinates] if kind == "Polygon" else coordinates
        if not isinstance(parts, list | tuple) or not parts or not parts[0]:
            msg = f"{label} is an empty {kind}; draw a polygon"
            raise ValueError(msg)
        for part in parts:
            yield from shapely.get_parts(self._polygon(part, label))

    def _polygon(self, rings: object, label: str) -> BaseGeometry:
        """Make an unwrapped polygon; raise ValueError if it has no area or crosses itself."""
        if not isinstance(rings, list | tuple) or not rings:
            msg = f"{label}: a polygon without a ring; remove it"
            raise ValueError(msg)
        shell, *holes = [self._ring(ring, label) for ring in rings]
        polygon = Polygon(shell, holes)
        try:
            polygon = unwrapped_polygon(polygon)
        except ValueError as error:
            msg = f"{label}: {error}"
            raise ValueError(msg) from error
        if polygon.convex_hull.area == 0:
            msg = f"{label}: a polygon of area 0; draw one that encloses ground"
            raise ValueError(msg)
        return polygon if polygon.is_valid else self._repaired(polygon, label)

    def _repaired(self, polygon: Polygon, label: str) -> BaseGeometry:
        """Repair an invalid polygon; raise ValueError if it can be understood in several ways."""
        reason, mended = invalid_reason(polygon), repaired(polygon)
        if mended is None:
            msg = (
                f"{label}: {reason}; what it encloses can be understood in several ways, redraw it "
                "there"
            )
            raise ValueError(msg)
        self.notes.append(f"{label} repaired: {reason}")
        return mended

    def _ring(self, positions: object, label: str) -> Points:
        """Return the longitudes and latitudes of a closed ring, shape (point, 2)."""
        members = positions if isinstance(positions, list | tuple) else []
        _check_positions(len(members), label)
        ring = [_position(position, label) for position in members]
        is_open = bool(ring) and ring[0] != ring[-1]
        if is_open:
            ring.append(ring[0])
        if len(ring) < MIN_RING_POSITIONS:
            msg = (
                f"{label}: a ring of {len(members)} positions; it needs {MIN_RING_POSITIONS} or "
                "more"
            )
            raise ValueError(msg)
        if is_open:
            self.notes.append(f"{label} repaired: a ring that ends at {ring[-2]} closed")
        points = np.array(ring, dtype=np.float64)
        if self._crs is not None:
            try:
                points = self._crs.to_degrees(points)
            except ValueError as error:
                msg = f"{label}: {error}"
                raise ValueError(msg) from error
        west, south = map(float, points.min(axis=0))
        east, north = map(float, points.max(axis=0))
        _check_order((west, south, east, north), label)
        _check_range((west, south, east, north), label)
        return points


def _check_positions(count: int, label: str) -> None:
    """Raise ValueError if an area has more positions than are read."""
    if count > MAX_POSITIONS:
        msg = f"{label}: the area has over {MAX_POSITIONS} positions; simplify it"
        raise ValueError(msg)


def _position(position: object, label: str) -> tuple[float, float]:
    """Return longitude and latitude of a position, without its height."""
    numbers = position[:2] if isinstance(position, list | tuple) else ()
    usable = len(numbers) == 2 and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    )
    if not usable:
        msg = f"{label}: position {str(position)[:80]} is not two finite numbers"
        raise ValueError(msg)
    return float(numbers[0]), float(numbers[1])


def _check_order(bounds: tuple[float, float, float, float], label: str) -> None:
    """Refuse positions that are out of range as they stand, and in range the other way round."""
    west, south, east, north = bounds
    if not _in_range(bounds) and _in_range((south, west, north, east)):
        msg = (
            f"{label} reaches from ({west:g}, {south:g}) to ({east:g}, {north:g}): latitude and "
            "longitude look swapped; write longitude first, as GeoJSON does"
        )
        raise ValueError(msg)


def _check_range(bounds: tuple[float, float, float, float], label: str) -> None:
    """Raise ValueError if bounds are outside of the ranges of longitude and latitude."""
    west, south, east, north = bounds
    if not _in_range(bounds):
        msg = (
            f"{label} reaches from ({west:g}, {south:g}) to ({east:g}, {north:g}), outside of "
            "longitude -180 to 180 (to 360 if it crosses the antimeridian) and latitude -90 to "
            "90; give degrees, longitude first"
        )
        raise ValueError(msg)


def _in_range(bounds: tuple[float, float, float, float]) -> bool:
    """Whether bounds are longitudes (of any turn) and latitudes, degrees."""
    west, south, east, north = bounds
    return west >= -MAX_LONGITUDE_DEG and east <= MAX_LONGITUDE_DEG and south >= -90 and north <= 90


def _check_width(area: BaseGeometry, label: str) -> None:
    """Raise ValueError if a part is wider than 180 degrees, after scaling and union."""
    for part in shapely.get_parts(area):
        west, _, east, _ = part.bounds
        if east - west > MAX_LONGITUDE_DEG / 2:
            msg = f"{label}: {too_wide(west, east)}"
            raise ValueError(msg)
