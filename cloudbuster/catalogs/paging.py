"""The pages of one search of a STAC API, each read until it is whole, and whether they were all.

Servers fail on large pages, send a page twice, leave the link to the next one out, or cut the
answer off without a word (facts: earth-search#17, #55; rustac). Their order is of no account here:
nothing that is decided depends on it.
"""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import orjson

from cloudbuster.catalogs.transport import Call, RetryingIO, UnusableAnswerError
from cloudbuster.errors import TryAgainError

# Earth Search answers at most 6 MB, about 200 of its items; 100 is what every server allows.
PAGE_SIZE = 100
# A page size that was halved is doubled again after so many good pages: the trouble of a moment
# does not slow down the rest, and a lasting one costs a fifth more requests.
GROW_AFTER = 4
# Pages in a row without a new item, each with another link to a next one, before it is a fault.
MAX_BARREN_PAGES = 5
# Server-side limits on the size of a page are round numbers: 10, 20, 25, 50, 100, 250, ...
ROUND_SIZES = (10, 25)


@dataclass(frozen=True)
class Page:
    """One page of a search.

    Attributes
    ----------
    features : list
        JSON values, STAC items or not.
    new : int
        How many of them had not been sent before.
    matched : int or None
        How many the server says there are in all.
    following : Call or None
        Request of the next page.
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
        Asks the server.
    first : Call
        Request of the first page.
    size : int
        Items to ask for on a page, at the most.
    """

    def __init__(self, transport: RetryingIO, first: Call, *, size: int = PAGE_SIZE) -> None:
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
        """Yield the features of each page; then tell whether those were all that there are.

        Yields
        ------
        list
            Features of a page; some may come again on a later one.

        Returns
        -------
        bool
            False where the server holds more than it sent, and links to no next page.

        Raises
        ------
        CatalogError
            Where the server refuses the search.
        TryAgainError
            Where a page fails, or comes for the second time, after every retry.
        """
        call: Call | None = self._first
        barren = 0
        page = Page([], 0, None, None)
        while call is not None:
            page = self._page(call)
            yield page.features
            barren = 0 if page.new else barren + 1
            if barren > MAX_BARREN_PAGES:
                msg = f"{self._transport.label}: {barren} pages in a row bring nothing; try again"
                raise TryAgainError(msg)
            call = page.following or self._beyond(call, page)
            self._before = len(page.features)
        return len(self._seen) >= page.matched if page.matched is not None else not self._cut_off

    def _page(self, call: Call) -> Page:
        """Read one page; a smaller one where the server cannot make it."""
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
        """Ask for a page once; an answer without anything new is unusable."""
        sized = call if _is_numbered(call) else call.with_limit(self._size)
        document = self._transport.once(sized)
        features = document.get("features")
        if not isinstance(features, list):
            msg = "sent a page without features"
            raise UnusableAnswerError(msg)
        keys = {feature_key(feature) for feature in features}
        new = keys - self._seen
        following = _following(document, sized)
        # What follows half of a page brings the other half again, but nothing of the first one.
        repeats = keys & self._half if call.identity == self._rest else keys and not new
        if repeats or (following is not None and following.identity in self._asked):
            msg = "sent a page for the second time"
            raise UnusableAnswerError(msg)
        self._seen |= new
        return Page(features, len(new), _matched(document), following)

    def _beyond(self, call: Call, page: Page) -> Call | None:
        """Request of what lies beyond the last page, where it may not be the last.

        A server that does not say how many items there are may cut its answer off. A page that
        looks full, by what was asked for, by the page before or by a round number, is then asked
        for again with half of its items: a server that pages links to the other half.
        """
        count = len(page.features)
        full = count >= min(self._size, self._before) or not all(
            count % size for size in ROUND_SIZES
        )
        if page.matched is not None or not page.new or not full or _is_numbered(call):
            return None
        # One that sends as much as before takes no notice of the size: it sends all it has. But the
        # answer may also be the page that went before, so it is heard twice.
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
    """Identity of a feature within its catalog: ids repeat from one collection to another."""
    if isinstance(feature, Mapping) and isinstance(feature.get("id"), str):
        return (str(feature.get("collection")), feature["id"])
    return ("", orjson.dumps(feature, option=orjson.OPT_SORT_KEYS).decode())


def _matched(document: Mapping[str, Any]) -> int | None:
    """How many items the server says there are, in today's member or in the older one."""
    context = document.get("context")
    older = context.get("matched") if isinstance(context, Mapping) else None
    told = document.get("numberMatched", older)
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _following(document: Mapping[str, Any], call: Call) -> Call | None:
    """Request that the page's link to the next one describes (STAC API, Paging)."""
    links = document.get("links")
    for link in links if isinstance(links, list) else []:
        if not isinstance(link, Mapping) or link.get("rel") != "next" or "href" not in link:
            continue
        url = urljoin(call.url, str(link["href"]))
        headers = {**call.headers, **(link.get("headers") or {})}
        if str(link.get("method", "GET")).upper() != "POST":
            return Call(url, "GET", None, headers)
        kept = call.body or {} if link.get("merge") else {}
        return Call(url, "POST", {**kept, **(link.get("body") or {})}, headers)
    return None


def _is_numbered(call: Call) -> bool:
    """Whether a request names its page by a number, which holds for one size of page alone."""
    return "page" in (call.body or {}) or "page" in parse_qs(urlsplit(call.url).query)
