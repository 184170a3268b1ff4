"""Items of mosaics are published in a STAC API once, whatever happens to the requests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    CredentialsError,
    TryAgainError,
    UntrustedAddressError,
)
from cloudbuster.mosaics.publishing import StacTarget, publish_item
from cloudbuster.storage.addresses.trust import Trust
from tests.loopback import LoopbackHandler, serving_http

TOKEN = "a-token-for-tests"  # noqa: S105 -- opens nothing
HERE = Trust("the test", private_hosts=True)
ITEM = {
    "type": "Feature",
    "id": "summer 2023",
    "assets": {"cloudless": {"href": "./m-cloudless.tif"}, "far": {"href": "s3://b/far.tif"}},
    "links": [
        {"rel": "self", "href": "m.json"},
        {"rel": "derived_from", "href": "../catalog/S2A.json"},
        {"rel": "derived_from", "href": "https://stac.example.org/S2B"},
    ],
}


class Api:
    """A collection of a STAC API, and what it answers instead of doing its work."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.failures: dict[str, list[int]] = {}
        self.lost_answers = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.asked.append(method)
        if self.failures.get(method):
            return self.failures[method].pop(0), {"detail": f"{method} on command"}
        name = path.removeprefix("/collections/mosaics/items").strip("/").replace("%20", " ")
        if not path.startswith("/collections/mosaics"):
            return 404, {"detail": "no collection"}
        if path == "/collections/mosaics":
            return 200, {"id": "mosaics"}
        if method == "GET":
            return (200, self.items[name]) if name in self.items else (404, {"detail": "no item"})
        item = json.loads(body)
        if method == "POST" and item["id"] in self.items:
            return 409, {"detail": "it exists"}
        self.items[item["id"]] = item
        if self.lost_answers:
            self.lost_answers -= 1
            return 503, {"detail": "the answer was lost"}
        return 201 if method == "POST" else 200, item


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    class Handler(LoopbackHandler):
        def do_GET(self) -> None:
            self._do(b"")

        def do_POST(self) -> None:
            self._do(self.body())

        def do_PUT(self) -> None:  # noqa: N802 -- the name of the base class
            self._do(self.body())

        def _do(self, body: bytes) -> None:
            api.tokens.add(self.headers["Authorization"])
            status, content = api.answer(self.command, self.path, body)
            self.send(status, json.dumps(content).encode())

    with serving_http(Handler) as host:
        yield f"http://{host}"


@pytest.fixture
def item(tmp_path: Path) -> str:
    path = tmp_path / "out" / "m.json"
    path.parent.mkdir()
    path.write_text(json.dumps(ITEM))
    return str(path)


def publish(item: str, url: str, *, collection: str = "mosaics", token: str | None = None) -> str:
    return publish_item(item, StacTarget(url, collection, HERE, token), sleep=lambda _: None)


def test_an_item_is_made_with_absolute_hrefs(api: Api, url: str, item: str) -> None:
    assert publish(item, f"{url}/") == f"{url}/collections/mosaics/items/summer%202023"
    folder = Path(item).parent
    made = api.items["summer 2023"]
    assert made["collection"] == "mosaics"
    assert made["assets"]["cloudless"]["href"] == str(folder / "m-cloudless.tif")
    assert made["assets"]["far"]["href"] == "s3://b/far.tif"
    assert [link["href"] for link in made["links"]] == [
        str(folder.parent / "catalog" / "S2A.json"),
        "https://stac.example.org/S2B",
    ]
    assert api.asked == ["GET", "GET", "POST"]
    assert api.tokens == {None}


def test_the_same_item_again_replaces_it(api: Api, url: str, item: str) -> None:
    publish(item, url, token=TOKEN)
    Path(item).write_text(json.dumps({**ITEM, "properties": {"version": 2}}))
    publish(item, url, token=TOKEN)
    assert list(api.items) == ["summer 2023"]
    assert api.items["summer 2023"]["properties"] == {"version": 2}
    assert api.asked == ["GET", "GET", "POST", "GET", "GET", "PUT"]
    assert api.tokens == {f"Bearer {TOKEN}"}


def test_a_lost_answer_makes_no_second_item(api: Api, url: str, item: str) -> None:
    api.lost_answers = 1
    publish(item, url)
    assert list(api.items) == ["summer 2023"]
    assert api.asked == ["GET", "GET", "POST", "POST", "PUT"]


def test_failures_that_may_pass_are_retried(api: Api, url: str, item: str) -> None:
    api.failures = {"GET": [503, 429], "POST": [500, 502]}
    publish(item, url)
    assert list(api.items) == ["summer 2023"]


def test_a_server_that_stays_broken_is_to_be_tried_again(api: Api, url: str, item: str) -> None:
    api.failures = {"POST": [503] * 10}
    with pytest.raises(TryAgainError, match=r"cannot publish to .*: HTTP status 503; try again"):
        publish(item, url)


@pytest.mark.parametrize(
    ("failures", "error", "message"),
    [
        ({"GET": [401]}, CredentialsError, "wants a token: set CLOUDBUSTER_PUBLISH_TOKEN"),
        ({"POST": [403]}, AccessError, "it may not write items"),
        ({"POST": [405]}, BadInputError, "it needs the transactions extension"),
        ({"POST": [400]}, BadInputError, "HTTP status 400, .*POST on command"),
    ],
)
def test_a_refusal_says_what_to_do(
    api: Api, url: str, item: str, failures: Any, error: type[Exception], message: str
) -> None:
    api.failures = failures
    with pytest.raises(error, match=message):
        publish(item, url, token=TOKEN)
    assert api.items == {}


def test_a_missing_collection_is_named(url: str, item: str) -> None:
    with pytest.raises(BadInputError, match="collections/others: there is no such collection"):
        publish(item, url, collection="others")


def test_a_server_of_this_network_needs_trust(url: str, item: str) -> None:
    with pytest.raises(UntrustedAddressError, match="CLOUDBUSTER_ALLOW_HOSTS"):
        publish_item(item, StacTarget(url, "mosaics", Trust("a request")))


def test_a_server_out_of_reach_is_to_be_tried_again(item: str) -> None:
    with pytest.raises(TryAgainError, match="cannot publish"):
        publish(item, "http://127.0.0.1:9")


def test_what_is_no_item_is_refused(tmp_path: Path, url: str) -> None:
    path = tmp_path / "m.json"
    path.write_text("[]")
    with pytest.raises(BadInputError, match="is no STAC item"):
        publish(str(path), url)


def test_a_token_is_not_shown(url: str) -> None:
    assert TOKEN not in repr(StacTarget(url, "mosaics", HERE, TOKEN))
