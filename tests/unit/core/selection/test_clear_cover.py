"""Selection by clear sky: what it reaches, what it leaves out, and what it promises."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.selection.clear_cover import ClearCover, CoverGoal, SceneCells, cover_clear

AREA = np.ones((2, 4), dtype=bool)


def cells(text: str, row: int = 0, col: int = 0) -> SceneCells:
    """A scene from a drawing: ``#`` clear, ``o`` cloudy, ``.`` without data; rows by ``/``."""
    rows = np.array([list(line) for line in text.split("/")])
    return SceneCells(GridWindow(row, col, *rows.shape), rows == "#", rows != ".")


def cover(scenes: list[SceneCells], area: np.ndarray = AREA, **goal: object) -> ClearCover:
    return cover_clear(area, scenes, CoverGoal(**goal))  # type: ignore[arg-type]


def test_scenes_are_in_order_of_what_they_add() -> None:
    found = cover([cells("##oo/oooo"), cells("oo##/oo##"), cells("oooo/##oo")], layers=1)
    assert found.scenes == (1, 0, 2)
    assert [step.gain for step in found.steps] == [0.5, 0.25, 0.25]
    assert [step.layers for step in found.steps] == [(0.5,), (0.75,), (1.0,)]
    assert (found.never_clear, found.unseen, found.backstop) == (0, 0, ())


def test_of_equal_scenes_the_earlier_is_taken() -> None:
    assert cover([cells("####/####"), cells("####/####")], layers=1).scenes == (0,)


def test_a_scene_with_a_better_score_goes_before_one_that_shows_a_little_more() -> None:
    scenes = [cells("####/#ooo"), cells("oooo/####")]
    assert cover_clear(AREA, scenes, CoverGoal(1)).scenes == (0, 1)
    assert cover_clear(AREA, scenes, CoverGoal(1), scores=[0.5, 1.0]).scenes == (1, 0)


def test_a_scene_that_others_made_dispensable_is_left_out() -> None:
    # The first pick shows most, and the two others together show all of it.
    scenes = [cells("o##o/###o"), cells("##oo/##oo"), cells("oo##/oo##")]
    assert cover(scenes, layers=1).scenes == (1, 2)


def test_what_is_never_clear_is_filled_from_scenes_that_were_taken() -> None:
    scenes = [cells("##o./##.."), cells("..o./..##"), cells("oooo/oooo")]
    found = cover(scenes, layers=1)
    assert set(found.scenes) == {0, 1}
    assert found.never_clear == pytest.approx(2 / 8)
    # Cell (0, 2) comes from a taken scene, (0, 3) only the third shows.
    assert found.backstop == (0, 2)
    assert found.unseen == 0
    assert cover(scenes[:2], layers=1).unseen == pytest.approx(1 / 8)


def test_a_scene_that_adds_too_little_is_taken_only_to_reach_the_goal() -> None:
    scenes = [cells("####/###o"), cells("oooo/ooo#")]
    little: dict[str, Any] = {"layers": 1, "least_first_gain": 0.2, "least_depth_share": 0.2}
    assert cover(scenes, **little).scenes == (0,)
    assert cover(scenes, **little, first_share=1.0).scenes == (0, 1)


def test_further_layers_take_scenes_while_they_are_worth_it() -> None:
    scenes = [cells("####/####"), cells("##oo/oooo"), cells("o###/####")]
    assert cover(scenes, layers=2, least_depth_share=0.4).scenes == (0, 2)
    assert cover(scenes, layers=2, least_depth_share=0.0).scenes == (0, 2, 1)
    assert cover(scenes, layers=2, least_depth_share=1.0, mean_share=0.9).scenes == (0, 2)


def test_no_more_scenes_are_taken_than_allowed() -> None:
    scenes = [cells("##oo/oooo"), cells("oo##/oooo"), cells("oooo/####")]
    assert cover(scenes, layers=1, max_scenes=2).scenes == (2, 0)


def test_what_was_seen_before_is_not_covered_again() -> None:
    seen = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], dtype=np.uint16)
    scenes = [cells("####/####"), cells("oo##/oooo")]
    found = cover_clear(AREA, scenes, CoverGoal(1), counted=seen)
    assert found.scenes == (0,)
    assert found.steps[0].gain == 0.25


def test_only_the_area_counts() -> None:
    area = np.array([[True, True, False, False], [False] * 4])
    scenes = [cells("..##/####"), cells("##../....")]
    found = cover(scenes, area, layers=1)
    assert found.scenes == (1,)
    assert found.never_clear == 0


def test_windows_across_the_edge_of_a_word_are_counted_right() -> None:
    area = np.ones((3, 150), dtype=bool)
    left = cells("/".join(["#" * 70] * 3))
    right = cells("/".join(["#" * 83] * 3), col=67)
    found = cover([left, right], area, layers=2, least_depth_share=0.0)
    assert found.scenes == (1, 0)
    assert [step.gain for step in found.steps] == pytest.approx([83 / 150, 67 / 150])
    assert found.steps[-1].layers == pytest.approx((1.0, 3 / 150))


SCENES = st.lists(
    st.lists(st.sampled_from("#o."), min_size=8, max_size=8).map(
        lambda letters: cells(f"{''.join(letters[:4])}/{''.join(letters[4:])}")
    ),
    min_size=1,
    max_size=5,
)


def clear_share(scenes: list[SceneCells], chosen: tuple[int, ...]) -> float:
    return float(np.any([scenes[index].clear for index in chosen], axis=0).mean()) if chosen else 0


@settings(max_examples=30)
@given(SCENES)
def test_everything_that_can_be_clear_is_and_the_bound_holds(scenes: list[SceneCells]) -> None:
    found = cover(scenes, layers=2, least_first_gain=0.0)
    whole = clear_share(scenes, tuple(range(len(scenes))))
    assert 1 - found.never_clear == pytest.approx(whole)
    assert 1 - found.never_clear == pytest.approx(clear_share(scenes, found.scenes))
    best = max(
        clear_share(scenes, some)
        for some in itertools.combinations(range(len(scenes)), len(found.scenes))
    )
    assert best <= found.optimum_bound + 1e-12
    filled = np.any(
        [scenes[index].seen for index in (*found.scenes, *found.backstop)] or [~AREA], 0
    )
    assert found.unseen == pytest.approx(1 - np.any([scene.seen for scene in scenes], 0).mean())
    assert found.unseen == pytest.approx(1 - filled.mean())


@settings(max_examples=20)
@given(SCENES, st.integers(1, 4))
def test_a_few_scenes_are_at_least_as_good_as_greedy_is_known_to_be(
    scenes: list[SceneCells], number: int
) -> None:
    found = cover(scenes, layers=1, least_first_gain=0.0, max_scenes=number)
    best = max(
        clear_share(scenes, some)
        for some in itertools.combinations(range(len(scenes)), min(number, len(scenes)))
    )
    # 1 - 1/e of the optimum (Nemhauser, Wolsey and Fisher 1978).
    assert 1 - found.never_clear >= 0.632 * best
