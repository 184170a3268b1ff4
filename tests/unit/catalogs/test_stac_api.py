from datetime import date

import pytest
from shapely.geometry import Point, box, shape

from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.catalogs.stac_api import MAX_SENT_VERTICES, StacApiCatalog
from cloudbuster.errors import CatalogError, ExitCode, TryAgainError
from tests.stac_items import make_item, square
from tests.stac_server import COLLECTIONS, CONFORMANCE, CORE, Failure, StacServer, serving

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
    with serving(StacServer(seven_items() + unwanted_items(), page_size=2)) as server:
        found = search_of(server)
    assert days(found) == WANTED
    assert len(server.searches) == 4
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


def test_an_item_that_two_periods_bring_is_there_once():
    periods = (MAY, (date(2020, 7, 1), date(2020, 7, 2)))
    with serving(StacServer(seven_items(), sloppy=True)) as server:
        found = search_of(server, SceneSearch(AOI, periods, "L2A", 0, 20))
    assert days(found) == WANTED
    assert found.held == 7


def test_known_collections_are_asked_for_in_their_order():
    collections = {"L2A": ("sentinel-2-c1-l2a", "sentinel-2-l2a")}
    with serving(StacServer(seven_items())) as server:
        search_of(server, collections=collections)
    assert server.searches[0]["collections"] == ["sentinel-2-c1-l2a", "sentinel-2-l2a"]


def test_a_server_whose_collections_have_other_names_is_asked_for_all():
    items = [{**item, "collection": "sample"} for item in seven_items()]
    with serving(StacServer(items)) as server:
        found = search_of(server)
    assert days(found) == WANTED
    assert "collections" not in server.searches[0]


def test_a_server_without_query_gets_cql2_or_no_cloud_filter():
    filtering = "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter"
    spoken = tuple(name for name in CONFORMANCE if "#query" not in name)
    cql2 = (*spoken, filtering, "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter")
    for conformance, expected in ((cql2, True), (spoken, False)):
        with serving(StacServer(seven_items(), conformance=conformance)) as server:
            found = search_of(server)
        assert ("filter" in server.searches[0]) is expected
        assert "query" not in server.searches[0]
        assert days(found) == WANTED


def test_failures_that_pass_are_tried_again():
    failures = [Failure(status) for status in (503, 429, 500)]
    with serving(StacServer(seven_items(), failures=failures)) as server:
        assert days(search_of(server)) == WANTED
    assert server.failures == []


def test_a_server_that_keeps_failing_is_named_with_its_status():
    failures = [Failure(503) for _ in range(20)]
    with serving(StacServer(seven_items(), failures=failures)) as server:
        host = server.url.removeprefix("http://")
        with pytest.raises(
            TryAgainError, match=rf"\({host}\): HTTP status 503; try again"
        ) as error:
            search_of(server)
    assert error.value.exit_code == ExitCode.TRY_AGAIN


def test_a_search_that_is_refused_is_no_reason_to_try_again():
    with (
        serving(StacServer(seven_items(), failures=[Failure(400, b"bad\nrequest")])) as server,
        pytest.raises(CatalogError, match="HTTP status 400: bad"),
    ):
        search_of(server)


def test_a_truncated_answer_is_told():
    with (
        serving(StacServer(seven_items(), failures=[Failure(200, b'{"features": [')])) as server,
        pytest.raises(TryAgainError, match="sent no JSON"),
    ):
        search_of(server)


def test_a_page_that_comes_again_ends_the_search_with_an_error():
    with (
        serving(StacServer(seven_items(), repeat=True)) as server,
        pytest.raises(TryAgainError, match="sent a page for the second time"),
    ):
        search_of(server)


def test_a_server_that_is_not_there_is_told():
    with serving(StacServer([])) as server:
        url = server.url
    catalog = StacApiCatalog(url, name="gone", backoff_s=0)
    with pytest.raises(TryAgainError, match=r"catalog gone \(127.0.0.1:\d+\): .*try again"):
        catalog.search(SEARCH)


def test_a_url_that_is_no_stac_api_is_told():
    with serving(StacServer([])) as server:
        with pytest.raises(CatalogError, match="HTTP status 404"):
            StacApiCatalog(f"{server.url}/absent", backoff_s=0).search(SEARCH)
        with pytest.raises(CatalogError, match="no STAC API"):
            StacApiCatalog(f"{server.url}/collections", backoff_s=0).search(SEARCH)
    with (
        serving(StacServer([], conformance=(CORE, COLLECTIONS))) as server,
        pytest.raises(CatalogError, match="no STAC API"),
    ):
        search_of(server)


def test_relative_hrefs_are_those_of_the_items_own_place():
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
