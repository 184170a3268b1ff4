"""Local STAC catalogs: a folder, an ItemCollection, linked files, or stac-geoparquet; in process.

The items are plain dicts behind a spatial index; an item of a stac-geoparquet file is made when a
search finds it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely

from cloudbuster.catalogs.schema import absolute_item, is_item
from cloudbuster.catalogs.search import AREA, Found, SceneSearch, footprint_geometry, rejection
from cloudbuster.core.aoi import geometry_document, polygonal
from cloudbuster.errors import BadInputError, CatalogError, MissingExtraError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.io.documents import parse_json
from cloudbuster.io.uri import is_remote, local_path, resolve
from cloudbuster.models import Dropped, Item

logger = logging.getLogger(__name__)

ITEM_SUFFIXES = (".json", ".geojson")
PARQUET_SUFFIXES = (".parquet", ".geoparquet")
# Masks that stand beside a scene in the layout of the public buckets, though its item may not list
# them: file in the scene's folder, without suffix, and the asset key that it gets.
NEIGHBOUR_MASKS = {
    "qi/CLD_20m": "cloud",
    "qi/MSK_CLASSI_B00": "msk_classi",
    "qi/MSK_CLOUDS_B00": "msk_clouds",
}
MASK_SUFFIXES = (".tif", ".jp2", ".gml")
# Columns of stac-geoparquet that are members of the item; every other is one of its properties
# (stac-geoparquet specification 1.1).
ITEM_COLUMNS = (
    *("type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets"),
    "collection",
)


@dataclass(frozen=True)
class _Entry:
    """An item and the folder that its relative hrefs start from."""

    item: Item
    folder: str


class LocalCatalog:
    """Items on this machine, behind a spatial index.

    Attributes
    ----------
    name : str
        What was given to open it.
    unreadable : tuple of Dropped
        Files that are no item though they might have been, with the reason.
    """

    def __init__(
        self,
        name: str,
        footprints: Sequence[Any],
        load: Callable[[int], Item],
        folder: Callable[[int], str],
        unreadable: tuple[Dropped, ...] = (),
    ) -> None:
        self.name = name
        self.unreadable = unreadable
        self._load = load
        self._folder = folder
        self._count = len(footprints)
        self._tree = shapely.STRtree(footprints)

    @classmethod
    def open(cls, uri: str) -> "LocalCatalog":
        """Open what lies at a local path.

        Raises
        ------
        CatalogError
            Where there is nothing, or nothing that can be read as a catalog.
        MissingExtraError
            Where a stac-geoparquet file needs pyarrow.
        """
        path = local_path(uri)
        if path.suffix.lower() in PARQUET_SUFFIXES and path.is_file():
            return _open_parquet(uri, path)
        unreadable: list[Dropped] = []
        try:
            entries = list(_entries(path, unreadable))
        except OSError as error:
            msg = f"catalog {uri}: {error.strerror or error}; check the path"
            raise CatalogError(msg) from error
        footprints = [footprint_geometry(entry.item) for entry in entries]
        logger.info("catalog_opened", extra={"catalog": uri, "item_count": len(entries)})
        return cls(
            uri,
            footprints,
            load=lambda index: entries[index].item,
            folder=lambda index: entries[index].folder,
            unreadable=tuple(unreadable),
        )

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items that ``search`` wants, in the order of the files.

        Parameters
        ----------
        search : SceneSearch
            What is wanted.
        on_event : callable or None
            Told when the search is done.

        Returns
        -------
        Found
            Exact; ``held`` is the number of items in the catalog.
        """
        shapely.prepare(search.aoi)
        # DE-9IM "intersects" also holds where only edges meet; "touches" tells those apart.
        near = set(self._tree.query(search.aoi, predicate="intersects").tolist())
        near -= set(self._tree.query(search.aoi, predicate="touches").tolist())
        kept: list[Item] = []
        removed = Counter({AREA: self._count - len(near)})
        for index in sorted(near):
            item = self._load(index)
            reason = rejection(item, search)
            if reason is None:
                kept.append(_with_neighbours(absolute_item(item, self._folder(index))))
            else:
                removed[reason] += 1
        emit(on_event, Event("query", 1, 1, f"{self._count} items searched"))
        # Unary plus leaves the counts of 0 out.
        return Found(tuple(kept), self._count, +removed, self.unreadable)


def _entries(path: Path, unreadable: list[Dropped]) -> Iterator[_Entry]:
    """Yield every item of a folder, or of a file and of what it links to."""
    if path.is_dir():
        yield from _in_folder(path, unreadable)
        return
    try:
        document = parse_json(path.read_bytes(), source=str(path))
    except BadInputError as error:
        msg = f"catalog {error}; give a STAC catalog"
        raise CatalogError(msg) from error
    members = document if isinstance(document, dict) else {}
    if members.get("type") in ("Catalog", "Collection"):
        yield from _linked(path, members, unreadable)
    elif isinstance(members.get("features"), list):
        yield from _in_collection(path, members["features"], unreadable)
    elif is_item(members):
        yield _Entry(members, str(path.parent.absolute()))
    else:
        msg = (
            f"catalog {path}: neither a STAC ItemCollection nor a catalog nor an item; give one, "
            "or a folder that holds items"
        )
        raise CatalogError(msg)


