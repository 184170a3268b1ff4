"""A real STAC API on the loopback: it pages and filters, or pretends to, and fails on command."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from shapely.geometry import shape

CORE = "https://api.stacspec.org/v1.0.0/core"
ITEM_SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
COLLECTIONS = "https://api.stacspec.org/v1.0.0/collections"
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"
FILTER = "https://api.stacspec.org/v1.0.0-rc.1/item-search#filter"
CONFORMANCE = (CORE, ITEM_SEARCH, COLLECTIONS, QUERY)


@dataclass
class Failure:
    """What is answered instead of a page of a search.

    ``status`` 200 sends ``body`` as if all were well.
    """

    status: int
    body: bytes = b'{"description": "on command"}'


@dataclass
class StacServer:
    """The server's items, its manners, and what it was asked.

    Attributes
    ----------
    items : list of dict
        In the order in which they are sent.
    page_size : int
        Items of a page, whatever is asked for.
    sloppy : bool
        Send everything, whatever the filters say.
    repeat : bool
        Link every page to itself.
    failures : list of Failure
        One for each coming search request, until none is left.
    searches : list of dict
        Bodies of the search requests, failed ones too.
    """

    items: list[dict[str, Any]]
    page_size: int = 2
    sloppy: bool = False
    repeat: bool = False
    conformance: tuple[str, ...] = CONFORMANCE
    failures: list[Failure] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

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

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one page of a search."""
        wanted = [item for item in self.items if self.sloppy or _matches(item, body)]
        start = int(body.get("token", 0))
        end = start + min(self.page_size, body.get("limit", self.page_size))
        links = []
        if end < len(wanted) or self.repeat:
            token = start if self.repeat else end
            link = {"rel": "next", "href": f"{self.url}/search", "method": "POST"}
            links.append({**link, "merge": True, "body": {"token": token}})
        return {"type": "FeatureCollection", "features": wanted[start:end], "links": links}


def _matches(item: dict[str, Any], body: dict[str, Any]) -> bool:
    properties = item["properties"]
    if body.get("collections") and item["collection"] not in body["collections"]:
        return False
    if "intersects" in body and not shape(body["intersects"]).intersects(shape(item["geometry"])):
        return False
    if "datetime" in body:
        first, last = body["datetime"].split("/")
        if not first <= properties["datetime"] <= last:
            return False
    cover = body.get("query", {}).get("eo:cloud_cover", {})
    return bool(cover.get("gte", 0) <= properties["eo:cloud_cover"] <= cover.get("lte", 100))


@contextmanager
def serving(server: StacServer) -> Iterator[StacServer]:
    """Run ``server`` on a free port of the loopback; its ``url`` is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            routes = {"": server.landing, "/collections": server.collections}
            route = routes.get(urlsplit(self.path).path.rstrip("/"))
            self._send(200 if route else 404, json.dumps(route() if route else {}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.searches.append(body)
            if server.failures:
                failure = server.failures.pop(0)
                self._send(failure.status, failure.body)
            else:
                self._send(200, json.dumps(server.search(body)).encode())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Stay silent."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
