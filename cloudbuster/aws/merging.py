"""The merge of a run as one task document, as ``cloudbuster merge --task`` takes it."""

from functools import partial
from typing import Literal

from pydantic import Field

from cloudbuster.assess import assess_scenes
from cloudbuster.events import OnEvent
from cloudbuster.io.documents import read_document, write_document
from cloudbuster.io.folders import input_folder
from cloudbuster.merge import find_scenes, is_scene_file, merge_scenes
from cloudbuster.models import (
    Document,
    MergeResult,
    MosaicRequest,
    SceneFailure,
    Selection,
)


class MergeTask(Document):
    """Everything that decides one merge."""

    schema_: Literal["cloudbuster.merge-task/1"] = Field("cloudbuster.merge-task/1", alias="schema")
    request: str = Field(description="URI of the request.")
    selection: str = Field(description="URI of the selection.")
    scenes: str = Field(description="Folder or prefix of the gathered scenes.")
    failures: tuple[SceneFailure, ...] = Field((), description="Scenes that are not there.")
    output: str = Field(description="Folder or prefix of the products.")
    assessment: str = Field(description="URI of the assessment to write.")
    result: str = Field(description="URI of the result to write.")


def merge_task(task: MergeTask, *, on_event: OnEvent | None = None) -> MergeResult:
    """Merge the scenes of a run, count what they cover, and write both down.

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
    request = read_document(task.request, MosaicRequest)
    selection = read_document(task.selection, Selection)
    with input_folder(task.scenes, partial(is_scene_file, name=request.name)) as folder:
        result = merge_scenes(
            str(folder),
            task.output,
            name=request.name,
            composite=request.merge.composite,
            request=request,
            on_event=on_event,
        )
        found = find_scenes(str(folder), request.name)
        assessment = assess_scenes(
            folder,
            tuple(file.record for file in found if file.record is not None),
            selection,
            request.filter,
            failures=task.failures,
            on_event=on_event,
        )
    write_document(task.assessment, assessment)
    write_document(task.result, result)
    return result