def _in_folder(folder: Path, unreadable: list[Dropped]) -> Iterator[_Entry]:
    """Yield the items below a folder; other JSON files are passed over."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in ITEM_SUFFIXES and file.is_file():
            document = _document(file, unreadable)
            if is_item(document):
                yield _Entry(document, str(file.parent.absolute()))


def _in_collection(path: Path, features: list[Any], unreadable: list[Dropped]) -> Iterator[_Entry]:
    """Yield the items of an ItemCollection."""
    for number, feature in enumerate(features, start=1):
        if is_item(feature):
            yield _Entry(feature, str(path.parent.absolute()))
        else:
            reason = f"feature {number} of {path} is no STAC item"
            unreadable.append(Dropped(item_id=path.name, reason=reason))


def _linked(root: Path, document: Item, unreadable: list[Dropped]) -> Iterator[_Entry]:
    """Yield the items that a catalog's links lead to, in the order of the links."""
    seen = {root.resolve()}
    waiting = [(root, document)]
    while waiting:
        path, current = waiting.pop(0)
        children: list[tuple[Path, Item]] = []
        for href in _child_hrefs(current):
            if is_remote(href):
                reason = f"{path} links to another machine; only local files are read"
                unreadable.append(Dropped(item_id=href, reason=reason))
                continue
            child = local_path(resolve(href, str(path.parent)))
            if child.resolve() in seen:
                continue
            seen.add(child.resolve())
            found = _document(child, unreadable)
            if is_item(found):
                yield _Entry(found, str(child.parent.absolute()))
            elif isinstance(found, dict):
                children.append((child, found))
        waiting = children + waiting


def _child_hrefs(document: Item) -> list[str]:
    links = document.get("links")
    return [
        link["href"]
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict)
        and link.get("rel") in ("item", "child")
        and isinstance(link.get("href"), str)
    ]


def _document(file: Path, unreadable: list[Dropped]) -> Any:  # noqa: ANN401 -- any JSON value
    """Content of a JSON file; one that cannot be read is noted and left out."""
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        reason = f"{file}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    except OSError as error:
        reason = f"{file}: {error.strerror or error}"
    unreadable.append(Dropped(item_id=file.stem, reason=reason))
    return None


def _with_neighbours(item: Item) -> Item:
    """Add the masks that stand beside the scene's files to the assets that the item lists."""
    hrefs = [asset.get("href", "") for asset in item["assets"].values() if isinstance(asset, dict)]
    folders = dict.fromkeys(str(Path(href).parent) for href in hrefs if href.startswith("/"))
    added: dict[str, Any] = {}
    for folder in folders:
        for stem, key in NEIGHBOUR_MASKS.items():
            files = (Path(folder, f"{stem}{suffix}") for suffix in MASK_SUFFIXES)
            mask = next((file for file in files if file.is_file()), None)
            if mask is not None and key not in item["assets"]:
                added.setdefault(key, {"href": str(mask), "roles": ["data"]})
    return {**item, "assets": {**item["assets"], **added}} if added else item


def _open_parquet(uri: str, path: Path) -> LocalCatalog:
    """Index a stac-geoparquet file; its rows become items when they are found."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        msg = f"{uri}: stac-geoparquet needs pyarrow; pip install cloudbuster[geoparquet]"
        raise MissingExtraError(msg) from error
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        msg = f"catalog {uri}: {str(error).splitlines()[0]}; give a stac-geoparquet file"
        raise CatalogError(msg) from error
    absent = [name for name in ("id", "geometry", "assets") if name not in table.column_names]
    if absent:
        msg = f"catalog {uri}: no column {', '.join(absent)}; give a stac-geoparquet file"
        raise CatalogError(msg)
    wkb = np.array(table.column("geometry").to_pylist(), dtype=object)
    footprints = shapely.from_wkb(wkb, on_invalid="ignore")
    for index in np.flatnonzero(~shapely.is_valid(footprints) & ~shapely.is_missing(footprints)):
        footprints[index] = polygonal(footprints[index])
    folder = str(path.parent.absolute())

    return LocalCatalog(
        uri,
        footprints,
        load=lambda index: _parquet_item(table.slice(index, 1).to_pylist()[0]),
        folder=lambda _index: folder,
    )


def _parquet_item(row: dict[str, Any]) -> Item:
    """STAC item of a row: properties back in their place, columns of other items left out."""
    item: Item = {"type": "Feature", "stac_version": "1.0.0", "links": []}
    properties: dict[str, Any] = {}
    for name, value in row.items():
        if value is not None:
            (item if name in ITEM_COLUMNS else properties)[name] = _without_nulls(value)
    geometry = row["geometry"]
    item["geometry"] = geometry_document(shapely.from_wkb(geometry)) if geometry else None
    assets = item.get("assets", {})
    # Some mirrors keep the assets as JSON text, to keep the schema small.
    item["assets"] = orjson.loads(assets) if isinstance(assets, str) else assets
    box = item.get("bbox")
    if isinstance(box, dict):
        item["bbox"] = [box[key] for key in ("xmin", "ymin", "xmax", "ymax")]
    item["properties"] = properties
    return item


def _without_nulls(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    """Drop the null members that a column's common schema adds; times become ISO 8601 text."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    return value
