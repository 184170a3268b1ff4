"""Merge tasks: plan the merge of a run as documents, and run them.

``cloudbuster merge --task`` takes the URI of such a document.
"""

import logging
import shutil
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cloudbuster.assess import assess_scenes, backstop_repairs, with_backstop
from cloudbuster.errors import RequestError
from cloudbuster.events import OnEvent
from cloudbuster.gather import gather_scenes
from cloudbuster.gathered.scene_files import find_records, is_scene_file
from cloudbuster.gathered.scene_lists import add_wanted, wanted_stems, write_wanted
from cloudbuster.merge import MosaicRecipe, merge_part, merge_parts, merge_scenes
from cloudbuster.models import (
    Assessment,
    GatherTask,
    MergeOptions,
    MergeResult,
    MergeTask,
    MosaicRequest,
    SceneFailure,
    SceneRecord,
    Selection,
    WantedScenes,
)
from cloudbuster.products.hole_file import write_holes
from cloudbuster.products.parts import part_windows
from cloudbuster.runs.expected_work import with_expected
from cloudbuster.runs.rounds import ended_without_rounds
from cloudbuster.runs.tasks import plan_tasks
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.folders import input_folder
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import exists, join

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Greatest number of parts of a mosaic. On the stack, the map over the parts and the map over the
# scenes share the 25 000 events of an execution's history.
MAX_PARTS = 200


def plan_merge(
    run: RunLayout,
    lost: Collection[int],
    failures: tuple[SceneFailure, ...],
    *,
    part_cells: int,
) -> dict[str, Any]:
    """Write the tasks of the merge of a run: one, or for a large mosaic one for each step.

    Parameters
    ----------
    run : RunLayout
        Folders of the run.
    lost : collection of int
        Numbers of the gather tasks that failed, from 1.
    failures : tuple of SceneFailure
        Scenes that were not gathered.
    part_cells : int
        Rows and columns of a part. It is doubled while there would be more than `MAX_PARTS` parts.

    Returns
    -------
    dict
        URIs of the tasks, ``part_count``, and ``parts``: the numbers of the parts.
    """
    grid = read_document(join(run.tasks, "1.json"), GatherTask).grid.grid()
    while len(part_windows(grid, part_cells)) > MAX_PARTS:
        part_cells *= 2
    parts = list(range(1, len(part_windows(grid, part_cells)) + 1))
    whole = MergeTask(
        request=run.document("request.json"),
        selection=run.document("selection.json"),
        scenes=run.scenes,
        wanted=write_wanted(run, lost),
        failures=failures,
        output=run.products,
        assessment=run.document("assessment.json"),
        result=run.document("products.json"),
    )
    for name, task in _steps(whole, run, part_cells, parts).items():
        write_document(join(run.tasks, f"{name}.json"), task)
    return {
        "merge_task_uri": join(run.tasks, "merge.json"),
        "survey_task_uri": join(run.tasks, "survey.json"),
        "part_count": len(parts),
        "parts": parts,
    }


def _steps(
    whole: MergeTask, run: RunLayout, part_cells: int, parts: list[int]
) -> dict[str, MergeTask]:
    """Return the tasks of a merge by the names of their documents."""
    if len(parts) == 1:
        return {"merge": whole}
    where = {"parts": join(run.tasks, "parts"), "part_cells": part_cells}
    return {
        "survey": whole.model_copy(update={"step": "survey"}),
        **{
            f"part-{number}": whole.model_copy(update={"step": "part", "part": number, **where})
            for number in parts
        },
        "merge": whole.model_copy(update={"step": "assemble", **where}),
    }


def merge_task(task: MergeTask, *, on_event: OnEvent | None = None) -> MergeResult | None:
    """Run a merge task, and write what it makes.

    Parameters
    ----------
    task : MergeTask
        Task to run.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    MergeResult or None
        Products, if the step makes them. Whether they cover the area is in ``task.assessment``.

    Raises
    ------
    CloudBusterError
        As `cloudbuster.merge.merge_scenes` and `cloudbuster.assess.assess_scenes`.
    """
    result: MergeResult | None
    if task.name is not None:
        recipe = MosaicRecipe(task.name, MergeOptions().composite)
        result = merge_scenes(task.scenes, task.output, recipe, on_event=on_event)
    else:
        request = read_document(_given(task.request), MosaicRequest)
        result = STEPS[task.step](task, request, on_event)
    if result is not None:
        write_document(task.result, result)
    return result


