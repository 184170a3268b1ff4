"""STAC APIs. Items are filtered again after they arrive, as servers interpret searches loosely."""

import logging
import re
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import shapely
from pystac.errors import STACError, STACTypeError
from pystac_client import Client, ConformanceClasses
from pystac_client.errors import ClientTypeError
from pystac_client.warnings import PystacClientWarning
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.item_hrefs import absolute_item
from cloudbuster.catalogs.paging import PAGE_SIZE, Pages, feature_key
from cloudbuster.catalogs.schema import is_item
from cloudbuster.catalogs.search import Found, SceneSearch, sift, utc_span
from cloudbuster.catalogs.transport import RETRY_BACKOFF_S, Call, RetryingIO
from cloudbuster.core.areas.aoi import geometry_document
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.errors import CatalogError, TryAgainError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import FIRST_DAY, LAST_DAY, Dropped, Item
from cloudbuster.storage.addresses.trust import server_of, server_trust

logger = logging.getLogger(__name__)

# Exceptions that pystac-client raises if an answer is not that of a STAC API.
NOT_AN_API = (
    STACError,
    STACTypeError,
    ClientTypeError,
    PystacClientWarning,
    KeyError,
    TypeError,
    AttributeError,
    ValueError,
    OSError,
)
# Servers refuse larger polygons; the convex hull is sent instead, and the answer filtered here.
MAX_SENT_VERTICES = 500
# Number of times a period with incomplete pages is halved; ten halvings turn a year into 9 hours.
MAX_SPLITS = 10
# Collections of Sentinel-2 as servers name them: sentinel-2-l2a, sentinel-s2-l2a-cogs, s2_l1c, ...
_COLLECTION_OF_KIND: dict[Kind, re.Pattern[str]] = {
    "L1C": re.compile(r"(?:sentinel[-_ ]?s?2|^s2).*l?1c", re.IGNORECASE),
    "L2A": re.compile(r"(?:sentinel[-_ ]?s?2|^s2).*l?2a", re.IGNORECASE),
}


