"""The merge of a run as one task document, as ``cloudbuster merge --task`` takes it."""

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from cloudbuster.assess import assess_scenes, backstop_repairs
from cloudbuster.events import OnEvent
from cloudbuster.gather import gather_scenes
from cloudbuster.io.documents import read_document, write_document
from cloudbuster.io.folders import input_folder
from cloudbuster.io.scene_files import find_scenes, is_scene_file
from cloudbuster.merge import merge_scenes
from cloudbuster.models import (
    Document,
    MergeResult,
    MosaicName,
    MosaicRequest,
    SceneFailure,
    SceneRecord,
    Selection,
)
from cloudbuster.pipeline import with_backstop
from cloudbuster.tasks import plan_tasks

logger = logging.getLogger(__name__)


class MergeTask(Document):
    """Everything that decides one merge."""

    schema_: Literal["cloudbuster.merge-task/1"] = Field("cloudbuster.merge-task/1", alias="schema")
    request: str | None = Field(None, description="URI of the request; null for `name` alone.")
    selection: str | None = Field(None, description="URI of the selection; null for `name` alone.")
    name: MosaicName | None = Field(None, description="Base of the file names, without a request.")
    scenes: str = Field(description="Folder or prefix of the gathered scenes.")
    failures: tuple[SceneFailure, ...] = Field((), description="Scenes that are not there.")
    output: str = Field(description="Folder or prefix of the products.")
    assessment: str | None = Field(
        None, description="URI of the assessment to write; null for `name` alone."
    )
    result: str = Field(description="URI of the result to write.")

    @model_validator(mode="after")
    def _check_run(self) -> Self:
        of_run = [self.request is None, self.selection is None, self.assessment is None]
        if len(set(of_run)) > 1 or of_run[0] != (self.name is not None):
            msg = "give request, selection and assessment of a run, or the name alone"
            raise ValueError(msg)
        return self


def merge_task(task: MergeTask, *, on_event: OnEvent | None = None) -> MergeResult:
    """Merge the scenes of a run, count what they cover, and write both down.

    Without a request the scenes of ``task.name`` are merged, as ``cloudbuster merge`` does.

    Parameters
    ----------
    task : MergeTask
        Everything that decides the result.
    on_event : callable, optional
        Told of each block.

    Returns
    -------
    MergeResult
        Where the products are; whether they cover the area says ``task.assessment``.
    """
    if task.request is None or task.selection is None or task.assessment is None:
        return _merged_by_name(task, on_event)
    request = read_document(task.request, MosaicRequest)
    selection = read_document(task.selection, Selection)
    with input_folder(task.scenes, partial(is_scene_file, name=request.name)) as folder:
        if request.filter.backstop:
            repaired = _repaired(task, request, selection, folder)
            if repaired is not selection:
                selection = repaired
                write_document(task.selection, selection)
        result = merge_scenes(
            str(folder),
            task.output,
            name=request.name,
            composite=request.merge.composite,
            request=request,
            on_event=on_event,
        )
        assessment = assess_scenes(
            folder,
            _records(folder, request.name),
            selection,
            request.filter,
            failures=task.failures,
            on_event=on_event,
        )
    write_document(task.assessment, assessment)
    write_document(task.result, result)
    return result


def _merged_by_name(task: MergeTask, on_event: OnEvent | None) -> MergeResult:
    name = task.name or ""
    with input_folder(task.scenes, partial(is_scene_file, name=name)) as folder:
        result = merge_scenes(str(folder), task.output, name=name, on_event=on_event)
    write_document(task.result, result)
    return result


def _records(folder: Path, name: str) -> tuple[SceneRecord, ...]:
    found = find_scenes(str(folder), name)
    return tuple(file.record for file in found if file.record is not None)


def _repaired(
    task: MergeTask, request: MosaicRequest, selection: Selection, folder: Path
) -> Selection:
    """Fill what scenes saw and nothing fills, as the run on one machine does after its gather.

    The scenes come first and the selection that names them last, so that a second try of the job
    goes on where the first one stopped.
    """
    records = _records(folder, request.name)
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
    names = {name for record in report.records for name in _files(record)}
    with input_folder(task.scenes, names.__contains__) as fetched:
        if fetched != folder:
            for path in fetched.iterdir():
                shutil.move(path, folder / path.name)
    return selection


def _files(record: SceneRecord) -> tuple[str, str]:
    """Name the raster of a record, and the record itself."""
    return record.raster, str(Path(record.raster).with_suffix(".json"))
