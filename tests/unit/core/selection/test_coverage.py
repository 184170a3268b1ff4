import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from cloudbuster.core.selection.coverage import (
    LEAST_REUSE_DEG2,
    CoverRules,
    Pick,
    pick_original,
    surface,
    uncovered_by_layer,
)

AOI = box(10, 45, 12, 46)
WEST, EAST = box(10, 45, 11, 46), box(11, 45, 12, 46)
NOTHING = shapely.Polygon()

# Footprints on a lattice of a quarter degree: some are equal, some nested, some only touch.
quarters = st.integers(-2, 10).map(lambda n: n / 4)
squares = st.builds(
    lambda x, y, width, height: box(10 + x, 45 + y, 10 + x + width / 4, 45 + y + height / 4),
    quarters,
    quarters,
    st.integers(1, 6),
    st.integers(1, 6),
)
scenes = st.lists(st.tuples(squares, st.integers(0, 100).map(float)), max_size=12)
some_rules = st.builds(
    CoverRules,
    coverage_count=st.integers(1, 3),
    max_uncovered=st.sampled_from([0.0, 0.0005, 0.2]),
    max_selections=st.none() | st.integers(1, 5),
    backstop=st.booleans(),
)


def picked(footprints, cloud_cover, *, aoi=AOI, **rules):
    return pick_original(aoi, footprints, cloud_cover, CoverRules(**rules))


def steradian(boxes):
    """Area on the unit sphere of a shape whose edges are meridians and parallels."""
    equal_area = shapely.transform(
        boxes, lambda places: np.radians(places) * [1, 0] + np.sin(np.radians(places)) * [0, 1]
    )
    return equal_area.area


def slow_original(aoi, footprints, cloud_cover, rules):
    """Apply the rule of `pick_original` literally: compute every gain again in every step."""
    copies = [aoi] * rules.coverage_count
    left = list(range(len(footprints)))
    room = len(left) if rules.max_selections is None else rules.max_selections
    picks: list[tuple[int, bool]] = []

    def cover(parts, *, backstop):
        allowed = rules.max_uncovered * steradian(aoi) * len(parts)
        while sum(map(steradian, parts)) > allowed and len(picks) < room and left:
            gains = {
                (i, j): footprints[i].intersection(part).area * (1.0 - cloud_cover[i] / 100.0)
                for i in left
                for j, part in enumerate(parts)
            }
            best, layer = max(gains, key=lambda key: gains[key])
            if gains[best, layer] <= 0:
                return
            parts[layer] = parts[layer].difference(footprints[best])
            left.remove(best)
            picks.append((best, backstop))

    cover(copies, backstop=False)
    if rules.backstop:
        cover([aoi], backstop=True)
    return picks


def own(picks):
    return [(pick.index, pick.backstop) for pick in picks if not pick.reused]


def test_the_greatest_clear_area_is_picked_first():
    picks = picked([WEST, AOI, EAST], [0, 40, 10], coverage_count=1, backstop=False)

    assert picks == [Pick(1, backstop=False, reused=False, gain=picks[0].gain)]
    assert picks[0].gain == pytest.approx(1.2)


def test_a_little_of_a_clear_scene_beats_all_of_a_cloudy_one():
    picks = picked([AOI, WEST, EAST], [60, 0, 10], coverage_count=1, backstop=False)

    assert [pick.index for pick in picks] == [1, 2]
    assert [pick.gain for pick in picks] == [pytest.approx(1.0), pytest.approx(0.9)]


def test_of_equals_the_first_is_picked():
    picks = picked([EAST, WEST, EAST, WEST], [5, 5, 5, 5], coverage_count=1, backstop=False)

    assert [pick.index for pick in picks] == [0, 1]


def test_the_backstop_is_picked_though_the_layers_are_not_covered():
    picks = picked([WEST, EAST, WEST], [0, 1, 2], coverage_count=1, aoi=box(10, 45, 13, 46))

    assert own(picks) == [(0, False), (1, False), (2, True)]


def test_a_scene_that_sees_nothing_clear_of_the_area_is_never_picked():
    assert picked([AOI, NOTHING, box(0, 0, 1, 1)], [100, 0, 0], coverage_count=2) == []


