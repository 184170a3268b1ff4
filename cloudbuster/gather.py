"""Gather: detect the clouds of a scene, remove them, and put the scene on the mosaic's grid."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.arrays import UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m, reach_in_cells
from cloudbuster.core.grids.regrid import COARSER_RATIO
from cloudbuster.core.pixels.masks import (
    DISTANCE_LIMIT_M,
    DetectedMask,
    PixelClass,
    distance_to,
    grows,
    pixel_classes,
)
from cloudbuster.core.pixels.scene_haze import haze_counts, haze_level, no_haze_counts
from cloudbuster.detectors import make_detector
from cloudbuster.errors import (
    CloudBusterError,
    GridError,
    MissingExtraError,
    NothingUsableError,
    OutputError,
    RadiometryError,
    TryAgainError,
    UntrustedCodeError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.gathered.resume import (
    TaskOutput,
    mask_name,
    raster_fingerprint,
    split_task,
    task_outputs,
)
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.models import (
    GatherTask,
    OnRadiometryConflict,
    Radiometry,
    SceneFailure,
    SceneRecord,
)
from cloudbuster.processes.release import installed_version
from cloudbuster.processes.workers import Report, run_tasks
from cloudbuster.source.masks.donor_mask import write_donor_mask
from cloudbuster.source.needed_units import KERNEL_MARGIN, NeededUnits
from cloudbuster.source.placing import ClassMap, PlacedBlock, needed_pixels, placed_blocks
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.source.warp import bounds_in
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.folders import output_folder
from cloudbuster.storage.files.uri import output_error
from cloudbuster.storage.rasters.gdal_env import gdal_env

logger = logging.getLogger(__name__)

Counts = npt.NDArray[np.int64]
"""Number of cells of each `PixelClass`."""

# Beginnings of the notes about cells that are too large for what was asked.
COARSE_NOTE, GROWTH_NOTE = "coarse pixels", "no growth of cloud"
# Errors that every scene would have: of the disk, the installation, the permission.
HARD_ERRORS = (OutputError, MissingExtraError, UntrustedCodeError)


@dataclass(frozen=True)
class GatherReport:
    """Result of a list of tasks.

    Attributes
    ----------
    records : tuple of SceneRecord
        Records of all rasters that are there now, by index.
    failures : tuple of SceneFailure
        Scenes that could not be gathered.
    reused : tuple of str
        File names of the rasters that an earlier run had finished.
    """

    records: tuple[SceneRecord, ...]
    failures: tuple[SceneFailure, ...]
    reused: tuple[str, ...]

    def raise_for_failures(self, min_success_fraction: float) -> None:
        """Raise an error if fewer than this share of the scenes was gathered.

        Raises
        ------
        TryAgainError
            If enough scenes may be gathered when the disk or the remote service works again.
        NothingUsableError
            Otherwise.
        """
        gathered = len({record.item_id for record in self.records})
        total = gathered + len(self.failures)
        if gathered and gathered >= min_success_fraction * total:
            return
        passing = [failure for failure in self.failures if failure.error == TryAgainError.__name__]
        enough = bool(passing) and gathered + len(passing) >= min_success_fraction * total
        first = passing[0] if enough else self.failures[0]
        msg = (
            f"{len(self.failures)} of {total} scenes could not be gathered, first "
            f"{first.item_id}: {first.error}: {first.message}; at least "
            f"{min_success_fraction:.0%} must be"
        )
        raise TryAgainError(msg) if enough else NothingUsableError(msg)

    def raise_for_area(self, observed: float, least: float) -> None:
        """Raise an error if scenes failed, and too little of the area was observed without them.

        Parameters
        ----------
        observed, least : float
            Share of the area that the gathered scenes observe, and the least that they must.

        Raises
        ------
        TryAgainError
            If a scene may be gathered when the disk or the remote service works again.
        NothingUsableError
            Otherwise.
        """
        if not self.failures or observed >= least:
            return
        passing = [failure for failure in self.failures if failure.error == TryAgainError.__name__]
        first = (passing or self.failures)[0]
        msg = (
            f"{len(self.failures)} scenes could not be gathered, first {first.item_id}: "
            f"{first.error}: {first.message}; without them {observed:.0%} of the area is "
            f"observed, at least {least:.0%} must be"
        )
        raise TryAgainError(msg) if passing else NothingUsableError(msg)


def gather_scene(task: GatherTask, *, on_event: OnEvent | None = None) -> tuple[SceneRecord, ...]:
    """Gather one scene.

    Parameters
    ----------
    task : GatherTask
        Everything that decides the result.
    on_event : callable, optional
        Progress callback; called after each block with the share of the scene that is done.

    Returns
    -------
    tuple of SceneRecord
        One for each raster written (cloud-free, unmasked backstop, or both).

    Raises
    ------
    NothingUsableError
        If the scene has no valid pixel on the mosaic's grid; nothing is written.
    RasterError, MaskError, DonorError, GridError, CatalogError
        If the scene's files or its mask cannot be used; nothing is written.
    RadiometryError
        If its radiometry is in conflict and the task does not trust the pixels.
    OutputError, TryAgainError
        If the disk or a remote service failed.
    """
    started = time.monotonic()
    scene = parse_scene(task.item, catalog=task.catalog, asset_mirror=task.asset_mirror)
    decided = task.radiometry.decision() if task.radiometry else None
    with gdal_env(), RasterSceneSource(scene, task.bands, radiometry=decided) as source:
        place = place_of(task, source)
        refuse_conflict(scene.id, Radiometry.of(source.radiometry), task.on_radiometry_conflict)
        mask = _detect(task, source, place)
        with output_folder(task.output) as folder:
            records = _write_scene(task, source, mask, place, folder, on_event)
            if task.donate_mask:
                write_donor_mask(folder / mask_name(task), mask, scene)
            for record in records:
                write_document(str((folder / record.raster).with_suffix(".json")), record)
    logger.info(
        "scene_gathered",
        extra={
            "scene": scene.id,
            "clear_fraction": records[0].clear_fraction,
            "decoded_pixels": source.decoded_pixels,
            "decoded_mask_pixels": source.decoded_mask_pixels,
            "read_bytes": source.read_bytes,
            "duration_s": round(time.monotonic() - started, 3),
        },
    )
    return records


def gather_scenes(
    tasks: list[GatherTask],
    *,
    workers: int = 1,
    force: bool = False,
    on_event: OnEvent | None = None,
) -> GatherReport:
    """Gather several scenes; one that fails does not stop the others.

    Parameters
    ----------
    tasks : list of GatherTask
        Tasks of one selection.
    workers : int
        Number of processes; with 1 everything runs in this process.
    force : bool
        Whether to gather again what an earlier call with the same task finished.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    GatherReport

    Raises
    ------
    OutputError, MissingExtraError, UntrustedCodeError
        If the disk, the installation or the permission fails every scene.
    RadiometryError
        If a scene's radiometry is in conflict and its task says to stop.
    TryAgainError
        If a worker was killed.
    """
    _stop_at_conflicts(tasks)
    records, todo = ([], tasks) if force else _split_tasks(tasks)
    reused = tuple(sorted(record.raster for record in records))
    failures: list[SceneFailure] = []
    done = len(tasks) - len(todo)

    def progress(under_way: float) -> None:
        """Report the scenes that are under way by the share of them that is done."""
        emit(on_event, Event("gather", done + under_way, len(tasks)))

    emit(on_event, Event("gather", done, len(tasks), f"{done} scenes were gathered before"))
    running = run_tasks(
        _gather_or_fail, todo, workers=workers, on_progress=progress if on_event else None
    )
    # Closed whatever happens here, so that an interrupted caller does not leave workers behind.
    with closing(running) as results:
        for result in results:
            done += 1
            if isinstance(result, SceneFailure):
                failures.append(result)
            else:
                records.extend(result)
            emit(on_event, Event("gather", done, len(tasks), _outcome(result)))
    _warn_about_cells(records)
    return _report(records, failures, reused)


def _report(
    records: list[SceneRecord], failures: list[SceneFailure], reused: tuple[str, ...]
) -> GatherReport:
    """Make the report, with everything in the order of the scenes' indices."""
    return GatherReport(
        tuple(sorted(records, key=lambda record: (record.backstop, record.index))),
        tuple(sorted(failures, key=lambda failure: failure.index)),
        reused,
    )


