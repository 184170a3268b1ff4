"""Tasks of strategy `clear`: one for each entry, with numbers of its own."""

from typing import Any

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import RequestError
from cloudbuster.models import (
    Delivery,
    GatherOptions,
    GatherTask,
    Item,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.runs.tasks import plan_tasks
from tests.factories import CRS, NORTH, WEST, SceneSpec, area_of, write_scene

UNITS = Grid(CRS, WEST, NORTH, 320, 320, 2, 1)


def delivery(row: str) -> Delivery:
    return Delivery.of(UNITS, np.array([[digit == "1" for digit in row]]))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """Items of two scenes, by the letter that stands for each."""
    folder, found = tmp_path_factory.mktemp("catalog"), {}
    for letter, day in (("a", 10), ("b", 15)):
        spec = SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A", datetime=f"2023-05-{day}T10:00:00Z", bands=("B02",)
        )
        item = write_scene(folder, spec)
        for asset in item["assets"].values():
            asset["href"] = str(folder / spec.id / asset["href"])
        found[letter] = item
    return found


def selection(
    items: dict[str, Item], *picks: tuple[str, str | None], backstop: float | None = 0.0
) -> Selection:
    """Selection of picks: the letter of an item, and the units it delivers."""
    entries = tuple(
        SelectionEntry(
            item_id=items[letter]["id"],
            backstop=False,
            delivery=None if row is None else delivery(row),
        )
        for letter, row in picks
    )
    return Selection(
        features=tuple(items[letter] for letter in dict.fromkeys(letter for letter, _ in picks)),
        cloudbuster=SelectionInfo(
            aoi=area_of(SceneSpec()),
            kind="L2A",
            catalog="catalog",
            strategy="clear",
            entries=entries,
            uncovered_by_layer=(0.0,),
            uncovered=0.0,
            backstop_uncovered=backstop,
            covered=True,
        ),
    )


def plan(chosen: Selection, **options: Any) -> list[GatherTask]:
    wanted = GatherOptions(bands=("B02",), **options)
    return plan_tasks(chosen, name="m", options=wanted, output="out")


def numbers(tasks: list[GatherTask]) -> list[tuple[str, int | None, int | None]]:
    """Day, index and backstop index of each task."""
    return [(task.item["id"][16:18], task.index, task.backstop_index) for task in tasks]


def test_a_clear_raster_and_its_backstop_have_numbers_that_follow_each_other(
    items: dict[str, Item],
) -> None:
    tasks = plan(selection(items, ("b", "10"), ("a", "01")))
    assert numbers(tasks) == [("15", 1, 2), ("10", 3, 4)]
    assert [task.delivery for task in tasks] == [delivery("10"), delivery("01")]
    # The backstop holds the pixels that are masked in the clear raster.
    assert {task.backstop_pixels for task in tasks} == {"masked"}


def test_without_backstop_there_is_none(items: dict[str, Item]) -> None:
    assert numbers(plan(selection(items, ("a", "11"), backstop=None))) == [("10", 1, None)]


def test_entries_of_later_rounds_do_not_change_the_tasks_of_earlier_ones(
    items: dict[str, Item],
) -> None:
    first = plan(selection(items, ("b", "10"), ("a", "01")), index_start=5)
    both = plan(selection(items, ("b", "10"), ("a", "01"), ("b", "01")), index_start=5)
    assert both[:2] == first
    assert numbers(both[2:]) == [("15", 9, 10)]


def test_an_entry_of_which_nothing_is_needed_has_a_number_and_no_task(
    items: dict[str, Item],
) -> None:
    tasks = plan(selection(items, ("a", "11"), ("b", "00"), ("b", "01")))
    assert numbers(tasks) == [("10", 1, 2), ("15", 5, 6)]


def test_a_scene_without_thumbnail_is_delivered_whole(items: dict[str, Item]) -> None:
    (task,) = plan(selection(items, ("a", None)))
    assert task.delivery is None
    assert task.backstop_pixels == "masked"


def test_more_entries_than_there_are_numbers_are_refused(items: dict[str, Item]) -> None:
    picks = (("a", "10"), ("b", "01"))
    with pytest.raises(RequestError, match=r"4 scenes from index 65532 reach 65535, over 65534"):
        plan(selection(items, *picks), index_start=65532)


def test_strategy_original_has_one_task_for_each_item(items: dict[str, Item]) -> None:
    chosen = selection(items, ("a", None), ("b", None))
    last = SelectionEntry(item_id=items["b"]["id"], backstop=True)
    entries = (chosen.cloudbuster.entries[0], last)
    info = chosen.cloudbuster.model_copy(update={"strategy": "original", "entries": entries})
    tasks = plan(chosen.model_copy(update={"cloudbuster": info}))
    assert numbers(tasks) == [("10", 1, None), ("15", None, 2)]
    assert {task.backstop_pixels for task in tasks} == {"all"}
