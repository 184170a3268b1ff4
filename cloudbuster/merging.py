"""The merge of a run as one task document, as ``cloudbuster merge --task`` takes it."""

import logging
import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from cloudbuster.assess import assess_scenes, backstop_repairs
from cloudbuster.events import OnEvent
from cloudbuster.gather import gather_scenes
from cloudbuster.gathered.scene_files import find_records, is_scene_file
from cloudbuster.gathered.scene_lists import WantedScenes, add_wanted, write_wanted
from cloudbuster.merge import merge_part, merge_parts, merge_scenes
from cloudbuster.models import (
    Assessment,
    Document,
    GatherTask,
    MergeResult,
    MosaicName,
    MosaicRequest,
    SceneFailure,
    SceneRecord,
    Selection,
)
from cloudbuster.pipeline import with_backstop
from cloudbuster.products.parts import Part, part_windows
from cloudbuster.storage.documents import read_document, write_document
from cloudbuster.storage.folders import input_folder
from cloudbuster.storage.run_layout import RunLayout
from cloudbuster.storage.uri import join
from cloudbuster.tasks import plan_tasks

logger = logging.getLogger(__name__)

# Parts of one mosaic: their map shares the 25 000 events of an execution with that of the scenes.
MAX_PARTS = 200


class MergeTask(Document):
    """Everything that decides one merge."""

    schema_: Literal["cloudbuster.merge-task/1"] = Field("cloudbuster.merge-task/1", alias="schema")
    step: Literal["whole", "survey", "part", "assemble"] = Field(
        "whole",
        description="All of it; or of a mosaic in parts: complete the backstop and count what is "
        "covered, merge one part, put the parts together.",
    )
    request: str | None = Field(None, description="URI of the request; null for `name` alone.")
    selection: str | None = Field(None, description="URI of the selection; null for `name` alone.")
    name: MosaicName | None = Field(None, description="Base of the file names, without a request.")
    scenes: str = Field(description="Folder or prefix of the gathered scenes.")
    wanted: str | None = Field(
        None, description="URI of the list of the scenes to merge; null for all of the name."
    )
    failures: tuple[SceneFailure, ...] = Field((), description="Scenes that are not there.")
    output: str = Field(description="Folder or prefix of the products.")
    assessment: str | None = Field(
        None, description="URI of the assessment to write; null for `name` alone."
    )
    result: str = Field(description="URI of the result to write.")
    parts: str | None = Field(None, description="Folder or prefix of the parts.")
    part_cells: int | None = Field(None, ge=1, description="Side of a part, cells.")
    part: int | None = Field(None, ge=1, description="Number of the part to merge.")

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        in_parts = self.step in ("part", "assemble")
        given = [self.request is not None, self.parts is not None, self.part_cells is not None]
        if (in_parts and not all(given)) or (self.step == "part") != (self.part is not None):
            msg = f"step {self.step} needs request, parts and part_cells, and part for one part"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_run(self) -> Self:
        of_run = [self.request is None, self.selection is None, self.assessment is None]
        is_a_step = self.step != "whole" and self.name is not None
        if len(set(of_run)) > 1 or of_run[0] != (self.name is not None) or is_a_step:
            msg = "give request, selection and assessment of a run, or the name alone"
            raise ValueError(msg)
        return self


