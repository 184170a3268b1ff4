"""Refresh: take the scenes of an earlier run into a new plan of the same mosaic.

A new plan gives scenes other numbers, and often fewer parts to deliver, because new scenes deliver
them instead. Such scenes are copied without the parts, and are not gathered again.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.gathered.resume import TaskOutput, is_done, raster_fingerprint, task_outputs
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.models import Delivery, GatherTask, SceneRecord
from cloudbuster.source.needed_units import NeededUnits
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.uri import output_error
from cloudbuster.storage.rasters.gdal_env import gdal_env

logger = logging.getLogger(__name__)

# Rows and columns of the blocks that are copied; the result does not depend on it.
BLOCK_CELLS = 1024


@dataclass(frozen=True)
class _Copy:
    """A raster to copy: where it is written, where it goes, and its record."""

    written: Path
    raster: Path
    record: SceneRecord


def adopt_scenes(tasks: Sequence[GatherTask], earlier: Iterable[GatherTask]) -> list[str]:
    """Make the rasters of tasks from those of an earlier plan, where these hold all of them.

    Parameters
    ----------
    tasks : sequence of GatherTask
        New tasks, whose output is a local folder.
    earlier : iterable of GatherTask
        Tasks of the earlier plan, with the same output.

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
    finished: dict[tuple[str, ...], list[GatherTask]] = {}
    for task in earlier:
        if is_done(task):
            finished.setdefault(_content(task), []).append(task)
    copies: list[_Copy] = []
    with gdal_env():
        for task in tasks:
            if is_done(task):
                continue
            known = finished.get(_content(task), [])
            source = next((old for old in known if _holds(old, task)), None)
            if source is not None:
                copies += _copied(source, task)
    # All are written before the first one takes its place, which may be that of another's source.
    for copy in copies:
        _put(copy)
    if copies:
        logger.info("scenes_adopted", extra={"rasters": len(copies)})
    return [copy.raster.name for copy in copies]


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
    if new.donate_mask or old.output != new.output:
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


def _copied(old: GatherTask, new: GatherTask) -> list[_Copy]:
    """Write the rasters of a task beside their places, from those of an earlier task."""
    copies = [
        _copy(Path(new.output), new, before, output)
        for before, output in zip(task_outputs(old), task_outputs(new), strict=True)
    ]
    # The shares are of the scene, and the cloud-free raster comes first: the backstop may hold the
    # masked pixels alone.
    first = copies[0].record
    shares = {
        "observed_fraction": first.observed_fraction,
        "clear_fraction": first.clear_fraction,
    }
    return [replace(copy, record=copy.record.model_copy(update=shares)) for copy in copies]


def _copy(folder: Path, task: GatherTask, before: TaskOutput, output: TaskOutput) -> _Copy:
    """Write one raster under a temporary name, without the parts that are not needed."""
    mosaic = task.grid.grid()
    written, counts = folder / f".{output.stem}.tif", np.zeros(len(PixelClass), dtype=np.int64)
    with ExitStack() as stack:
        raster = stack.enter_context(SceneRaster(folder / f"{before.stem}.tif", mosaic))
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
            writer.write(block, reflectance, classes, raster.read_cloud_distance(window) * needed)
    record = read_document(str(folder / f"{before.stem}.json"), SceneRecord)
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