def gather_or_raise(
    tasks: list[GatherTask],
    *,
    workers: int = 1,
    min_success_fraction: float,
    on_event: OnEvent | None = None,
) -> tuple[SceneRecord, ...]:
    """Gather scenes, and raise if too few of them could be gathered.

    Parameters
    ----------
    tasks : list of GatherTask
        Tasks of one selection. A single task is always gathered again, and its own error is raised.
    workers : int
        Number of processes; with 1 everything runs in this process.
    min_success_fraction : float
        Share of the scenes that must be gathered, 0 to 1.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    tuple of SceneRecord
        One for each raster that is there now.

    Raises
    ------
    CloudBusterError
        As `gather_scene` for a single task; as `gather_scenes` and
        `GatherReport.raise_for_failures` for several.
    """
    if len(tasks) == 1:
        single = gather_scene(tasks[0], on_event=on_event)
        _warn_about_cells(single)
        return single
    report = gather_scenes(tasks, workers=workers, on_event=on_event)
    report.raise_for_failures(min_success_fraction)
    return report.records


def _split_tasks(tasks: list[GatherTask]) -> tuple[list[SceneRecord], list[GatherTask]]:
    """Return the records that earlier calls finished, and the tasks that are left."""
    records: list[SceneRecord] = []
    todo: list[GatherTask] = []
    for task in tasks:
        known, left = split_task(task)
        records.extend(known)
        if left is not None:
            todo.append(left)
    return records, todo