def test_a_clear_scene_is_reused_where_no_other_scene_gives_a_backstop():
    picks = picked([AOI, EAST], [0, 50], coverage_count=1)

    assert own(picks) == [(0, False), (1, True)]
    assert picks[-1] == Pick(0, backstop=True, reused=True, gain=picks[-1].gain)
    assert picks[-1].gain == pytest.approx(1.0)


def test_reuse_is_not_counted_against_max_selections():
    picks = picked([WEST, EAST], [0, 0], coverage_count=1, max_selections=2)

    assert [(pick.index, pick.reused) for pick in picks] == [
        (0, False),
        (1, False),
        (0, True),
        (1, True),
    ]


def test_a_scene_is_not_reused_for_less_than_a_cell():
    sliver = 0.5 * LEAST_REUSE_DEG2
    picks = picked([AOI, box(10 + sliver, 45, 12, 46)], [0, 0], coverage_count=1, max_uncovered=0)

    assert not any(pick.reused for pick in picks)


@pytest.mark.parametrize("side", [1e-7, 1e-5, 5e-5, 3e-4])
@pytest.mark.parametrize("clouds", [0, 50, 99])
def test_a_scene_is_reused_for_an_area_that_is_itself_less_than_a_cell(side, clouds):
    aoi = box(10, 45, 10 + side, 45 + side)

    picks = picked([AOI], [clouds], coverage_count=1, aoi=aoi)

    assert [(pick.backstop, pick.reused) for pick in picks] == [(False, False), (True, True)]


def test_nothing_is_reused_where_no_backstop_is_asked():
    assert not any(pick.backstop for pick in picked([AOI], [0], coverage_count=1, backstop=False))


def test_bug_5_max_selections_is_kept_where_the_original_picked_one_more():
    tiles = [box(10 + n / 4, 45, 10.25 + n / 4, 46) for n in range(8)]

    picks = picked(tiles, [0.0] * 8, coverage_count=1, max_selections=3)

    assert len(own(picks)) == 3


def test_bug_6_the_limit_is_a_share_of_true_area_whatever_the_latitude():
    # The gap is 1 % of the area in degrees, but less on the ground, because it is poleward.
    def gap(south):
        area = box(10, south, 12, south + 10)
        scene = box(10, south, 12, south + 9.9)
        clear = picked([scene, area], [0, 50], aoi=area, max_uncovered=0.0095, **rules)
        return len(clear), uncovered_by_layer(area, [scene], 1)[0]

    rules = {"coverage_count": 1, "backstop": False}
    equator, north = gap(0), gap(70)
    assert (equator[0], north[0]) == (2, 1)
    for south, (_, share) in ((0, equator), (70, north)):
        lat = np.sin(np.radians([south, south + 9.9, south + 10]))
        assert share == pytest.approx((lat[2] - lat[1]) / (lat[2] - lat[0]), rel=1e-9)


def test_bug_6_the_limit_does_not_depend_on_the_size_of_the_area():
    # 0.0005 square degrees, the original's limit, are more than this whole area.
    small = box(10, 45, 10.02, 45.02)

    assert len(picked([small, small], [0, 0], aoi=small, coverage_count=2, backstop=False)) == 2


@given(scenes, some_rules)
def test_picks_are_those_of_the_definition(candidates, rules):
    footprints = [footprint for footprint, _ in candidates]
    cloud_cover = [cloud for _, cloud in candidates]

    picks = pick_original(AOI, footprints, cloud_cover, rules)

    assert own(picks) == slow_original(AOI, footprints, cloud_cover, rules)


@given(scenes, some_rules)
def test_every_pick_gains_is_made_once_and_keeps_the_limits(candidates, rules):
    footprints = [footprint for footprint, _ in candidates]
    cloud_cover = [cloud for _, cloud in candidates]

    picks = pick_original(AOI, footprints, cloud_cover, rules)

    assert picks == pick_original(AOI, footprints, cloud_cover, rules)
    assert all(pick.gain > 0 for pick in picks)
    once = [pick.index for pick in picks if not pick.reused]
    assert len(once) == len(set(once))
    assert len(once) <= (rules.max_selections or len(candidates))
    clear = {pick.index for pick in picks if not pick.backstop}
    reused = [pick.index for pick in picks if pick.reused]
    assert set(reused) <= clear
    assert len(reused) == len(set(reused))
    assert all(pick.backstop for pick in picks if pick.reused)
    assert rules.backstop or not any(pick.backstop for pick in picks)


