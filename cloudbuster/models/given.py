"""Values of a request as people write them in Python, converted to what its JSON holds."""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from cloudbuster.core.texts.json_values import with_lists

# Numbers of a bounding box: west, south, east, north.
BOX_NUMBERS = 4


def as_days(value: object) -> object:
    """Convert one day, or several, to a tuple of days; anything else is returned unchanged.

    A day is a `date`, a `datetime` (its UTC day; a naive one counts as UTC) or ISO 8601 text.
    """
    days = [value] if isinstance(value, str | date) else value
    if not isinstance(days, list | tuple):
        return value
    return tuple(_as_day(day) for day in days)


def _as_day(value: object) -> object:
    """Convert a time to its UTC day."""
    if not isinstance(value, datetime):
        return value
    return (value.astimezone(UTC) if value.tzinfo else value).date()


def as_area(value: object) -> object:
    """Convert an area to a GeoJSON object; anything else is returned unchanged.

    Parameters
    ----------
    value : object
        The address of a file (text or a path), four numbers (west, south, east, north, degrees), or
        an object with ``__geo_interface__``: a geometry of shapely, a table of geopandas (whose CRS
        is kept), and others.
    """
    if isinstance(value, str | os.PathLike):
        return {"uri": os.fspath(value)}
    if isinstance(value, list | tuple) and len(value) == BOX_NUMBERS:
        return box_feature(*value)
    interface = getattr(value, "__geo_interface__", None)
    if not isinstance(interface, Mapping):
        return value
    document: dict[str, Any] = with_lists(interface)
    name = getattr(getattr(value, "crs", None), "srs", None)
    if isinstance(name, str):
        document["crs"] = {"type": "name", "properties": {"name": name}}
    return document


def box_feature(west: object, south: object, east: object, north: object) -> dict[str, Any]:
    """Return a bounding box as a GeoJSON Feature; one across the antimeridian has west > east."""
    box = [west, south, east, north]
    return {"type": "Feature", "properties": {}, "geometry": None, "bbox": box}