def _outcome(result: tuple[SceneRecord, ...] | SceneFailure) -> str:
    """Describe the result of a scene for its event; a failure is logged as well."""
    if isinstance(result, SceneFailure):
        extra = {"scene": result.item_id, "error": result.error, "reason": result.message}
        logger.warning("scene_failed", extra=extra)
        return f"{result.item_id} failed: {result.error}: {result.message}"
    return f"{result[0].item_id} ({result[0].clear_fraction:.0%} clear)"


def refuse_conflict(item_id: str, radiometry: Radiometry, policy: OnRadiometryConflict) -> None:
    """Raise RadiometryError for a scene in conflict, unless the policy is to trust the pixels."""
    if policy == "trust-pixels" or not radiometry.conflict:
        return
    msg = (
        f"{item_id}: its radiometric offset is in conflict ({'; '.join(radiometry.evidence)}); "
        f"its pixels say {radiometry.verdict}: --on-radiometry-conflict trust-pixels takes that"
    )
    raise RadiometryError(msg)


def _stop_at_conflicts(tasks: list[GatherTask]) -> None:
    """Raise RadiometryError before any work if a known conflict is to stop the run."""
    for task in tasks:
        if task.radiometry is not None and task.on_radiometry_conflict == "fail":
            refuse_conflict(str(task.item["id"]), task.radiometry, "fail")


def _gather_or_fail(task: GatherTask, report: Report) -> tuple[SceneRecord, ...] | SceneFailure:
    """Gather a scene; return a failure for an error that concerns this scene alone."""
    try:
        return gather_scene(task, on_event=lambda event: report(event.done))
    except HARD_ERRORS:
        raise
    except CloudBusterError as error:
        if task.on_radiometry_conflict == "fail" and isinstance(error, RadiometryError):
            raise
        return SceneFailure(
            item_id=str(task.item.get("id")),
            index=task.index or task.backstop_index or 0,
            error=type(error).__name__,
            message=str(error),
        )


@dataclass(frozen=True)
class Place:
    """Place of a scene on the mosaic.

    Attributes
    ----------
    target : Grid
        Part of the mosaic's grid that the scene may fill.
    extent : GridWindow
        Window of ``target`` that is written.
    units : NeededUnits or None
        Units of the scene that are needed; None for all of it.
    """

    target: Grid
    extent: GridWindow
    units: NeededUnits | None


