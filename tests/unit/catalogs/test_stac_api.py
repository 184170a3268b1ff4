import itertools
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from shapely.geometry import Point, box, shape

from cloudbuster.catalogs import transport
from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.catalogs.stac_api import MAX_SENT_VERTICES, StacApiCatalog
from cloudbuster.errors import (
    BadInputError,
    CatalogError,
    ExitCode,
    TryAgainError,
    UntrustedAddressError,
)
from tests.stac_items import make_item, square
from tests.stac_server import (
    COLLECTIONS,
    CONFORMANCE,
    CORE,
    FILTER,
    QUERY,
    TROUBLES,
    Chaos,
    Failure,
    Fault,
    StacServer,
    serving,
)

AOI = box(14.6, 45.6, 14.9, 45.9)
MAY = (date(2020, 5, 1), date(2020, 5, 31))
SEARCH = SceneSearch(AOI, (MAY,), "L2A", 0, 20)


def seven_items():
    return [
        make_item(taken=f"2020-05-{day:02d}T10:00:31", cloud_cover=cover)
        for day, cover in ((9, 1), (3, 2), (30, 80), (12, 20), (1, 0), (31, 5), (17, 21))
    ]


def unwanted_items():
    return [
        make_item(taken="2020-06-01T00:00:00", tile="33TWM"),
        make_item(kind="L1C"),
        make_item(geometry=square(14.9, 45.6), tile="33TWN"),
        make_item(geometry=square(40, 45.6), tile="37TEN"),
    ]


def search_of(server, search=SEARCH, **options):
    catalog = StacApiCatalog(server.url, backoff_s=0, **options)
    return catalog.search(search)


def days(found):
    return sorted(item["properties"]["datetime"][8:10] for item in found.items)


WANTED = ["01", "03", "09", "12", "31"]


def test_every_page_is_read_and_the_server_is_asked_for_what_is_wanted():
    with serving(StacServer(seven_items() + unwanted_items(), page_size=4)) as server:
        found = search_of(server)
    assert days(found) == WANTED
    assert len(server.searches) == 2
    asked = server.searches[0]
    assert asked["limit"] == 100
    assert asked["collections"] == ["sentinel-2-l2a"]
    assert asked["datetime"] == "2020-05-01T00:00:00Z/2020-06-01T00:00:00Z"
    assert asked["query"] == {"eo:cloud_cover": {"gte": 0, "lte": 20}}
    assert shape(asked["intersects"]).equals(AOI)


def test_filters_that_the_server_ignores_are_applied_on_this_side():
    items = [*seven_items(), *unwanted_items(), {"id": "odd"}]
    for item in items[:-1]:
        item["collection"] = "sentinel-2-l2a"
    with serving(StacServer(items, sloppy=True, page_size=3)) as server:
        found = search_of(server)
    assert days(found) == WANTED
    assert found.held == 11
    assert found.removed == {
        "outside of the area": 2,
        "outside of the cloud cover": 2,
        "outside of the dates": 1,
        "of another product level": 1,
    }
    assert [entry.item_id for entry in found.unreadable] == ["odd"]


def test_an_item_of_two_periods_is_found_once():
    periods = (MAY, (date(2020, 7, 1), date(2020, 7, 2)))
    with serving(StacServer(seven_items(), sloppy=True)) as server:
        found = search_of(server, SceneSearch(AOI, periods, "L2A", 0, 20))
    assert days(found) == WANTED
    assert found.held == 7


def test_known_collections_are_requested_in_order():
    collections = {"L2A": ("sentinel-2-c1-l2a", "sentinel-2-l2a")}
    with serving(StacServer(seven_items())) as server:
        search_of(server, collections=collections)
    assert server.searches[0]["collections"] == ["sentinel-2-c1-l2a", "sentinel-2-l2a"]


def test_a_server_whose_collections_have_other_names_is_searched_as_a_whole():
    items = [{**item, "collection": "sample"} for item in seven_items()]
    with serving(StacServer(items)) as server:
        found = search_of(server)
    assert days(found) == WANTED
    assert "collections" not in server.searches[0]


