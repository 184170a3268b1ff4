"""Which units of which scene are delivered: every cell once, from as little as possible."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.selection.delivery import plan_delivery
from cloudbuster.core.selection.spared_margins import spare_margins
from cloudbuster.core.selection.units import SceneUnits, UnitLayout

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


# Units of 4 x 4 parts, each of one cell: number 0 west, 1 east.
LAYOUT = UnitLayout(rows=4, cols=8, side=4)
WHOLE = np.ones((4, 8), dtype=bool)


def parted(clear: np.ndarray, window: GridWindow | None = None) -> SceneUnits:
    """A scene of two units with parts that is surely clear in some cells, and has data in all."""
    part = np.arange(32, dtype=np.int32).reshape(4, 8)
    place = window or GridWindow(0, 0, 4, 8)
    return SceneUnits(place, clear, WHOLE, clear, LAYOUT.unit, part, LAYOUT)


def drawn(parts: np.ndarray | None) -> list[str]:
    """Parts as text, a row each."""
    assert parts is not None
    return ["".join(".#"[int(part)] for part in row) for row in parts]


def test_the_edge_beside_a_unit_of_another_scene_is_left_out_if_that_delivers_it_too() -> None:
    west, both = WHOLE.copy(), WHOLE.copy()
    west[:, 4:] = False
    parts = spare_margins(WHOLE, [parted(west), parted(both)], [{0}, {0, 1}])
    assert drawn(parts[0]) == ["###....."] * 4
    assert drawn(parts[1]) == ["########"] * 4


def test_an_edge_that_no_other_scene_delivers_as_clear_is_kept() -> None:
    west, east = WHOLE.copy(), WHOLE.copy()
    west[:, 4:], east[:, :4] = False, False
    parts = spare_margins(WHOLE, [parted(west), parted(east)], [{0}, {1}])
    assert [drawn(each) for each in parts] == [["####...."] * 4, ["....####"] * 4]
    # A single cell of the strip that the other scene shows cloudy is enough.
    almost = WHOLE.copy()
    almost[2, 3] = False
    parts = spare_margins(WHOLE, [parted(west), parted(almost)], [{0}, {0, 1}])
    assert drawn(parts[0]) == ["####...."] * 4


def test_of_two_scenes_that_could_spare_an_edge_one_keeps_it() -> None:
    parts = spare_margins(WHOLE, [parted(WHOLE), parted(WHOLE)], [{0}, {0}])
    assert {drawn(each)[0] for each in parts} == {"###.....", "####...."}


def test_an_edge_is_spared_only_if_every_layer_is_delivered_without_it() -> None:
    scenes, delivered = [parted(WHOLE)] * 3, [{0}, {0, 1}, {0, 1}]
    spared = spare_margins(WHOLE, scenes, delivered, layers=2)
    assert drawn(spared[0]) == ["###....."] * 4
    kept = spare_margins(WHOLE, scenes, delivered, layers=3)
    assert drawn(kept[0]) == ["####...."] * 4


def test_edges_that_are_cloudy_in_all_scenes_are_spared_once_if_they_are_to_be_filled() -> None:
    cloudy = WHOLE.copy()
    cloudy[:, 3:] = False
    filled = spare_margins(WHOLE, [parted(cloudy), parted(cloudy)], [{0}, {0}])
    assert {drawn(each)[0] for each in filled} == {"###.....", "####...."}
    left_open = spare_margins(WHOLE, [parted(cloudy), parted(cloudy)], [{0}, {0}], fill=False)
    assert [drawn(each)[0] for each in left_open] == ["###.....", "###....."]


def test_a_scene_without_parts_has_no_edges_to_leave_out() -> None:
    assert spare_margins(AREA, [units("####/####")], [{0, 1}]) == [None]


def test_units_lie_beside_the_parts_at_their_edges_alone() -> None:
    layout = UnitLayout(rows=3, cols=3, side=2)
    np.testing.assert_array_equal(layout.unit, [[0, 0, 1], [0, 0, 1], [2, 2, 3]])
    np.testing.assert_array_equal(
        layout.neighbours((0, 1)), [[-1, 1, -1], [-1, 1, -1], [-1, 3, -1]]
    )
    np.testing.assert_array_equal(
        layout.neighbours((-1, 1)), [[-1, -1, -1], [-1, -1, -1], [-1, 1, -1]]
    )
    narrow = UnitLayout(rows=4, cols=2, side=2)
    np.testing.assert_array_equal(narrow.neighbours((-1, 1)), np.full((4, 2), -1))
    np.testing.assert_array_equal(narrow.neighbours((1, 0)), [[-1, -1], [1, 1], [-1, -1], [-1, -1]])
