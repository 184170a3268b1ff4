"""Local catalogs: a folder of STAC items and products, an ItemCollection, files that are linked.

Items are kept as plain dicts. Searches use columns of numbers and a spatial index, so that only
the items that are found are handled one by one.
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
import shapely

from cloudbuster.catalogs.geoparquet import PARQUET_SUFFIXES, ParquetCatalog
from cloudbuster.catalogs.item_hrefs import absolute_href, absolute_item
from cloudbuster.catalogs.item_properties import acquired_of, cloud_cover_of, kind_of
from cloudbuster.catalogs.product_folders import (
    is_product_file,
    local_products,
    product_items,
    remote_products,
)
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
from cloudbuster.core.scenes.bands import BANDS_BY_KIND, Kind
from cloudbuster.core.texts.names import shortened
from cloudbuster.errors import BadInputError, CatalogError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import Dropped, Item
from cloudbuster.storage.addresses.trust import Trust, catalog_trust, server_trust
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.files.uri import is_remote, local_path, read_bytes

logger = logging.getLogger(__name__)

ITEM_SUFFIXES = (".json", ".geojson")
# Greatest size of a file: 10 000 items of Earth Search have 200 MB.
MAX_BYTES = 256 * 2**20
# Masks in the folder of a scene, in the layout of the public buckets, that its item may not list:
# path in the folder without suffix, and the asset key for it.
NEIGHBOUR_MASKS = {
    "qi/CLD_20m": "cloud",
    "qi/MSK_CLASSI_B00": "msk_classi",
    "qi/MSK_CLOUDS_B00": "msk_clouds",
}
MASK_SUFFIXES = (".tif", ".jp2", ".gml")
_KINDS: tuple[Kind, ...] = tuple(BANDS_BY_KIND)
# Day of an item without a date: before any real one.
_NO_DAY = -(2**31)


@dataclass(frozen=True)
class _Columns:
    """Properties that the filters need, in the order of the items.

    Attributes
    ----------
    footprint : ndarray of shapely geometry or None, shape (item,)
        Prepared footprints.
    kind : ndarray of int8, shape (item,)
        Index in `_KINDS`; -1 if unknown.
    day : ndarray of int32, shape (item,)
        Proleptic ordinal of the UTC day; `_NO_DAY` if unknown.
    cloud_cover : ndarray of float64, shape (item,)
        Percent; NaN if unknown.
    """

    footprint: npt.NDArray[np.object_]
    kind: npt.NDArray[np.int8]
    day: npt.NDArray[np.int32]
    cloud_cover: npt.NDArray[np.float64]

    @classmethod
    def from_items(cls, items: Sequence[Item]) -> "_Columns":
        """Read the columns from the items."""
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
        """For each filter, in the order of `rejection`, the mask of the items it rejects."""
        inside = np.zeros(len(self.day), dtype=bool)
        for first, last in search.periods:
            inside |= (self.day >= first.toordinal()) & (self.day <= last.toordinal())
        cloudy = (self.cloud_cover < search.minclouds) | (self.cloud_cover > search.maxclouds)
        # An unknown cloud cover passes only the full range, 0 to 100.
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
    """STAC items on this machine, behind a spatial index.

    Attributes
    ----------
    name : str
        Path or URI the catalog was opened with.
    unreadable : tuple of Dropped
        Files or entries that should have been items and are not, with the reason.

    Parameters
    ----------
    name, unreadable
        As above.
    items : sequence of dict
        STAC items with absolute hrefs.
    """

    def __init__(
        self, name: str, items: Sequence[Item], unreadable: tuple[Dropped, ...] = ()
    ) -> None:
        """Read the columns of the items and build the index."""
        self.name = name
        self.unreadable = unreadable
        self._items = items
        self._columns = _Columns.from_items(items)
        self._tree = shapely.STRtree(self._columns.footprint)
        # Cache of found items with the masks beside them: finding masks is slower than searching.
        self._found: dict[int, Item] = {}

    @classmethod
    def open(cls, uri: str) -> "LocalCatalog | ParquetCatalog":
        """Open the catalog at a local path.

        Raises
        ------
        CatalogError
            If nothing there can be read as a catalog.
        MissingExtraError
            If a stac-geoparquet file needs pyarrow.
        """
        path, trust = local_path(uri), catalog_trust(uri)
        if path.suffix.lower() in PARQUET_SUFFIXES and path.is_file():
            return ParquetCatalog.open(uri, path)
        unreadable: list[Dropped] = []
        items: list[Item] = []
        try:
            if not is_product_file(path):
                items += [
                    absolute_item(entry.item, entry.folder)
                    for entry in _entries(path, unreadable, trust)
                ]
            if path.is_dir() or is_product_file(path):
                for product in local_products(path, unreadable, trust):
                    items += product_items(product, unreadable)
        except OSError as error:
            msg = f"catalog {uri}: {error.strerror or error}; check the path"
            raise CatalogError(msg) from error
        if path.is_file() and not items and is_product_file(path):
            raise _without_product(uri, unreadable)
        logger.info("catalog_opened", extra={"catalog": uri, "item_count": len(items)})
        return cls(uri, items, tuple(unreadable))

    @classmethod
    def of_remote_product(cls, uri: str) -> "LocalCatalog":
        """Open a product on another machine: a SAFE folder, or a tile's folder of a bucket.

        Raises
        ------
        CatalogError
            If its metadata cannot be read.
        UntrustedAddressError
            If the request comes from others, who may not name its server.
        CredentialsError, AccessError
            If there are no credentials, or they do not allow it.
        TryAgainError
            If its place fails in a way that may pass.
        """
        unreadable: list[Dropped] = []
        products = remote_products(uri, server_trust(uri))
        items = [item for product in products for item in product_items(product, unreadable)]
        if not items:
            raise _no_product(uri, unreadable)
        return cls(uri, items)

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items of a search, in the order of the files; see `Catalog.search`.

        ``held`` is the number of items in the catalog. Do not modify the items: later searches
        return the same objects. There is one event, at the end.
        """
        near = self._tree.query(search.ground)
        sharing = np.zeros(len(self._items), dtype=bool)
        sharing[near] = sharing_area(search.ground, self._columns.footprint[near])
        removed: Counter[str] = Counter()
        kept = np.ones(len(self._items), dtype=bool)
        for reason, rejected in self._columns.rejections(search, sharing).items():
            removed[reason] = int(np.count_nonzero(kept & rejected))
            kept &= ~rejected
        items = tuple(self._with_masks(index) for index in np.flatnonzero(kept).tolist())
        emit(on_event, Event("query", 1, 1, f"{len(self._items)} items searched"))
        # Unary plus leaves the counts of 0 out.
        return Found(items, len(self._items), +removed, self.unreadable)

    def _with_masks(self, index: int) -> Item:
        """Item at ``index`` with the masks beside its files, cached."""
        if index not in self._found:
            self._found[index] = _add_neighbour_masks(self._items[index])
        return self._found[index]