def place_of(task: GatherTask, source: RasterSceneSource) -> Place:
    """Find the place of a scene on the mosaic.

    Parameters
    ----------
    task : GatherTask
        Its grid and the parts to deliver are used.
    source : RasterSceneSource
        The scene, of which nothing is read.

    Raises
    ------
    NothingUsableError
        If the scene, or all that is needed of it, is outside of the mosaic.
    GridError
        If the units of the delivery are in another CRS than the scene.
    """
    grid, scene, name = task.grid.grid(), source.grid, source.scene.id
    bounds = bounds_in(scene.bounds, scene.crs, grid.crs, near=grid.bounds)
    window = grid.window_of(bounds).intersection(grid.window)
    if window.is_empty:
        msg = f"{name} is outside of the mosaic; drop it"
        raise NothingUsableError(msg)
    target = grid.crop(window)
    if task.delivery is None:
        return Place(target, target.window, None)
    units = NeededUnits(task.delivery.grid.grid(), task.delivery.needed())
    if units.grid.crs != scene.crs:
        msg = (
            f"{name} is in {scene.crs}, but the parts to deliver are in {units.grid.crs}; "
            "plan its task again"
        )
        raise GridError(msg)
    extent = units.target_window(target)
    if extent.is_empty or needed_pixels(scene, target, units).is_empty:
        msg = f"no part of {name} that is needed lies on the mosaic; drop it"
        raise NothingUsableError(msg)
    return Place(target, extent, units)


def _detect(task: GatherTask, source: RasterSceneSource, place: Place) -> DetectedMask:
    """Detect cloud in the part of the scene that the mosaic needs, with a margin for growth."""
    area = detection_area(task, source.grid, place)
    return make_detector(task.detector, task.kind).detect(source, area)


def detection_area(task: GatherTask, scene: Grid, place: Place) -> Grid:
    """Return the part of a scene's grid in which its clouds are detected.

    Parameters
    ----------
    task : GatherTask
        Its growth of cloud is used, and whether the mask is donated.
    scene, place : Grid, Place
        Grid of the scene, and its place on the mosaic.
    """
    # A donated mask serves other gathers of the scene, so that it is made for all of it.
    units = None if task.donate_mask else place.units
    area = needed_pixels(scene, place.target, units)
    margin = reach_in_cells(task.dilate_m + DISTANCE_LIMIT_M, scene)
    return scene.crop(area.grown(margin + KERNEL_MARGIN).intersection(scene.window))


def _write_scene(
    task: GatherTask,
    source: RasterSceneSource,
    mask: DetectedMask,
    place: Place,
    folder: Path,
    on_event: OnEvent | None,
) -> tuple[SceneRecord, ...]:
    """Write the rasters of a scene block by block, and return their records."""
    outputs = task_outputs(task)
    counts = np.zeros(len(PixelClass), dtype=np.int64)
    extent, written = place.extent, place.target.crop(place.extent)
    emit(on_event, Event("gather", 0, 1, source.scene.id))
    with ExitStack() as stack:
        writers = []
        for output in outputs:
            path = folder / f"{output.stem}.tif"
            writer = open_scene_writer(path, written, task.bands, index=output.index)
            writers.append((stack.enter_context(writer), output))
        haze = no_haze_counts()
        for block in _blocks(task, source, mask, place):
            haze += haze_counts(block.clear, block.classes, task.bands)
            counts += np.bincount(block.classes.ravel(), minlength=len(PixelClass))
            window = block.window.shifted(-extent.row, -extent.col)
            for opened, output in writers:
                opened.write(window, *_layers(block, output, task))
            share = float(counts.sum()) / (extent.width * extent.height)
            emit(on_event, Event("gather", share, 1, source.scene.id))
        if counts[PixelClass.UNOBSERVED] == counts.sum():
            msg = f"{source.scene.id} has no valid pixel on the mosaic; drop it"
            raise NothingUsableError(msg)
        # The old records are removed before the new rasters appear. After a crash in between, a
        # later call would take the new rasters with the old records for finished.
        for output in outputs:
            _remove(folder / f"{output.stem}.json")
    records = [_record(task, source, output, mask, counts, haze) for output in outputs]
    # What was decoded for both rasters counts once: the sum over all records is the total.
    counted = {"decoded_pixels": source.decoded_pixels, "read_bytes": source.read_bytes}
    first, *others = records
    return (first.model_copy(update=counted), *others)


