"""Refresh: take the scenes of an earlier run into a new plan of the same mosaic.

A new plan gives scenes other numbers, and often fewer parts to deliver, because new scenes deliver
them instead. Such scenes are copied without the parts, and are not gathered again.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.pixels.scene_haze import haze_counts, haze_level, no_haze_counts
from cloudbuster.errors import BadInputError
from cloudbuster.gathered.resume import TaskOutput, is_done, raster_fingerprint, task_outputs
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.models import Delivery, GatherTask, SceneRecord
from cloudbuster.source.needed_units import NeededUnits
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.folders import input_folder, output_folder
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.uri import output_error
from cloudbuster.storage.rasters.gdal_env import gdal_env

logger = logging.getLogger(__name__)

# Rows and columns of the blocks that are copied; the result does not depend on it.
BLOCK_CELLS = 1024
# Folder, in that of the scenes, of rasters that were moved out of the way.
ASIDE = ".earlier"


@dataclass(frozen=True)
class _Copy:
    """A raster to copy: where it is written, where it goes, and its record."""

    written: Path
    raster: Path
    record: SceneRecord


def set_aside(tasks: Sequence[GatherTask], earlier: Iterable[GatherTask]) -> list[GatherTask]:
    """Move the rasters of an earlier plan out of the way of those that tasks are going to write.

    A later round may need them.

    Parameters
    ----------
    tasks : sequence of GatherTask
        New tasks, whose output is a local folder.
    earlier : iterable of GatherTask
        Tasks of the earlier plan.

    Returns
    -------
    list of GatherTask
        The earlier tasks; the output of those that were moved is the folder where they are now.

    Raises
    ------
    OutputError
        If a file cannot be moved.
    """
    written = {
        (task.output, output.stem)
        for task in tasks
        if not is_done(task)
        for output in task_outputs(task)
    }
    kept = []
    for task in earlier:
        stems = [output.stem for output in task_outputs(task)]
        if any((task.output, stem) in written for stem in stems) and is_done(task):
            folder = Path(task.output) / ASIDE
            for stem in stems:
                _move(Path(task.output), folder, stem)
            task = task.model_copy(update={"output": str(folder)})
        kept.append(task)
    return kept


def remove_aside(folder: Path) -> None:
    """Remove what `set_aside` moved from a folder of scenes; raise OutputError if that fails."""
    aside = folder / ASIDE
    try:
        if aside.is_dir():
            shutil.rmtree(aside)
    except OSError as error:
        raise output_error(aside, error) from error


def _move(folder: Path, target: Path, stem: str) -> None:
    """Move a raster, after its record, so that a part of them never counts as finished."""
    try:
        target.mkdir(exist_ok=True)
        for suffix in (".json", ".tif"):
            (folder / f"{stem}{suffix}").replace(target / f"{stem}{suffix}")
    except OSError as error:
        raise output_error(folder, error) from error


def adopt_scenes(tasks: Sequence[GatherTask], earlier: Iterable[GatherTask]) -> list[str]:
    """Make the rasters of tasks from those of an earlier plan, where these hold all of them.

    Parameters
    ----------
    tasks : sequence of GatherTask
        New tasks, whose output is a local folder.
    earlier : iterable of GatherTask
        Tasks of the earlier plan, from `set_aside`.

    Returns
    -------
    list of str
        File names of the rasters that were made; `gather_scenes` finds them done.

    Raises
    ------
    OutputError, TryAgainError
        If a raster cannot be written.
    RasterError
        If one cannot be read.
    """
    left = [task for task in tasks if not is_done(task)]
    copies: list[_Copy] = []
    with gdal_env():
        for task, source in zip(left, find_earlier(left, earlier), strict=True):
            if source is not None:
                copies += _copied(source, task, Path(source.output), Path(task.output))
    # All are written before the first one takes its place, which may be that of another's source.
    for copy in copies:
        _put(copy)
    if copies:
        logger.info("scenes_adopted", extra={"rasters": len(copies)})
    return [copy.raster.name for copy in copies]


def find_earlier(
    tasks: Sequence[GatherTask], earlier: Iterable[GatherTask]
) -> list[GatherTask | None]:
    """Find for each task an earlier one that is done and holds all that it asks for.

    Parameters
    ----------
    tasks, earlier : sequence of GatherTask, iterable of GatherTask
        New tasks, and those of an earlier plan; their outputs may differ.

    Returns
    -------
    list of GatherTask or None
        One for each of ``tasks``.
    """
    known: dict[tuple[str, ...], list[GatherTask]] = {}
    for task in earlier:
        known.setdefault(_content(task), []).append(task)
    return [
        next(
            (old for old in known.get(_content(task), []) if _holds(old, task) and is_done(old)),
            None,
        )
        for task in tasks
    ]


def earlier_task_uri(task_uri: str) -> str:
    """URI of the document with the earlier task whose rasters the job of a task may copy."""
    return f"{task_uri.removesuffix('.json')}.earlier.json"


def adopt_task(task: GatherTask, task_uri: str) -> tuple[SceneRecord, ...]:
    """Make the rasters of a task from those of the earlier task beside it, wherever they lie.

    Parameters
    ----------
    task : GatherTask
        Task of a refreshed run.
    task_uri : str
        URI of its document.

    Returns
    -------
    tuple of SceneRecord
        Records of the rasters; none if there is no earlier task, or its rasters are gone or
        broken.
    """
    old = read_earlier(earlier_task_uri(task_uri), GatherTask)
    if old is None or find_earlier([task], [old]) == [None]:
        return ()
    stems = {output.stem for output in task_outputs(old)}
    try:
        with (
            gdal_env(),
            input_folder(old.output, lambda name: name.rpartition(".")[0] in stems) as source,
            output_folder(task.output) as folder,
        ):
            copies = _copied(old, task, source, folder)
            for copy in copies:
                _put(copy)
    except BadInputError as error:
        logger.warning("scenes_not_adopted", extra={"task": task_uri, "error": str(error)})
        return ()
    logger.info("scenes_adopted", extra={"rasters": len(copies)})
    return tuple(copy.record for copy in copies)


def _content(task: GatherTask) -> tuple[str, ...]:
    """Identify what a task shows of its scene, whatever its number and its parts."""
    roles = {
        "index": 1 if task.index is not None else None,
        "backstop_index": 1 if task.backstop_index is not None else None,
        "delivery": None,
    }
    alike = task.model_copy(update=roles)
    return tuple(raster_fingerprint(alike, output) for output in task_outputs(alike))


def _holds(old: GatherTask, new: GatherTask) -> bool:
    """Whether an earlier task delivers all that a new one is to deliver."""
    if new.donate_mask:
        return False
    if new.delivery is None:
        return old.delivery is None
    if new.delivery.grid.crs != new.grid.crs:
        # Which cells belong to a unit is exact in the CRS of the units alone.
        return False
    if old.delivery is None:
        return True
    same_units = old.delivery.grid == new.delivery.grid
    return same_units and not (new.delivery.needed() & ~old.delivery.needed()).any()


def _copied(old: GatherTask, new: GatherTask, source: Path, folder: Path) -> list[_Copy]:
    """Write the rasters of a task beside their places, from those of an earlier task.

    ``source`` and ``folder`` are the local folders of both.
    """
    copies = [
        _copy(source, folder, new, before, output)
        for before, output in zip(task_outputs(old), task_outputs(new), strict=True)
    ]
    # The shares are of the scene, and the cloud-free raster comes first: the backstop may hold the
    # masked pixels alone.
    first = copies[0].record
    shares = {
        "observed_fraction": first.observed_fraction,
        "clear_fraction": first.clear_fraction,
        "haze_dn": first.haze_dn,
    }
    return [replace(copy, record=copy.record.model_copy(update=shares)) for copy in copies]


def _copy(
    source: Path, folder: Path, task: GatherTask, before: TaskOutput, output: TaskOutput
) -> _Copy:
    """Write one raster under a temporary name, without the parts that are not needed."""
    mosaic = task.grid.grid()
    haze = no_haze_counts()
    written, counts = folder / f".{output.stem}.tif", np.zeros(len(PixelClass), dtype=np.int64)
    with ExitStack() as stack:
        raster = stack.enter_context(SceneRaster(source / f"{before.stem}.tif", mosaic))
        place = raster.window
        own = mosaic.crop(place)
        writer = stack.enter_context(
            open_scene_writer(written, own, task.bands, index=output.index)
        )
        for block in own.blocks(BLOCK_CELLS):
            window = block.shifted(place.row, place.col)
            needed = _needed(task.delivery, mosaic, window)
            classes = raster.read_classes(window) * needed
            counts += np.bincount(classes.ravel(), minlength=len(PixelClass))
            reflectance = raster.read_reflectance(window) * needed
            distance_m = raster.read_cloud_distance(window) * needed
            confidence = raster.read_confidence(window) * needed
            haze += haze_counts(reflectance, classes, task.bands)
            writer.write(block, reflectance, classes, distance_m, confidence)
    record = read_document(str(source / f"{before.stem}.json"), SceneRecord)
    changes = {
        "index": output.index,
        "raster": f"{output.stem}.tif",
        "radiometry": task.radiometry or record.radiometry,
        "task_fingerprint": raster_fingerprint(task, output),
        "decoded_pixels": 0,
        "read_bytes": 0,
    }
    if not output.backstop or task.backstop_pixels == "all":
        cells = mosaic.width * mosaic.height
        changes["observed_fraction"] = float(counts[PixelClass.MASKED :].sum() / cells)
        changes["clear_fraction"] = float(counts[PixelClass.LOW_RANK :].sum() / cells)
        changes["haze_dn"] = haze_level(haze)
    return _Copy(written, folder / f"{output.stem}.tif", record.model_copy(update=changes))


def _needed(delivery: Delivery | None, mosaic: Grid, window: GridWindow) -> BoolRaster:
    """Return which cells of a window of the mosaic are to be delivered."""
    if delivery is None:
        return np.ones((window.height, window.width), dtype=np.bool_)
    units = NeededUnits(delivery.grid.grid(), delivery.needed())
    return units.cells(mosaic, window)[0]


def _put(copy: _Copy) -> None:
    """Move a raster to its place, after the record that was there is gone."""
    document = copy.raster.with_suffix(".json")
    try:
        document.unlink(missing_ok=True)
        copy.written.replace(copy.raster)
    except OSError as error:
        raise output_error(copy.raster, error) from error
    write_document(str(document), copy.record)
