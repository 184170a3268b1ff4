"""Gather: find one scene's clouds, remove them, put the scene on the mosaic's grid."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, MutableSequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from cloudbuster import log
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.grid import Bounds, GridWindow
from cloudbuster.core.masks import (
    DISTANCE_LIMIT_M,
    DetectedMask,
    PixelClass,
    distance_to,
    pixel_classes,
)
from cloudbuster.detectors import make_detector
from cloudbuster.errors import (
    CloudBusterError,
    ExitCode,
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
from cloudbuster.source.donor_mask import write_donor_mask
from cloudbuster.source.placing import KERNEL_MARGIN, ClassMap, placed_blocks
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.source.warp import bounds_in
from cloudbuster.storage.documents import write_document
from cloudbuster.storage.folders import output_folder
from cloudbuster.storage.gdal_env import gdal_env
from cloudbuster.storage.uri import output_error

logger = logging.getLogger(__name__)

# What no other scene would fare better with: the disk, the installation, the permission.
HARD_ERRORS = (OutputError, MissingExtraError, UntrustedCodeError)
# Between two looks at what the workers have done, seconds: a progress bar that moves twice a second
# is smooth enough, and a look costs microseconds.
LOOK_S = 0.5
# Spawned, not forked: GDAL and the models hold threads and locks that a fork would copy.
_WORKERS = multiprocessing.get_context("spawn")

Gathered = tuple[SceneRecord, ...] | SceneFailure
"""What comes of one scene."""


@dataclass(frozen=True)
class GatherReport:
    """What came of a list of tasks.

    Attributes
    ----------
    records : tuple of SceneRecord
        Of every raster that is there now, by index.
    failures : tuple of SceneFailure
        Scenes that could not be gathered.
    reused : tuple of str
        Names of the rasters that an earlier run had finished.
    """

    records: tuple[SceneRecord, ...]
    failures: tuple[SceneFailure, ...]
    reused: tuple[str, ...]

    def raise_for_failures(self, min_success_fraction: float) -> None:
        """Raise where fewer than this share of the scenes was gathered.

        Raises
        ------
        TryAgainError
            Where enough would have been, had not the disk or a remote service failed.
        NothingUsableError
            Else.
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
        Where the scene has no valid pixel on the mosaic's grid; nothing is written.
    RasterError, MaskError, DonorError, GridError, CatalogError
        Where the scene's files or its mask cannot be used; nothing is written.
    RadiometryError
        Where its radiometry is in conflict and the task does not trust the pixels.
    OutputError, TryAgainError
        Where the disk or a remote service failed.
    """
    started = time.monotonic()
    scene = parse_scene(task.item, catalog=task.catalog)
    grid = task.grid.grid()
    decided = task.radiometry.decision() if task.radiometry else None
    with gdal_env(), RasterSceneSource(scene, task.bands, radiometry=decided) as source:
        extent = bounds_in(source.grid.bounds, source.grid.crs, grid.crs, near=grid.bounds)
        window = grid.window_of(extent).intersection(grid.window)
        if window.is_empty:
            msg = f"{scene.id} lies outside of the mosaic; drop it"
            raise NothingUsableError(msg)
        refuse_conflict(scene.id, Radiometry.of(source.radiometry), task.on_radiometry_conflict)
        mask = _detect(task, source, grid.window_bounds(window), grid.crs)
        with output_folder(task.output) as folder:
            records = _write_scene(task, source, mask, window, folder, on_event)
            if task.donate_mask:
                write_donor_mask(folder / mask_name(task), mask, scene)
            for record in records:
                write_document(str((folder / record.raster).with_suffix(".json")), record)
    logger.info(
        "scene_gathered",
        extra={
            "scene": scene.id,
            "clear_fraction": records[0].clear_fraction,
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
        As `cloudbuster.tasks.plan_tasks` makes them.
    workers : int
        Processes to use; 1 works in this one.
    force : bool
        Gather again what an earlier call with the same task finished.
    on_event : callable, optional
        Progress callback; called after each scene, and while scenes are under way.

    Returns
    -------
    GatherReport

    Raises
    ------
    OutputError, MissingExtraError, UntrustedCodeError
        Where no scene could fare better: the disk, the installation, the permission.
    RadiometryError
        Where a scene's radiometry is in conflict and its task says to stop.
    TryAgainError
        Where a worker was killed.
    """
    failures: list[SceneFailure] = []
    _stop_at_conflicts(tasks)
    records, todo = ([], tasks) if force else _finished_and_left(tasks)
    reused = [record.raster for record in records]
    done = len(tasks) - len(todo)
    shares = _shares(len(todo), workers)

    def report(message: str) -> None:
        emit(on_event, Event("gather", done + sum(shares), len(tasks), message))

    report(f"{done} scenes were gathered before")
    # Closed at once whatever happens here: an interrupted caller must not leave workers behind.
    with closing(_results(todo, workers, shares, report if on_event else None)) as results:
        for result in results:
            done += 1
            if isinstance(result, SceneFailure):
                failures.append(result)
            else:
                records.extend(result)
            report(_described(result))
    return GatherReport(
        tuple(sorted(records, key=lambda record: (record.backstop, record.index))),
        tuple(sorted(failures, key=lambda failure: failure.index)),
        tuple(sorted(reused)),
    )


