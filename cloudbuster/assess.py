"""Assess: measure what the gathered scenes cover, before they are merged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloudbuster.core.areas.polygons import geodesic_area_m2
from cloudbuster.core.arrays import BoolRaster, UInt8Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.selection.holes import Holes, HoleShares
from cloudbuster.core.texts.number_texts import format_area, format_percent
from cloudbuster.errors import NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.gathered.observed_blocks import (
    BestPlan,
    GatheredRaster,
    choose_in_block,
    comparing_plan,
)
from cloudbuster.gathered.scene_raster import OpenScenes
from cloudbuster.inputs.areas import document_area
from cloudbuster.models import (
    Assessment,
    FilterOptions,
    LayerCoverage,
    MergeOptions,
    SceneFailure,
    SceneRecord,
    Selection,
    SelectionEntry,
)
from cloudbuster.storage.files.uri import join
from cloudbuster.storage.rasters.area_cells import AreaCells
from cloudbuster.storage.rasters.gdal_env import gdal_env

# Rows and columns of the blocks in which cells are counted; the result does not depend on it.
BLOCK_CELLS = 1024
# Rows and columns of the blocks in which a composite decides, which holds several arrays for each
# scene. The result does not depend on it.
DECISION_CELLS = 512


def assess_scenes(
    folder: Path | str,
    records: tuple[SceneRecord, ...],
    selection: Selection,
    options: FilterOptions,
    *,
    merge: MergeOptions | None = None,
    failures: tuple[SceneFailure, ...] = (),
    grid: Grid | None = None,
    on_event: OnEvent | None = None,
) -> tuple[Assessment, Holes]:
    """Measure, in cells of the mosaic inside the area, what the gathered scenes cover.

    Parameters
    ----------
    folder : Path or str
        Folder of the scenes. From an ``s3://`` prefix only the pixel classes are read.
    records : tuple of SceneRecord
        Gathered scenes, all on one grid.
    selection : Selection
        Selection of the scenes, with the area.
    options : FilterOptions
        ``coverage_count``, ``max_never_clear`` and ``backstop`` are used.
    merge : MergeOptions, optional
        How the scenes will be merged. With composite ``best``, pixels that it rejects are not
        clear; without, all clear pixels of the scenes count.
    failures : tuple of SceneFailure
        Scenes that could not be gathered.
    grid : Grid, optional
        Grid of the mosaic, for a round of which no scene could be gathered.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    Assessment, Holes
        ``covered`` is False if more than ``max_never_clear`` of the area was never seen clear, or
        a cell of it has no value: without backstop, if a cell was never observed. The places that
        are left to fill, for a further round.

    Raises
    ------
    NothingUsableError, AoiError
        If there is neither a record nor a grid, or the area cannot be used.
    """
    grid = _grid_of(records, grid)
    aoi = document_area(selection.cloudbuster.aoi)
    area = AreaCells(aoi, grid)
    tally = np.zeros(options.coverage_count + 5, dtype=np.int64)
    left = HoleShares(grid, block_cells=BLOCK_CELLS)
    plan = _plan_of(merge, records, grid)
    with gdal_env(), OpenScenes(_rasters(folder, records), grid) as scenes:
        for window in _reported(list(grid.blocks(BLOCK_CELLS)), on_event):
            within = area.inside(window)
            if within.any():
                seen = _accepted(_seen(records, scenes, window), records, scenes, window, plan)
                tally += _count(seen, within, options.coverage_count)
                left.add(window, within, _clear(seen, within.shape), _filled(seen, within.shape))
    area_km2 = geodesic_area_m2(aoi) / 1e6
    return _assessment(tally, selection, options, failures, records, area_km2), left.holes()


def _grid_of(records: tuple[SceneRecord, ...], grid: Grid | None) -> Grid:
    """Return the grid of the records, or else the one given; raise if there is neither."""
    grid = records[0].grid.grid() if records else grid
    if grid is None:
        msg = "no scene was gathered; see the failures of each scene"
        raise NothingUsableError(msg)
    return grid


def _plan_of(
    merge: MergeOptions | None, records: tuple[SceneRecord, ...], grid: Grid
) -> BestPlan | None:
    """Return the plan of a composite that rejects pixels; None if there is nothing to reject."""
    if merge is None or not records:
        return None
    return comparing_plan(merge.composite, records, grid, merge.haze_limit_dn)


def _reported(blocks: list[GridWindow], on_event: OnEvent | None) -> Iterator[GridWindow]:
    """Yield the blocks, and report each that was done."""
    for done, window in enumerate(blocks, start=1):
        yield window
        emit(on_event, Event("assess", done, len(blocks)))


def backstop_repairs(folder: Path | str, records: tuple[SceneRecord, ...]) -> tuple[str, ...]:
    """Find scenes whose unmasked pixels fill cells that no clear pixel and no backstop fills.

    Footprints of catalogs are larger than the data, and a backstop scene may have failed: then a
    cell that a gathered scene observed under cloud would stay a hole.

    Parameters
    ----------
    folder, records
        As for `assess_scenes`.

    Returns
    -------
    tuple of str
        Item ids in order of their index. Each fills a cell that those before it do not fill.
    """
    if not records:
        return ()
    grid, needed = records[0].grid.grid(), set[str]()
    backstops = {record.item_id for record in records if record.backstop}
    with gdal_env(), OpenScenes(_rasters(folder, records), grid) as scenes:
        for window in grid.blocks(BLOCK_CELLS):
            seen = _seen(records, scenes, window)
            hole = ~_filled(seen, (window.height, window.width))
            for record, (_, classes) in zip(records, seen, strict=True):
                sees = hole & (classes != PixelClass.UNOBSERVED)
                if record.item_id not in backstops and sees.any():
                    needed.add(record.item_id)
                    hole &= ~sees
    return tuple(record.item_id for record in records if record.item_id in needed)


def with_backstop(selection: Selection, item_ids: tuple[str, ...]) -> Selection:
    """Add items that are picked for a clear layer to the backstop of a selection as well.

    The new entries are the last ones, so that the indices of the others do not change.
    """
    info = selection.cloudbuster
    added = tuple(
        SelectionEntry(item_id=item_id, backstop=True, reused=True) for item_id in item_ids
    )
    return selection.model_copy(
        update={"cloudbuster": info.model_copy(update={"entries": info.entries + added})}
    )


def _rasters(folder: Path | str, records: tuple[SceneRecord, ...]) -> list[str]:
    """Return the paths or URIs of the rasters of some records."""
    return [join(str(folder), record.raster) for record in records]


def _seen(
    records: tuple[SceneRecord, ...], scenes: OpenScenes, window: GridWindow
) -> list[tuple[bool, UInt8Raster]]:
    """Return, for each scene, whether it is backstop, and its pixel classes in a window."""
    return [
        (record.backstop, scenes.open_raster(position).read_classes(window))
        for position, record in enumerate(records)
    ]


def _accepted(
    seen: list[tuple[bool, UInt8Raster]],
    records: tuple[SceneRecord, ...],
    scenes: OpenScenes,
    window: GridWindow,
    plan: BestPlan | None,
) -> list[tuple[bool, UInt8Raster]]:
    """Mask the pixels of `_seen` that composite `best` rejects, which then serve as backstop."""
    if plan is None:
        return seen
    rasters = [GatheredRaster(record.raster, record.backstop) for record in records]
    grid = records[0].grid.grid()
    classes = [each.copy() for _, each in seen]
    substitute = np.zeros((window.height, window.width), dtype=np.uint8)
    for part in grid.crop(window).blocks(DECISION_CELLS):
        chosen = choose_in_block(scenes, rasters, part.shifted(window.row, window.col), grid, plan)
        if chosen is None:
            continue
        for position, rejected in chosen.rejected.items():
            classes[position][part.slices][rejected] = PixelClass.MASKED
            substitute[part.slices][rejected] = PixelClass.MASKED
    accepted = [(backstop, each) for (backstop, _), each in zip(seen, classes, strict=True)]
    return [*accepted, (True, substitute)] if plan.has_backstop else accepted


def _clear(seen: list[tuple[bool, UInt8Raster]], shape: tuple[int, int]) -> BoolRaster:
    """Return which cells are clear in any scene."""
    clear = np.zeros(shape, dtype=np.bool_)
    for backstop, classes in seen:
        if not backstop:
            clear |= classes >= PixelClass.LOW_RANK
    return clear


def _filled(seen: list[tuple[bool, UInt8Raster]], shape: tuple[int, int]) -> BoolRaster:
    """Return which cells a clear pixel or a backstop fills."""
    filled = np.zeros(shape, dtype=np.bool_)
    for backstop, classes in seen:
        filled |= classes >= (PixelClass.MASKED if backstop else PixelClass.LOW_RANK)
    return filled


def _count(
    seen: list[tuple[bool, UInt8Raster]], within: BoolRaster, coverage_count: int
) -> npt.NDArray[np.int64]:
    """Count the cells of the area in one block.

    Returns
    -------
    ndarray of int64, shape (coverage_count + 5,)
        All cells; cells clear at least 1, 2, ... ``coverage_count`` times; never observed; observed
        but never clear; filled by the backstop; holes.
    """
    clear = np.zeros(within.shape, dtype=np.int32)
    observed, filled = np.zeros(within.shape, dtype=bool), np.zeros(within.shape, dtype=bool)
    for backstop, classes in seen:
        observed |= classes != PixelClass.UNOBSERVED
        if backstop:
            filled |= classes != PixelClass.UNOBSERVED
        else:
            clear += classes >= PixelClass.LOW_RANK
    never_clear = clear == 0
    counted = [
        within,
        *(clear >= times for times in range(1, coverage_count + 1)),
        ~observed,
        observed & never_clear,
        never_clear & filled,
        never_clear & ~filled,
    ]
    return np.array([np.count_nonzero(cells & within) for cells in counted], dtype=np.int64)


def _assessment(
    tally: npt.NDArray[np.int64],
    selection: Selection,
    options: FilterOptions,
    failures: tuple[SceneFailure, ...],
    records: tuple[SceneRecord, ...],
    area_km2: float,
) -> Assessment:
    """Make the assessment of the counts of `_count` over all blocks."""
    share = tally / max(1, tally[0])
    layers, rest = share[1 : options.coverage_count + 1], share[options.coverage_count + 1 :]
    never_observed, never_clear, backstop, holes = (float(value) for value in rest)
    # Without a backstop, what was observed under cloud has no value by the user's wish.
    empty = holes if options.backstop else never_observed
    reasons = []
    if never_clear + never_observed > options.max_never_clear:
        lost = _size(never_clear + never_observed, area_km2)
        allowed = format_percent(options.max_never_clear)
        reasons.append(f"{lost} was never seen clear, {allowed} is allowed")
    if empty > 0:
        share_text = format_percent(never_observed)
        reasons.append(f"{_size(empty, area_km2)} has no value: {share_text} was never observed")
    return Assessment(
        area_km2=area_km2,
        coverage=_layers(layers),
        never_observed_fraction=never_observed,
        never_clear_fraction=never_clear,
        backstop_fraction=backstop,
        hole_fraction=holes,
        scenes_selected=len({entry.item_id for entry in selection.cloudbuster.entries}),
        scenes_gathered=len({record.item_id for record in records}),
        failures=failures,
        covered=not reasons,
        reasons=(*reasons, *map(_failure_reason, failures)),
        rounds=max((entry.round for entry in selection.cloudbuster.entries), default=1),
        decoded_pixels=sum(record.decoded_pixels for record in records),
        read_bytes=sum(record.read_bytes for record in records),
    )


def _size(share: float, area_km2: float) -> str:
    """Format a share of the area, with its size."""
    return f"{format_percent(share)} of the area ({format_area(share * area_km2)} km²)"


def _failure_reason(failure: SceneFailure) -> str:
    """Return the reason of a scene that was not gathered."""
    return f"scene {failure.item_id} failed: {failure.error}: {failure.message}"


def _layers(shares: npt.NDArray[np.float64]) -> tuple[LayerCoverage, ...]:
    """Return the coverage of each number of times, from 1."""
    return tuple(
        LayerCoverage(times=times, covered_fraction=float(share))
        for times, share in enumerate(shares, start=1)
    )
