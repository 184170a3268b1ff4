"""Expect what gathering the scenes of a selection reads and decodes, from headers alone."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.windows import cells_of_size, context_windows, nearest_multiple
from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.detectors import csmask, resolved, s2cloudless
from cloudbuster.errors import CloudBusterError
from cloudbuster.gather import Place, detection_area, place_of
from cloudbuster.models import (
    Assessment,
    Candidates,
    ExpectedWork,
    GatherTask,
    MosaicRequest,
    RunPlan,
    Selection,
)
from cloudbuster.source.masks.product_masks import mask_band_count, mask_name
from cloudbuster.source.placing import planned_reads
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.uri import join
from cloudbuster.storage.rasters.gdal_env import gdal_env

logger = logging.getLogger(__name__)

PLAN = "plan.json"
"""Document with the expected work of a run, beside its selection."""
# Scenes whose headers are read. The others are taken to need as much for each unit of a delivery as
# these do on average.
MOST_OPENED = 24
THREADS = 8
# Bytes of a cell of a layer in gathered scenes and products: measured on the scenes of the
# benchmark, with 2 x bands + 6 layers in the three products (docs/operators.md).
BYTES_PER_CELL = 1.1
# Cell size of a detector's mask unless the request names another, metres, and the bands it reads;
# any other detector reads all bands of the level at the size of the finest.
DEFAULT_GSD_M = {"s2cloudless": s2cloudless.DEFAULT_GSD_M, "csmask": csmask.DEFAULT_GSD_M}
MODEL_BANDS = {
    "s2cloudless": s2cloudless.MODEL_BANDS,
    "csmask": (*csmask.VISIBLE, csmask.NEAR_INFRARED[0], *csmask.SHORT_WAVE),
}
PRODUCT_LAYERS = 6
# Layers of a gathered scene beside its bands: classes, and distance to cloud.
SCENE_LAYERS = 2


@dataclass(frozen=True)
class _SceneWork:
    """What is expected of one scene."""

    pixels: int
    mask_pixels: int
    read_bytes: int
    requests: int
    jpeg2000_pixels: int


def expect_work(tasks: Sequence[GatherTask], *, rounds: int = 1) -> ExpectedWork:
    """Expect what a list of gather tasks reads and decodes.

    The headers of at most `MOST_OPENED` scenes are read, and no pixel. What pixels decide is not
    counted: zeros at the edge of a block, and the surroundings of the edge of the data.

    Parameters
    ----------
    tasks : sequence of GatherTask
        Tasks of one plan.
    rounds : int
        Rounds that are expected.

    Returns
    -------
    ExpectedWork
        For all tasks, also those that an earlier run has finished.
    """
    opened = _spread(tasks, MOST_OPENED)
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(
            zip(opened, pool.map(lambda place: _expect(tasks[place]), opened), strict=True)
        )
    known = {place: work for place, work in found.items() if work is not None}
    counted = np.array([_counts(work) for work in known.values()], dtype=np.float64)
    units = [_units(task) for task in tasks]
    total = np.zeros(5) if not known else counted.sum(axis=0)
    rest = sum(units[place] for place in range(len(tasks)) if place not in known)
    seen = sum(units[place] for place in known)
    if seen:
        total *= 1 + rest / seen
    unreadable = [place for place, work in found.items() if work is None]
    pixels, mask_pixels, read_bytes, requests, jpeg2000 = (round(value) for value in total)
    return ExpectedWork(
        scenes=len(tasks),
        rounds=rounds,
        decoded_pixels=pixels,
        decoded_mask_pixels=mask_pixels,
        read_bytes=read_bytes,
        requests=requests,
        jpeg2000_pixels=jpeg2000,
        scene_bytes=round(sum(map(_scene_bytes, tasks))),
        product_bytes=_product_bytes(tasks),
        unreadable=tuple(str(tasks[place].item.get("id")) for place in unreadable),
    )


def scaled_work(
    work: ExpectedWork,
    tasks: Sequence[GatherTask],
    others: Sequence[GatherTask],
    *,
    rounds: int = 1,
) -> ExpectedWork:
    """Expect the work of other tasks on the same scenes, without reading any header.

    Parameters
    ----------
    work : ExpectedWork
        Work of ``tasks``.
    tasks, others : sequence of GatherTask
        Tasks that ``work`` was expected of, and those to expect now.
    rounds : int
        Rounds that are expected.
    """
    before, now = (sum(map(_units, each)) for each in (tasks, others))
    ratio = now / before if before else 0.0
    scaled = ("decoded_pixels", "decoded_mask_pixels", "read_bytes", "requests", "jpeg2000_pixels")
    return work.model_copy(
        update={
            **{name: round(getattr(work, name) * ratio) for name in scaled},
            "scenes": len(others),
            "rounds": rounds,
            "scene_bytes": round(sum(map(_scene_bytes, others))),
            "product_bytes": _product_bytes(others),
        }
    )


def expected_rounds(selection: Selection, candidates: Candidates, request: MosaicRequest) -> int:
    """Return the number of rounds that a run is expected to make, 1 or 2.

    A second round looks for what the thumbnails of the first one leave over the limit, if there are
    candidates that were not selected.
    """
    info = selection.cloudbuster
    is_last = request.limits.max_rounds == 1 or info.strategy != "clear"
    is_all = len(selection.features) == len(candidates.features)
    enough = info.uncovered_by_layer[0] <= request.filter.max_never_clear
    return 1 if is_last or is_all or enough else 2


def expected_plan(
    selection: Selection,
    candidates: Candidates,
    tasks: Sequence[GatherTask],
    request: MosaicRequest,
) -> RunPlan:
    """Expect the work of a run, without prices.

    Parameters
    ----------
    selection, candidates, tasks : Selection, Candidates, sequence of GatherTask
        Scenes of the first round, and how they are gathered.
    request : MosaicRequest
        The request.
    """
    info = selection.cloudbuster
    return RunPlan(
        work=expect_work(tasks, rounds=expected_rounds(selection, candidates, request)),
        clear_fraction=1 - info.uncovered_by_layer[0],
        covered=info.covered,
    )


def with_expected(assessment: Assessment, selection_uri: str) -> Assessment:
    """Set beside what a run has read and decoded what its plan expected, if it has one.

    Parameters
    ----------
    assessment : Assessment
        Assessment of the run.
    selection_uri : str
        URI of the selection, beside which the plan lies.
    """
    folder = selection_uri.rpartition("/")[0]
    plan = read_earlier(join(folder, PLAN), RunPlan)
    return assessment.model_copy(update={"expected": None if plan is None else plan.work})


def _spread(tasks: Sequence[GatherTask], most: int) -> list[int]:
    """Return at most so many positions, evenly spread."""
    count = min(most, len(tasks))
    return [position * len(tasks) // count for position in range(count)]


def _counts(work: _SceneWork) -> tuple[int, ...]:
    return (
        work.pixels,
        work.mask_pixels,
        work.read_bytes,
        work.requests,
        work.jpeg2000_pixels,
    )


def _units(task: GatherTask) -> float:
    """Size of what a task delivers, in cells of the mosaic."""
    cells = float(task.grid.width * task.grid.height)
    if task.delivery is None:
        return cells
    needed = task.delivery.needed()
    return float(needed.mean()) * min(cells, _cells_of(task.delivery.grid.grid(), task))


def _cells_of(units: Grid, task: GatherTask) -> float:
    """Cells of the mosaic that a grid of units covers."""
    width_m, height_m = cell_size_m(units)
    cell_width_m, cell_height_m = cell_size_m(task.grid.grid())
    return units.width * width_m * units.height * height_m / (cell_width_m * cell_height_m)


def _scene_bytes(task: GatherTask) -> float:
    return _units(task) * (len(task.bands) + SCENE_LAYERS) * BYTES_PER_CELL


def _product_bytes(tasks: Sequence[GatherTask]) -> int:
    if not tasks:
        return 0
    grid, layers = tasks[0].grid, 2 * len(tasks[0].bands) + PRODUCT_LAYERS
    return round(grid.width * grid.height * layers * BYTES_PER_CELL)


def _expect(task: GatherTask) -> _SceneWork | None:
    """Expect the work of one task from the headers of its files; None if they cannot be read."""
    try:
        scene = parse_scene(task.item, catalog=task.catalog, asset_mirror=task.asset_mirror)
        decided = task.radiometry.decision() if task.radiometry else None
        with gdal_env(), RasterSceneSource(scene, task.bands, radiometry=decided) as source:
            place = place_of(task, source)
            _expect_mask(task, source, place)
            for grid in planned_reads(source.grid, place.target, place.units):
                source.expect(task.bands, grid)
            pixels = source.decoded_pixels
            return _SceneWork(
                pixels=pixels,
                mask_pixels=source.decoded_mask_pixels,
                read_bytes=source.read_bytes,
                requests=source.requests + len(task.bands) + 1,
                jpeg2000_pixels=pixels if source.is_jpeg2000 else 0,
            )
    except CloudBusterError as error:
        # The scene fails when it is gathered, and is reported then.
        logger.info("scene_unexpected", extra={"scene": task.item.get("id"), "reason": str(error)})
        return None


def _expect_mask(task: GatherTask, source: RasterSceneSource, place: Place) -> None:
    """Count what the detectors of a task read."""
    area = detection_area(task, source.grid, place)
    for name in resolved(task.detector, task.kind).detectors.names:
        if name == "stock":
            _expect_product_mask(task, source, area)
        elif name != "donor" and not (name == "s2cloudless" and task.kind == "L2A"):
            # With L2A, s2cloudless reads the twin, whose files are counted by no record.
            _expect_bands(name, task, source, area)


def _expect_bands(name: str, task: GatherTask, source: RasterSceneSource, area: Grid) -> None:
    """Count the bands that a detector reads, in the windows in which a network reads them."""
    gsd_m, finest_m = task.detector.mask_gsd_m, cell_size_m(source.grid)[0]
    if name in DEFAULT_GSD_M:
        gsd_m = max(gsd_m or nearest_multiple(DEFAULT_GSD_M[name], finest_m), finest_m)
    cells = source.grid if gsd_m is None else cells_of_size(source.grid, source.grid, gsd_m)
    known = MODEL_BANDS.get(name, BANDS_BY_KIND[task.kind])
    bands = tuple(band for band in known if band in source.scene.bands)
    wanted = cells.window_of(area.bounds)
    if name == "s2cloudless":
        source.expect_cells(bands, cells.crop(wanted.intersection(cells.window)))
        return
    for window in context_windows(
        cells, wanted, size=csmask.WINDOW_CELLS, context=csmask.CONTEXT_CELLS
    ):
        source.expect_cells(bands, cells.crop(window.read.intersection(cells.window)))


def _expect_product_mask(task: GatherTask, source: RasterSceneSource, area: Grid) -> None:
    """Count what the detector of the product's masks reads."""
    name = mask_name(source.scene, task.kind, task.detector.preset)
    if name != "gml":
        source.expect_mask(name, area, bands=mask_band_count(name))