def _shares(count: int, workers: int) -> MutableSequence[float]:
    """Make the list of how much of each scene is done, in memory that workers share.

    It has no lock: a worker that is killed cannot block the others by it.
    """
    return [0.0] * count if workers <= 1 else _WORKERS.RawArray("d", count)


def _finished_and_left(tasks: list[GatherTask]) -> tuple[list[SceneRecord], list[GatherTask]]:
    """Find what earlier calls of these tasks finished, and what is left to do."""
    split = [split_task(task) for task in tasks]
    records = [record for known, _ in split for record in known]
    return records, [left for _, left in split if left is not None]


def gather_or_raise(
    tasks: list[GatherTask],
    *,
    workers: int = 1,
    min_success_fraction: float,
    on_event: OnEvent | None = None,
) -> tuple[SceneRecord, ...]:
    """Gather scenes, and raise where too few of them could be.

    Parameters
    ----------
    tasks : list of GatherTask
        A single one is always gathered anew, and its own error is raised.
    workers : int
        Processes to use; 1 works in this one.
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
        return gather_scene(tasks[0], on_event=on_event)
    report = gather_scenes(tasks, workers=workers, on_event=on_event)
    report.raise_for_failures(min_success_fraction)
    return report.records


def _described(result: Gathered) -> str:
    """Describe in words what came of a scene, and log why one failed."""
    if isinstance(result, SceneFailure):
        extra = {"scene": result.item_id, "error": result.error, "reason": result.message}
        logger.warning("scene_failed", extra=extra)
        return f"{result.item_id} failed: {result.error}: {result.message}"
    return f"{result[0].item_id} ({result[0].clear_fraction:.0%} clear)"


def refuse_conflict(item_id: str, radiometry: Radiometry, policy: OnRadiometryConflict) -> None:
    """Raise RadiometryError for a scene in conflict, unless the pixels are to be trusted."""
    if policy == "trust-pixels" or not radiometry.conflict:
        return
    msg = (
        f"{item_id}: its radiometric offset is in conflict ({'; '.join(radiometry.evidence)}); "
        f"its pixels say {radiometry.verdict}: --on-radiometry-conflict trust-pixels takes that"
    )
    raise RadiometryError(msg)


def _stop_at_conflicts(tasks: list[GatherTask]) -> None:
    """Raise RadiometryError before any work, where a conflict that is known is to end the run."""
    for task in tasks:
        if task.radiometry is not None and task.on_radiometry_conflict == "fail":
            refuse_conflict(str(task.item["id"]), task.radiometry, "fail")


def _results(
    tasks: list[GatherTask],
    workers: int,
    shares: MutableSequence[float],
    report: Callable[[str], None] | None,
) -> Generator[Gathered, None, None]:
    """Gather each task, in this process or in a pool; in the order in which they finish.

    ``shares`` holds how much of each task is done that has not been yielded; ``report`` is called
    when it has changed.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from _results_here(tasks, shares, report)
        return
    watched, leash = _WORKERS.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=_WORKERS,
        initializer=_start_worker,
        initargs=(watched, shares, log.settings()),
    )
    with watched, leash:
        finished = False
        try:
            with _interrupts_held():
                futures = {
                    pool.submit(_gather_in_worker, task, number): number
                    for number, task in enumerate(tasks)
                }
            pending = set(futures)
            while pending:
                timeout = None if report is None else LOOK_S
                ended, pending = wait(pending, timeout, return_when=FIRST_COMPLETED)
                for future in ended:
                    shares[futures[future]] = 0.0
                    yield future.result()
                if report is not None and not ended:
                    report("")
            finished = True
        except BrokenProcessPool as error:
            msg = "a worker was killed, most often for memory; try again with fewer --workers"
            raise TryAgainError(msg) from error
        finally:
            if not finished:
                leash.close()
            pool.shutdown(cancel_futures=True)


def _results_here(
    tasks: list[GatherTask],
    shares: MutableSequence[float],
    report: Callable[[str], None] | None,
) -> Generator[Gathered, None, None]:
    """Gather each task in this process."""
    for number, task in enumerate(tasks):

        def on_event(event: Event, number: int = number) -> None:
            shares[number] = event.done
            if report is not None:
                report(event.message)

        result = _gather_softly(task, on_event)
        shares[number] = 0.0
        yield result


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start workers that Ctrl-C in a terminal does not reach; this process stops them itself."""
    # A new process inherits the mask; here the signal is delivered when the mask is set back.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a worker process was given when it started."""

    shares: ClassVar[MutableSequence[float]] = []


