"""Assess: measure what the gathered scenes cover, before they are merged."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloudbuster.areas import document_area
from cloudbuster.core.arrays import BoolRaster, UInt8Raster
from cloudbuster.core.grid import GridWindow
from cloudbuster.core.masks import PixelClass
from cloudbuster.core.polygons import geodesic_area_m2
from cloudbuster.errors import NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.gathered.scene_raster import OpenScenes
from cloudbuster.models import (
    Assessment,
    FilterOptions,
    LayerCoverage,
    SceneFailure,
    SceneRecord,
    Selection,
    SelectionEntry,
)
from cloudbuster.storage.area_cells import AreaCells
from cloudbuster.storage.gdal_env import gdal_env
from cloudbuster.storage.uri import join

# Rows and columns of the blocks in which cells are counted; the result does not depend on it.
BLOCK_CELLS = 1024


def assess_scenes(
    folder: Path | str,
    records: tuple[SceneRecord, ...],
    selection: Selection,
    options: FilterOptions,
    *,
    failures: tuple[SceneFailure, ...] = (),
    on_event: OnEvent | None = None,
) -> Assessment:
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
        ``coverage_count`` and ``max_uncovered`` are used.
    failures : tuple of SceneFailure
        Scenes that could not be gathered.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    Assessment
        ``covered`` is False if the selection is not covered, or more than ``max_uncovered`` of the
        area has no value.

    Raises
    ------
    NothingUsableError
        If there is no record.
    AoiError
        If the area cannot be used.
    """
    if not records:
        msg = "no scene was gathered; see the failures of each scene"
        raise NothingUsableError(msg)
    aoi = document_area(selection.cloudbuster.aoi)
    grid = records[0].grid.grid()
    area = AreaCells(aoi, grid)
    blocks = list(grid.blocks(BLOCK_CELLS))
    tally = np.zeros(options.coverage_count + 5, dtype=np.int64)
    with gdal_env(), OpenScenes(_rasters(folder, records), grid) as scenes:
        for done, window in enumerate(blocks, start=1):
            within = area.inside(window)
            if within.any():
                tally += _count(_seen(records, scenes, window), within, options.coverage_count)
            emit(on_event, Event("assess", done, len(blocks)))
    area_km2 = geodesic_area_m2(aoi) / 1e6
    return _assessment(tally, selection, options, failures, len(records), area_km2)


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
            hole = ~_filled(seen)
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


def _filled(seen: list[tuple[bool, UInt8Raster]]) -> BoolRaster:
    """Return which cells a clear pixel or a backstop fills."""
    filled: BoolRaster = np.logical_or.reduce(
        [
            classes >= (PixelClass.MASKED if backstop else PixelClass.LOW_RANK)
            for backstop, classes in seen
        ]
    )
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
    gathered: int,
    area_km2: float,
) -> Assessment:
    """Make the assessment of the counts of `_count` over all blocks."""
    share = tally / max(1, tally[0])
    layers, rest = share[1 : options.coverage_count + 1], share[options.coverage_count + 1 :]
    never_observed, never_clear, backstop, holes = (float(value) for value in rest)
    reasons = _plan_reasons(selection, options)
    if holes > options.max_uncovered:
        size = f"{holes:.4f} of the area ({holes * area_km2:.2f} km²)"
        reasons.append(f"{size} has no value: {never_observed:.4f} was never observed")
    return Assessment(
        area_km2=area_km2,
        coverage=_layers(layers),
        never_observed_fraction=never_observed,
        never_clear_fraction=never_clear,
        backstop_fraction=backstop,
        hole_fraction=holes,
        scenes_selected=len(selection.cloudbuster.entries),
        scenes_gathered=gathered,
        failures=failures,
        covered=selection.cloudbuster.covered and holes <= options.max_uncovered,
        reasons=(*reasons, *map(_failure_reason, failures)),
    )


def _plan_reasons(selection: Selection, options: FilterOptions) -> list[str]:
    """Return why the selection does not cover the area; empty if it does."""
    info = selection.cloudbuster
    if info.covered:
        return []
    allowed = f"{options.max_uncovered:g} is allowed"
    reasons = []
    if info.uncovered > options.max_uncovered:
        reasons.append(
            f"the selected footprints leave {info.uncovered:.4g} of the area uncovered over "
            f"{options.coverage_count} layers, {allowed}"
        )
    if (info.backstop_uncovered or 0.0) > options.max_uncovered:
        reasons.append(
            f"the selected footprints leave {info.backstop_uncovered:.4g} of the area without "
            f"backstop, {allowed}"
        )
    return reasons


def _failure_reason(failure: SceneFailure) -> str:
    """Return the reason of a scene that was not gathered."""
    return f"scene {failure.item_id} failed: {failure.error}: {failure.message}"


def _layers(shares: npt.NDArray[np.float64]) -> tuple[LayerCoverage, ...]:
    """Return the coverage of each number of times, from 1."""
    return tuple(
        LayerCoverage(times=times, covered_fraction=float(share))
        for times, share in enumerate(shares, start=1)
    )
