"""Areas of interest: GeoJSON objects as one geometry in longitude and latitude."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import shapely
from shapely.affinity import scale as scaled
from shapely.geometry import MultiPolygon, Polygon, mapping
from shapely.geometry.base import BaseGeometry

# RFC 7946 section 3.1.6: a linear ring has four or more positions, the first equal to the last.
MIN_RING_POSITIONS = 4
# RFC 7946 section 4: WGS 84, longitude and latitude; older files may still name another CRS.
LONGITUDE_LATITUDE_NAMES = ("CRS84", "4326")


def parse_aoi(
    geojson: Mapping[str, Any], *, scale: float | None = None, original_shape: bool = False
) -> BaseGeometry:
    """Make one geometry of a GeoJSON geometry, Feature or FeatureCollection.

    Parameters
    ----------
    geojson : mapping
        Longitude and latitude, degrees (RFC 7946). Not modified.
    scale : float or None
        Factor by which each feature grows about the centre of its own bounding box.
    original_shape : bool
        Take the features as they are; overrides ``scale``.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Union of the features: valid, two-dimensional, with area.

    Raises
    ------
    ValueError
        Where there is no polygon, or one that cannot be used; says which, where, and what to do.
    """
    _check_crs(geojson)
    factor = 1.0 if scale is None or original_shape else float(scale)
    if not math.isfinite(factor) or factor <= 0:
        msg = f"scale {factor:g} must be a number above 0"
        raise ValueError(msg)
    shapes = []
    for label, geometry in _geometries(geojson):
        shape = shapely.union_all(list(_polygons(geometry, label)))
        shapes.append(scaled(shape, factor, factor, origin="center") if factor != 1 else shape)
    union = shapely.union_all(shapes)
    _check_range(union.bounds, f"AOI scaled by {factor:g}")
    return union


def geometry_document(geometry: BaseGeometry) -> dict[str, Any]:
    """GeoJSON of a shapely geometry, with lists as a JSON reader gives them."""
    document: dict[str, Any] = _listed(mapping(geometry))
    return document


def feature_property(geojson: Mapping[str, Any], name: str) -> str:
    """Property ``name`` of the first feature, as text.

    Raises
    ------
    ValueError
        Where there is no feature, or where it lacks the property.
    """
    features = geojson.get("features") if geojson.get("type") == "FeatureCollection" else [geojson]
    first = features[0] if isinstance(features, list) and features else None
    properties = first.get("properties") if isinstance(first, Mapping) else None
    value = properties.get(name) if isinstance(properties, Mapping) else None
    if value is None or value == "":
        known = ", ".join(sorted(properties)) if isinstance(properties, Mapping) else ""
        msg = f"the first feature has no property {name!r}; it has {known or 'none'}"
        raise ValueError(msg)
    return str(value)


def _listed(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    if isinstance(value, Mapping):
        return {key: _listed(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(member) for member in value]
    return value


def _check_crs(geojson: Mapping[str, Any]) -> None:
    crs = geojson.get("crs")
    if not isinstance(crs, Mapping):
        return
    properties = crs.get("properties")
    name = str(properties.get("name", "")) if isinstance(properties, Mapping) else ""
    if name and not name.endswith(LONGITUDE_LATITUDE_NAMES):
        msg = f"coordinates are in {name}; give longitude and latitude (EPSG:4326)"
        raise ValueError(msg)


def _geometries(geojson: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (what to call it, geometry) of each feature."""
    kind = geojson.get("type")
    if kind == "FeatureCollection":
        features = geojson.get("features")
        if not isinstance(features, list) or not features:
            msg = "the FeatureCollection holds no feature; draw at least one polygon"
            raise ValueError(msg)
        for number, feature in enumerate(features, start=1):
            yield f"feature {number}", _geometry_of(feature, f"feature {number}")
    elif kind == "Feature":
        yield "the feature", _geometry_of(geojson, "the feature")
    else:
        yield "the geometry", geojson


def _geometry_of(feature: object, label: str) -> Mapping[str, Any]:
    geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
    if isinstance(geometry, Mapping):
        return geometry
    msg = f"{label} has no geometry; remove it or draw a polygon"
    raise ValueError(msg)