def test_a_server_without_query_gets_cql2_or_no_cloud_filter():
    spoken = tuple(name for name in CONFORMANCE if name != QUERY)
    for conformance, expected in (((*spoken, FILTER), True), (spoken, False)):
        with serving(StacServer(seven_items(), conformance=conformance)) as server:
            found = search_of(server)
        assert ("filter" in server.searches[0]) is expected
        assert "query" not in server.searches[0]
        assert days(found) == WANTED
        assert found.held == (5 if expected else 7)


def test_failures_that_pass_are_tried_again():
    failures = [Failure(status) for status in (503, 429, 500)]
    with serving(StacServer(seven_items(), failures=failures)) as server:
        assert days(search_of(server)) == WANTED
    assert server.failures == []


def test_a_server_that_keeps_failing_is_named_with_its_status():
    with serving(StacServer(seven_items(), chaos=Chaos(0, 1, (Failure(503),)))) as server:
        host = server.url.removeprefix("http://")
        with pytest.raises(
            TryAgainError, match=rf"\({host}\): HTTP status 503; try again later \(6 attempts"
        ) as error:
            search_of(server)
    assert error.value.exit_code == ExitCode.TRY_AGAIN
    assert server.requests == 6


def test_a_search_that_is_refused_is_no_reason_to_try_again():
    with (
        serving(StacServer(seven_items(), failures=[Failure(400, b"bad\nrequest")])) as server,
        pytest.raises(CatalogError, match="HTTP status 400: bad"),
    ):
        search_of(server)


def test_an_answer_that_stays_truncated_raises_try_again_error():
    broken = [Failure(200, b'{"features": [')] * 6
    with (
        serving(StacServer(seven_items(), failures=broken)) as server,
        pytest.raises(TryAgainError, match="the answer is not JSON"),
    ):
        search_of(server)


@pytest.mark.parametrize("fault", [*Fault, Failure(200, b"{}"), Failure(408)])
def test_whatever_happens_to_one_page_every_item_is_found_once(fault):
    options: dict[str, Any] = {
        "page_size": 2,
        "matched": "numberMatched" if fault is Fault.NO_NEXT else None,
    }
    for place in range(4):
        with serving(StacServer(seven_items(), **options)) as server:
            server.failures = [Fault.REVERSED] * place + [fault, fault]
            found = search_of(server)
        assert days(found) == WANTED
        assert found.held == 5


def hundred_items():
    start = datetime(2020, 5, 1, tzinfo=UTC)
    times = (start + timedelta(hours=7 * number) for number in range(100))
    return [make_item(taken=f"{time:%Y-%m-%dT%H:%M:%S}", suffix=f"{time:%H}") for time in times]


@pytest.fixture(scope="module")
def hundred():
    items = hundred_items()
    return items, {item["id"] for item in items}


# Five pages of twenty, all items in May.
JUNE = SceneSearch(AOI, ((date(2020, 5, 1), date(2020, 6, 1)),), "L2A", 0, 20)


# Each of three ways to count with each of four kinds of links.
@pytest.mark.parametrize("seed", range(12))
def test_five_pages_with_30_percent_failures_are_exact_or_one_clear_error(hundred, seed):
    items, names = hundred
    manners: dict[str, Any] = {
        "matched": (None, "numberMatched", "context")[seed % 3],
        "links": ("token", "get", "page", "token")[seed % 4],
    }
    with serving(StacServer(items, page_size=20, chaos=Chaos(seed), **manners)) as server:
        try:
            found = search_of(server, JUNE)
        except TryAgainError as error:
            assert "try again later (6 attempts failed)" in str(error)  # noqa: PT017
            assert error.exit_code == 75  # noqa: PT017
            return
    assert [item["id"] for item in found.items] == sorted(names)


def test_nine_of_ten_searches_get_through_30_percent_failures(hundred):
    items, names = hundred
    through = 0
    for seed in range(10):
        with serving(StacServer(items, page_size=20, chaos=Chaos(1000 + seed))) as server:
            try:
                found = search_of(server, JUNE)
            except TryAgainError:
                continue
        assert {item["id"] for item in found.items} == names
        through += 1
    assert through >= 9


