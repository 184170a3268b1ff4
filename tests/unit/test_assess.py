"""Assess: shares of areas of any size that any number of scenes cover."""

import resource
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.assess import assess_scenes, backstop_repairs
from cloudbuster.gather import gather_scene
from cloudbuster.models import (
    Assessment,
    FilterOptions,
    SceneRecord,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from tests.factories import SceneSpec, area_of
from tests.gathering import task_of


def selection_of(records: tuple[SceneRecord, ...], aoi: dict[str, Any]) -> Selection:
    entries = tuple(SelectionEntry(item_id=r.item_id, backstop=r.backstop) for r in records)
    return Selection(
        features=tuple(record.item for record in records),
        cloudbuster=SelectionInfo(
            aoi=aoi,
            kind="L2A",
            catalog="catalog",
            strategy="original",
            entries=entries,
            uncovered_by_layer=(0.0,),
            uncovered=0.0,
            backstop_uncovered=0.0,
            covered=True,
        ),
    )


def assess(folder: Path, records: tuple[SceneRecord, ...], aoi: dict[str, Any]) -> Assessment:
    options = FilterOptions(coverage_count=1)
    return assess_scenes(folder / "scenes", records, selection_of(records, aoi), options)


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
