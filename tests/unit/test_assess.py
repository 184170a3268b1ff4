"""Assess: shares of areas of any size that any number of scenes cover."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.assess import assess_scenes, backstop_repairs
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.selection import holes as holes_module
from cloudbuster.core.selection.holes import Holes
from cloudbuster.errors import NothingUsableError
from cloudbuster.gather import gather_scene
from cloudbuster.models import (
    Assessment,
    FilterOptions,
    MergeOptions,
    SceneRecord,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from tests.factories import CRS, NORTH, WEST, SceneSpec, area_of
from tests.gathering import grid_of, task_of


def selection_of(
    records: tuple[SceneRecord, ...],
    aoi: dict[str, Any],
    *,
    uncovered: float = 0.0,
    backstop_uncovered: float = 0.0,
) -> Selection:
    entries = tuple(SelectionEntry(item_id=r.item_id, backstop=r.backstop) for r in records)
    return Selection(
        features=tuple({record.item_id: record.item for record in records}.values()),
        cloudbuster=SelectionInfo(
            aoi=aoi,
            kind="L2A",
            catalog="catalog",
            strategy="original",
            entries=entries,
            uncovered_by_layer=(uncovered,),
            uncovered=uncovered,
            backstop_uncovered=backstop_uncovered,
            covered=max(uncovered, backstop_uncovered) <= FilterOptions().max_uncovered,
        ),
    )


def assess(folder: Path, records: tuple[SceneRecord, ...], aoi: dict[str, Any]) -> Assessment:
    options = FilterOptions(coverage_count=1)
    return assess_scenes(folder / "scenes", records, selection_of(records, aoi), options)[0]


def test_shares_are_of_the_area_alone(tmp_path: Path) -> None:
    # The western half is cloudy and there is no backstop: half of the area has no value.
    spec = SceneSpec(scl=[(slice(0, 30), slice(0, 15), 9)])
    records = gather_scene(task_of(tmp_path, spec, backstop_index=None))
    found = assess(tmp_path, records, area_of(spec))
    assert found.coverage[0].covered_fraction == pytest.approx(0.5, abs=0.01)
    assert found.hole_fraction == pytest.approx(0.5, abs=0.01)
    assert found.never_observed_fraction == 0
    assert not found.covered
    assert backstop_repairs(tmp_path / "scenes", records) == (spec.id,)


def test_an_area_of_less_than_a_cell_is_assessed_too(tmp_path: Path) -> None:
    # A square of 4 m around a corner of four cells, which contains the centre of none of them.
    spec = SceneSpec(scl=[(slice(0, 30), slice(0, 30), 9)])
    tiny = SceneSpec(west=spec.west + 298, north=spec.north - 298, size=1, gsd=4)
    records = gather_scene(task_of(tmp_path, spec, backstop_index=None))
    found = assess(tmp_path, records, area_of(tiny, inset_m=0))
    assert (found.hole_fraction, found.covered) == (1.0, False)
    records = gather_scene(task_of(tmp_path, SceneSpec(), backstop_index=None))
    found = assess(tmp_path, records, area_of(tiny, inset_m=0))
    assert (found.coverage[0].covered_fraction, found.covered) == (1.0, True)


def test_more_scenes_than_a_process_may_open_are_assessed(tmp_path: Path) -> None:
    (record,) = gather_scene(task_of(tmp_path, SceneSpec(), backstop_index=None))
    count = 160
    raster = tmp_path / "scenes" / record.raster
    records = []
    for index in range(1, count + 1):
        name = f"m-{index:02d}.tif"
        raster.with_name(name).write_bytes(raster.read_bytes())
        item = {**record.item, "id": f"item-{index}"}
        changes = {"index": index, "raster": name, "item": item, "item_id": item["id"]}
        records.append(record.model_copy(update=changes))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Files that other tests of this process hold open count too.
    held = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + count - 20, before[1]))
    try:
        found = assess(tmp_path, tuple(records), area_of(SceneSpec()))
        assert backstop_repairs(tmp_path / "scenes", tuple(records)) == ()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (found.scenes_gathered, found.coverage[0].covered_fraction) == (count, 1.0)


def holes_of(folder: Path, spec: SceneSpec, aoi: dict[str, Any], **task: Any) -> Holes:
    records = gather_scene(task_of(folder, spec, **task))
    options = FilterOptions(coverage_count=1)
    return assess_scenes(folder / "scenes", records, selection_of(records, aoi), options)[1]


def test_holes_are_the_cells_that_are_never_clear_and_those_without_a_value(
    tmp_path: Path,
) -> None:
    # Cloud in the corner of 20 x 10 cells; no data in 4 x 6 cells at the other end.
    pixels = np.full((60, 60), 500, np.uint16)
    pixels[50:54, 40:46] = 0
    scl = [(slice(0, 10), slice(0, 5), 9), (slice(25, 27), slice(20, 23), 0)]
    spec = SceneSpec(scl=scl, pixels=pixels)
    holes = holes_of(tmp_path, spec, area_of(spec, inset_m=20))
    never_clear, empty = np.zeros((2, 60, 60), dtype=bool)
    never_clear[0:20, 0:10] = True
    never_clear[50:54, 40:46] = empty[50:54, 40:46] = True
    # The area begins two cells from the edges.
    never_clear[:2] = never_clear[:, :2] = False
    assert holes.grid == grid_of(spec)
    np.testing.assert_array_equal(holes.never_clear, never_clear)
    np.testing.assert_array_equal(holes.empty, empty)
    assert holes.total == 56 * 56


def test_without_a_backstop_what_is_cloudy_has_no_value(tmp_path: Path) -> None:
    spec = SceneSpec(scl=[(slice(0, 10), slice(0, 5), 9)])
    holes = holes_of(tmp_path, spec, area_of(spec, inset_m=20), backstop_index=None)
    np.testing.assert_array_equal(holes.empty, holes.never_clear)
    assert np.count_nonzero(holes.empty) == 18 * 8


# Row and column, side, and class, in cells of 20 m.
SPECKS = ((12, 1, 9), (20, 2, 9), (28, 4, 0))


def test_specks_are_no_places_to_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Coarse cells of 8 x 8: one of four cloudy cells, one of sixteen, and one without data.
    monkeypatch.setattr(holes_module, "HOLE_CELLS", 8)
    pixels = np.full((64, 64), 500, np.uint16)
    pixels[56:64, 56:64] = 0
    scl = [(slice(row, row + side), slice(row, row + side), code) for row, side, code in SPECKS]
    spec = SceneSpec(size=64, scl=scl, pixels=pixels)
    holes = holes_of(tmp_path, spec, area_of(spec, inset_m=0))
    assert holes.grid == Grid(CRS, WEST, NORTH, 80, 80, 8, 8)
    assert np.argwhere(holes.never_clear).tolist() == [[5, 5], [7, 7]]
    assert np.argwhere(holes.empty).tolist() == [[7, 7]]
    assert holes.total == 64


@pytest.mark.parametrize(("limit", "covered"), [(0.05, False), (0.06, True)])
def test_a_mosaic_is_covered_if_no_more_than_the_limit_is_never_clear(
    tmp_path: Path, limit: float, covered: bool
) -> None:
    # 18 x 10 of 56 x 56 cells inside the area: 5.7 %, which the backstop fills.
    spec = SceneSpec(scl=[(slice(0, 10), slice(0, 6), 9)])
    records = gather_scene(task_of(tmp_path, spec))
    options = FilterOptions(coverage_count=3, max_never_clear=limit)
    chosen = selection_of(records, area_of(spec, inset_m=20))
    found, _ = assess_scenes(tmp_path / "scenes", records, chosen, options)
    assert found.never_clear_fraction == pytest.approx(180 / 56**2)
    assert (found.covered, found.hole_fraction) == (covered, 0)
    assert len(found.reasons) == (not covered)


def test_a_hole_is_never_covered_whatever_the_limit(tmp_path: Path) -> None:
    pixels = np.full((60, 60), 500, np.uint16)
    pixels[30:36, 30:36] = 0
    spec = SceneSpec(pixels=pixels, scl=[(slice(15, 18), slice(15, 18), 0)])
    records = gather_scene(task_of(tmp_path, spec))
    options = FilterOptions(coverage_count=1, max_never_clear=1)
    chosen = selection_of(records, area_of(spec, inset_m=20))
    found, _ = assess_scenes(tmp_path / "scenes", records, chosen, options)
    assert not found.covered
    assert "has no value" in found.reasons[0]


def test_a_round_of_which_nothing_was_gathered_leaves_all_of_the_area(tmp_path: Path) -> None:
    spec, options = SceneSpec(), FilterOptions(coverage_count=1)
    chosen = selection_of((), area_of(spec, inset_m=20))
    found, holes = assess_scenes(tmp_path, (), chosen, options, grid=grid_of(spec))
    assert (found.never_observed_fraction, found.covered) == (1.0, False)
    assert np.count_nonzero(holes.empty) == holes.total == 56 * 56
    with pytest.raises(NothingUsableError, match="no scene was gathered"):
        assess_scenes(tmp_path, (), chosen, options)


def test_what_composite_best_rejects_is_not_clear_and_fills_what_is_left(tmp_path: Path) -> None:
    records: list[SceneRecord] = []
    for index, spec in enumerate((SceneSpec(id="HAZY"), SceneSpec(id="HAZIER")), start=1):
        task = task_of(tmp_path, spec, index=2 * index - 1, backstop_index=2 * index)
        records += gather_scene(task)
    # Both scenes are far above the ground that the records describe.
    known = tuple(record.model_copy(update={"haze_dn": -5000.0}) for record in records)
    chosen = selection_of(known, area_of(SceneSpec()))
    options = FilterOptions(coverage_count=1)
    plain, _ = assess_scenes(tmp_path / "scenes", known, chosen, options)
    assert (plain.never_clear_fraction, plain.covered) == (0, True)
    best = MergeOptions(composite="best")
    found, holes = assess_scenes(tmp_path / "scenes", known, chosen, options, merge=best)
    assert (found.never_clear_fraction, found.backstop_fraction, found.hole_fraction) == (1, 1, 0)
    assert holes.never_clear_share == 1
    assert not holes.empty.any()
    off = MergeOptions(composite="best", haze_limit_dn=0)
    assert assess_scenes(tmp_path / "scenes", known, chosen, options, merge=off)[0].covered