def _blocks(
    task: GatherTask, source: RasterSceneSource, mask: DetectedMask, place: Place
) -> Iterator[PlacedBlock]:
    """Yield the blocks of a scene on the mosaic's grid, with classes and distances to cloud."""
    classes = pixel_classes(mask, task.dilate_m)
    distance_m = distance_to(mask.cloud_or_shadow, mask.grid)
    class_map = ClassMap(mask.grid, classes, distance_m, mask.agreement)
    return placed_blocks(
        source,
        class_map,
        place.target,
        task.bands,
        keep_observed=task.backstop_index is not None,
        units=place.units,
    )


def _layers(
    block: PlacedBlock, output: TaskOutput, task: GatherTask
) -> tuple[UInt16Raster, UInt8Raster, UInt16Raster, UInt16Raster]:
    """Reflectance, classes, distances to cloud and confidence of a block in one raster."""
    layers = (block.classes, block.distance_m, block.confidence)
    if not output.backstop or block.observed is None:
        return block.clear, *layers
    if task.backstop_pixels == "all":
        return block.observed, *layers
    masked = block.classes == PixelClass.MASKED
    classes, distance_m, confidence = layers
    return block.observed * masked, classes * masked, distance_m * masked, confidence * masked


def _warn_about_cells(records: Iterable[SceneRecord]) -> None:
    """Log a warning for each note that the cells of scenes are too large, with their number."""
    scenes: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        for note in record.notes:
            if note.startswith((COARSE_NOTE, GROWTH_NOTE)):
                scenes[note].add(record.item_id)
    for note, item_ids in scenes.items():
        extra = {"note": note, "scenes": len(item_ids), "first": min(item_ids)}
        logger.warning("cells_too_large", extra=extra)


def _size_notes(task: GatherTask, scene: Grid, mask: Grid) -> tuple[str, ...]:
    """Return notes about cells that are too large for what the task asks."""
    notes = []
    scene_m, mosaic_m = max(cell_size_m(scene)), max(cell_size_m(task.grid.grid()))
    if scene_m > mosaic_m * COARSER_RATIO:
        notes.append(f"{COARSE_NOTE} of {scene_m:.4g} m on the mosaic's cells of {mosaic_m:.4g} m")
    if task.dilate_m > 0 and not grows(task.dilate_m, mask):
        size_m = min(cell_size_m(mask))
        notes.append(
            f"{GROWTH_NOTE}: dilate_m {task.dilate_m:g} is below the mask's cell of {size_m:.4g} m"
        )
    return tuple(notes)


def _remove(path: Path) -> None:
    """Remove a file if it is there; raise OutputError if that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def _record(
    task: GatherTask,
    source: RasterSceneSource,
    output: TaskOutput,
    mask: DetectedMask,
    counts: Counts,
    haze: Counts,
) -> SceneRecord:
    """Make the record of one raster."""
    scene = source.scene
    cells = task.grid.width * task.grid.height
    return SceneRecord(
        name=task.name,
        index=output.index,
        backstop=output.backstop,
        item_id=scene.id,
        catalog=task.catalog,
        collection=scene.collection,
        acquired=scene.acquired,
        platform=scene.platform,
        mgrs_tile=scene.mgrs_tile,
        baseline=scene.baseline,
        cloud_cover=scene.cloud_cover,
        detector=mask.detector,
        notes=(*source.notes, *_size_notes(task, source.grid, mask.grid)),
        radiometry=Radiometry.of(source.radiometry),
        bands=task.bands,
        grid=task.grid,
        observed_fraction=float(counts[PixelClass.MASKED :].sum() / cells),
        clear_fraction=float(counts[PixelClass.LOW_RANK :].sum() / cells),
        haze_dn=haze_level(haze),
        raster=f"{output.stem}.tif",
        mask=mask_name(task) if task.donate_mask else None,
        task_fingerprint=raster_fingerprint(task, output),
        version=installed_version(),
        item=task.item,
    )
