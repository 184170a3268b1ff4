"""What a gather task writes, and what an earlier call of it has finished."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cloudbuster.errors import BadInputError
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, MASK_PREFIX, SceneRaster, scene_stem
from cloudbuster.models import GatherTask, SceneRecord
from cloudbuster.storage.documents import read_document
from cloudbuster.storage.uri import exists, is_remote, join, local_path

# What of a decision does not reach the pixels.
_UNSAID: dict[str, object] = {"confidence": "low", "conflict": False, "evidence": ()}


@dataclass(frozen=True)
class TaskOutput:
    """One raster to write: a role of the scene, and its index."""

    index: int
    backstop: bool
    stem: str


def split_task(task: GatherTask) -> tuple[list[SceneRecord], GatherTask | None]:
    """Tell what an earlier call with this very task finished from what is left to do."""
    known = [record for output in task_outputs(task) if (record := _finished(task, output))]
    if not known:
        return [], task
    done = {record.backstop for record in known}
    left = {
        "index": None if False in done else task.index,
        "backstop_index": None if True in done else task.backstop_index,
        # What is finished has its mask, and that is the scene's only one.
        "donate_mask": False,
    }
    return known, task.model_copy(update=left) if any(left.values()) else None


def is_done(task: GatherTask) -> bool:
    """Whether an earlier call with this very task finished all of it."""
    return split_task(task)[1] is None


def _finished(task: GatherTask, output: TaskOutput) -> SceneRecord | None:
    """Find the record of a raster that an earlier call finished and that is still there, whole."""
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
    """Identify a raster: what decides its pixels, wherever it lies, and this package's version.

    A remote file counts by its name, under which a product of Sentinel-2 does not change; a local
    one by its size and modification time too, as they were when the task was planned.
    """
    content = task.model_copy(
        update={
            "output": "",
            "donate_mask": False,
            "index": None if output.backstop else output.index,
            "backstop_index": output.index if output.backstop else None,
            # The words may quote other scenes, whose change is none of this raster's.
            "radiometry": task.radiometry and task.radiometry.model_copy(update=_UNSAID),
        }
    )
    return f"{content.fingerprint()}-{version('cloudbuster')}"


def task_outputs(task: GatherTask) -> list[TaskOutput]:
    """List the rasters that a task writes: the cloud-free one first."""
    outputs = []
    if task.index is not None:
        outputs.append(TaskOutput(task.index, False, scene_stem(task.name, task.index)))
    if task.backstop_index is not None:
        stem = scene_stem(task.name, task.backstop_index, prefix=BACKSTOP_PREFIX)
        outputs.append(TaskOutput(task.backstop_index, True, stem))
    return outputs


def mask_name(task: GatherTask) -> str:
    """Name the donated mask: by the scene's first index, whatever its role."""
    index = task_outputs(task)[0].index
    return f"{scene_stem(task.name, index, prefix=MASK_PREFIX)}.tif"


def output_stems(task: GatherTask) -> list[str]:
    """Names, without ending, of the rasters that a task writes."""
    masks = [Path(mask_name(task)).stem] if task.donate_mask else []
    return [output.stem for output in task_outputs(task)] + masks
