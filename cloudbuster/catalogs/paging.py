"""Read all pages of a search of a STAC API, and detect pages that the server leaves out.

Servers fail on large pages, send a page twice, omit the link to the next page, or silently cut the
results off (earth-search#17, #55; rustac). The order of the items does not matter here.
"""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import orjson

from cloudbuster.catalogs.transport import Call, RetryingIO, UnusableAnswerError
from cloudbuster.errors import TryAgainError

# Earth Search sends at most 6 MB, about 200 of its items; every known server allows 100.
PAGE_SIZE = 100
# Number of good pages after which a page size that was halved is doubled again: a brief fault does
# not slow down the rest of the search, and a lasting one costs a fifth more requests.
GROW_AFTER = 4
# Number of pages in a row without a new item, each with a link to the next, before it is an error.
MAX_BARREN_PAGES = 5
# Servers limit the size of a page to round numbers: 10, 20, 25, 50, 100, 250, ...
ROUND_SIZES = (10, 25)


@dataclass(frozen=True)
class Page:
    """One page of a search.

    Attributes
    ----------
    features : list
        JSON values; not necessarily STAC items.
    new : int
        Number of features that were not in an earlier page.
    matched : int or None
        Total number of items that the server states.
    following : Call or None
        Request for the next page.
    """

    features: list[Any]
    new: int
    matched: int | None
    following: Call | None


class Pages:
    """The pages of one search.

    Parameters
    ----------
    transport : RetryingIO
        Sends the requests.
    first : Call
        Request for the first page.
    size : int
        Maximum number of items to request per page.
    """

    def __init__(self, transport: RetryingIO, first: Call, *, size: int = PAGE_SIZE) -> None:
        """Prepare to read from the first page."""
        self._transport = transport
        self._first = first
        self._greatest = size
        self._size = size
        self._good = 0
        self._seen: set[tuple[str, str]] = set()
        self._asked: set[str] = set()
        self._before: float = math.inf
        self._rest: str | None = None
        self._half: set[tuple[str, str]] = set()
        self._cut_off = False

    def read(self) -> Generator[list[Any], None, bool]:
        """Yield the features of each page; return whether the pages were complete.

        Yields
        ------
        list
            Features of a page; a later page may repeat some of them.

        Returns
        -------
        bool
            False if the server has more items than it sent, and no link to a next page.

        Raises
        ------
        CatalogError, TryAgainError
            If the server refuses the search, or a page fails or is repeated after all retries.
        """
        call: Call | None = self._first
        barren = 0
        page = Page([], 0, None, None)
        while call is not None:
            page = self._page(call)
            yield page.features
            barren = 0 if page.new else barren + 1
            if barren > MAX_BARREN_PAGES:
                raise self._nothing_new(barren)
            call = page.following or self._beyond(call, page)
            self._before = len(page.features)
        return len(self._seen) >= page.matched if page.matched is not None else not self._cut_off

    def _nothing_new(self, pages: int) -> TryAgainError:
        """Make the error for a server that repeats itself."""
        label = self._transport.label
        return TryAgainError(f"{label}: {pages} pages in a row hold no new item; try again")

    def _page(self, call: Call) -> Page:
        """Read one page; request a smaller one if the server fails to produce it."""
        self._asked.add(call.identity)
        failures = 0
        while True:
            try:
                page = self._once(call)
            except UnusableAnswerError as error:
                self._good = 0
                if error.too_large and self._size > 1 and not _is_numbered(call):
                    self._size //= 2
                    self._transport.wait(0, error)
                else:
                    self._transport.wait(failures, error)
                    failures += 1
            else:
                self._good += 1
                if self._good % GROW_AFTER == 0:
                    self._size = min(self._greatest, 2 * self._size)
                return page

    def _once(self, call: Call) -> Page:
        """Request a page once; UnusableAnswerError if it holds nothing new."""
        sized = call if _is_numbered(call) else call.with_limit(self._size)
        document = self._transport.once(sized)
        features = document.get("features")
        if not isinstance(features, list):
            msg = "sent a page without features"
            raise UnusableAnswerError(msg)
        keys = {feature_key(feature) for feature in features}
        new = keys - self._seen
        following = _following(document, sized)
        # The page after half of a page repeats the other half, but nothing of the first half.
        repeats = keys & self._half if call.identity == self._rest else keys and not new
        if repeats or (following is not None and following.identity in self._asked):
            msg = "sent a page for the second time"
            raise UnusableAnswerError(msg)
        self._seen |= new
        return Page(features, len(new), _matched(document), following)

    def _beyond(self, call: Call, page: Page) -> Call | None:
        """Request for the page after one without a link, if that page may not be the last.

        A server that does not state the number of items may cut the results off. If a page looks
        full (as many items as requested or as on the page before, or a round number), it is
        requested again at half the size: a server that supports paging then links to the rest.
        """
        count = len(page.features)
        full = count >= min(self._size, self._before) or not all(
            count % size for size in ROUND_SIZES
        )
        if page.matched is not None or not page.new or not full or _is_numbered(call):
            return None
        # A server that sends as many items as before ignores the size and has sent all it has. The
        # answer may also be a repeated page, so it is requested twice.
        for _ in range(2):
            half = Pages(self._transport, call, size=max(1, count // 2))
            probe = half._page(call)
            if probe.following is not None:
                self._rest, self._half = probe.following.identity, half._seen
                return probe.following
            self._cut_off = len(probe.features) < count
            if self._cut_off:
                return None
        return None


def feature_key(feature: object) -> tuple[str, str]:
    """Identity of a feature in its catalog: collection and id, as ids repeat across collections."""
    if isinstance(feature, Mapping) and isinstance(feature.get("id"), str):
        return (str(feature.get("collection")), feature["id"])
    try:
        return ("", orjson.dumps(feature, option=orjson.OPT_SORT_KEYS).decode())
    except orjson.JSONEncodeError:
        # Nested deeper than orjson writes; it is no item, and only counted.
        return ("", "")


def _matched(document: Mapping[str, Any]) -> int | None:
    """Count of items that the server states, in ``numberMatched`` or the older ``context``."""
    context = document.get("context")
    older = context.get("matched") if isinstance(context, Mapping) else None
    matched = document.get("numberMatched", older)
    return matched if isinstance(matched, int) and not isinstance(matched, bool) else None


def _following(document: Mapping[str, Any], call: Call) -> Call | None:
    """Request that the ``next`` link of a page describes (STAC API, Paging); None without one."""
    links = document.get("links")
    for link in links if isinstance(links, list) else []:
        if not isinstance(link, Mapping) or link.get("rel") != "next" or "href" not in link:
            continue
        try:
            url = urljoin(call.url, str(link["href"]))
        except ValueError as error:
            msg = f"sent a link to the next page that is no address ({error})"
            raise UnusableAnswerError(msg) from error
        headers = {**call.headers, **_object(link.get("headers"))}
        if str(link.get("method", "GET")).upper() != "POST":
            return Call(url, "GET", None, headers)
        kept = call.body or {} if link.get("merge") else {}
        return Call(url, "POST", {**kept, **_object(link.get("body"))}, headers)
    return None


def _object(value: object) -> Mapping[str, Any]:
    """Return a JSON object; empty for another value."""
    return value if isinstance(value, Mapping) else {}


def _is_numbered(call: Call) -> bool:
    """Whether a request names its page by a number, which depends on the page size."""
    return "page" in (call.body or {}) or "page" in parse_qs(urlsplit(call.url).query)
