"""What holds of a search of any STAC API that serves `thousand_items`."""

import json
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pystac_client import Client, ConformanceClasses
from shapely.geometry import Point, box

from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.catalogs.stac_api import StacApiCatalog
from cloudbuster.core.areas.aoi import geometry_document
from cloudbuster.models import QueryOptions
from cloudbuster.query import query_scenes
from tests.stac_items import item_collection, thousand_items, wanted_of

YEARS = ((date(2019, 1, 1), date(2020, 12, 31)),)
SPRINGS = ((date(2019, 3, 1), date(2019, 5, 31)), (date(2020, 3, 1), date(2020, 5, 31)))
EVERYWHERE = box(10, 40, 20, 50)
SEARCHES = {
    "everything": SceneSearch(EVERYWHERE, YEARS, "L2A"),
    "five months, little cloud": SceneSearch(
        Point(15.2, 46.2).buffer(1), ((date(2019, 5, 1), date(2019, 9, 30)),), "L2A", 0, 20
    ),
    "two springs, an edge between tiles": SceneSearch(box(13.5, 44.95, 14.2, 45.0), SPRINGS, "L1C"),
    "nothing but cloud": SceneSearch(EVERYWHERE, YEARS, "L2A", 90, 100),
    "one day": SceneSearch(EVERYWHERE, ((date(2019, 2, 9), date(2019, 2, 9)),), "L2A"),
    "nowhere": SceneSearch(box(-60, -40, -59, -39), YEARS, "L2A"),
    "many vertices": SceneSearch(Point(15, 46).buffer(0.8, quad_segs=999), YEARS, "L1C", 5, 60),
}
AOI = geometry_document(Point(15.2, 46.2).buffer(1, quad_segs=4))
# The first of the two years: a query costs a millisecond for each item that it finds.
DATES = {"mindate": [date(2019, 1, 1)], "maxdate": [date(2019, 12, 31)], "maxclouds": 100}
BOTH_YEARS = {**DATES, "maxdate": [date(2020, 12, 31)]}
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "limit": {"limit": 7, "maxclouds": 20},
    "little cloud": {"maxclouds": 20},
    "L1C": {"kind": "L1C"},
}


@cache
def wanted_ids(name):
    return sorted(wanted_of(thousand_items(), SEARCHES[name]))


def queried(catalog, changes):
    """Answer of ``query_scenes``: ids, what was dropped, and the twins."""
    options = QueryOptions(**{**DATES, "catalog": catalog, **changes})
    found = query_scenes(AOI, options, with_twins=changes.get("kind") != "L1C")
    ids = [item["id"] for item in found.features]
    return ids, found.cloudbuster.dropped, [_twin(item) for item in found.features]


@cache
def queried_from_a_file(name):
    """The same query of a file that holds the same items."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "items.json")
        file.write_text(json.dumps(item_collection(*thousand_items())))
        return queried(str(file), CHANGES[name])


class SearchContract:
    """Tests of a server; the fixtures `items` and `stac_url` say of which."""

    @pytest.mark.parametrize("name", SEARCHES)
    @pytest.mark.parametrize("page_size", [7, 100])
    def test_a_search_finds_exactly_the_items_that_it_wants(self, stac_url, name, page_size):
        expected = wanted_ids(name)
        if page_size == 7 and len(expected) > 150:
            page_size = 33
        found = StacApiCatalog(stac_url, page_size=page_size).search(SEARCHES[name])
        assert sorted(item["id"] for item in found.items) == expected
        assert bool(expected) == (name != "nowhere")

    def test_the_items_come_back_as_they_are(self, items, stac_url):
        found = StacApiCatalog(stac_url).search(SEARCHES["one day"])
        known = {item["id"]: item for item in items}
        for item in found.items:
            expected = known[item["id"]]
            assert item["assets"] == expected["assets"]
            assert item["geometry"] == expected["geometry"]
            assert item["collection"] == expected["collection"]
            assert item["properties"] == expected["properties"]

    def test_a_search_in_cql2_finds_the_same(self, stac_url, monkeypatch):
        search = SEARCHES["five months, little cloud"]
        expected = StacApiCatalog(stac_url).search(search)
        plain = Client.conforms_to

        def without_query(client, classes):
            return classes is not ConformanceClasses.QUERY and plain(client, classes)

        monkeypatch.setattr(Client, "conforms_to", without_query)
        found = StacApiCatalog(stac_url).search(search)
        assert found.items == expected.items
        assert found.held == expected.held < 40

    @pytest.mark.parametrize("name", CHANGES)
    def test_query_scenes_gives_what_it_gives_from_a_file(self, stac_url, name):
        served = queried(stac_url, CHANGES[name])
        assert served == queried_from_a_file(name)
        assert len(served[0]) == CHANGES[name].get("limit", len(served[0])) > 0

    def test_one_half_of_a_reprocessed_pair_is_dropped(self, stac_url):
        options = QueryOptions(catalog=stac_url, **BOTH_YEARS)
        found = query_scenes(geometry_document(EVERYWHERE), options)
        assert len(found.features) == 450
        assert len(found.cloudbuster.dropped) == 50
        reasons = [entry.reason for entry in found.cloudbuster.dropped]
        assert sum(reason == "baseline 99.05 is not for use" for reason in reasons) == 1


def _twin(item):
    return item["properties"].get("cloudbuster:l1c_twin", {}).get("id")