def plan_merge(
    run: RunLayout,
    lost: Collection[int],
    failures: tuple[SceneFailure, ...],
    *,
    part_cells: int,
) -> dict[str, Any]:
    """Write the tasks of the merge of a run: one, or of a large mosaic one for each step.

    Parameters
    ----------
    run : RunLayout
        Where the run lies.
    lost : collection of int
        Numbers of the tasks whose scene is not there, counted from 1.
    failures : tuple of SceneFailure
        Scenes that were not gathered.
    part_cells : int
        A mosaic of more cells on a side is merged in parts of this side; of a larger one where
        there would be more than `MAX_PARTS`.

    Returns
    -------
    dict
        Of the state ``assess``: URIs of the tasks, and the ``parts`` as the map takes them.
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
    tasks = {"merge": whole}
    if len(parts) > 1:
        where = {"parts": join(run.tasks, "parts"), "part_cells": part_cells}
        tasks = {
            "survey": whole.model_copy(update={"step": "survey"}),
            **{
                f"part-{number}": whole.model_copy(update={"step": "part", "part": number, **where})
                for number in parts
            },
            "merge": whole.model_copy(update={"step": "assemble", **where}),
        }
    for name, task in tasks.items():
        write_document(join(run.tasks, f"{name}.json"), task)
    return {
        "merge_task_uri": join(run.tasks, "merge.json"),
        "survey_task_uri": join(run.tasks, "survey.json"),
        "part_count": len(parts),
        "parts": parts,
    }


def merge_task(task: MergeTask, *, on_event: OnEvent | None = None) -> MergeResult | None:
    """Do one step of the merge of a run, and write down what comes of it.

    Without a request the scenes of ``task.name`` are merged, as ``cloudbuster merge`` does.

    Parameters
    ----------
    task : MergeTask
        Everything that decides the result.
    on_event : callable, optional
        Told of each block.

    Returns
    -------
    MergeResult or None
        Where the products are, of a step that makes them; whether they cover the area says
        ``task.assessment``.
    """
    if task.request is None or task.selection is None:
        return _merged_by_name(task, on_event)
    request = read_document(task.request, MosaicRequest)
    if task.step == "part":
        _merge_part(task, request, on_event)
        return None
    if task.step == "survey":
        _survey(task, request, task.scenes, on_event)
        return None
    result = (
        _assembled(task, request, on_event)
        if task.step == "assemble"
        else _merged(task, request, on_event)
    )
    write_document(task.result, result)
    return result


def _merged(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> MergeResult:
    """Survey and merge in one go, on one copy of the scenes."""
    is_wanted = partial(is_scene_file, name=request.name, wanted=_wanted(task))
    with input_folder(task.scenes, is_wanted) as folder:
        assessment = _survey(task, request, str(folder), on_event)
        return merge_scenes(
            str(folder),
            task.output,
            name=request.name,
            composite=request.merge.composite,
            wanted=_wanted(task),
            request=request,
            assessment=assessment,
            on_event=on_event,
        )


def _merge_part(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> None:
    part = Part(request.name, task.part or 0, task.part_cells or 0)
    merge_part(
        task.scenes,
        task.parts or "",
        part=part,
        composite=request.merge.composite,
        wanted=_wanted(task),
        on_event=on_event,
    )


def _assembled(task: MergeTask, request: MosaicRequest, on_event: OnEvent | None) -> MergeResult:
    return merge_parts(
        task.parts or "",
        task.scenes,
        task.output,
        name=request.name,
        cells=task.part_cells or 0,
        composite=request.merge.composite,
        wanted=_wanted(task),
        request=request,
        assessment=read_document(task.assessment or "", Assessment),
        on_event=on_event,
    )


def _wanted(task: MergeTask) -> frozenset[str] | None:
    """Stems of the scenes to merge, as of now: the survey may have added to them."""
    if task.wanted is None:
        return None
    return read_document(task.wanted, WantedScenes).present(task.scenes)


def _merged_by_name(task: MergeTask, on_event: OnEvent | None) -> MergeResult:
    result = merge_scenes(task.scenes, task.output, name=task.name or "", on_event=on_event)
    write_document(task.result, result)
    return result


def _survey(
    task: MergeTask, request: MosaicRequest, folder: str, on_event: OnEvent | None
) -> Assessment:
    """Complete the backstop, and count what the scenes cover.

    ``folder`` holds the scenes: a copy of ``task.scenes``, or that itself.
    """
    selection = read_document(task.selection or "", Selection)
    records = find_records(folder, request.name, wanted=_wanted(task))
    if request.filter.backstop:
        repaired = _repaired(task, request, selection, folder, records)
        if repaired is not selection:
            selection = repaired
            write_document(task.selection or "", selection)
            records = find_records(folder, request.name, wanted=_wanted(task))
    assessment = assess_scenes(
        folder,
        records,
        selection,
        request.filter,
        failures=task.failures,
        on_event=on_event,
    )
    write_document(task.assessment or "", assessment)
    return assessment


def _repaired(
    task: MergeTask,
    request: MosaicRequest,
    selection: Selection,
    folder: str,
    records: tuple[SceneRecord, ...],
) -> Selection:
    """Fill what scenes saw and nothing fills, as the run on one machine does after its gather.

    The scenes come first and the selection that names them last, so that a second try of the job
    goes on where the first one stopped.
    """
    item_ids = backstop_repairs(folder, records)
    if not item_ids:
        return selection
    logger.info("backstop_repaired", extra={"scenes": ", ".join(item_ids)})
    selection = with_backstop(selection, item_ids)
    tasks = plan_tasks(
        selection,
        name=request.name,
        options=request.gather,
        output=task.scenes,
        known={record.item_id: record.radiometry for record in records},
    )
    added = [
        each.model_copy(update={"index": None}) for each in tasks if each.item["id"] in item_ids
    ]
    report = gather_scenes(added)
    report.raise_for_failures(request.limits.min_success_fraction)
    if task.wanted:
        add_wanted(task.wanted, report.records)
    if folder != task.scenes:
        names = {name for record in report.records for name in _files(record)}
        with input_folder(task.scenes, names.__contains__) as fetched:
            for path in fetched.iterdir():
                if path.name in names and not Path(folder, path.name).exists():
                    shutil.move(path, Path(folder, path.name))
    return selection


def _files(record: SceneRecord) -> tuple[str, str]:
    """Name the raster of a record, and the record itself."""
    return record.raster, str(Path(record.raster).with_suffix(".json"))
