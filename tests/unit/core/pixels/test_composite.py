import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cloudbuster.core.pixels.composite import (
    COMPOSITES,
    FirstComposite,
    ObservationCounter,
    backstop_rank,
    class_rank,
    mosaic_state,
)
from cloudbuster.core.pixels.masks import PixelClass

SHAPE = (3, 4)
CLASSES = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 3))


def row(*values: int) -> np.ndarray:
    return np.array([values], dtype=np.uint8)


def test_class_rank_is_0_for_unusable_classes() -> None:
    np.testing.assert_array_equal(class_rank(row(0, 1, 2, 3)), row(0, 0, 2, 3))


def test_backstop_rank_is_below_every_usable_class() -> None:
    present = np.array([[True, False]])
    np.testing.assert_array_equal(backstop_rank(present), row(1, 0))
    assert backstop_rank(present).max() < PixelClass.LOW_RANK


def test_first_takes_clear_then_low_rank_then_backstop_and_the_first_of_equals() -> None:
    composite = FirstComposite((1, 6))
    composite.feed(0, row(3, 2, 2, 0, 0, 0))
    composite.feed(1, row(3, 3, 2, 2, 0, 0))
    composite.feed(5, row(1, 1, 1, 1, 1, 0))
    composite.feed(6, row(1, 1, 1, 1, 1, 0))
    np.testing.assert_array_equal(composite.winner, [[0, 1, 0, 1, 5, -1]])
    np.testing.assert_array_equal(composite.rank, row(3, 3, 2, 2, 1, 0))


def test_first_is_done_only_when_every_cell_is_clear() -> None:
    composite = FirstComposite((1, 2))
    composite.feed(0, row(3, 2))
    assert not composite.is_done
    composite.feed(1, row(0, 3))
    assert composite.is_done


def test_first_refuses_another_shape_and_a_scene_out_of_order() -> None:
    composite = FirstComposite((1, 2))
    with pytest.raises(ValueError, match="rank"):
        composite.feed(0, row(3))
    composite.feed(1, row(3, 3))
    with pytest.raises(ValueError, match="after 1"):
        composite.feed(0, row(3, 3))


@given(st.lists(CLASSES, max_size=5))
def test_first_equals_the_choice_made_cell_by_cell(scenes: list[np.ndarray]) -> None:
    composite = COMPOSITES["first"](SHAPE)
    for position, classes in enumerate(scenes):
        composite.feed(position, class_rank(classes))
    for cell in np.ndindex(SHAPE):
        ranked = [(-int(classes[cell]), position) for position, classes in enumerate(scenes)]
        usable = [entry for entry in ranked if entry[0] <= -PixelClass.LOW_RANK]
        assert composite.winner[cell] == (min(usable)[1] if usable else -1)


@given(st.lists(CLASSES, max_size=5))
def test_scenes_after_done_change_nothing(scenes: list[np.ndarray]) -> None:
    composite = FirstComposite(SHAPE)
    composite.feed(0, np.full(SHAPE, 3, dtype=np.uint8))
    assert composite.is_done
    for position, classes in enumerate(scenes, start=1):
        composite.feed(position, class_rank(classes))
    assert (composite.winner == 0).all()


def test_mosaic_state_distinguishes_holes_cloud_backstop_and_clear() -> None:
    state = mosaic_state(row(0, 0, 1, 2, 3), np.array([[0, 4, 4, 4, 4]], dtype=np.uint16))
    np.testing.assert_array_equal(state, row(0, 1, 2, 3, 3))


def test_observation_counter_counts_an_acquisition_once() -> None:
    counter = ObservationCounter((1, 4), {"a": 2, "b": 1})
    counter.feed("a", row(0, 1, 2, 3), counts_clear=True)
    counter.feed("b", row(1, 1, 3, 0), counts_clear=True)
    counter.feed("a", row(0, 1, 2, 3), counts_clear=False)
    np.testing.assert_array_equal(counter.times_observed, [[1, 2, 2, 1]])
    np.testing.assert_array_equal(counter.times_clear, [[0, 0, 2, 1]])


def test_observation_counter_does_not_count_a_backstop_as_clear() -> None:
    counter = ObservationCounter((1, 3), {"a": 1})
    counter.feed("a", row(0, 1, 3), counts_clear=False)
    np.testing.assert_array_equal(counter.times_observed, [[0, 1, 1]])
    np.testing.assert_array_equal(counter.times_clear, [[0, 0, 0]])
