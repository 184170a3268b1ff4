"""Which scenes of a run are to be merged.

Attempts of one run share the folder of its scenes, so that what was gathered is not gathered again.
What lies there may be of another selection, or of a scene that has failed since.
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
    """What each task of a round writes."""

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
        """Stems of the scenes to merge of those in ``folder``, as of now."""
        since = (
            stem
            for stem, fingerprint in self.failed.items()
            if _fingerprint(join(folder, f"{stem}.json")) == fingerprint
        )
        return frozenset((*self.stems, *since))


def _fingerprint(uri: str) -> str | None:
    return read_document(uri, SceneRecord).task_fingerprint if exists(uri) else None


def write_task_scenes(run: RunLayout, tasks: Sequence[GatherTask]) -> None:
    """Write down what the tasks of a round will write."""
    scenes = tuple(
        {output.stem: raster_fingerprint(task, output) for output in task_outputs(task)}
        for task in tasks
    )
    write_document(join(run.tasks, "scenes.json"), TaskScenes(tasks=scenes))


def write_wanted(run: RunLayout, lost: Collection[int]) -> str:
    """Write down what is to be merged: the scenes of all tasks but those that failed.

    Parameters
    ----------
    run : RunLayout
        Where to.
    lost : collection of int
        Numbers of the tasks whose scene is not there, counted from 1.

    Returns
    -------
    str
        URI of the document.
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
    """Add scenes that were gathered since."""
    known = read_document(uri, WantedScenes)
    stems = [*known.stems, *(PurePosixPath(record.raster).stem for record in records)]
    changed = known.model_copy(update={"stems": tuple(dict.fromkeys(stems))})
    write_document(uri, changed)
