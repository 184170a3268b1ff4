"""Lists of the scenes of a run that are to be merged.

All attempts of a run write to one folder of scenes, so that no scene is gathered twice. The folder
may therefore hold scenes of an earlier selection, or of a scene that has failed since.
"""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from cloudbuster.gathered.resume import raster_fingerprint, task_outputs
from cloudbuster.models import GatherTask, SceneRecord, TaskScenes, WantedScenes
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import exists, join


def wanted_stems(wanted: WantedScenes, folder: str) -> frozenset[str]:
    """Return which scenes to merge, as file names without extension.

    Parameters
    ----------
    wanted : WantedScenes
        List of the run.
    folder : str
        Folder or prefix of the scenes. A scene that failed is merged if its raster is there now.

    Returns
    -------
    frozenset of str
    """
    since = (
        stem
        for stem, fingerprint in wanted.failed.items()
        if _fingerprint(join(folder, f"{stem}.json")) == fingerprint
    )
    return frozenset((*wanted.stems, *since))


def _fingerprint(uri: str) -> str | None:
    """Return the task fingerprint of a record; None if there is no record."""
    return read_document(uri, SceneRecord).task_fingerprint if exists(uri) else None


def write_task_scenes(run: RunLayout, tasks: Sequence[GatherTask]) -> None:
    """Write the list of the rasters that each task of a round will write."""
    scenes = tuple(
        {output.stem: raster_fingerprint(task, output) for output in task_outputs(task)}
        for task in tasks
    )
    write_document(join(run.tasks, "scenes.json"), TaskScenes(tasks=scenes))


def write_wanted(run: RunLayout, lost: Collection[int]) -> str:
    """Write the list of scenes to merge: those of all tasks except the failed ones.

    Parameters
    ----------
    run : RunLayout
        Folders of the run.
    lost : collection of int
        Numbers of the tasks that failed, from 1.

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
    known = read_document(uri, WantedScenes)
    stems = [*known.stems, *(PurePosixPath(record.raster).stem for record in records)]
    changed = known.model_copy(update={"stems": tuple(dict.fromkeys(stems))})
    write_document(uri, changed)
