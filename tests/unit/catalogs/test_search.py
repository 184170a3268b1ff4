import itertools
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from cloudbuster.catalogs.search import SceneSearch, footprint_geometry, merged_periods, sift
from cloudbuster.models import QueryOptions
from tests.stac_items import make_item, square

AOI = box(14.6, 45.6, 14.9, 45.9)
MAY = (date(2020, 5, 1), date(2020, 5, 31))


def search(**changes):
    options = {"aoi": AOI, "periods": (MAY,), "kind": "L2A", "minclouds": 0, "maxclouds": 20}
    return SceneSearch(**{**options, **changes})


def removed_by(item, **changes):
    _, removed = sift([item], search(**changes))
    return next(iter(removed), None)


@pytest.mark.parametrize(
    ("taken", "inside"),
    [
        ("2020-04-30T23:59:59", False),
        ("2020-05-01T00:00:00", True),
        ("2020-05-31T23:59:59", True),
        ("2020-06-01T00:00:00", False),
    ],
)
def test_both_ends_of_a_period_are_inclusive_days_of_utc(taken, inside):
    reason = removed_by(make_item(taken=taken))
    assert (reason is None) is inside
    assert inside or reason == "outside of the dates"


def test_days_are_those_of_utc_whatever_the_item_writes():
    item = make_item(properties={"datetime": "2020-05-01T00:30:00+02:00"})
    assert removed_by(item) == "outside of the dates"


@pytest.mark.parametrize(
    ("geometry", "inside"),
    [
        (square(14.5, 45.5), True),
        (square(14.7, 45.7, 0.1), True),
        (square(14.9, 45.6), False),
        (square(14.9, 45.9), False),
        (square(14.899, 45.899), True),
        (square(20, 50), False),
    ],
)
def test_an_item_must_share_area_and_not_only_an_edge_or_a_corner(geometry, inside):
    reason = removed_by(make_item(geometry=geometry))
    assert (reason is None) is inside
    assert inside or reason == "outside of the area"


@pytest.mark.parametrize(
    ("cloud_cover", "limits", "reason"),
    [
        (20, {}, None),
        (20.001, {}, "outside of the cloud cover"),
        (4.9, {"minclouds": 5}, "outside of the cloud cover"),
        (5, {"minclouds": 5}, None),
        (None, {}, "without a cloud cover"),
        (None, {"maxclouds": 100}, None),
    ],
)
def test_cloud_cover_is_an_inclusive_range(cloud_cover, limits, reason):
    assert removed_by(make_item(cloud_cover=cloud_cover), **limits) == reason


def test_sift_names_the_filter_that_removed_each_item():
    items = [
        make_item(),
        {"type": "Feature"},
        make_item(kind="L1C"),
        make_item(properties={"datetime": None}),
        make_item(taken="2021-05-10T10:00:31"),
        {**make_item(), "geometry": None, "bbox": None},
    ]
    kept, removed = sift(items, search())
    assert kept == [items[0]]
    assert dict(removed) == {
        "not a STAC item": 1,
        "of another product level": 1,
        "without a date": 1,
        "outside of the dates": 1,
        "outside of the area": 1,
    }


def test_a_broken_footprint_is_repaired_or_replaced_by_the_box_or_the_tile():
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    repaired = footprint_geometry(make_item(geometry=bow_tie))
    assert repaired is not None
    assert repaired.area == 2
    broken = {"type": "Polygon", "coordinates": [[[0, 0]]]}
    for geometry in (broken, {"type": "X", "coordinates": [1]}, None):
        boxed = {**make_item(), "geometry": geometry}
        replaced = footprint_geometry(boxed)
        assert replaced is not None
        assert replaced.bounds == tuple(boxed["bbox"])
        # The square of the tile that the item names.
        tile = footprint_geometry({**boxed, "bbox": None})
        assert tile is not None
        assert tile.bounds == pytest.approx((15.0, 45.06, 16.4, 46.05), abs=0.02)
        assert footprint_geometry({**boxed, "bbox": None, "properties": {}, "id": "x"}) is None


def test_merged_periods_are_the_union():
    days = [date(2020, 1, day) for day in range(1, 21)]
    periods = [(days[9], days[11]), (days[0], days[2]), (days[3], days[4]), (days[1], days[1])]
    assert merged_periods(periods) == ((days[0], days[4]), (days[9], days[11]))


@given(
    st.lists(
        st.tuples(st.dates(date(2020, 1, 1), date(2020, 2, 1)), st.integers(0, 9)), min_size=1
    ).map(lambda pairs: [(first, date.fromordinal(first.toordinal() + n)) for first, n in pairs])
)
def test_merged_periods_hold_the_same_days_and_stand_apart(periods):
    def days(ranges):
        return {
            day for first, last in ranges for day in range(first.toordinal(), last.toordinal() + 1)
        }

    merged = merged_periods(periods)
    assert days(merged) == days(periods)
    assert all((later[0] - earlier[1]).days > 1 for earlier, later in itertools.pairwise(merged))


def test_scene_search_from_options_pairs_the_dates_by_position():
    options = QueryOptions(
        mindate=(date(2021, 5, 1), date(2020, 5, 1)),
        maxdate=(date(2021, 5, 2), date(2020, 5, 2)),
        maxclouds=30,
        kind="L1C",
    )
    made = SceneSearch.from_options(AOI, options)
    assert made.periods == (
        (date(2020, 5, 1), date(2020, 5, 2)),
        (date(2021, 5, 1), date(2021, 5, 2)),
    )
    assert (made.kind, made.minclouds, made.maxclouds) == ("L1C", 0, 30)


@pytest.mark.parametrize(
    "geometry",
    [
        {
            "type": "MultiPolygon",
            "coordinates": [square(179.5, -17)["coordinates"], square(-179.5, -17)["coordinates"]],
        },
        {
            "type": "Polygon",
            "coordinates": [[[178, -17], [-178, -17], [-178, -16], [178, -16], [178, -17]]],
        },
    ],
)
def test_an_item_across_the_antimeridian_is_found_there_and_nowhere_else(geometry):
    item = make_item(geometry=geometry, tile="01KAB")
    for west, found in ((179.8, True), (-180.4, True), (-180, True), (170, False), (0, False)):
        area = box(west, -16.9, west + 0.4, -16.8)
        kept, _ = sift([item], search(aoi=area))
        assert bool(kept) is found, west
