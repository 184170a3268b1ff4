"""RasterFoundry on the loopback, after its published specification (api-spec 1.18.0)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shapely.geometry import shape

from tests.loopback import LoopbackHandler, serving_http

REFRESH_TOKEN = "refresh-me-4711"  # noqa: S105 -- of a server that lives for one test
SENTINEL_2 = "4a50cb75-815d-4fe5-8bc1-144729ce5b42"


@dataclass
class RasterFoundryServer:
    """The server's scenes, its manners, and what it was asked.

    Attributes
    ----------
    scenes : list of dict
        In the order in which they are sent.
    page_size : int
        Scenes of a page, whatever is asked for.
    calls_per_token : int
        How many requests an id token is good for.
    repeat : bool
        Send the first page again and again.
    failures : list of int
        Statuses of the coming requests for scenes, until none is left.
    tokens : int
        How many id tokens were given.
    shapes : list of dict
        What was left with the server.
    queries : list of dict
        Parameters of the requests for scenes that were answered.
    """

    scenes: list[dict[str, Any]]
    page_size: int = 2
    calls_per_token: int = 99
    repeat: bool = False
    failures: list[int] = field(default_factory=list)
    tokens: int = 0
    shapes: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    url: str = ""
    _calls: int = 0

    def exchange(self, body: dict[str, Any]) -> tuple[int, Any]:
        """POST /tokens/; a refusal repeats what it was sent, as some services do."""
        if body.get("refresh_token") != REFRESH_TOKEN:
            return 401, {"message": f"bad token {body.get('refresh_token')}"}
        self.tokens, self._calls = self.tokens + 1, 0
        answer = {"id_token": f"id-{self.tokens}", "access_token": "a", "token_type": "bearer"}
        return 200, answer

    def is_allowed(self, authorization: str | None) -> bool:
        """Whether a request carries the id token that is good now."""
        self._calls += 1
        known = authorization == f"Bearer id-{self.tokens}"
        return known and self._calls <= self.calls_per_token

    def keep_shape(self, body: dict[str, Any]) -> tuple[int, Any]:
        """POST /shapes/."""
        if body.get("type") != "FeatureCollection":
            return 400, {"message": "no FeatureCollection"}
        self.shapes.append(body)
        return 201, [{"id": f"shape-{len(self.shapes)}", "type": "Feature"}]

    def page(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        """GET /scenes/."""
        if self.failures:
            return self.failures.pop(0), {"message": "slow"}
        self.queries.append(query)
        wanted = [scene for scene in self.scenes if self._matches(scene, query)]
        page = 0 if self.repeat else int(query["page"][0])
        start, end = page * self.page_size, (page + 1) * self.page_size
        return 200, {
            "count": len(wanted),
            "hasNext": self.repeat or end < len(wanted),
            "hasPrevious": page > 0,
            "page": page,
            "pageSize": self.page_size,
            "results": wanted[start:end],
        }

    def _matches(self, scene: dict[str, Any], query: dict[str, list[str]]) -> bool:
        filters = scene["filterFields"]
        low, high = float(query["minCloudCover"][0]), float(query["maxCloudCover"][0])
        first, last = query["minAcquisitionDatetime"][0], query["maxAcquisitionDatetime"][0]
        area = shape(
            self.shapes[int(query["shape"][0].rpartition("-")[2]) - 1]["features"][0]["geometry"]
        )
        return (
            query["datasource"] == [SENTINEL_2]
            and low <= filters["cloudCover"] <= high
            and first <= filters["acquisitionDate"] <= last
            and area.intersects(shape(scene["dataFootprint"]))
        )


@contextmanager
def serving_rasterfoundry(server: RasterFoundryServer) -> Iterator[RasterFoundryServer]:
    """Run ``server`` on a free port of the loopback; its ``url`` is set."""

    class Handler(LoopbackHandler):
        def do_POST(self) -> None:
            body = json.loads(self.body())
            if self.path == "/api/tokens/":
                self._answer(*server.exchange(body))
            elif not server.is_allowed(self.headers.get("Authorization")):
                self._answer(401, {})
            elif self.path == "/api/shapes/":
                self._answer(*server.keep_shape(body))
            else:
                self._answer(404, {})

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if not server.is_allowed(self.headers.get("Authorization")):
                self._answer(401, {})
            elif parts.path == "/api/scenes/":
                self._answer(*server.page(parse_qs(parts.query)))
            else:
                self._answer(404, {})

        def _answer(self, status: int, document: Any) -> None:
            self.send(status, json.dumps(document).encode())

    with serving_http(Handler) as address:
        server.url = f"http://{address}/api"
        yield server
