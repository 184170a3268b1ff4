"""Convert the query response and the filter output of the original cloud-buster.

A query response is ``{"aoi": geometry, "results": [record, ...]}``. A filter output is
``{"bounds": [west, south, east, north], "selections": [record, ...]}``, in which the record of a
backstop has ``"backstop": true``. A record has ``name``, ``createdAt``, ``dataFootprint`` and
``sceneMetadata`` with ``path`` (folder in the public buckets) and ``cloudyPixelPercentage``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shapely.errors import ShapelyError
from shapely.geometry import box, mapping, shape

from cloudbuster.core.areas.aoi import geometry_document, parse_aoi
from cloudbuster.core.scenes.bands import BANDS, BANDS_BY_KIND, Kind
from cloudbuster.errors import RequestError
from cloudbuster.models import (
    MAX_ID_CHARS,
    Candidates,
    CandidatesInfo,
    Geometry,
    Item,
    Selection,
    SelectionEntry,
    SelectionInfo,
)

ORIGINAL_PROPERTY = "cloudbuster:original"
"""Item property that holds the original record, so that it can be written without loss."""
CATALOG_NAME = "original"
"""Value of ``catalog`` in documents that were converted from the original's."""
L1C_BUCKET = "s3://sentinel-s2-l1c"
L2A_BUCKET = "s3://sentinel-s2-l2a"
# Folders in both buckets: tiles/zone/band/square/year/month/day/sequence, without leading zeros.
TILE_PATH = re.compile(r"tiles/(\d{1,2})/([A-Z])/([A-Z]{2})/\d{4}/\d{1,2}/\d{1,2}/\d+")
# Since this day products have raster masks (MSK_CLASSI) instead of polygons: processing baseline
# 04.00 (Sentinel-2 Products Specification Document; sentinelhub-py#242).
FIRST_RASTER_MASK_DAY = datetime(2022, 1, 25, tzinfo=UTC)
PRODUCT_TYPES: dict[Kind, str] = {"L1C": "S2MSI1C", "L2A": "S2MSI2A"}
# An unknown cloud cover is written as the highest, so that the scene is picked last.
UNKNOWN_CLOUD_PERCENT = 100.0

Record = Mapping[str, Any]


def is_original_response(document: object) -> bool:
    """Whether a JSON document is a query response of the original."""
    return isinstance(document, dict) and {"aoi", "results"} <= document.keys()


def is_original_selection(document: object) -> bool:
    """Whether a JSON document is a filter output of the original."""
    return isinstance(document, dict) and {"bounds", "selections"} <= document.keys()


def is_original(candidates: Candidates) -> bool:
    """Whether candidates come from a document of the original."""
    return any(ORIGINAL_PROPERTY in (item.get("properties") or {}) for item in candidates.features)


def candidates_from_original(document: Mapping[str, Any], *, kind: Kind) -> Candidates:
    """Convert a query response of the original.

    Parameters
    ----------
    document : mapping
        Document for which `is_original_response` is True.
    kind : {"L1C", "L2A"}
        Product level of the scenes; the original chooses it only in its gather.

    Returns
    -------
    Candidates
        Items in the order of the records; each holds its record in `ORIGINAL_PROPERTY`.

    Raises
    ------
    RequestError
        If a record is invalid; the message names the record and the field.
    """
    if not isinstance(document["aoi"], dict):
        msg = "aoi: must be a GeoJSON geometry"
        raise RequestError(msg)
    items = _items(document["results"], "results", kind)
    return Candidates(
        features=tuple(items),
        cloudbuster=CandidatesInfo(aoi=document["aoi"], kind=kind, catalog=CATALOG_NAME),
    )


def selection_from_original(document: Mapping[str, Any], *, kind: Kind) -> Selection:
    """Convert a filter output of the original; the area of interest is the box of its bounds.

    Parameters
    ----------
    document : mapping
        Document for which `is_original_selection` is True.
    kind : {"L1C", "L2A"}
        Product level of the scenes.

    Returns
    -------
    Selection
        Selection marked as covered, because the original writes no other; ``uncovered`` is 0.

    Raises
    ------
    RequestError
        If the bounds or a record are invalid; the message names the record and the field.
    """
    records = document["selections"]
    items = _items(records, "selections", kind)
    unique: dict[str, Item] = {}
    entries: list[SelectionEntry] = []
    for record, item in zip(records, items, strict=True):
        known = _same_record(unique.values(), item)
        unique.setdefault(known or item["id"], item)
        backstop = bool(record.get("backstop", False))
        entries.append(
            SelectionEntry(item_id=known or item["id"], backstop=backstop, reused=bool(known))
        )
    info = _selection_info(_box(document["bounds"]), kind, tuple(entries))
    return Selection(features=tuple(unique.values()), cloudbuster=info)


