import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box

from cloudbuster.core.areas.antimeridian import (
    arranged,
    box_area,
    middle_longitude,
    placed_near,
    split,
    unwrapped,
    unwrapped_polygon,
)
from cloudbuster.core.selection.coverage import surface

ACROSS = box(179, -17, 181, -16)
SPLIT = MultiPolygon([box(179, -17, 180, -16), box(-180, -17, -179, -16)])
JUMPING = Polygon([(179, -17), (-179, -17), (-179, -16), (179, -16)])

# Coordinates are multiples of an eighth of a degree, so that sums are exact.
eighths = st.integers(-1440, 1439).map(lambda n: n / 8)
rectangles = st.builds(
    lambda west, south, width, height: box(west, south, west + width / 8, south + height / 8),
    eighths,
    st.integers(-80, 75),
    st.integers(1, 80),
    st.integers(1, 64),
)


def wrapped(geometry):
    """Return the same rings with every longitude in [-180, 180), so that they jump."""

    def turned(points):
        moved = points.copy()
        moved[:, 0] = (moved[:, 0] + 180) % 360 - 180
        return moved

    return shapely.transform(geometry, turned)


@pytest.mark.parametrize("written", [ACROSS, SPLIT, JUMPING, box(-181, -17, -179, -16)])
def test_every_way_to_write_an_area_across_the_antimeridian_is_one_area(written):
    assert unwrapped(written).equals(ACROSS)
    assert split(unwrapped(written)).equals(SPLIT)


def test_an_area_that_does_not_cross_is_the_very_same_object():
    for area in (box(10, 45, 11, 46), box(-180, 0, 0, 1), MultiPolygon([box(0, 0, 1, 1)])):
        assert unwrapped(area) is area
        assert split(area) is area
        assert placed_near(area, middle_longitude(area)) is area


def test_longitudes_of_another_turn_come_back():
    assert unwrapped(box(190, 0, 200, 1)).bounds == (-170, 0, -160, 1)
    assert split(box(-190, 0, -185, 1)).bounds == (170, 0, 175, 1)


def test_a_hole_goes_with_its_shell():
    ring = shapely.difference(ACROSS, box(180.25, -16.75, 180.5, -16.5))
    assert unwrapped(wrapped(ring)).equals(ring)
    assert split(ring).area == pytest.approx(ring.area)


def test_two_areas_on_the_same_side_stay_there_and_far_ones_take_the_short_way_round():
    near = MultiPolygon([box(-100, 0, -99, 1), box(70, 0, 71, 1)])
    assert unwrapped(near) is near
    alaska_and_kamchatka = MultiPolygon([box(-170, 50, -169, 51), box(160, 50, 161, 51)])
    assert unwrapped(alaska_and_kamchatka).bounds == (160, 50, 191, 51)
    assert split(unwrapped(alaska_and_kamchatka)).equals(alaska_and_kamchatka)


def test_parts_all_round_the_earth_stay_apart():
    parts = [box(west, 0, west + 1, 1) for west in (-120, 0, 120)]
    assert sorted(part.bounds[2] - part.bounds[0] for part in arranged(parts)) == [1, 1, 1]
    assert split(unwrapped(MultiPolygon(parts))).equals(MultiPolygon(parts))


@pytest.mark.parametrize(
    ("ring", "words"),
    [
        ([(-100, 0), (0, 0), (100, 0), (100, 1), (0, 1), (-100, 1)], "it is 200 degrees"),
        ([(-100, 0), (100, 0), (100, 1), (-100, 1)], "from -100 to 100: make it narrower than 180"),
        ([(-180, 60), (180, 60), (180, 70), (-180, 70)], "it is 360 degrees of longitude wide"),
        ([(0, 70), (90, 75), (180, 70), (-90, 75)], "it goes round the north pole"),
        ([(0, -70), (-90, -75), (-180, -70), (90, -75)], "it goes round the south pole"),
    ],
)
def test_a_polygon_of_half_the_world_or_round_a_pole_is_refused(ring, words):
    with pytest.raises(ValueError, match=words):
        unwrapped_polygon(Polygon(ring))


def test_a_bounding_box_with_west_beyond_east_crosses():
    assert box_area(179, -17, -179, -16).equals(ACROSS)
    assert box_area(10, 45, 11, 46).equals(box(10, 45, 11, 46))
    assert box_area(181, 0, 182, 1).equals(box(-179, 0, -178, 1))


def test_an_area_is_placed_in_the_turn_next_to_another():
    assert placed_near(box(-179.5, 0, -179, 1), 180.0).bounds == (180.5, 0, 181, 1)
    assert placed_near(SPLIT, -180.0).bounds == (-181, -17, -179, -16)
    assert placed_near(Polygon(), 5.0).is_empty


@given(rectangles)
def test_unwrapping_is_idempotent_and_splitting_brings_back(area):
    whole = unwrapped(area)
    assert unwrapped(whole).equals(whole)
    again = unwrapped(split(whole))
    assert again.equals(whole)
    assert again.bounds == whole.bounds
    assert split(again).equals(split(whole))
    assert -180 <= whole.bounds[0] < 180


@given(rectangles, rectangles)
def test_surface_and_area_are_kept(first, second):
    both = shapely.union_all([first, second])
    if both.bounds[2] - both.bounds[0] > 180:
        return
    for form in (unwrapped(both), split(both), unwrapped(split(both)), unwrapped(wrapped(both))):
        assert form.is_valid
        assert form.area == pytest.approx(both.area, rel=1e-12)
        assert surface(form) == pytest.approx(surface(both), rel=1e-9)


@given(rectangles, st.integers(-2, 2))
def test_an_area_placed_near_its_own_middle_of_any_turn_is_there(area, turn):
    middle = middle_longitude(area) + 360 * turn
    assert middle_longitude(placed_near(split(unwrapped(area)), middle)) == pytest.approx(middle)