def _start_worker(
    watched: Connection, shares: MutableSequence[float], logging_settings: log.LogSettings | None
) -> None:
    """Let a worker log as its parent does, and stop when that says so or is gone."""
    _Worker.shares = shares
    if logging_settings is not None:
        log.configure(as_json=logging_settings.as_json, level=logging_settings.level)
    threading.Thread(target=_follow, args=(watched,), daemon=True).start()


def _follow(watched: Connection) -> None:
    """Wait until the other end is closed (nothing is ever sent), then stop this process."""
    with suppress(EOFError, OSError):
        watched.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)


def _stop_worker(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(int(ExitCode.TERMINATED))


def _gather_in_worker(task: GatherTask, number: int) -> Gathered:
    """Gather a scene; on SIGTERM clean up and take no further one from the queue."""

    def share_done(event: Event) -> None:
        _Worker.shares[number] = event.done

    signal.signal(signal.SIGTERM, _stop_worker)
    try:
        return _gather_softly(task, share_done)
    except SystemExit:
        os._exit(int(ExitCode.TERMINATED))
    finally:
        # Between two scenes there is nothing to clean up.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _gather_softly(task: GatherTask, on_event: OnEvent | None) -> Gathered:
    """Gather a scene; what is wrong with it alone becomes a failure."""
    try:
        return gather_scene(task, on_event=on_event)
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


def _detect(task: GatherTask, source: RasterSceneSource, bounds: Bounds, crs: str) -> DetectedMask:
    """Find cloud where the mosaic wants the scene, and as far around as growth reaches."""
    margin_m = task.dilate_m + DISTANCE_LIMIT_M
    area = source.grid.window_of(bounds_in(bounds, crs, source.grid.crs))
    area = area.grown(int(np.ceil(margin_m / source.grid.x_size)) + KERNEL_MARGIN)
    wanted = source.grid.crop(area.intersection(source.grid.window))
    return make_detector(task.detector, task.kind).detect(source, wanted)


def _write_scene(
    task: GatherTask,
    source: RasterSceneSource,
    mask: DetectedMask,
    window: GridWindow,
    folder: Path,
    on_event: OnEvent | None,
) -> tuple[SceneRecord, ...]:
    """Stream the scene block by block into its rasters."""
    target = task.grid.grid().crop(window)
    class_map = ClassMap(
        mask.grid, pixel_classes(mask, task.dilate_m), distance_to(mask.cloud, mask.grid)
    )
    outputs = task_outputs(task)
    counts = np.zeros(len(PixelClass), dtype=np.int64)
    emit(on_event, Event("gather", 0, 1, source.scene.id))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                open_scene_writer(
                    folder / f"{output.stem}.tif",
                    target,
                    task.bands,
                    index=output.index,
                )
            )
            for output in outputs
        ]
        keep_observed = task.backstop_index is not None
        for block in placed_blocks(
            source, class_map, target, task.bands, keep_observed=keep_observed
        ):
            counts += np.bincount(block.classes.ravel(), minlength=len(PixelClass))
            for writer, output in zip(writers, outputs, strict=True):
                pixels = block.observed if output.backstop else block.clear
                if pixels is not None:
                    writer.write(block.window, pixels, block.classes, block.distance_m)
            share = float(counts.sum()) / (target.width * target.height)
            emit(on_event, Event("gather", share, 1, source.scene.id))
        if counts[PixelClass.UNOBSERVED] == counts.sum():
            msg = f"{source.scene.id} has no valid pixel on the mosaic; drop it"
            raise NothingUsableError(msg)
        # Before the new rasters appear: a crash in between must not leave them with the records of
        # the old ones, which a later call would take for finished.
        for output in outputs:
            _remove(folder / f"{output.stem}.json")
    return tuple(_record(task, source, mask, output, counts) for output in outputs)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def _record(
    task: GatherTask,
    source: RasterSceneSource,
    mask: DetectedMask,
    output: TaskOutput,
    counts: npt.NDArray[np.int64],
) -> SceneRecord:
    """Write down what is known of one raster."""
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
        radiometry=Radiometry.of(source.radiometry),
        bands=task.bands,
        grid=task.grid,
        observed_fraction=float(counts[PixelClass.MASKED :].sum() / cells),
        clear_fraction=float(counts[PixelClass.LOW_RANK :].sum() / cells),
        raster=f"{output.stem}.tif",
        mask=mask_name(task) if task.donate_mask else None,
        task_fingerprint=raster_fingerprint(task, output),
        version=version("cloudbuster"),
        item=task.item,
    )