def _without_product(uri: str, unreadable: list[Dropped]) -> CatalogError:
    """Make the error for a file of a product from which no item could be made."""
    reasons = _reasons(unreadable) or "no product of Sentinel-2 in it"
    return CatalogError(f"catalog {uri}: {reasons}; give a SAFE folder")


def _reasons(unreadable: Sequence[Dropped]) -> str:
    """Return the reasons for a message; empty if there are none."""
    return shortened("; ".join(entry.reason for entry in unreadable), limit=1000)


def _no_product(uri: str, unreadable: Sequence[Dropped]) -> CatalogError:
    """Make the error for an address that should be that of a product."""
    reasons = _reasons(unreadable) or "no product of Sentinel-2 in it"
    return CatalogError(f"catalog {uri}: {reasons}; give a SAFE folder, or a zip of one")


@dataclass(frozen=True)
class _Entry:
    """An item and the folder that its relative hrefs start from."""

    item: Item
    folder: str


def _day(item: Item) -> int:
    """Proleptic ordinal of the UTC day of an item; `_NO_DAY` if it has no date."""
    acquired = acquired_of(item)
    return _NO_DAY if acquired is None else acquired.astimezone(UTC).date().toordinal()


def _entries(path: Path, unreadable: list[Dropped], trust: Trust) -> Iterator[_Entry]:
    """Yield every item of a folder, or of a file and the files it links to."""
    if path.is_dir():
        yield from _in_folder(path, unreadable, trust)
        return
    try:
        content = read_bytes(str(path), trust=trust, max_bytes=MAX_BYTES)
        document = parse_json(content, source=str(path), levels=None)
    except BadInputError as error:
        msg = f"catalog {error}; give a STAC catalog"
        raise CatalogError(msg) from error
    members = document if isinstance(document, dict) else {}
    if members.get("type") in ("Catalog", "Collection"):
        yield from _linked(path, members, unreadable, trust)
    elif isinstance(members.get("features"), list):
        yield from _in_collection(path, members["features"], unreadable)
    elif is_item(members):
        yield _Entry(members, str(path.parent.absolute()))
    else:
        msg = (
            f"catalog {path}: not a STAC ItemCollection, catalog or item; give one of these, or a "
            "folder of items"
        )
        raise CatalogError(msg)


