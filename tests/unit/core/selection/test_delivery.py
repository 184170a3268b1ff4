"""Which units of which scene are delivered: every cell once, from as little as possible."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.selection.delivery import SceneUnits, plan_delivery

AREA = np.ones((2, 4), dtype=bool)
# Units of 2 x 2 cells: number 0 west, 1 east.
UNIT = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], dtype=np.int32)


def units(text: str, safe: str | None = None) -> SceneUnits:
    """A scene from a drawing: ``#`` clear, ``o`` cloudy, ``.`` without data; rows by ``/``."""
    rows = np.array([list(line) for line in text.split("/")])
    surely = np.array([list(line) for line in (safe or text).split("/")]) == "#"
    clear = rows == "#"
    return SceneUnits(GridWindow(0, 0, 2, 4), clear, rows != ".", surely & clear, UNIT)


def test_a_scene_that_is_clear_everywhere_delivers_everything() -> None:
    assert plan_delivery(AREA, [units("####/####"), units("####/####")]) == [{0, 1}, set()]


def test_each_unit_comes_from_the_scene_that_is_clear_in_it() -> None:
    assert plan_delivery(AREA, [units("##oo/##oo"), units("oo##/oo##")]) == [{0}, {1}]


def test_a_second_scene_delivers_only_the_unit_that_the_first_leaves_open() -> None:
    assert plan_delivery(AREA, [units("####/###o"), units("###o/####")]) == [{0, 1}, {1}]


def test_one_unit_of_a_later_scene_is_better_than_two_of_earlier_ones() -> None:
    scenes = [units("##o#/###o"), units("###o/####"), units("####/####")]
    assert plan_delivery(AREA, scenes) == [{0}, set(), {1}]


def test_cells_beside_a_cloud_come_from_a_scene_that_is_surely_clear_too() -> None:
    first = units("####/####", safe="##o#/####")
    assert plan_delivery(AREA, [first, units("oo##/oooo")]) == [{0, 1}, {1}]
    # Where nothing is better, they count.
    assert plan_delivery(AREA, [first, units("oooo/oooo")]) == [{0, 1}, set()]


def test_what_is_never_clear_is_delivered_cloudy_or_left_open() -> None:
    scenes = [units("##../##.."), units("oooo/oooo")]
    assert plan_delivery(AREA, scenes) == [{0}, {1}]
    assert plan_delivery(AREA, scenes, fill=False) == [{0}, set()]
    # A cloudy cell in a unit that is delivered anyway costs nothing.
    assert plan_delivery(AREA, [units("##o./##.."), units("oooo/oooo")]) == [{0}, {1}]
    assert plan_delivery(AREA, [units("##oo/###o"), units("oooo/oooo")]) == [{0, 1}, set()]


def test_further_layers_and_earlier_deliveries_count() -> None:
    scenes = [units("####/####"), units("####/##oo"), units("oo##/oo##")]
    assert plan_delivery(AREA, scenes, layers=2) == [{0, 1}, {0}, {1}]
    before = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], dtype=np.uint16)
    assert plan_delivery(AREA, scenes, counted=before) == [{1}, set(), set()]


def test_nothing_is_delivered_outside_of_the_area() -> None:
    area = AREA & (np.arange(4) < 2)
    assert plan_delivery(area, [units("####/####")]) == [{0}]


LETTERS = st.lists(st.sampled_from("#o."), min_size=8, max_size=8)
SCENES = st.lists(
    LETTERS.map(lambda letters: units(f"{''.join(letters[:4])}/{''.join(letters[4:])}")),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(SCENES)
def test_every_cell_that_can_be_clear_is_delivered_clear(scenes: list[SceneUnits]) -> None:
    delivered = plan_delivery(AREA, scenes)
    parts = [np.isin(UNIT, list(numbers)) for numbers in delivered]
    clear = np.any([scene.clear & part for scene, part in zip(scenes, parts, strict=True)], axis=0)
    seen = np.any([scene.seen & part for scene, part in zip(scenes, parts, strict=True)], axis=0)
    np.testing.assert_array_equal(clear, np.any([scene.clear for scene in scenes], axis=0))
    np.testing.assert_array_equal(seen, np.any([scene.seen for scene in scenes], axis=0))