def _selection_info(
    aoi: Geometry, kind: Kind, entries: tuple[SelectionEntry, ...]
) -> SelectionInfo:
    """Describe a selection of the original, which is covered."""
    return SelectionInfo(
        aoi=aoi,
        kind=kind,
        catalog=CATALOG_NAME,
        strategy="original",
        entries=entries,
        uncovered_by_layer=(),
        uncovered=0.0,
        covered=True,
    )


def original_response(candidates: Candidates) -> dict[str, Any]:
    """Convert candidates to a query response of the original."""
    return {
        "aoi": candidates.cloudbuster.aoi,
        "results": [_record(item) for item in candidates.features],
    }


def original_selection(selection: Selection) -> dict[str, Any]:
    """Convert a selection to a filter output of the original."""
    items = {item["id"]: item for item in selection.features}
    selections = [
        _record(items[entry.item_id]) | ({"backstop": True} if entry.backstop else {})
        for entry in selection.cloudbuster.entries
    ]
    # Across the antimeridian the east is over 180, the only notation that the original can read.
    return {"bounds": list(parse_aoi(selection.cloudbuster.aoi).bounds), "selections": selections}


def item_from_record(record: object, *, kind: Kind, field: str = "record") -> Item:
    """Make a STAC item from a record of the original or of RasterFoundry.

    Parameters
    ----------
    record : JSON value
        Record as described for this module.
    kind : {"L1C", "L2A"}
        Product level whose files the item lists.
    field : str
        Name of the record in errors.

    Returns
    -------
    dict
        STAC item; it holds the record in `ORIGINAL_PROPERTY`.

    Raises
    ------
    RequestError
        If the record is invalid; the message names the field.
    """
    if not isinstance(record, dict) or not isinstance(record.get("name"), str):
        msg = f"{field}: must be an object with a name"
        raise RequestError(msg)
    _check_id(record["name"], field)
    metadata = record.get("sceneMetadata")
    if not isinstance(metadata, dict):
        msg = f"{field}.sceneMetadata: must be an object"
        raise RequestError(msg)
    footprint = record.get("dataFootprint")
    # In records of RasterFoundry `createdAt` is the creation of the database row, and the metadata
    # have the acquisition time. Later versions of the original have it in `createdAt`.
    acquired = metadata.get("timestamp") or record.get("createdAt")
    path = TILE_PATH.fullmatch(str(metadata.get("path", "")).strip("/"))
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": record["name"],
        "geometry": footprint,
        "bbox": _bounds(footprint, field),
        "properties": {
            "datetime": acquired if isinstance(acquired, str) else None,
            "constellation": "sentinel-2",
            "eo:cloud_cover": _cloud_cover(metadata, field),
            "s2:product_type": PRODUCT_TYPES[kind],
            **_names(metadata, path),
            ORIGINAL_PROPERTY: {key: record[key] for key in record if key != "backstop"},
        },
        "links": [],
        "assets": _assets(path[0], kind, str(acquired)) if path else {},
    }


def _items(records: object, field: str, kind: Kind) -> list[Item]:
    """Make STAC items from a list of records; repeated names get a number."""
    if not isinstance(records, list):
        msg = f"{field}: must be a list"
        raise RequestError(msg)
    items: list[Item] = []
    names: dict[str, int] = {}
    for index, record in enumerate(records):
        item = item_from_record(record, kind=kind, field=f"{field}[{index}]")
        name = item["id"]
        names[name] = names.get(name, 0) + 1
        # The original identifies records by position, but item ids must be unique.
        unique = f"{name}#{names[name]}" if names[name] > 1 else name
        _check_id(unique, f"{field}[{index}]")
        items.append({**item, "id": unique})
    return items


def _check_id(name: str, field: str) -> None:
    """Raise RequestError if a name is too short or too long for the id of an item."""
    if not 0 < len(name) <= MAX_ID_CHARS:
        msg = f"{field}.name: has {len(name)} characters; 1 to {MAX_ID_CHARS} are allowed"
        raise RequestError(msg)


def _same_record(items: Sequence[Item] | Any, item: Item) -> str | None:  # noqa: ANN401
    """Id of the item that was made from the same record; None if there is none."""
    record = item["properties"][ORIGINAL_PROPERTY]
    same = (known for known in items if known["properties"][ORIGINAL_PROPERTY] == record)
    return next((known["id"] for known in same), None)