@given(scenes, some_rules)
def test_there_is_a_backstop_wherever_there_is_a_clear_scene(candidates, rules):
    footprints = [footprint for footprint, _ in candidates]
    picks = pick_original(AOI, footprints, [cloud for _, cloud in candidates], rules)

    seen = shapely.union_all([footprints[pick.index] for pick in picks]).intersection(AOI)
    below = shapely.union_all([footprints[pick.index] for pick in picks if pick.backstop])

    assert not rules.backstop or seen.difference(below).area < len(picks) * LEAST_REUSE_DEG2 + 1e-12


@given(st.permutations(range(6)))
def test_order_does_not_matter_where_no_two_gains_are_equal(order):
    footprints = [box(10 + n * 0.31, 45, 10.5 + n * 0.37, 46 - n * 0.01) for n in range(6)]
    cloud_cover = [3.0 + 7.3 * n for n in range(6)]

    straight = picked(footprints, cloud_cover, coverage_count=2)
    shuffled = picked(
        [footprints[n] for n in order], [cloud_cover[n] for n in order], coverage_count=2
    )

    assert [(order[pick.index], pick.backstop, pick.reused) for pick in shuffled] == [
        (pick.index, pick.backstop, pick.reused) for pick in straight
    ]


@given(st.lists(squares, max_size=8), st.integers(1, 4))
def test_uncovered_by_layer_counts_footprints(footprints, layers):
    # Every edge is on the lattice, so that a footprint covers a lattice cell wholly or not at all.
    cells = [
        box(10 + x / 4, 45 + y / 4, 10.25 + x / 4, 45.25 + y / 4)
        for x in range(8)
        for y in range(4)
    ]
    counts = [sum(f.covers(cell) for f in footprints) for cell in cells]
    weights = [steradian(cell) for cell in cells]

    shares = uncovered_by_layer(AOI, footprints, layers)

    expected = [
        sum(w for w, count in zip(weights, counts, strict=True) if count < layer) / steradian(AOI)
        for layer in range(1, layers + 1)
    ]
    assert shares == pytest.approx(expected, abs=1e-12)
    assert all(0 <= share <= 1 for share in shares)
    assert sorted(shares) == list(shares)


def test_surface_of_a_box_is_that_of_a_zone_between_parallels():
    assert surface(box(-180, -90, 180, 90)) == pytest.approx(4 * math.pi)
    zone = math.radians(2) * (math.sin(math.radians(46)) - math.sin(math.radians(45)))
    assert surface(AOI) == pytest.approx(zone, rel=1e-12)


def test_surface_takes_holes_away_and_adds_parts():
    ring = shapely.difference(AOI, box(10.5, 45.25, 11, 45.5))
    parts = shapely.MultiPolygon([box(10.5, 45.25, 11, 45.5), box(20, -5, 21, -4)])
    hole, far = (surface(part) for part in parts.geoms)

    assert surface(ring) == pytest.approx(surface(AOI) - hole, rel=1e-9)
    assert surface(ring.reverse()) == pytest.approx(surface(ring), rel=1e-9)
    assert surface(parts) == pytest.approx(hole + far, rel=1e-9)
    assert surface(NOTHING) == 0


def test_surface_of_a_slanted_polygon_does_not_depend_on_its_vertices():
    triangle = shapely.Polygon([(0, 0), (40, 10), (10, 60)])

    assert surface(shapely.segmentize(triangle, 0.1)) == pytest.approx(surface(triangle), rel=1e-9)


def test_surface_keeps_the_digits_of_a_small_polygon():
    small = box(10, 45, 10.0001, 45.0001)
    half = box(10, 45, 10.0001, 45.00005)

    assert surface(half) / surface(small) == pytest.approx(0.5, rel=1e-5)


def test_an_empty_area_is_an_error():
    with pytest.raises(ValueError, match="area to cover is empty"):
        picked([AOI], [0], aoi=NOTHING)
    with pytest.raises(ValueError, match="2 footprints but 1 values"):
        picked([AOI, AOI], [0])


def test_no_candidates_give_no_picks():
    assert picked([], []) == []
