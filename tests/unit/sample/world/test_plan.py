import math

import pytest

from cloudbuster.sample.world import plan


def test_plan_has_each_convention_with_right_and_with_wrong_flags():
    cases = {(d.convention, d.flag_is_right) for d in plan.PLAN}
    assert cases == {(c, r) for c in ("none", "present", "removed") for r in (True, False)}


def test_plan_has_eight_dates_over_four_months_on_two_orbits():
    dates = [d.sensing.date() for d in plan.PLAN]
    assert len(set(dates)) == 8
    assert dates == sorted(dates)
    assert 100 <= (dates[-1] - dates[0]).days <= 124
    assert len({d.orbit for d in plan.PLAN}) == 2


def test_plan_never_gives_an_offset_to_a_baseline_before_4():
    for datatake in plan.PLAN:
        assert (datatake.baseline < "04.00") == (datatake.convention == "none")


def test_plan_jitter_is_at_most_one_pixel():
    assert all(math.hypot(*d.jitter_m) <= 10 for d in plan.PLAN)
    assert any(math.hypot(*d.jitter_m) > 5 for d in plan.PLAN)


def test_plan_covers_from_15_to_90_percent():
    covers = [d.cover for d in plan.PLAN]
    assert min(covers) >= 0.15
    assert max(covers) <= 0.9
    assert max(covers) - min(covers) > 0.6


def test_reprocessed_product_is_the_first_datatake_with_a_higher_baseline():
    assert plan.REPROCESSED.sensing == plan.PLAN[0].sensing
    assert plan.REPROCESSED.index == plan.PLAN[0].index
    assert plan.REPROCESSED.baseline > plan.PLAN[0].baseline


@pytest.mark.parametrize("size", ["small", "full"])
def test_tiles_overlap_and_share_the_corner_of_their_60_m_grids(size):
    south, north = plan.tiles_of(size)
    overlap_px = (south.north_m - north.bounds[1]) // 10
    assert overlap_px == {"small": 100, "full": 978}[size]
    assert all(edge % 60 == 0 for t in (south, north) for edge in (t.west_m, t.north_m))
    assert south.side(60) == {"small": 171, "full": 1830}[size]