@pytest.mark.parametrize("matched", ["context", None])
@pytest.mark.parametrize("seed", range(6))
def test_links_that_go_missing_are_noticed(hundred, seed, matched):
    items, names = hundred
    chaos = Chaos(seed, 0.3, (*TROUBLES, Fault.NO_NEXT, Fault.REVERSED))
    with serving(StacServer(items, page_size=20, matched=matched, chaos=chaos)) as server:
        try:
            found = search_of(server, JUNE)
        except TryAgainError:
            return
    assert {item["id"] for item in found.items} == names


def test_a_page_that_is_too_large_is_halved_until_the_server_can_send_it(hundred):
    items, names = hundred
    with serving(StacServer(items, page_size=1000, most_items=7)) as server:
        found = search_of(server, JUNE)
    assert {item["id"] for item in found.items} == names
    asked = [body["limit"] for body in server.searches]
    assert asked[:6] == [100, 50, 25, 12, 6, 6]
    assert len(asked) < 40


def test_pages_that_are_numbered_keep_their_size(hundred):
    items, names = hundred
    failures = [Fault.REVERSED, Failure(500), Fault.REVERSED, Failure(502)]
    with serving(StacServer(items, page_size=20, links="page", failures=failures)) as server:
        found = search_of(server, JUNE)
    assert {item["id"] for item in found.items} == names
    assert [body.get("page") for body in server.searches] == [None, 2, 2, 3, 3, 4, 5]


def test_a_server_that_cuts_its_answers_off_is_searched_in_shorter_periods(hundred):
    items, names = hundred
    for matched in (None, "numberMatched"):
        with serving(StacServer(items, page_size=20, silent=True, matched=matched)) as server:
            found = search_of(server, JUNE)
        assert {item["id"] for item in found.items} == names


def test_a_server_that_cuts_off_every_answer_raises_try_again_error():
    items = [make_item(tile=f"33T{a}{b}") for a, b in itertools.product("ABCD", "ABCDEFGH")]
    with (
        serving(StacServer(items, page_size=20, silent=True)) as server,
        pytest.raises(TryAgainError, match="holds more items for 2020-05-10T"),
    ):
        search_of(server)


def test_a_full_last_page_is_no_error():
    items = [make_item(tile=f"33T{a}{b}") for a, b in itertools.product("ABCDE", "ABCD")]
    for page_size in (5, 10, 20, 100):
        with serving(StacServer(items, page_size=page_size)) as server:
            assert search_of(server).held == 20
        with serving(StacServer(items, page_size=page_size, matched="context")) as server:
            assert search_of(server).held == 20
        assert len(server.searches) == max(1, 20 // page_size)


def test_the_wait_grows_and_is_what_the_server_asks_for_within_a_minute():
    waits: list[float] = []
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30))
    failures = [
        *(Failure(429), Failure(429), Failure(429)),
        *(Failure(429, headers={"Retry-After": asked}) for asked in ("3600", later)),
        *(Failure(503, headers={"Retry-After": asked}) for asked in ("20", "soon")),
    ]
    with serving(StacServer(seven_items(), failures=failures)) as server:
        catalog = StacApiCatalog(server.url, backoff_s=1, sleep=waits.append)
        assert days(catalog.search(SEARCH)) == WANTED
    assert (waits[3], waits[5]) == (60, 20)
    assert 25 < waits[4] <= 30
    for wait, most in zip([*waits[:3], waits[6]], (1, 2, 4, 1), strict=True):
        assert most / 2 <= wait <= most


def test_an_unreachable_server_raises_try_again_error():
    with serving(StacServer([])) as server:
        url = server.url
    catalog = StacApiCatalog(url, name="gone", backoff_s=0)
    with pytest.raises(TryAgainError, match=r"catalog gone \(127.0.0.1:\d+\): .*try again"):
        catalog.search(SEARCH)


def test_a_web_page_raises_catalog_error_without_retries():
    page = Failure(200, b"<html></html>", headers={"Content-Type": "text/html"})
    with (
        serving(StacServer([], chaos=Chaos(0, 1, (page,)))) as server,
        pytest.raises(CatalogError, match=r"not a STAC API \(sent a web page\); check the URL"),
    ):
        search_of(server)
    assert server.requests == 1


