"""A real STAC API on the loopback: it pages and filters, or pretends to, and fails on command."""

import json
import operator
import random
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from io import BytesIO
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import shapely
from shapely.geometry import box, shape

from tests.loopback import LoopbackHandler, serving_http

CORE = "https://api.stacspec.org/v1.0.0/core"
ITEM_SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
COLLECTIONS = "https://api.stacspec.org/v1.0.0/collections"
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"
FILTER = "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter"
CONFORMANCE = (CORE, ITEM_SEARCH, COLLECTIONS, QUERY)
# What a search says of its page, and not of its items.
PAGING = ("limit", "token", "page")


@dataclass
class Failure:
    """What is answered instead.

    ``status`` 200 sends ``body`` as if all were well.
    """

    status: int
    body: bytes = b'{"description": "on command"}'
    headers: Mapping[str, str] = field(default_factory=dict)


class Fault(Enum):
    """What goes wrong with an answer that was fine."""

    RESET = "the connection is reset"
    CUT_OFF = "the connection ends in the middle of the body"
    TRUNCATED = "the JSON ends in the middle"
    REPEATED = "the page before is sent again"
    NO_NEXT = "the link to the next page is left out"
    REVERSED = "the items of the page are in another order"


Trouble = Failure | Fault
# What issue trackers of live catalogs tell of, each as likely as the others.
TROUBLES: tuple[Trouble, ...] = (
    Failure(429, headers={"Retry-After": "0"}),
    Failure(500),
    Failure(503),
    Fault.RESET,
    Fault.CUT_OFF,
    Fault.TRUNCATED,
    Fault.REPEATED,
)