class StacApiCatalog:
    """A STAC API by its URL.

    Attributes
    ----------
    name : str
        Name or URL the catalog was opened with.
    url : str
        Landing page of the API.

    Parameters
    ----------
    url, name : str
        As above; the name defaults to the URL.
    collections : mapping of {"L1C", "L2A"} to tuple of str, or None
        Collections to search; None selects those whose ids name Sentinel-2 and the level.
    page_size : int
        Maximum number of items to request per page.
    backoff_s : float
        Delay before the first retry of a request, seconds; it doubles with each retry.
    sleep : callable
        Function that waits for a number of seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        collections: Mapping[Kind, tuple[str, ...]] | None = None,
        page_size: int = PAGE_SIZE,
        backoff_s: float = RETRY_BACKOFF_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep the settings; the API is contacted by a search."""
        self.name = name or url
        self.url = url
        self._collections = collections
        self._page_size = page_size
        self._backoff_s = backoff_s
        self._sleep = sleep

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items of a search, sorted by collection and id; see `Catalog.search`.

        ``held`` is the number of items that the server sent. There is one event for each page.
        """
        answered: dict[tuple[str, str], Item] = {}
        unreadable: dict[tuple[str, str], Dropped] = {}
        with warnings.catch_warnings(), closing(self._pages(search)) as pages:
            # pystac-client warns of metadata that servers leave out; the answers are checked here.
            warnings.simplefilter("ignore", PystacClientWarning)
            for page in pages:
                for feature in page:
                    if is_item(feature):
                        answered.setdefault(feature_key(feature), feature)
                    else:
                        unreadable[feature_key(feature)] = _not_an_item(feature, self.url)
                emit(on_event, Event("query", len(answered), 0, "items received"))
        kept, removed = sift((answered[key] for key in sorted(answered)), search)
        logger.info("catalog_searched", extra={"catalog": self.url, "item_count": len(answered)})
        return Found(
            tuple(absolute_item(item) for item in kept),
            len(answered),
            removed,
            tuple(unreadable.values()),
        )

    @property
    def _label(self) -> str:
        """Name and host of the catalog, for errors."""
        return f"catalog {self.name} ({server_of(self.url)})"

    def _pages(self, search: SceneSearch) -> Generator[list[Any], None, None]:
        """Yield the features of each page; CatalogError if the server is not a STAC API."""
        trust = server_trust(self.url)
        transport = RetryingIO(self._label, trust, backoff_s=self._backoff_s, sleep=self._sleep)
        try:
            client = Client.open(self.url, stac_io=transport)
            collections = self._collection_ids(client, transport, search.kind)
            for period in search.periods:
                first, last = max(period[0], FIRST_DAY), min(period[1], LAST_DAY)
                if first <= last:
                    call = _search_call(client, search, collections)
                    # The end is the next midnight, as servers differ in their reading of fractions
                    # of a second; items of that day are filtered out here.
                    yield from self._pages_of_span(transport, call, *utc_span((first, last)))
        except NOT_AN_API as error:
            msg = f"{self._label}: not a STAC API ({type(error).__name__}); check the URL"
            raise CatalogError(msg) from error

    def _pages_of_span(
        self, transport: RetryingIO, call: Call, first: datetime, last: datetime, splits: int = 0
    ) -> Iterator[list[Any]]:
        """Yield the features of a time span; if pages are missing, search its halves as well."""
        interval = f"{first:%Y-%m-%dT%H:%M:%SZ}/{last:%Y-%m-%dT%H:%M:%SZ}"
        body = {**(call.body or {}), "datetime": interval}
        pages = Pages(transport, Call(call.url, call.method, body), size=self._page_size)
        if (yield from pages.read()):
            return
        if splits >= MAX_SPLITS:
            msg = (
                f"{self._label}: holds more items for {interval} than it sends, and links to no "
                "further page; try again, or use another catalog"
            )
            raise TryAgainError(msg)
        logger.warning("pages_missing", extra={"catalog": self.url, "period": interval})
        middle = first + timedelta(seconds=(last - first).total_seconds() // 2)
        yield from self._pages_of_span(transport, call, first, middle, splits + 1)
        yield from self._pages_of_span(transport, call, middle, last, splits + 1)

    def _collection_ids(
        self, client: Client, transport: RetryingIO, kind: Kind
    ) -> list[str] | None:
        """Ids of the collections to search; None to search all of them."""
        if self._collections is not None:
            return list(self._collections.get(kind, ()))
        link = client.get_single_link("data")
        if link is None or not client.conforms_to(ConformanceClasses.COLLECTIONS):
            return None
        pages = transport.get_pages(link.href)
        names = [str(entry["id"]) for page in pages for entry in page.get("collections", [])]
        return [name for name in names if _COLLECTION_OF_KIND[kind].search(name)] or None


def _search_call(client: Client, search: SceneSearch, collections: list[str] | None) -> Call:
    """First request of a search, without its dates."""
    found = client.search(
        method="POST",
        limit=PAGE_SIZE,
        intersects=geometry_document(_sent_area(search.aoi)),
        collections=collections,
        **_cloud_filter(client, search),
    )
    return Call(found.url, "POST", found.get_parameters())


def _cloud_filter(client: Client, search: SceneSearch) -> dict[str, Any]:
    """Search arguments for the cloud cover, in a filter language that the server conforms to."""
    low, high = search.minclouds, search.maxclouds
    if (low, high) == (0, 100):
        return {}
    if client.conforms_to(ConformanceClasses.QUERY):
        return {"query": {"eo:cloud_cover": {"gte": low, "lte": high}}}
    if client.conforms_to(ConformanceClasses.FILTER):
        name = {"property": "eo:cloud_cover"}
        bounds = [{"op": ">=", "args": [name, low]}, {"op": "<=", "args": [name, high]}]
        return {"filter": {"op": "and", "args": bounds}, "filter_lang": "cql2-json"}
    return {}


def _sent_area(area: BaseGeometry) -> BaseGeometry:
    """Simplify an area for a request: it holds the area in at most `MAX_SENT_VERTICES` vertices."""
    simpler = area
    for simplify in (shapely.convex_hull, shapely.envelope):
        if shapely.get_num_coordinates(simpler) <= MAX_SENT_VERTICES:
            break
        # Part by part: a hull across the antimeridian would span the globe.
        simpler = shapely.union_all(simplify(shapely.get_parts(area)))
    return simpler if shapely.get_num_coordinates(simpler) <= MAX_SENT_VERTICES else area.envelope


def _not_an_item(feature: object, url: str) -> Dropped:
    """Make the record of a feature that is not a STAC item."""
    name = feature.get("id") if isinstance(feature, dict) else None
    return Dropped(
        item_id=str(name or "(without id)"), reason=f"{url} sent a feature that is not a STAC item"
    )
