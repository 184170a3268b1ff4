"""Merge tasks: the same mosaic as a run on one machine, with repairs of the backstop."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pydantic import ValidationError

from cloudbuster.aws.stack.state import ASSESS
from cloudbuster.errors import RasterError
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import gather_scenes
from cloudbuster.gathered.scene_lists import wanted_stems, write_task_scenes
from cloudbuster.models import (
    Assessment,
    GatherTask,
    GridDocument,
    MergeResult,
    MergeTask,
    MosaicRequest,
    RunResult,
    SceneFailure,
    SceneRecord,
    Selection,
    WantedScenes,
)
from cloudbuster.query import query_scenes
from cloudbuster.runs.merging import merge_task, plan_merge
from cloudbuster.runs.pipeline import run
from cloudbuster.runs.tasks import plan_tasks
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.run_layout import RunLayout
from tests.factories import SceneSpec, area_of, write_scene


@pytest.fixture(scope="module")
def request_with_a_hole(tmp_path_factory: pytest.TempPathFactory) -> MosaicRequest:
    """Return a request of strategy `original` whose backstop leaves a hole.

    One scene has a cloud, and the other, which is the backstop, has no data under it.
    """
    folder = tmp_path_factory.mktemp("hole")
    pixels = np.full((60, 60), 800, np.uint16)
    pixels[:20, :20] = 0
    cloudy = SceneSpec(scl=[(slice(0, 10), slice(0, 10), 9)])
    torn = SceneSpec(
        id="S2B_33TWL_20230515_0_L2A",
        datetime="2023-05-15T10:00:00Z",
        cloud_cover=50,
        pixels=pixels,
    )
    for spec in (cloudy, torn):
        write_scene(folder / "catalog", spec)
    return MosaicRequest.model_validate(
        {
            "name": "m",
            "aoi": area_of(cloudy),
            "query": {
                "catalog": str(folder / "catalog"),
                "mindate": ["2023-05-01"],
                "maxdate": ["2023-05-31"],
                "maxclouds": 100,
            },
            "filter": {"strategy": "original", "coverage_count": 1},
            "gather": {"bands": ["B02"], "dilate_m": 0},
            "output": str(folder / "run"),
        }
    )


@pytest.fixture(scope="module")
def wanted(request_with_a_hole: MosaicRequest) -> RunResult:
    """Result of the request when it is run on one machine."""
    return run(request_with_a_hole)


@pytest.fixture
def places(tmp_path: Path) -> RunLayout:
    root = str(tmp_path / "job")
    return RunLayout("m-1", f"{root}/runs", f"{root}/scenes", f"{root}/tasks", f"{root}/products")


@pytest.fixture
def gathered(places: RunLayout, request_with_a_hole: MosaicRequest) -> MergeTask:
    """Gather the scenes of the request by hand, so that the merge has a hole to repair."""
    request = request_with_a_hole
    candidates = query_scenes(request.aoi, request.query)
    selection = filter_scenes(candidates, request.filter, bands=("B02",))
    tasks = plan_tasks(selection, name="m", options=request.gather, output=places.scenes)
    gather_scenes(tasks)
    write_document(places.document("request.json"), request)
    write_document(places.document("selection.json"), selection)
    write_task_scenes(places, tasks)
    write_document(f"{places.tasks}/1.json", tasks[0])
    plan = plan_merge(places, [], (), part_cells=4096)
    return read_document(plan["merge_task_uri"], MergeTask)


def check_repaired(task: MergeTask, result: MergeResult, wanted: RunResult) -> None:
    """Check that the documents and products of a job are those of a run on one machine."""
    assert Path(result.cloudless).read_bytes() == Path(wanted.products.cloudless).read_bytes()
    with rasterio.open(result.cloudless) as mosaic:
        assert mosaic.read(1).min() > 0
    assert task.assessment is not None
    assert task.selection is not None
    assessment = read_document(task.assessment, Assessment)
    places = [each.hole_file or "" for each in (assessment, wanted.assessment)]
    assert Path(places[0]).read_bytes() == Path(places[1]).read_bytes()
    # Filter, which did not run here, writes what is expected.
    elsewhere = {"hole_file": places[1], "expected": wanted.assessment.expected}
    assert assessment.model_copy(update=elsewhere) == wanted.assessment
    assert read_document(task.result, MergeResult) == result
    entries = read_document(task.selection, Selection).cloudbuster.entries
    assert [entry.reused for entry in entries] == [False, False, True]


def test_the_job_repairs_the_backstop_as_a_run_does(gathered: MergeTask, wanted: RunResult) -> None:
    result = merge_task(gathered)
    assert result is not None
    check_repaired(gathered, result, wanted)
    # A second attempt of the job finds the repair done.
    assert merge_task(gathered) == result
    assert gathered.selection is not None
    assert len(read_document(gathered.selection, Selection).cloudbuster.entries) == 3


def test_the_steps_of_a_mosaic_in_parts_do_what_the_one_job_does(
    tmp_path: Path, gathered: MergeTask, wanted: RunResult
) -> None:
    where = {"parts": str(tmp_path / "parts"), "part_cells": 1024}
    steps = (
        {"step": "survey"},
        {"step": "part", "part": 1, **where},
        {"step": "assemble", **where},
    )
    # Each step runs twice, because a job may be started again after it is done.
    made = [merge_task(gathered.model_copy(update=step)) for step in steps for _ in range(2)]
    assert made[:4] == [None] * 4
    assert made[4] is not None
    assert made[4] == made[5]
    check_repaired(gathered, made[4], wanted)


def test_a_mosaic_in_parts_checks_itself_in_its_area_as_the_one_job_does(
    gathered: MergeTask, places: RunLayout, request_with_a_hole: MosaicRequest
) -> None:
    merge = request_with_a_hole.merge.model_copy(update={"self_check": True})
    asked = request_with_a_hole.model_copy(update={"merge": merge})
    write_document(places.document("request.json"), asked)
    at_once = merge_task(gathered)
    assert at_once is not None
    steps = {
        step: gathered.model_copy(
            update={"step": step, "parts": f"{places.tasks}/parts", "part_cells": 4096}
        )
        for step in ("survey", "part", "assemble")
    }
    merge_task(steps["survey"])
    merge_task(steps["part"].model_copy(update={"part": 1}))
    joined = merge_task(steps["assemble"])
    assert joined is not None
    assert joined.self_check is not None
    # The scenes are one kilometre wide, and their corners are outside of the area.
    assert joined.self_check.blocks == 1
    assert joined.self_check == at_once.self_check


def leave(places: RunLayout, stem: str, like: str) -> None:
    """Copy a scene to another name, as another attempt may have left it."""
    folder = Path(places.scenes)
    shutil.copy(folder / f"{like}.tif", folder / f"{stem}.tif")
    record = read_document(str(folder / f"{like}.json"), SceneRecord)
    changes = {"index": int(stem[-2:]), "item_id": "OTHER", "raster": f"{stem}.tif"}
    write_document(str(folder / f"{stem}.json"), record.model_copy(update=changes))


STEPS: tuple[tuple[dict[str, object], ...], ...] = (
    ({},),
    ({"step": "survey"}, {"step": "part", "part": 1}, {"step": "assemble"}),
)


@pytest.mark.parametrize("steps", STEPS, ids=["whole", "parts"])
def test_what_another_attempt_has_left_is_not_merged(
    places: RunLayout,
    gathered: MergeTask,
    wanted: RunResult,
    steps: tuple[dict[str, object], ...],
) -> None:
    leave(places, "m-07", "m-01")
    where = {"parts": f"{places.tasks}/parts", "part_cells": 1024}
    for step in steps:
        more = where if step.get("step") in ("part", "assemble") else {}
        result = merge_task(gathered.model_copy(update={**step, **more}))
    assert result is not None
    check_repaired(gathered, result, wanted)


def test_a_scene_that_failed_is_not_merged_even_where_an_older_one_lies(
    places: RunLayout, gathered: MergeTask
) -> None:
    before = read_document(gathered.wanted or "", WantedScenes).stems
    assert before == ("m-01", "backstop-m-02")
    for path in Path(places.scenes).glob("backstop-m-02.json"):
        older = read_document(str(path), SceneRecord)
        write_document(str(path), older.model_copy(update={"task_fingerprint": "older"}))
    plan = plan_merge(places, {2}, (), part_cells=4096)
    task = read_document(plan["merge_task_uri"], MergeTask)
    assert read_document(task.wanted or "", WantedScenes).stems == ("m-01",)
    result = merge_task(task)
    assert result is not None
    # The repair, which has the next index, fills the hole from the scene that is left.
    with rasterio.open(result.cloudless) as mosaic:
        assert set(np.unique(mosaic.read(2))) == {1, 3}
    assert result.scene_count == 1


def test_a_scene_that_failed_and_was_gathered_by_hand_is_merged(
    places: RunLayout, gathered: MergeTask
) -> None:
    document = Path(places.scenes, "backstop-m-02.json")
    older = read_document(str(document), SceneRecord)
    write_document(str(document), older.model_copy(update={"task_fingerprint": "older"}))
    plan_merge(places, {2}, (), part_cells=4096)
    wanted = read_document(gathered.wanted or "", WantedScenes)
    assert wanted_stems(wanted, places.scenes) == {"m-01"}
    write_document(str(document), older)
    assert wanted_stems(wanted, places.scenes) == {"m-01", "backstop-m-02"}
    document.unlink()
    assert wanted_stems(wanted, places.scenes) == {"m-01"}


@pytest.mark.parametrize("step", ["whole", "survey"])
def test_a_scene_that_was_deleted_is_named(
    places: RunLayout, gathered: MergeTask, step: str
) -> None:
    for path in Path(places.scenes).glob("backstop-m-02.*"):
        path.unlink()
    with pytest.raises(RasterError, match="lacks 1 of 2 scenes, the first is backstop-m-02"):
        merge_task(gathered.model_copy(update={"step": step}))


def tasks_of_a_grid(places: RunLayout, width: int, height: int) -> None:
    """Write the first task of a run whose mosaic has this many cells."""
    grid = GridDocument(
        crs="EPSG:32633", west=5e5, north=5e6, x_size=10, y_size=10, width=width, height=height
    )
    task = GatherTask.model_validate(
        {
            "name": "m",
            "kind": "L2A",
            "catalog": "c",
            "item": {"id": "a"},
            "index": 1,
            "backstop_index": None,
            "bands": ["B02"],
            "grid": grid,
            "detector": {"type": "stock"},
            "dilate_m": 0,
            "output": places.scenes,
        }
    )
    write_document(f"{places.tasks}/1.json", task)
    write_task_scenes(places, [task])


def test_a_small_mosaic_is_merged_by_one_job(places: RunLayout) -> None:
    tasks_of_a_grid(places, 4096, 4096)
    plan = plan_merge(places, [], (), part_cells=4096)
    assert set(plan) | {"more_rounds", "scenes"} == set(ASSESS)
    assert (plan["part_count"], plan["parts"]) == (1, [1])
    task = read_document(plan["merge_task_uri"], MergeTask)
    assert (task.step, task.parts) == ("whole", None)
    assert sorted(path.name for path in Path(places.tasks).iterdir()) == [
        "1.json",
        "merge.json",
        "scenes.json",
        "wanted.json",
    ]


def test_a_large_mosaic_is_merged_in_parts(places: RunLayout) -> None:
    tasks_of_a_grid(places, 4097, 4096)
    failure = SceneFailure(item_id="b", index=2, error="RasterError", message="torn")
    plan = plan_merge(places, [], (failure,), part_cells=4096)
    assert plan["parts"] == [1, 2]
    survey, merge = (
        read_document(plan[key], MergeTask) for key in ("survey_task_uri", "merge_task_uri")
    )
    assert (survey.step, survey.failures) == ("survey", (failure,))
    assert (merge.step, merge.part_cells) == ("assemble", 4096)
    parts = [read_document(f"{places.tasks}/part-{n}.json", MergeTask) for n in plan["parts"]]
    assert [(task.step, task.part, task.parts) for task in parts] == [
        ("part", number, merge.parts) for number in (1, 2)
    ]


def test_a_huge_mosaic_is_merged_in_larger_parts(places: RunLayout) -> None:
    tasks_of_a_grid(places, 1024 * 40, 1024 * 40)
    plan = plan_merge(places, [], (), part_cells=1024)
    assert plan["part_count"] == 100
    assert read_document(plan["merge_task_uri"], MergeTask).part_cells == 4096


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "part"},
        {"step": "part", "parts": "p", "part_cells": 1024},
        {"step": "assemble", "parts": "p"},
        {"step": "survey", "part": 1},
    ],
)
def test_a_step_without_what_it_needs_is_refused(
    gathered: MergeTask, changes: dict[str, object]
) -> None:
    with pytest.raises(ValidationError, match="needs request, parts and part_cells"):
        MergeTask.model_validate({**gathered.model_dump(), **changes})
