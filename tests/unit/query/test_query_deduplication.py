import json
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudbuster.models import QueryOptions
from cloudbuster.query import query_scenes
from tests.stac_items import EAST_HALF, WEST_HALF, item_collection, make_item, square

AOI = square(14.6, 45.6, 0.3)
WHOLE = square(14.5, 45.5)


def strip(start, made="20200510T120000", level="L2A"):
    return {"s2:datastrip_id": f"S2A_OPER_MSI_{level}_DS_VGS2_{made}_S20200510T{start}_N05.00"}


def nodata(percent):
    return {"s2:nodata_pixel_percentage": percent}


def paid(item):
    for asset in item["assets"].values():
        asset["href"] = f"s3://sentinel-s2-l2a/tiles/33/T/WL/2020/5/10/0/{asset['href'][-7:]}"
    return item


@pytest.fixture
def query(tmp_path):
    def run(items):
        path = tmp_path / "items.json"
        path.write_text(json.dumps(item_collection(*items)))
        days = {"mindate": [date(2020, 5, 1)], "maxdate": [date(2020, 5, 31)]}
        return query_scenes(AOI, QueryOptions(catalog=str(path), maxclouds=100, **days))

    return run


def suffixes(candidates):
    return sorted(item["id"].split("_")[3] for item in candidates.features)


def test_two_datastrips_of_a_datatake_stay_where_the_footprints_are_the_whole_tile(query):
    items = [
        make_item(geometry=WHOLE, suffix=suffix, properties=strip(start) | nodata(50.0))
        for suffix, start in (("0", "100031"), ("1", "100042"))
    ]
    assert suffixes(query(items)) == ["0", "1"]


def test_two_processings_of_a_datastrip_are_one_whatever_their_footprints(query):
    items = [
        make_item(geometry=WEST_HALF, suffix="0", baseline="02.14", properties=strip("100031")),
        make_item(geometry=EAST_HALF, suffix="1", properties=strip("100032", "20230101T000000")),
    ]
    assert suffixes(query(items)) == ["1"]


def test_halves_that_a_later_processing_joined_are_dropped(query):
    items = [
        make_item(geometry=WEST_HALF, suffix="0", baseline="02.14", properties=strip("100031")),
        make_item(geometry=EAST_HALF, suffix="1", baseline="02.14", properties=strip("100042")),
        make_item(geometry=WHOLE, suffix="2", properties=strip("100025")),
    ]
    assert suffixes(query(items)) == ["2"]


def test_a_whole_tile_without_nodata_is_believed(query):
    items = [
        make_item(suffix=suffix, baseline=baseline, properties=strip(start) | nodata(0.0))
        for suffix, baseline, start in (("0", "02.14", "100031"), ("1", "05.00", "100042"))
    ]
    assert suffixes(query(items)) == ["1"]


def test_an_item_that_must_be_paid_for_does_not_hide_a_free_one_of_a_lower_baseline(query):
    items = [make_item(suffix="0", baseline="02.13"), paid(make_item(suffix="1", baseline="05.00"))]
    candidates = query(items)
    assert suffixes(candidates) == ["0"]
    assert "(baseline 02.13, this one 05.00)" in candidates.cloudbuster.dropped[0].reason
    assert suffixes(query(items[1:])) == ["1"]


def variants():
    """Draw items of two datatakes and two tiles with any combination of their properties."""
    return st.builds(
        lambda tile, half, start, baseline, suffix, is_paid, collection, percent: (
            paid if is_paid else lambda item: item
        )(
            {
                **make_item(
                    tile=tile,
                    geometry=half,
                    baseline=baseline,
                    suffix=suffix,
                    properties={} if start is None else strip(start) | nodata(percent),
                ),
                "collection": collection,
            }
        ),
        tile=st.sampled_from(["33TWL", "33TWM"]),
        half=st.sampled_from([WHOLE, WEST_HALF, EAST_HALF]),
        start=st.sampled_from([None, "100031", "100032", "100042"]),
        baseline=st.sampled_from(["02.09", "05.00", "05.11", "99.05"]),
        suffix=st.sampled_from("0123"),
        is_paid=st.booleans(),
        collection=st.sampled_from(["sentinel-2-l2a", "sentinel-2-c1-l2a"]),
        percent=st.sampled_from([None, 0.0, 50.0]),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_kept_does_not_depend_on_the_order_of_arrival(query, data):
    items = [make_item(tile="33TXL"), *data.draw(st.lists(variants(), max_size=8))]
    first = query(items)
    second = query(data.draw(st.permutations(items)))
    assert [item["id"] for item in first.features] == [item["id"] for item in second.features]
    assert first == second
    kept = [item["properties"]["s2:processing_baseline"] for item in first.features]
    assert "99.05" not in kept
    seen = {item["id"] for item in first.features}
    assert len(seen) == len(first.features)
    known = seen | {entry.item_id for entry in first.cloudbuster.dropped}
    assert known == {item["id"] for item in items}
    # Every place in a usable item is still in one of the kept items.
    for tile in ("33TWL", "33TWM"):
        usable = [i for i in items if f"_{tile}_" in i["id"] and "99.05" not in str(i)]
        assert bool(usable) == any(f"_{tile}_" in name for name in seen)
