"""One bad item of a catalog is left out, and never ends a search or what comes after it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.catalogs.item_properties import first_number, parse_time, projection_epsg
from cloudbuster.catalogs.schema import is_item
from cloudbuster.catalogs.search import SceneSearch, sift
from cloudbuster.filter import filter_scenes
from cloudbuster.models import Candidates, FilterOptions, QueryOptions
from cloudbuster.query import query_scenes
from tests.stac_items import make_item, square

AREA = square(14.6, 45.6, 0.5)
OPTIONS = QueryOptions.model_validate(
    {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"], "maxclouds": 100}
)
GOOD = make_item(taken="2020-06-01T10:00:31", platform="b")


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1e308,
        2**63 - 1,
        "",
        "x" * 5000,
        "\x1b[2J",
        [],
        {},
        [None],
        {"a": []},
    ),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2020-02-30", [[1e308, 1]]),
)
PLACES: tuple[tuple[str, ...], ...] = (
    *(("id",), ("type",), ("collection",), ("geometry",), ("bbox",), ("links",), ("assets",)),
    *(("properties",), ("geometry", "type"), ("geometry", "coordinates"), ("assets", "red")),
    *(("assets", "red", "href"), ("assets", "red", "roles"), ("assets", "red", "raster:bands")),
    *(("assets", "red", "eo:bands"), ("assets", "red", "proj:transform"), ("assets", "scl")),
    *(("properties", "datetime"), ("properties", "eo:cloud_cover"), ("properties", "platform")),
    *(("properties", "grid:code"), ("properties", "s2:processing_baseline")),
    *(("properties", "proj:epsg"), ("properties", "proj:code"), ("properties", "statistics")),
    *(("properties", "proj:transform"), ("properties", "proj:shape"), ("properties", "proj:wkt2")),
    *(("assets", "red", "nodata"), ("assets", "red", "bands"), ("assets", "red", "scale")),
    *(("properties", "cloudbuster:l1c_twin"), ("properties", "s2:datatake_id")),
)


def changed(place: tuple[str, ...], value: Any, *, day: int = 10) -> dict[str, Any]:
    item = copy.deepcopy(make_item(taken=f"2020-05-{day:02d}T10:00:31"))
    holder = item
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    return item


def chosen(folder: Path, features: list[Any]) -> Candidates:
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    options = OPTIONS.model_copy(update={"catalog": str(path)})
    found = query_scenes(AREA, options, with_twins=True)
    wanted = FilterOptions(strategy="original", coverage_count=len(features))
    selection = filter_scenes(found, wanted, bands=("B04",))
    assert GOOD["id"] in {item["id"] for item in selection.features}
    return found


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_member_of_another_kind_never_ends_a_search(
    tmp_path: Path, place: tuple[str, ...]
) -> None:
    # Each of another day, so that none is dropped as another processing of the one before it.
    bad = [changed(place, value, day=day) for day, value in enumerate(VALUES, start=1)]
    chosen(tmp_path, [*bad, GOOD])


def test_items_that_are_none_are_left_out_with_the_reason(tmp_path: Path) -> None:
    bad: list[Any] = [
        *(None, 5, "text", [], {}, changed(("id",), ""), changed(("id",), "x" * 257)),
        changed(("properties", "x"), nested(90)),
    ]
    found = chosen(tmp_path, [*bad, GOOD])
    assert [item["id"] for item in found.features] == [GOOD["id"]]
    reasons = [entry.reason for entry in found.cloudbuster.dropped]
    assert sum("is not a STAC item" in reason for reason in reasons) == len(bad)


@pytest.mark.parametrize("value", [{1, 2}, 2**64, "\ud800", b"x", nested(100)])
def test_what_cannot_be_written_as_json_is_no_item(value: Any) -> None:
    item = changed(("properties", "x"), value)
    assert not is_item(item)
    search = SceneSearch.from_options(_area(), OPTIONS)
    kept, removed = sift([item, GOOD], search)
    assert (kept, removed) == ([GOOD], {"not a STAC item": 1})


def _area() -> Any:
    from shapely.geometry import shape

    return shape(AREA)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2020-13-01",
        "",
        "x",
        "99999-01-01",
    ],
)
def test_a_time_that_there_is_not_is_none(text: str) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -(10**400), "5", True, []])
def test_a_number_that_is_not_finite_is_none(value: Any) -> None:
    assert first_number({"a": value, "b": 2}, ("a", "b")) == 2.0


@pytest.mark.parametrize(
    "fields",
    [
        {"proj:epsg": 0},
        {"proj:epsg": -5},
        {"proj:epsg": 10**30},
        {"proj:epsg": True},
        {"proj:code": "EPSG:99999999"},
        {"proj:code": "EPSG:²"},
        {"proj:code": ["EPSG:32633"]},
    ],
)
def test_a_code_that_cannot_be_of_epsg_is_none(fields: dict[str, Any]) -> None:
    assert projection_epsg(fields) is None
    assert projection_epsg({"proj:code": "epsg:32633"}) == 32633
