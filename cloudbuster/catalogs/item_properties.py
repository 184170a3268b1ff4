"""Read the properties of Sentinel-2 STAC items in the dialect of any catalog.

The dialects are those of Earth Search v0, v1 and c1, Planetary Computer, the Copernicus Data Space
and stactools, and of the original's responses. For each fact there is a table of property names.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from cloudbuster.core.scenes.bands import Kind
from cloudbuster.models import Item

Properties = Mapping[str, Any]

# Property names of each fact, the most reliable first. A value of an unexpected form is skipped.
KIND_KEYS = ("s2:product_type", "sentinel2:product_type", "product:type")
PRODUCT_KEYS = ("s2:product_uri", "sentinel:product_id", "sentinel2:product_title")
DATATAKE_KEYS = ("s2:datatake_id", "eopf:datatake_id", *PRODUCT_KEYS)
TILE_KEYS = ("grid:code", "s2:mgrs_tile")
TILE_PART_KEYS = (
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("sentinel:utm_zone", "sentinel:latitude_band", "sentinel:grid_square"),
)
DATASTRIP_KEYS = ("s2:datastrip_id", "eopf:datastrip_id", "sentinel2:datastrip_id")
BASELINE_KEYS = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "sentinel2:processing_baseline",
    "processing:version",
)
ORBIT_KEYS = ("sat:relative_orbit", "sentinel2:relative_orbit_number")
NODATA_KEYS = ("s2:nodata_pixel_percentage", "sentinel2:nodata_pixel_percentage")
COVERAGE_KEYS = ("sentinel:data_coverage", "data_coverage")
OFFSET_FLAG_KEYS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
GENERATED_KEYS = (
    "s2:generation_time",
    "sentinel2:generation_time",
    "processing:datetime",
    "created",
)

# Greatest code of EPSG with room for those that others add (PROJ's database: 104999 by ESRI).
MAX_EPSG = 999_999
_EPSG_CODE = re.compile(r"EPSG:([0-9]{1,6})", re.IGNORECASE)
_KIND = re.compile(r"(?:MSI|MSIL|L)(1C|2A)", re.IGNORECASE)
_PLATFORM = re.compile(r"(?:sentinel[-_ ]?2|^G?S2)([A-D])(?![a-z0-9])", re.IGNORECASE)
_DATATAKE = re.compile(r"^G?(S2[A-D])_(?:(?:MSI)?L?(?:1C|2A)_)?(\d{8}T\d{6})(?!\d)")
_DATASTRIP = re.compile(r"_DS_.*_S(\d{8}T\d{6})(?!\d)")
_TILE = re.compile(r"(?:^|[_-])T?(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z]{2})(?=_|$)")
_BASELINE = re.compile(r"^(\d{1,2})\.(\d{1,2})$")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)")
_ORBIT_IN_NAME = re.compile(r"_R(\d{3})(?=_|\.|$)")


def kind_of(item: Item) -> Kind | None:
    """Product level of an item; None if it has none."""
    properties = item["properties"]
    types = [properties.get(key) for key in KIND_KEYS]
    for text in (*types, item.get("collection"), *_names(item)):
        match = _KIND.search(text) if isinstance(text, str) else None
        if match:
            return "L1C" if match[1].upper() == "1C" else "L2A"
    return None


def acquired_of(item: Item) -> datetime | None:
    """Acquisition time of an item, UTC; None if it has none."""
    properties = item["properties"]
    return parse_time(properties.get("datetime")) or parse_time(properties.get("start_datetime"))


def cloud_cover_of(item: Item) -> float | None:
    """Cloud cover of an item, percent; None if it has none."""
    return first_number(item["properties"], ("eo:cloud_cover",))


def generated_of(item: Item) -> datetime | None:
    """Time at which the product was generated, UTC; None if the item has none."""
    times = (parse_time(item["properties"].get(key)) for key in GENERATED_KEYS)
    return next((time for time in times if time is not None), None)


def platform_of(item: Item) -> str | None:
    """Platform of an item, such as ``sentinel-2a``; None if it has none."""
    for text in (item["properties"].get("platform"), *_names(item)):
        match = _PLATFORM.search(text) if isinstance(text, str) else None
        if match:
            return f"sentinel-2{match[1].lower()}"
    return None


def mgrs_tile_of(item: Item) -> str | None:
    """MGRS tile of an item, such as ``01WCR``; None if it has none."""
    properties = item["properties"]
    texts = [properties.get(key) for key in TILE_KEYS]
    texts += ["".join(str(properties.get(key, "")) for key in keys) for keys in TILE_PART_KEYS]
    for text in (*texts, *_names(item)):
        match = _TILE.search(text) if isinstance(text, str) else None
        if match:
            return f"{int(match[1]):02d}{match[2]}{match[3]}"
    return None


def datatake_of(item: Item) -> str | None:
    """Datatake of an item by platform and start, ``S2A_20230818T100031``; None if unknown."""
    texts = [item["properties"].get(key) for key in DATATAKE_KEYS]
    for text in (*texts, item["id"]):
        match = _DATATAKE.match(text) if isinstance(text, str) else None
        if match:
            return f"{match[1]}_{match[2]}"
    return None


def datastrip_start_of(item: Item) -> datetime | None:
    """Start of the datastrip (the part of a datatake that one station received), UTC, or None."""
    for key in DATASTRIP_KEYS:
        text = item["properties"].get(key)
        match = _DATASTRIP.search(text) if isinstance(text, str) else None
        if match:
            return parse_time(match[1])
    return None


def baseline_of(item: Item) -> str | None:
    """Baseline of the processing of an item, such as ``05.09``; None if it has none."""
    properties = item["properties"]
    for key in BASELINE_KEYS:
        match = _BASELINE.match(str(properties.get(key, "")))
        if match:
            return f"{int(match[1]):02d}.{int(match[2]):02d}"
    datatakes = (properties.get(key) for key in DATATAKE_KEYS)
    for text in (*_names(item), *datatakes):
        match = _BASELINE_IN_NAME.search(text) if isinstance(text, str) else None
        if match:
            return f"{match[1]}.{match[2]}"
    return None


def relative_orbit_of(item: Item) -> int | None:
    """Relative orbit of an item, 1 to 143; None if it has none."""
    orbit = first_number(item["properties"], ORBIT_KEYS)
    if orbit is not None:
        return int(orbit)
    matches = (_ORBIT_IN_NAME.search(name) for name in _names(item))
    return next((int(match[1]) for match in matches if match), None)


def nodata_percent_of(item: Item) -> float | None:
    """Share of the tile without data, percent; None if the item does not state it."""
    properties = item["properties"]
    nodata = first_number(properties, NODATA_KEYS)
    statistics = properties.get("statistics")
    if nodata is None and isinstance(statistics, dict):
        nodata = first_number(statistics, ("nodata",))
    covered = first_number(properties, COVERAGE_KEYS)
    return 100 - covered if nodata is None and covered is not None else nodata


def sun_azimuth_of(item: Item) -> float | None:
    """Azimuth of the sun, degrees clockwise from north; None if the item has none."""
    return first_number(item["properties"], ("view:sun_azimuth", "s2:mean_solar_azimuth"))


def sun_elevation_of(item: Item) -> float | None:
    """Elevation of the sun, degrees above the horizon; None if the item has none."""
    zenith = first_number(item["properties"], ("s2:mean_solar_zenith",))
    elevation = first_number(item["properties"], ("view:sun_elevation",))
    return 90 - zenith if elevation is None and zenith is not None else elevation


def offset_removed_flag_of(item: Item) -> bool | None:
    """Whether the provider states that it removed the radiometric offset; None if it does not."""
    flags = (item["properties"].get(key) for key in OFFSET_FLAG_KEYS)
    return next((flag for flag in flags if isinstance(flag, bool)), None)


def epsg_of(item: Item) -> int | None:
    """EPSG code of the rasters of an item; None if its properties have none."""
    return projection_epsg(item["properties"])


def footprint_of(item: Item) -> dict[str, Any] | None:
    """GeoJSON geometry of an item, else its bounding box; None if it has neither."""
    geometry = item.get("geometry")
    if isinstance(geometry, dict) and geometry.get("coordinates"):
        return geometry
    box = item.get("bbox")
    if not isinstance(box, list) or len(box) not in (4, 6):
        return None
    (west, south), (east, north) = box[:2], box[len(box) // 2 :][:2]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def parse_time(value: object) -> datetime | None:
    """Parse ISO 8601 text, a datetime or a date as a time in UTC; None if it is neither."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        try:
            return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
        except OverflowError:
            # The first or the last day that Python knows, in another zone.
            return None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return None


def projection_epsg(fields: Properties) -> int | None:
    """EPSG code in the projection extension's fields of an item or asset; None if there is none."""
    code, text = fields.get("proj:epsg"), fields.get("proj:code")
    if isinstance(code, int) and not isinstance(code, bool):
        return code if 0 < code <= MAX_EPSG else None
    match = _EPSG_CODE.fullmatch(text) if isinstance(text, str) else None
    return int(match[1]) if match else None


def first_number(properties: Properties, keys: Iterable[str]) -> float | None:
    """Value of the first of ``keys`` that holds a finite number; None if none does."""
    for key in keys:
        value = properties.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        # An integer may be too large for a float.
        if abs(value) <= sys.float_info.max:
            return float(value)
    return None


def _names(item: Item) -> Iterator[str]:
    """Yield the product names of an item and its id."""
    for key in PRODUCT_KEYS:
        if isinstance(item["properties"].get(key), str):
            yield item["properties"][key]
    yield item["id"]
