"""Outputs of a gather task, and which of them an earlier run of the same task has finished."""

from dataclasses import dataclass
from pathlib import Path

from cloudbuster.errors import BadInputError
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, MASK_PREFIX, SceneRaster, scene_stem
from cloudbuster.models import GatherTask, SceneRecord
from cloudbuster.processes.release import installed_version
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.files.uri import exists, is_remote, join, local_path

# Fields of the radiometric decision without influence on the pixels, made neutral.
_NEUTRAL_RADIOMETRY: dict[str, object] = {"confidence": "low", "conflict": False, "evidence": ()}


@dataclass(frozen=True)
class TaskOutput:
    """One raster that a gather task writes.

    Attributes
    ----------
    index : int
        Index of the scene.
    backstop : bool
        Whether the raster is the unmasked backstop of the scene.
    stem : str
        File name without its suffix.
    """

    index: int
    backstop: bool
    stem: str


def split_task(task: GatherTask) -> tuple[list[SceneRecord], GatherTask | None]:
    """Split a task into what an earlier run of the same task has finished, and the rest.

    Returns
    -------
    list of SceneRecord, GatherTask or None
        Records of the finished rasters, and the task for the others; None if there are none.
    """
    records = [
        record for output in task_outputs(task) if (record := _finished_record(task, output))
    ]
    if not records:
        return [], task
    finished = {record.backstop for record in records}
    rest = {
        "index": None if False in finished else task.index,
        "backstop_index": None if True in finished else task.backstop_index,
        # A scene has one donated mask, and it was written with the finished raster.
        "donate_mask": False,
    }
    return records, task.model_copy(update=rest) if any(rest.values()) else None


def is_done(task: GatherTask) -> bool:
    """Whether an earlier run of the same task finished all of it."""
    return split_task(task)[1] is None


def _finished_record(task: GatherTask, output: TaskOutput) -> SceneRecord | None:
    """Record of a raster that an earlier run of the same task finished; None if not intact."""
    document, raster = (join(task.output, f"{output.stem}.{end}") for end in ("json", "tif"))
    if not (exists(document) and exists(raster)):
        return None
    if task.donate_mask and not exists(join(task.output, mask_name(task))):
        return None
    try:
        record = read_document(document, SceneRecord)
        if not is_remote(raster):
            SceneRaster(local_path(raster)).close()
    except BadInputError:
        return None
    return record if record.task_fingerprint == raster_fingerprint(task, output) else None


def raster_fingerprint(task: GatherTask, output: TaskOutput) -> str:
    """Fingerprint of everything that decides the pixels of a raster, and of the package version.

    The folder of the raster is not part of it. Remote files are identified by their address, under
    which a Sentinel-2 product does not change; local files also by the size and modification time
    that they had when the task was planned.
    """
    content = task.model_copy(
        update={
            "output": "",
            "donate_mask": False,
            "index": None if output.backstop else output.index,
            "backstop_index": output.index if output.backstop else None,
            "backstop_pixels": task.backstop_pixels if output.backstop else "all",
            # Its evidence may name other scenes, which have no influence on this raster.
            "radiometry": task.radiometry
            and task.radiometry.model_copy(update=_NEUTRAL_RADIOMETRY),
        }
    )
    return f"{content.fingerprint()}-{installed_version()}"


def task_outputs(task: GatherTask) -> list[TaskOutput]:
    """Rasters that a task writes, the cloud-free one first."""
    outputs = []
    if task.index is not None:
        outputs.append(TaskOutput(task.index, False, scene_stem(task.name, task.index)))
    if task.backstop_index is not None:
        stem = scene_stem(task.name, task.backstop_index, prefix=BACKSTOP_PREFIX)
        outputs.append(TaskOutput(task.backstop_index, True, stem))
    return outputs


def mask_name(task: GatherTask) -> str:
    """File name of the donated mask of a task; it has the index of the first raster."""
    index = task_outputs(task)[0].index
    return f"{scene_stem(task.name, index, prefix=MASK_PREFIX)}.tif"


def output_stems(task: GatherTask) -> list[str]:
    """File names, without suffix, of all rasters that a task writes, masks included."""
    masks = [Path(mask_name(task)).stem] if task.donate_mask else []
    return [output.stem for output in task_outputs(task)] + masks