def _in_folder(folder: Path, unreadable: list[Dropped], trust: Trust) -> Iterator[_Entry]:
    """Yield the items in a folder and its subfolders; other JSON files are skipped."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in ITEM_SUFFIXES and file.is_file():
            document = _document(file, unreadable, trust)
            if is_item(document):
                yield _Entry(document, str(file.parent.absolute()))


def _in_collection(path: Path, features: list[Any], unreadable: list[Dropped]) -> Iterator[_Entry]:
    """Yield the items of an ItemCollection."""
    for number, feature in enumerate(features, start=1):
        if is_item(feature):
            yield _Entry(feature, str(path.parent.absolute()))
        else:
            reason = f"feature {number} of {path} is not a STAC item"
            unreadable.append(Dropped(item_id=path.name, reason=reason))


def _linked(
    root: Path, document: Item, unreadable: list[Dropped], trust: Trust
) -> Iterator[_Entry]:
    """Yield the items that a catalog links to, directly or not, in the order of the links."""
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
            child = local_path(absolute_href(href, str(path.parent)))
            if child.resolve() in seen:
                continue
            seen.add(child.resolve())
            found = _document(child, unreadable, trust)
            if is_item(found):
                yield _Entry(found, str(child.parent.absolute()))
            elif isinstance(found, dict):
                children.append((child, found))
        waiting = children + waiting


def _child_hrefs(document: Item) -> list[str]:
    """Hrefs of the links of a catalog to items and child catalogs."""
    links = document.get("links")
    return [
        link["href"]
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict)
        and link.get("rel") in ("item", "child")
        and isinstance(link.get("href"), str)
    ]


def _document(file: Path, unreadable: list[Dropped], trust: Trust) -> Any:  # noqa: ANN401 -- any JSON value
    """Content of a JSON file; None, and an entry in ``unreadable``, if it cannot be read."""
    try:
        content = read_bytes(str(file), trust=trust, max_bytes=MAX_BYTES)
        return parse_json(content, source=str(file))
    except BadInputError as error:
        reason = str(error)
    unreadable.append(Dropped(item_id=file.stem, reason=reason))
    return None


def _add_neighbour_masks(item: Item) -> Item:
    """Copy of an item with the masks found beside its files added to its assets."""
    assets = [asset for asset in item["assets"].values() if isinstance(asset, dict)]
    hrefs = [asset["href"] for asset in assets if isinstance(asset.get("href"), str)]
    folders = dict.fromkeys(str(Path(href).parent) for href in hrefs if href.startswith("/"))
    added: dict[str, Any] = {}
    for folder in folders:
        for stem, key in NEIGHBOUR_MASKS.items():
            files = (Path(folder, f"{stem}{suffix}") for suffix in MASK_SUFFIXES)
            mask = next((file for file in files if file.is_file()), None)
            if mask is not None and key not in item["assets"]:
                added.setdefault(key, {"href": str(mask), "roles": ["data"]})
    return {**item, "assets": {**item["assets"], **added}} if added else item
