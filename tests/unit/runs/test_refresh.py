"""Refresh: scenes of an earlier plan become those of a new one, with the bytes of a new gather."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudbuster.core.grids.grid import Grid
from cloudbuster.gather import gather_scene
from cloudbuster.gathered.resume import is_done
from cloudbuster.models import Delivery, GatherTask, SceneRecord
from cloudbuster.runs.refresh import (
    adopt_scenes,
    adopt_task,
    earlier_task_uri,
    remove_aside,
    set_aside,
)
from cloudbuster.storage.files.documents import read_document, write_document
from tests.factories import CRS, NORTH, WEST, SceneSpec
from tests.gathering import task_of

SIZE = 64
# Units of 32 pixels, two by two.
UNITS = Grid(CRS, WEST, NORTH, 320, 320, 2, 2)
WHOLE, WESTERN, CORNER, EASTERN = ("11", "11"), ("10", "10"), ("00", "10"), ("01", "01")

Plan = Callable[..., GatherTask]


def delivery(rows: tuple[str, ...], units: Grid = UNITS) -> Delivery:
    return Delivery.of(units, np.array([[digit == "1" for digit in row] for row in rows]))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[GatherTask, GatherTask]:
    """Two scenes of noise under a cloud."""
    folder = tmp_path_factory.mktemp("scenes")
    made = []
    for day in (10, 15):
        pixels = np.random.default_rng(day).integers(300, 3000, (SIZE, SIZE)).astype(np.uint16)
        spec = SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            size=SIZE,
            pixels=pixels,
            scl=[(slice(8, 24), slice(4, 20), 9)],
            bands=("B02",),
        )
        made.append(task_of(folder, spec, bands=("B02",), backstop_pixels="masked"))
    return made[0], made[1]


@pytest.fixture
def plan(tasks: tuple[GatherTask, GatherTask], tmp_path: Path) -> Plan:
    """Make a task: which scene, its number, and what it delivers; into ``old`` by default."""

    def make(
        scene: int, number: int, rows: tuple[str, ...] | None, folder: str = "old", **changes: Any
    ) -> GatherTask:
        roles = {
            "index": number,
            "backstop_index": number,
            "delivery": None if rows is None else delivery(rows),
            "output": str(tmp_path / folder),
        }
        return tasks[scene].model_copy(update=roles | changes)

    return make


def assert_alike(folder: Path, fresh: Path, number: int) -> None:
    """Check that the rasters of a number are those of a new gather, pixel by pixel."""
    for stem in (f"m-{number:02d}", f"backstop-m-{number:02d}"):
        with (
            rasterio.open(folder / f"{stem}.tif") as one,
            rasterio.open(fresh / f"{stem}.tif") as two,
        ):
            left, right = one, two
            assert left.descriptions == right.descriptions
            pixels = []
            for each in (left, right):
                # Scratch files may be larger than what is delivered: compared on the mosaic.
                row, col = (
                    round((NORTH - each.transform.f) / 10),
                    round((each.transform.c - WEST) / 10),
                )
                mosaic = np.zeros((each.count, SIZE, SIZE), dtype=np.uint16)
                mosaic[:, row : row + each.height, col : col + each.width] = each.read()
                pixels.append(mosaic)
            np.testing.assert_array_equal(pixels[0], pixels[1])
        old, new = (
            read_document(str(each / f"{stem}.json"), SceneRecord) for each in (folder, fresh)
        )
        assert (old.decoded_pixels, old.read_bytes) == (0, 0)
        counted = {"decoded_pixels": new.decoded_pixels, "read_bytes": new.read_bytes}
        assert old.model_copy(update=counted) == new


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, WESTERN), (None, None), (WHOLE, CORNER), (WESTERN, WESTERN), (WHOLE, EASTERN)],
)
def test_a_scene_of_another_number_and_fewer_parts_is_as_if_gathered_anew(
    plan: Plan, tmp_path: Path, before: tuple[str, ...] | None, after: tuple[str, ...] | None
) -> None:
    old = plan(0, 1, before)
    gather_scene(old)
    new = plan(0, 3, after)
    assert adopt_scenes([new], [old]) == ["m-03.tif", "backstop-m-03.tif"]
    assert is_done(new)
    gather_scene(plan(0, 3, after, "fresh"))
    assert_alike(tmp_path / "old", tmp_path / "fresh", 3)


def test_scenes_that_change_places_are_each_copied_whole(plan: Plan, tmp_path: Path) -> None:
    before = [plan(0, 1, WHOLE), plan(1, 2, WHOLE)]
    for task in before:
        gather_scene(task)
    after = [plan(1, 1, CORNER), plan(0, 2, EASTERN)]
    assert len(adopt_scenes(after, set_aside(after, before))) == 4
    for number, (scene, rows) in {1: (1, CORNER), 2: (0, EASTERN)}.items():
        gather_scene(plan(scene, number, rows, "fresh"))
        assert_alike(tmp_path / "old", tmp_path / "fresh", number)


def test_a_scene_of_a_later_round_outlives_one_that_takes_its_number(
    plan: Plan, tmp_path: Path
) -> None:
    before = [plan(0, 1, WHOLE), plan(1, 2, WHOLE)]
    for task in before:
        gather_scene(task)
    # A first round of two parts of one scene, the second of which is gathered anew.
    first = [before[0], plan(0, 2, None)]
    aside = set_aside(first, before)
    assert adopt_scenes(first, aside) == []
    assert is_done(first[0])
    gather_scene(first[1])
    second = [*first, plan(1, 3, EASTERN)]
    assert adopt_scenes(second, set_aside(second, aside)) == ["m-03.tif", "backstop-m-03.tif"]
    gather_scene(plan(1, 3, EASTERN, "fresh"))
    assert_alike(tmp_path / "old", tmp_path / "fresh", 3)
    remove_aside(tmp_path / "old")
    assert not any(path.is_dir() for path in (tmp_path / "old").iterdir())
    assert all(map(is_done, second))


def test_a_task_that_is_done_already_is_left_alone(plan: Plan) -> None:
    task = plan(0, 1, WESTERN)
    gather_scene(task)
    assert adopt_scenes([task], [task]) == []


@pytest.mark.parametrize(
    ("scene", "before", "after", "changes"),
    [
        (0, WESTERN, WHOLE, {}),
        (0, WHOLE, None, {}),
        (0, WESTERN, EASTERN, {}),
        (1, WHOLE, CORNER, {}),
        (0, WHOLE, CORNER, {"dilate_m": 20.0}),
        (0, WHOLE, CORNER, {"donate_mask": True}),
        (0, WHOLE, CORNER, {"backstop_pixels": "all"}),
    ],
    ids=["more", "whole", "other part", "other scene", "grown", "mask", "backstop"],
)
def test_a_task_that_the_earlier_scene_does_not_hold_is_not_made_of_it(
    plan: Plan,
    scene: int,
    before: tuple[str, ...],
    after: tuple[str, ...] | None,
    changes: dict[str, Any],
) -> None:
    old = plan(0, 1, before)
    gather_scene(old)
    new = plan(scene, 3, after, **changes)
    assert adopt_scenes([new], [old]) == []
    assert not is_done(new)


def test_an_earlier_scene_that_is_not_there_gives_nothing(plan: Plan, tmp_path: Path) -> None:
    old = plan(0, 1, WHOLE)
    gather_scene(old)
    shutil.rmtree(tmp_path / "old")
    assert adopt_scenes([plan(0, 3, CORNER)], [old]) == []


def test_a_job_copies_the_rasters_of_an_earlier_task_into_another_folder(
    plan: Plan, tmp_path: Path
) -> None:
    old, new = plan(0, 1, WHOLE), plan(0, 3, WESTERN, "refreshed")
    gather_scene(old)
    uri = str(tmp_path / "3.json")
    assert adopt_task(new, uri) == ()
    write_document(earlier_task_uri(uri), old)
    records = adopt_task(new, uri)
    assert [record.raster for record in records] == ["m-03.tif", "backstop-m-03.tif"]
    assert is_done(new)
    gather_scene(plan(0, 3, WESTERN, "fresh"))
    assert_alike(tmp_path / "refreshed", tmp_path / "fresh", 3)


@pytest.mark.parametrize("damage", ["gone", "broken", "another scene"])
def test_a_job_gathers_what_it_cannot_copy(plan: Plan, tmp_path: Path, damage: str) -> None:
    old, new = plan(0, 1, WHOLE), plan(1 if damage == "another scene" else 0, 3, None, "refreshed")
    gather_scene(old)
    raster = tmp_path / "old" / "m-01.tif"
    if damage == "gone":
        raster.unlink()
    if damage == "broken":
        new = plan(0, 3, WESTERN, "refreshed")
        raster.write_bytes(raster.read_bytes()[:100])
    uri = str(tmp_path / "3.json")
    write_document(earlier_task_uri(uri), old)
    assert adopt_task(new, uri) == ()
    assert not is_done(new)
