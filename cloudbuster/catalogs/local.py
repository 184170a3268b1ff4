"""Local STAC catalogs: a folder, an ItemCollection, or linked files; in process.

The items are plain dicts; a search is decided on columns of numbers and a spatial index, so that
nothing is done item by item but for those that are found.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import shapely

from cloudbuster.catalogs.geoparquet import PARQUET_SUFFIXES, ParquetCatalog
from cloudbuster.catalogs.item_hrefs import absolute_item
from cloudbuster.catalogs.item_properties import acquired_of, cloud_cover_of, kind_of
from cloudbuster.catalogs.schema import is_item
from cloudbuster.catalogs.search import (
    AREA,
    CLOUD_COVER,
    DATES,
    LEVEL,
    NO_CLOUD_COVER,
    NO_DATE,
    NO_FOOTPRINT,
    NO_LEVEL,
    Found,
    SceneSearch,
    footprint_geometry,
    sharing_area,
)
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.bands import BANDS_BY_KIND, Kind
from cloudbuster.errors import BadInputError, CatalogError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import Dropped, Item
from cloudbuster.storage.documents import parse_json
from cloudbuster.storage.uri import is_remote, local_path, resolve

logger = logging.getLogger(__name__)

ITEM_SUFFIXES = (".json", ".geojson")
# Masks that stand beside a scene in the layout of the public buckets, though its item may not list
# them: file in the scene's folder, without suffix, and the asset key that it gets.
NEIGHBOUR_MASKS = {
    "qi/CLD_20m": "cloud",
    "qi/MSK_CLASSI_B00": "msk_classi",
    "qi/MSK_CLOUDS_B00": "msk_clouds",
}
MASK_SUFFIXES = (".tif", ".jp2", ".gml")
_KINDS: tuple[Kind, ...] = tuple(BANDS_BY_KIND)
# Day of an item without a date: before every other.
_NO_DAY = -(2**31)


@dataclass(frozen=True)
class _Columns:
    """What the filters ask of each item, in the order of the items.

    Attributes
    ----------
    footprint : ndarray of shapely geometry or None
        Prepared.
    kind : ndarray of int8
        Index in `_KINDS`; -1 where unknown.
    day : ndarray of int32
        Proleptic ordinal of the UTC day; `_NO_DAY` where unknown.
    cloud_cover : ndarray of float64
        Percent; NaN where unknown.
    """

    footprint: npt.NDArray[np.object_]
    kind: npt.NDArray[np.int8]
    day: npt.NDArray[np.int32]
    cloud_cover: npt.NDArray[np.float64]

    @classmethod
    def of(cls, items: Sequence[Item]) -> "_Columns":
        """Read what the filters ask for out of each item."""
        footprint = np.empty(len(items), dtype=object)
        footprint[:] = [footprint_geometry(item) for item in items]
        shapely.prepare(footprint)
        kinds = (kind_of(item) for item in items)
        clouds = (cloud_cover_of(item) for item in items)
        return cls(
            footprint,
            np.array([-1 if kind is None else _KINDS.index(kind) for kind in kinds], dtype=np.int8),
            np.array([_day(item) for item in items], dtype=np.int32),
            np.array([np.nan if cloud is None else cloud for cloud in clouds], dtype=np.float64),
        )

    def rejections(self, search: SceneSearch, sharing: BoolRaster) -> dict[str, BoolRaster]:
        """Tell for each filter, in their order, which items it would remove.

        It is the order of `rejection`, and its decisions.
        """
        inside = np.zeros(len(self.day), dtype=bool)
        for first, last in search.periods:
            inside |= (self.day >= first.toordinal()) & (self.day <= last.toordinal())
        cloudy = (self.cloud_cover < search.minclouds) | (self.cloud_cover > search.maxclouds)
        # An unknown cover lies in the full range, and in no narrower one for sure.
        narrow = (search.minclouds, search.maxclouds) != (0, 100)
        return {
            NO_FOOTPRINT: shapely.is_missing(self.footprint),
            AREA: ~sharing,
            NO_LEVEL: self.kind == -1,
            NO_DATE: self.day == _NO_DAY,
            LEVEL: self.kind != _KINDS.index(search.kind),
            DATES: ~inside,
            NO_CLOUD_COVER: np.isnan(self.cloud_cover) & narrow,
            CLOUD_COVER: cloudy,
        }


class LocalCatalog:
    """Items on this machine, behind a spatial index.

    Attributes
    ----------
    name : str
        What was given to open it.
    unreadable : tuple of Dropped
        Files that are no item though they might have been, with the reason.

    Parameters
    ----------
    name, unreadable
        As above.
    items : sequence of dict
        STAC items, hrefs absolute.
    """

    def __init__(
        self, name: str, items: Sequence[Item], unreadable: tuple[Dropped, ...] = ()
    ) -> None:
        self.name = name
        self.unreadable = unreadable
        self._items = items
        self._columns = _Columns.of(items)
        self._tree = shapely.STRtree(self._columns.footprint)
        # Items that were found before, with the masks beside them: looking for these takes longer
        # than the search.
        self._found: dict[int, Item] = {}

    @classmethod
    def open(cls, uri: str) -> "LocalCatalog | ParquetCatalog":
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
            return ParquetCatalog.open(uri, path)
        unreadable: list[Dropped] = []
        try:
            items = [
                absolute_item(entry.item, entry.folder) for entry in _entries(path, unreadable)
            ]
        except OSError as error:
            msg = f"catalog {uri}: {error.strerror or error}; check the path"
            raise CatalogError(msg) from error
        logger.info("catalog_opened", extra={"catalog": uri, "item_count": len(items)})
        return cls(uri, items, tuple(unreadable))

    def items(self) -> Iterator[Item]:
        """Yield every item, in the order of the files; hrefs absolute. Not to be modified."""
        yield from self._items

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
            Exact; ``held`` is the number of items in the catalog. The items are not to be
            modified: a later search gives the same ones.
        """
        near = self._tree.query(search.ground)
        sharing = np.zeros(len(self._items), dtype=bool)
        sharing[near] = sharing_area(search.ground, self._columns.footprint[near])
        removed: Counter[str] = Counter()
        kept = np.ones(len(self._items), dtype=bool)
        for reason, rejected in self._columns.rejections(search, sharing).items():
            removed[reason] = int(np.count_nonzero(kept & rejected))
            kept &= ~rejected
        items = tuple(self._finished(index) for index in np.flatnonzero(kept).tolist())
        emit(on_event, Event("query", 1, 1, f"{len(self._items)} items searched"))
        # Unary plus leaves the counts of 0 out.
        return Found(items, len(self._items), +removed, self.unreadable)

    def _finished(self, index: int) -> Item:
        if index not in self._found:
            self._found[index] = _with_neighbours(self._items[index])
        return self._found[index]


@dataclass(frozen=True)
class _Entry:
    """An item and the folder that its relative hrefs start from."""

    item: Item
    folder: str


def _day(item: Item) -> int:
    acquired = acquired_of(item)
    return _NO_DAY if acquired is None else acquired.astimezone(UTC).date().toordinal()


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