def _names(metadata: Record, path: re.Match[str] | None) -> dict[str, str]:
    """Properties with the names of the product and of the tile, as far as they are known."""
    names: dict[str, str] = {}
    if isinstance(metadata.get("productName"), str):
        names["s2:product_uri"] = metadata["productName"]
    if path:
        names["grid:code"] = f"MGRS-{int(path[1]):02d}{path[2]}{path[3]}"
    return names


def _cloud_cover(metadata: Record, field: str) -> float:
    """Cloud cover, percent; importers of RasterFoundry wrote it as text or as a number."""
    value = metadata.get("cloudyPixelPercentage")
    try:
        percent = float(value)  # type: ignore[arg-type]  # TypeError is what this is for
    except (TypeError, ValueError, OverflowError):
        percent = math.nan
    if not math.isfinite(percent):
        text = repr(value)[:80]
        msg = f"{field}.sceneMetadata.cloudyPixelPercentage: {text} is not a number"
        raise RequestError(msg)
    return percent


def _bounds(footprint: object, field: str) -> list[float]:
    """Bounding box of a GeoJSON footprint."""
    try:
        bounds = shape(footprint).bounds if isinstance(footprint, dict) else ()
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        msg = f"{field}.dataFootprint: {str(error)[:200]}"
        raise RequestError(msg) from error
    if len(bounds) == 4 and all(map(math.isfinite, bounds)):
        return [float(value) for value in bounds]
    msg = f"{field}.dataFootprint: must be a GeoJSON polygon"
    raise RequestError(msg)


def _box(bounds: object) -> Geometry:
    """GeoJSON polygon of the bounds of a filter output."""
    numbers = bounds if isinstance(bounds, list) else []
    if len(numbers) != 4 or not all(isinstance(number, int | float) for number in numbers):
        msg = "bounds: must be four numbers: west, south, east, north"
        raise RequestError(msg)
    try:
        return geometry_document(parse_aoi(mapping(box(*numbers))))
    except (ShapelyError, ValueError) as error:
        msg = f"bounds: {error}"
        raise RequestError(msg) from error


def _assets(path: str, kind: Kind, acquired: str) -> dict[str, Any]:
    """Assets of the bands and masks in a folder of the public buckets."""
    hrefs = {"cloud": f"{L2A_BUCKET}/{path}/qi/CLD_20m.jp2"}
    if kind == "L2A":
        hrefs["scl"] = f"{L2A_BUCKET}/{path}/R20m/SCL.jp2"
        folders = {name: f"{L2A_BUCKET}/{path}/R{BANDS[name].gsd_m}m" for name in BANDS}
    else:
        folders = dict.fromkeys(BANDS, f"{L1C_BUCKET}/{path}")
        if acquired[:10] >= FIRST_RASTER_MASK_DAY.date().isoformat():
            hrefs["msk_classi"] = f"{L1C_BUCKET}/{path}/qi/MSK_CLASSI_B00.jp2"
        else:
            hrefs["msk_clouds"] = f"{L1C_BUCKET}/{path}/qi/MSK_CLOUDS_B00.gml"
    bands = {name: f"{folders[name]}/{name}.jp2" for name in BANDS_BY_KIND[kind]}
    return {key: {"href": href, "roles": ["data"]} for key, href in {**bands, **hrefs}.items()}


def _record(item: Item) -> dict[str, Any]:
    """Make a record from an item: the record it was made from, if there is one, or a new one."""
    properties = item["properties"]
    original = properties.get(ORIGINAL_PROPERTY)
    if isinstance(original, dict):
        return dict(original)
    cloud_cover = properties.get("eo:cloud_cover")
    return {
        "name": item["id"],
        "createdAt": properties.get("datetime") or properties.get("start_datetime"),
        "dataFootprint": item.get("geometry"),
        "sceneMetadata": {
            "cloudyPixelPercentage": UNKNOWN_CLOUD_PERCENT if cloud_cover is None else cloud_cover,
            "path": _path(item),
        },
    }


def _path(item: Item) -> str:
    """Folder of an item in the public buckets, if an href contains it, else of its first asset."""
    links = [link for link in item.get("links") or [] if link.get("rel") == "self"]
    hrefs = [str(entry.get("href", "")) for entry in [*item["assets"].values(), *links]]
    matches = (TILE_PATH.search(href) for href in hrefs)
    found = next((match[0] for match in matches if match), None)
    s3_path = item["properties"].get("earthsearch:s3_path")
    if found is not None:
        return found
    return str(s3_path) if s3_path else (hrefs[0].rpartition("/")[0] if hrefs else "")