def test_a_url_that_is_not_a_stac_api_raises_catalog_error():
    with serving(StacServer([])) as server:
        with pytest.raises(CatalogError, match="HTTP status 404"):
            StacApiCatalog(f"{server.url}/absent", backoff_s=0).search(SEARCH)
        with pytest.raises(CatalogError, match="not a STAC API"):
            StacApiCatalog(f"{server.url}/collections", backoff_s=0).search(SEARCH)
    with (
        serving(StacServer([], conformance=(CORE, COLLECTIONS))) as server,
        pytest.raises(CatalogError, match="not a STAC API"),
    ):
        search_of(server)


def test_relative_hrefs_are_resolved_against_the_item():
    item = make_item(folder=".")
    item["links"] = [{"rel": "self", "href": "https://example.com/items/1.json"}]
    with serving(StacServer([item])) as server:
        (found,) = search_of(server).items
    assert found["assets"]["blue"]["href"] == f"https://example.com/items/{item['id']}/B02.tif"


def test_an_area_of_many_vertices_is_sent_as_a_simpler_one_that_holds_it():
    aoi = Point(14.75, 45.75).buffer(0.1, quad_segs=4 * MAX_SENT_VERTICES)
    with serving(StacServer(seven_items())) as server:
        found = search_of(server, SceneSearch(aoi, (MAY,), "L2A", 0, 20))
    sent = shape(server.searches[0]["intersects"])
    assert sent.contains(aoi)
    assert len(sent.exterior.coords) <= MAX_SENT_VERTICES
    assert days(found) == WANTED


def test_dates_before_the_satellites_are_not_asked_for():
    always = (date(1307, 10, 13), date(2338, 1, 19))
    with serving(StacServer(seven_items())) as server:
        found = search_of(server, SceneSearch(AOI, (always,), "L2A", 0, 20))
        assert server.searches[0]["datetime"] == "2015-06-23T00:00:00Z/2100-01-02T00:00:00Z"
        never = (date(1307, 10, 13), date(1400, 1, 1))
        assert search_of(server, SceneSearch(AOI, (never,), "L2A")).items == ()
    assert days(found) == WANTED


def test_a_server_that_sends_items_without_an_end_is_an_error(monkeypatch):
    monkeypatch.setattr(transport, "MAX_SEARCH_BYTES", 20_000)
    with (
        serving(StacServer(hundred_items(), page_size=5)) as server,
        pytest.raises(CatalogError, match=r"sent over .* MiB for one search; make the area"),
    ):
        search_of(server)


@pytest.mark.parametrize(
    "href", ["http://169.254.169.254/search", "http://127.0.0.2:9/search", "file:///etc/passwd"]
)
def test_a_further_page_is_asked_of_no_other_server_of_this_network(href, monkeypatch):
    monkeypatch.setattr(StacServer, "_next", lambda *_: {"rel": "next", "href": href})
    with (
        serving(StacServer(seven_items())) as server,
        pytest.raises(UntrustedAddressError, match=href.partition("/search")[0]),
    ):
        search_of(server)


@pytest.mark.parametrize("target", ["http://169.254.169.254/x", "http://10.0.0.5/x", "file:///x"])
def test_a_search_follows_no_redirect_into_this_network(target):
    away = Failure(302, headers={"Location": target})
    with (
        serving(StacServer(seven_items(), failures=[away])) as server,
        pytest.raises(UntrustedAddressError, match=target),
    ):
        search_of(server)


def test_nested_json_is_no_answer():
    deep = Failure(200, b'{"features": ' + b"[" * 1000 + b"]" * 1000 + b"}")
    with (
        serving(StacServer(seven_items(), failures=[deep] * 6)) as server,
        pytest.raises(TryAgainError, match="the answer is nested over 64 levels"),
    ):
        search_of(server)


@pytest.mark.parametrize("url", ["http://[::1", "https://h:port", "http://", "https:///v1"])
def test_a_catalog_that_is_no_url_is_an_error(url):
    with pytest.raises(BadInputError, match="URL"):
        StacApiCatalog(url).search(SEARCH)