def _merge_whole(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> MergeResult:
    """Survey and merge, with one copy of the scenes."""
    is_wanted = partial(is_scene_file, name=request.name, wanted=_wanted(task))
    with input_folder(task.scenes, is_wanted) as folder:
        assessment = _survey_folder(task, request, str(folder), on_event)
        recipe = _recipe(task, request, assessment)
        return merge_scenes(str(folder), task.output, recipe, on_event=on_event)


def _survey(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> None:
    """Complete the backstop and assess the coverage, with the scenes where they are."""
    _survey_folder(task, request, task.scenes, on_event)


def _merge_one_part(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> None:
    """Merge the part of a task."""
    # A self-check counts the cells of the area.
    is_checked = request.merge.self_check
    selection = read_document(_given(task.selection), Selection) if is_checked else None
    merge_part(
        task.scenes,
        _given(task.parts),
        MosaicRecipe.of(request, wanted=_wanted(task), selection=selection),
        number=_given(task.part),
        cells=_given(task.part_cells),
        on_event=on_event,
    )


def _assemble(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> MergeResult:
    """Make the products of the merged parts."""
    assessment = read_document(_given(task.assessment), Assessment)
    recipe = _recipe(task, request, assessment)
    return merge_parts(
        _given(task.parts),
        task.scenes,
        task.output,
        recipe,
        cells=_given(task.part_cells),
        on_event=on_event,
    )


def _recipe(task: MergeTask, request: MosaicRequest, assessment: Assessment) -> MosaicRecipe:
    """Return the recipe of the whole mosaic, with what the products say of its scenes."""
    selection = read_document(_given(task.selection), Selection)
    return MosaicRecipe.of(
        request, wanted=_wanted(task), assessment=assessment, selection=selection
    )


STEPS: dict[str, Callable[[MergeTask, MosaicRequest, OnEvent | None], MergeResult | None]] = {
    "whole": _merge_whole,
    "survey": _survey,
    "part": _merge_one_part,
    "assemble": _assemble,
}
"""Function of each step of a merge."""


def _given(value: T | None) -> T:
    """Return a field that the step of a task needs; raise RequestError if it is null."""
    if value is None:
        msg = "the merge task lacks a field that its step needs; plan the merge again"
        raise RequestError(msg)
    return value


def _wanted(task: MergeTask) -> frozenset[str] | None:
    """Return the scenes to merge, read anew because the survey may have added some."""
    if task.wanted is None:
        return None
    return wanted_stems(read_document(task.wanted, WantedScenes), task.scenes)


def _survey_folder(
    task: MergeTask, request: MosaicRequest, folder: str, on_event: OnEvent | None
) -> Assessment:
    """Complete the backstop and assess the coverage.

    With strategy `clear`, the rounds have done both unless the mosaic was too large. ``folder``
    holds the scenes: it is ``task.scenes`` or a local copy of it.
    """
    uri = _given(task.selection)
    selection = read_document(uri, Selection)
    is_clear = selection.cloudbuster.strategy == "clear"
    if is_clear and exists(_given(task.assessment)):
        return read_document(_given(task.assessment), Assessment)
    records = find_records(folder, request.name, wanted=_wanted(task))
    repairs = request.filter.backstop and not is_clear
    item_ids = backstop_repairs(folder, records) if repairs else ()
    if item_ids:
        logger.info("backstop_repaired", extra={"scenes": ", ".join(item_ids)})
        selection = with_backstop(selection, item_ids)
        _gather_backstop(task, request, selection, item_ids, records, folder)
        # Last, so that a second attempt of the job repeats what is missing.
        write_document(uri, selection)
        records = find_records(folder, request.name, wanted=_wanted(task))
    assessment, holes = assess_scenes(
        folder,
        records,
        selection,
        request.filter,
        merge=request.merge,
        failures=task.failures,
        on_event=on_event,
    )
    assessment = ended_without_rounds(assessment)
    if not assessment.covered:
        hole_file = join(task.output, f"{request.name}-holes.geojson")
        write_holes(hole_file, holes)
        assessment = assessment.model_copy(update={"hole_file": hole_file})
    assessment = with_expected(assessment, _given(task.selection))
    write_document(_given(task.assessment), assessment)
    return assessment


def _gather_backstop(
    task: MergeTask,
    request: MosaicRequest,
    selection: Selection,
    item_ids: tuple[str, ...],
    records: tuple[SceneRecord, ...],
    folder: str,
) -> None:
    """Gather items as backstop, as the run on one machine does after its first gather."""
    tasks = plan_tasks(
        selection,
        name=request.name,
        options=request.gather,
        output=task.scenes,
        known={record.item_id: record.radiometry for record in records},
    )
    added = [
        each.model_copy(update={"index": None})
        for each in tasks
        # An item may have several tasks, of which some write no backstop.
        if each.item["id"] in item_ids and each.backstop_index is not None
    ]
    report = gather_scenes(added)
    report.raise_for_failures(request.limits.min_success_fraction)
    if task.wanted:
        add_wanted(task.wanted, report.records)
    if folder != task.scenes:
        _fetch(report.records, task.scenes, Path(folder))


def _fetch(records: tuple[SceneRecord, ...], source: str, folder: Path) -> None:
    """Copy the rasters of some records, with these, from ``source`` into a local folder."""
    names = {name for record in records for name in _files(record)}
    with input_folder(source, names.__contains__) as fetched:
        for path in fetched.iterdir():
            if path.name in names and not (folder / path.name).exists():
                shutil.move(path, folder / path.name)


def _files(record: SceneRecord) -> tuple[str, str]:
    """Return the file names of a raster and of its record."""
    return record.raster, str(Path(record.raster).with_suffix(".json"))