class Chaos:
    """Trouble with a share of all answers, the same for the same seed.

    Parameters
    ----------
    seed : int
        Of the choice of answers, and of their troubles.
    share : float
        Probability of trouble, 0 to 1.
    troubles : tuple
        What may go wrong.
    """

    def __init__(
        self, seed: int, share: float = 0.3, troubles: tuple[Trouble, ...] = TROUBLES
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- a test, not a secret
        self._share = share
        self._troubles = troubles

    def next(self) -> Trouble | None:
        """Trouble of the next answer, if any."""
        if self._random.random() >= self._share:
            return None
        return self._random.choice(self._troubles)


@dataclass
class StacServer:
    """The server's items, its manners, and what it was asked.

    Attributes
    ----------
    items : list of dict
        In the order in which they are sent.
    page_size : int
        Items of a page at the most, whatever is asked for.
    sloppy : bool
        Send everything, whatever the filters say.
    repeat : bool
        Link every page to itself.
    matched : {"numberMatched", "context"} or None
        Where every page tells how many items match.
    most_items : int or None
        A page of more is answered with 502, as load balancers do over their limit.
    silent : bool
        Never link to a next page.
    links : {"token", "page", "get"}
        Next pages are POSTs with a token or with the number of the page, or GETs.
    failures : list of Failure or Fault
        One for each coming search request, until none is left.
    chaos : Chaos or None
        Troubles of every answer, once ``failures`` are spent.
    searches : list of dict
        Bodies of the search requests, failed ones too.
    requests : int
        Number of requests of any kind.
    chosen : dict
        Items that match, by the filters of the searches so far.
    """

    items: list[dict[str, Any]]
    page_size: int = 2
    sloppy: bool = False
    repeat: bool = False
    matched: str | None = None
    most_items: int | None = None
    silent: bool = False
    links: Literal["token", "page", "get"] = "token"
    conformance: tuple[str, ...] = CONFORMANCE
    failures: list[Any] = field(default_factory=list)
    chaos: Chaos | None = None
    searches: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    url: str = ""
    last_page: dict[str, Any] | None = None
    chosen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def next_trouble(self, *, spend_failures: bool) -> Trouble | None:
        """Trouble of the next answer, if any."""
        if spend_failures and self.failures:
            trouble: Trouble = self.failures.pop(0)
            return trouble
        return self.chaos.next() if self.chaos else None

    def landing(self) -> dict[str, Any]:
        """Landing page."""
        links = [
            {"rel": "self", "href": self.url},
            {"rel": "root", "href": self.url},
            {"rel": "data", "href": f"{self.url}/collections"},
            {"rel": "search", "href": f"{self.url}/search", "method": "POST"},
        ]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "test",
            "description": "test",
            "conformsTo": list(self.conformance),
            "links": links,
        }

    def collections(self) -> dict[str, Any]:
        """Every collection, by name alone."""
        held = {item["collection"] for item in self.items if "collection" in item}
        names = sorted(held | {"landsat-c2-l2"})
        return {"collections": [{"id": name} for name in names], "links": []}

    def search(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Answer one page of a search; None where it would be too large."""
        wanted = self._wanted(body)
        size = min(self.page_size, int(body.get("limit", self.page_size)))
        start = int(body.get("token", 0)) if "page" not in body else size * (body["page"] - 1)
        end = start + size
        if self.most_items is not None and len(wanted[start:end]) > self.most_items:
            return None
        page: dict[str, Any] = {"type": "FeatureCollection", "features": wanted[start:end]}
        more = (end < len(wanted) or self.repeat) and not self.silent
        page["links"] = [self._next(body, start if self.repeat else end, size)] if more else []
        if self.matched == "numberMatched":
            page["numberMatched"] = len(wanted)
        elif self.matched == "context":
            page["context"] = {"matched": len(wanted), "returned": len(wanted[start:end])}
        return page

    def _wanted(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Items that match; chosen once for all pages of a search."""
        filters = {key: value for key, value in body.items() if key not in PAGING}
        key = json.dumps(filters, sort_keys=True)
        if key not in self.chosen:
            area = _area_of(body)
            self.chosen[key] = [
                item for item in self.items if self.sloppy or self._matches(item, body, area)
            ]
        return self.chosen[key]

    def _next(self, body: dict[str, Any], start: int, size: int) -> dict[str, Any]:
        link = {"rel": "next", "href": f"{self.url}/search", "method": "POST"}
        if self.links == "get":
            plain = {**body, "token": start, "limit": size}
            query = urlencode({key: json.dumps(value) for key, value in plain.items()})
            return {"rel": "next", "href": f"search?{query}"}
        place = {"token": start} if self.links == "token" else {"page": start // size + 1}
        return {**link, "merge": True, "body": {**place, "limit": size}}

    def _matches(self, item: dict[str, Any], body: dict[str, Any], area: Any) -> bool:
        return (
            (not body.get("collections") or item["collection"] in body["collections"])
            and ("datetime" not in body or _is_within(item, body["datetime"]))
            and (QUERY not in self.conformance or _answers_query(item, body.get("query", {})))
            and (
                FILTER not in self.conformance
                or "filter" not in body
                or _cql2(item, body["filter"])
            )
            and (area is None or bool(area.intersects(shape(item["geometry"]))))
        )


def _area_of(body: dict[str, Any]) -> Any:
    """Area that a search asks for; None where it does not."""
    if "intersects" in body:
        area = shape(body["intersects"])
        shapely.prepare(area)
        return area
    return box(*body["bbox"]) if "bbox" in body else None


def _is_within(item: dict[str, Any], interval: str) -> bool:
    first, _, last = interval.partition("/")
    moment = datetime.fromisoformat(item["properties"]["datetime"])
    after = first in ("", "..") or datetime.fromisoformat(first) <= moment
    return after and (last in ("", "..") or moment <= datetime.fromisoformat(last or first))


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    **{"eq": operator.eq, "neq": operator.ne, "gt": operator.gt, "gte": operator.ge},
    **{"lt": operator.lt, "lte": operator.le, "=": operator.eq, "<>": operator.ne},
    **{">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le},
}


def _answers_query(item: dict[str, Any], query: dict[str, Any]) -> bool:
    """Answer the `query` extension; a property that is not there matches nothing."""
    properties = item["properties"]
    return all(
        name in properties and OPERATORS[key](properties[name], value)
        for name, tests in query.items()
        for key, value in tests.items()
    )


def _cql2(item: dict[str, Any], expression: dict[str, Any]) -> bool:
    """Answer the part of CQL2 JSON that compares properties with values, joined by and, or, not."""
    name, arguments = expression["op"], expression["args"]
    joins = {"and": all, "or": any, "not": lambda tests: not any(tests)}
    if name in joins:
        return bool(joins[name](_cql2(item, argument) for argument in arguments))
    known = item["properties"].get(arguments[0]["property"])
    return known is not None and OPERATORS[name](known, arguments[1])


class _Handler(LoopbackHandler):
    """Requests of one connection; a subclass names the server."""

    stac: StacServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        routes = {"": self.stac.landing, "/collections": self.stac.collections}
        route = routes.get(url.path.rstrip("/"))
        if url.path == "/search":
            self._search({key: json.loads(value) for key, value in parse_qsl(url.query)})
        else:
            self.stac.requests += 1
            trouble = self.stac.next_trouble(spend_failures=False)
            self._answer(200 if route else 404, route() if route else {}, trouble)

    def do_POST(self) -> None:
        self._search(json.loads(self.body()))

    def _search(self, body: dict[str, Any]) -> None:
        stac = self.stac
        stac.requests += 1
        stac.searches.append(body)
        trouble = stac.next_trouble(spend_failures=True)
        if "token" not in body and "page" not in body:
            stac.last_page = None  # another search
        page = stac.search(body)
        if page is None:
            self.send(502, b"too large")
            return
        if trouble is Fault.REPEATED:
            page = stac.last_page or page
        elif trouble is Fault.NO_NEXT:
            page["links"] = []
        elif trouble is Fault.REVERSED:
            page["features"].reverse()
        if not isinstance(trouble, Failure):
            stac.last_page = page
        self._answer(200, page, trouble)

    def _answer(self, status: int, document: dict[str, Any], trouble: Trouble | None) -> None:
        content = json.dumps(document).encode()
        if isinstance(trouble, Failure):
            self.send(trouble.status, trouble.body, dict(trouble.headers))
        elif trouble is Fault.RESET:
            # Closing with a linger of 0 seconds sends a reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            for stream in (self.rfile, self.wfile, self.connection):
                stream.close()
            self.wfile = BytesIO()  # the base class flushes it once more
            self.close_connection = True
        elif trouble is Fault.CUT_OFF:
            self.send(status, content, {"Content-Length": str(2 * len(content))})
            self.close_connection = True
        elif trouble is Fault.TRUNCATED:
            self.send(status, content[: len(content) // 2])
        else:
            self.send(status, content)


@contextmanager
def serving(server: StacServer) -> Iterator[StacServer]:
    """Run ``server`` on a free port of the loopback; its ``url`` is set."""
    handler = type("Handler", (_Handler,), {"stac": server})
    with serving_http(handler) as address:
        server.url = f"http://{address}"
        yield server
