"""Lists of the scenes of a run that are to be merged.

All attempts of a run share one folder of scenes, so that finished scenes are not gathered again.
The folder may also hold scenes of another selection, or of an attempt that has failed since.
"""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from cloudbuster.gathered.resume import raster_fingerprint, task_outputs
from cloudbuster.models import Document, GatherTask, SceneRecord
from cloudbuster.storage.documents import read_document, write_document
from cloudbuster.storage.run_layout import RunLayout
from cloudbuster.storage.uri import exists, join


class TaskScenes(Document):
    """Scenes that each task of a round writes."""

    schema_: Literal["cloudbuster.task-scenes/1"] = Field(
        "cloudbuster.task-scenes/1", alias="schema"
    )
    tasks: tuple[dict[str, str], ...] = Field(
        description="By task: fingerprints of its rasters, by their stems."
    )


class WantedScenes(Document):
    """The scenes that are to be merged."""

    schema_: Literal["cloudbuster.wanted-scenes/1"] = Field(
        "cloudbuster.wanted-scenes/1", alias="schema"
    )
    stems: tuple[str, ...] = Field(
        description="File names, without their ending, of scenes that must be there."
    )
    failed: dict[str, str] = Field(
        description="Fingerprints of those that failed, by stem: merged where they were gathered "
        "by hand since."
    )

    def present(self, folder: str) -> frozenset[str]:
        """Stems of the scenes to merge, with those that failed but are in ``folder`` by now."""
        gathered_since = (
            stem
            for stem, fingerprint in self.failed.items()
            if _task_fingerprint(join(folder, f"{stem}.json")) == fingerprint
        )
        return frozenset((*self.stems, *gathered_since))


def _task_fingerprint(uri: str) -> str | None:
    """Task fingerprint in the record of a scene; None if there is no record."""
    return read_document(uri, SceneRecord).task_fingerprint if exists(uri) else None


def write_task_scenes(run: RunLayout, tasks: Sequence[GatherTask]) -> None:
    """Write the list of the scenes that the tasks of a round will write."""
    scenes = tuple(
        {output.stem: raster_fingerprint(task, output) for output in task_outputs(task)}
        for task in tasks
    )
    write_document(join(run.tasks, "scenes.json"), TaskScenes(tasks=scenes))


def write_wanted(run: RunLayout, lost: Collection[int]) -> str:
    """Write the list of the scenes to merge: those of all tasks but the failed ones.

    Parameters
    ----------
    run : RunLayout
        Locations of the run's documents.
    lost : collection of int
        Numbers, from 1, of the tasks that failed.

    Returns
    -------
    str
        URI of the list.
    """
    planned = read_document(join(run.tasks, "scenes.json"), TaskScenes)
    stems: list[str] = []
    failed: dict[str, str] = {}
    for number, scenes in enumerate(planned.tasks, start=1):
        if number in lost:
            failed |= scenes
        else:
            stems.extend(scenes)
    uri = join(run.tasks, "wanted.json")
    write_document(uri, WantedScenes(stems=tuple(stems), failed=failed))
    return uri


def add_wanted(uri: str, records: Collection[SceneRecord]) -> None:
    """Add scenes that were gathered later to the list at ``uri``."""
    wanted = read_document(uri, WantedScenes)
    stems = [*wanted.stems, *(PurePosixPath(record.raster).stem for record in records)]
    write_document(uri, wanted.model_copy(update={"stems": tuple(dict.fromkeys(stems))}))
