"""STAC APIs: whatever a server makes of a search, the answer is filtered again on this side."""

import logging
import re
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

import shapely
from pystac.errors import STACError, STACTypeError
from pystac_client import Client, ConformanceClasses
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from shapely.geometry.base import BaseGeometry
from urllib3.util import Retry

from cloudbuster.catalogs.schema import absolute_item, is_item
from cloudbuster.catalogs.search import Found, Period, SceneSearch, sift
from cloudbuster.core.aoi import geometry_document
from cloudbuster.core.bands import Kind
from cloudbuster.errors import CatalogError, TryAgainError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.io.uri import HTTP_TIMEOUT_S
from cloudbuster.models import Dropped, Item

logger = logging.getLogger(__name__)

# Earth Search answers at most 6 MB, about 200 of its items; 100 is what every server allows.
PAGE_SIZE = 100
# Five retries with 1, 2, 4, 8 and 16 seconds between them: half a minute of trouble is passed over.
RETRIES = 5
RETRY_BACKOFF_S = 1.0
RETRY_STATUSES = (429, 500, 502, 503, 504)
# Sentinel-2A was launched on 2015-06-23; some servers refuse years far from now.
FIRST_DAY = date(2015, 6, 23)
LAST_DAY = date(2100, 1, 1)
# What pystac-client raises where an answer is not in the form of a STAC API.
NOT_AN_API = (
    STACError,
    STACTypeError,
    ClientTypeError,
    PystacClientWarning,
    KeyError,
    TypeError,
    AttributeError,
)
# Servers refuse or choke on larger areas; the convex hull is sent instead and the answer sifted.
MAX_SENT_VERTICES = 500
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
        What was given to open it.
    url : str
        Its landing page.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        collections: Mapping[Kind, tuple[str, ...]] | None = None,
        backoff_s: float = RETRY_BACKOFF_S,
    ) -> None:
        self.name = name or url
        self.url = url
        self._collections = collections
        self._backoff_s = backoff_s

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items that ``search`` wants, in the order of the server's pages.

        Parameters
        ----------
        search : SceneSearch
            What is wanted.
        on_event : callable or None
            Told after each page.

        Returns
        -------
        Found
            Each item once; ``held`` is the number of items that the server sent.

        Raises
        ------
        CatalogError
            Where the URL is no STAC API, or refuses the search.
        TryAgainError
            Where the server fails, throttles, or repeats a page.
        """
        answered: dict[tuple[str, str], Item] = {}
        unreadable: list[Dropped] = []
        with warnings.catch_warnings(), closing(self._pages(search)) as pages:
            # Servers that tell less than they should; the answers are checked on this side.
            warnings.simplefilter("ignore", PystacClientWarning)
            for page in pages:
                for feature in page:
                    if is_item(feature):
                        answered.setdefault(_key(feature), feature)
                    else:
                        unreadable.append(_not_an_item(feature, self.url))
                emit(on_event, Event("query", len(answered), 0, "items received"))
        kept, removed = sift(answered.values(), search)
        logger.info("catalog_searched", extra={"catalog": self.url, "item_count": len(answered)})
        return Found(
            tuple(absolute_item(item) for item in kept), len(answered), removed, tuple(unreadable)
        )

    @property
    def _host(self) -> str:
        return f"catalog {self.name} ({urlsplit(self.url).netloc})"

    def _pages(self, search: SceneSearch) -> Generator[list[Any], None, None]:
        """Yield the features of each page; what fails on the way becomes an error of ours."""
        retry = Retry(
            total=RETRIES,
            backoff_factor=self._backoff_s,
            status_forcelist=RETRY_STATUSES,
            allowed_methods=None,  # searches are POSTs, and repeating one does no harm
            raise_on_status=False,
        )
        transport = StacApiIO(max_retries=retry, timeout=HTTP_TIMEOUT_S)
        try:
            client = Client.open(self.url, stac_io=transport)
            collections = self._collections_of(client, transport, search.kind)
            for period in search.periods:
                yield from self._pages_of_period(client, search, period, collections)
        except APIError as error:
            raise self._api_error(error) from error
        except NOT_AN_API as error:
            msg = f"{self._host}: no STAC API ({type(error).__name__}); check the URL"
            raise CatalogError(msg) from error
        except ValueError as error:
            msg = f"{self._host}: sent no JSON ({_one_line(error)}); check the URL, or try again"
            raise TryAgainError(msg) from error
        finally:
            transport.session.close()

    def _pages_of_period(
        self, client: Client, search: SceneSearch, period: Period, collections: list[str] | None
    ) -> Iterator[list[Any]]:
        # The end is the next midnight, as servers differ in what they make of fractions of a
        # second; what lies beyond the day is sifted out.
        first, last = max(period[0], FIRST_DAY), min(period[1], LAST_DAY)
        if first > last:
            return
        found = client.search(
            method="POST",
            limit=PAGE_SIZE,
            intersects=geometry_document(_sent_area(search.aoi)),
            datetime=f"{first}T00:00:00Z/{last + timedelta(days=1)}T00:00:00Z",
            collections=collections,
            **_cloud_filter(client, search),
        )
        seen: set[tuple[str, str]] = set()
        for page in found.pages_as_dicts():
            keys = {_key(feature) for feature in page["features"] if is_item(feature)}
            if keys and keys <= seen:
                msg = f"{self._host}: sent a page for the second time; try again"
                raise TryAgainError(msg)
            seen |= keys
            yield page["features"]

    def _api_error(self, error: APIError) -> CatalogError | TryAgainError:
        status = getattr(error, "status_code", None)
        if status is None:
            return TryAgainError(f"{self._host}: {_one_line(error)}; check the network, try again")
        if status in RETRY_STATUSES or status > 500:
            return TryAgainError(f"{self._host}: HTTP status {status}; try again later")
        return CatalogError(f"{self._host}: HTTP status {status}: {_one_line(error)}")

    def _collections_of(self, client: Client, transport: StacApiIO, kind: Kind) -> list[str] | None:
        """Name the collections to search: known ones, else those so named; None for all."""
        if self._collections is not None:
            return list(self._collections.get(kind, ()))
        link = client.get_single_link("data")
        if link is None or not client.conforms_to(ConformanceClasses.COLLECTIONS):
            return None
        pages = transport.get_pages(link.href)
        names = [str(entry["id"]) for page in pages for entry in page.get("collections", [])]
        return [name for name in names if _COLLECTION_OF_KIND[kind].search(name)] or None


def _cloud_filter(client: Client, search: SceneSearch) -> dict[str, Any]:
    """Ask for the cloud cover in the language that the server says it speaks."""
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


def _sent_area(aoi: BaseGeometry) -> BaseGeometry:
    """Area that a server is asked for: holds the AOI, with a bounded number of vertices."""
    if shapely.get_num_coordinates(aoi) <= MAX_SENT_VERTICES:
        return aoi
    hull = aoi.convex_hull
    return hull if shapely.get_num_coordinates(hull) <= MAX_SENT_VERTICES else aoi.envelope


def _key(item: Item) -> tuple[str, str]:
    """Identity of an item within its catalog: ids repeat from one collection to another."""
    return (str(item.get("collection")), item["id"])


def _not_an_item(feature: object, url: str) -> Dropped:
    name = feature.get("id") if isinstance(feature, dict) else None
    return Dropped(item_id=str(name or "(without id)"), reason=f"{url} sent what is no STAC item")


def _one_line(error: Exception) -> str:
    """First line of an error, shortened: servers answer with whole pages."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