def _polygons(geometry: Mapping[str, Any], label: str) -> Iterator[BaseGeometry]:
    """Yield the checked polygons of one geometry."""
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        members = geometry.get("geometries")
        if not isinstance(members, list) or not members:
            msg = f"{label} is an empty GeometryCollection; draw a polygon"
            raise ValueError(msg)
        for member in members:
            yield from _polygons(member if isinstance(member, Mapping) else {}, label)
        return
    coordinates = geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        found = f"is a {kind}" if isinstance(kind, str) else "has no GeoJSON type"
        msg = f"{label} {found}; only Polygon and MultiPolygon have an area"
        raise ValueError(msg)
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(parts, list | tuple) or not parts or not parts[0]:
        msg = f"{label} is an empty {kind}; draw a polygon"
        raise ValueError(msg)
    for part in parts:
        yield _polygon(part, label)


def _polygon(rings: object, label: str) -> BaseGeometry:
    if not isinstance(rings, list | tuple) or not rings:
        msg = f"{label}: a polygon without a ring; remove it"
        raise ValueError(msg)
    polygon = Polygon(_ring(rings[0], label), [_ring(ring, label) for ring in rings[1:]])
    if polygon.convex_hull.area == 0:
        msg = f"{label}: a polygon of area 0; draw one that encloses ground"
        raise ValueError(msg)
    if not polygon.is_valid:
        msg = f"{label}: {_invalid_reason(polygon)}; redraw it there, or repair it (buffer by 0)"
        raise ValueError(msg)
    return polygon


def _invalid_reason(polygon: BaseGeometry) -> str:
    """Say why and where, in the words of GEOS: ``Self-intersection[2 1]``."""
    reason, _, place = str(shapely.is_valid_reason(polygon)).partition("[")
    longitude, _, latitude = place.rstrip("]").partition(" ")
    where = f" at longitude {longitude}, latitude {latitude}" if latitude else ""
    return f"{reason.lower()}{where}"


def _ring(positions: object, label: str) -> list[tuple[float, float]]:
    if not isinstance(positions, list | tuple) or len(positions) < MIN_RING_POSITIONS:
        count = len(positions) if isinstance(positions, list | tuple) else 0
        msg = f"{label}: a ring of {count} positions; it needs {MIN_RING_POSITIONS} or more"
        raise ValueError(msg)
    ring = [_position(position, label) for position in positions]
    if ring[0] != ring[-1]:
        msg = f"{label}: a ring that ends at {ring[-1]}, not where it began, {ring[0]}; close it"
        raise ValueError(msg)
    longitudes, latitudes = zip(*ring, strict=True)
    _check_range((min(longitudes), min(latitudes), max(longitudes), max(latitudes)), label)
    return ring


def _position(position: object, label: str) -> tuple[float, float]:
    """Longitude and latitude of a position; a height is left out."""
    numbers = position[:2] if isinstance(position, list | tuple) else ()
    usable = len(numbers) == 2 and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    )
    if not usable:
        msg = f"{label}: position {position!r} is not two finite numbers"
        raise ValueError(msg)
    return float(numbers[0]), float(numbers[1])


def _check_range(bounds: tuple[float, float, float, float], label: str) -> None:
    west, south, east, north = bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        msg = (
            f"{label} reaches from ({west:g}, {south:g}) to ({east:g}, {north:g}), outside of "
            "longitude -180 to 180 and latitude -90 to 90; give degrees, longitude first, and "
            "split an area that crosses the antimeridian into a MultiPolygon"
        )
        raise ValueError(msg)


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """Repair a footprint and keep its polygons only.

    Parameters
    ----------
    geometry : shapely geometry
        Any; not modified.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Valid, possibly empty.
    """
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    if valid.geom_type in ("Polygon", "MultiPolygon"):
        return valid
    parts = [part for part in shapely.get_parts(valid) if part.geom_type.endswith("Polygon")]
    return shapely.union_all(parts) if parts else MultiPolygon()
