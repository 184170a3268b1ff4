"""Cells of the mosaic and of masks, in metres on the ground, whatever the CRS of the scenes."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import box, shape

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.gather import gather_scenes
from cloudbuster.models import GatherOptions, GatherTask, GridDocument
from cloudbuster.runs.tasks import selection_grid
from tests.factories import SceneSpec, area_of
from tests.gathering import gathered, task_of

METRES = SceneSpec(size=40)
# About the same place, 15 E 46 N.
DEGREES = replace(METRES, crs="EPSG:4326", gsd=0.0001, west=15.0, north=46.0)  # type: ignore[arg-type]
MERCATOR = replace(METRES, crs="EPSG:3857", west=1_669_800.0, north=5_780_340.0)
# California: 10 m in US survey feet.
FEET = replace(METRES, crs="EPSG:2226", gsd=32.8083, west=6_560_000.0, north=2_000_000.0)  # type: ignore[arg-type]


def own_task(folder: Path, spec: SceneSpec, **changes: Any) -> GatherTask:
    """Task of a scene on the grid of its own raster."""
    own = Grid(spec.crs, spec.west, spec.north, spec.gsd, spec.gsd, spec.size, spec.size)
    return task_of(folder, spec, own, **changes)


def planned(
    folder: Path, *specs: SceneSpec, bands: tuple[str, ...] = ("B04",), **options: Any
) -> Grid:
    """Grid of a mosaic of some scenes over the middle of the first."""
    items = [own_task(folder, spec).item for spec in specs]
    middle = shape(items[0]["geometry"]).centroid
    aoi = box(middle.x - 0.001, middle.y - 0.001, middle.x + 0.001, middle.y + 0.001)
    scenes = [parse_scene(dict(item), catalog="catalog") for item in items]
    return selection_grid(aoi, scenes, bands, GatherOptions(**options))


def other(spec: SceneSpec) -> SceneSpec:
    return replace(spec, id="S2A_33TWL_20230520_0_L2A", datetime="2023-05-20T10:00:00Z")


COARSE = replace(METRES, gsd=100)
DEFAULTS: dict[str, tuple[tuple[SceneSpec, ...], tuple[str, ...], float]] = {
    "10 m": ((METRES,), ("B02", "B04"), 10),
    "60 m where 10 m should be": ((replace(METRES, gsd=60),), ("B04",), 60),
    "100 m": ((COARSE,), ("B02", "B04"), 100),
    "the finer of two": ((COARSE, other(METRES)), ("B04",), 10),
    "bands of 20 m alone": ((replace(METRES, gsd=20, bands=("B11", "B12")),), ("B11", "B12"), 20),
    "bands of 60 m alone": ((replace(METRES, gsd=60, bands=("B01",)),), ("B01",), 60),
    "degrees": ((DEGREES,), ("B04",), 10),
    "web Mercator": ((MERCATOR,), ("B04",), 10),
    "feet": ((FEET,), ("B04",), 10),
    "degrees, of about 100 m": (
        (replace(DEGREES, gsd=0.001),),  # type: ignore[arg-type]
        ("B04",),
        92.8,  # the root of 77.46 times 111.15
    ),
}


@pytest.mark.parametrize(("specs", "bands", "gsd_m"), DEFAULTS.values(), ids=DEFAULTS.keys())
def test_the_default_cell_is_that_of_the_finest_band_there_is(
    tmp_path: Path, specs: tuple[SceneSpec, ...], bands: tuple[str, ...], gsd_m: float
) -> None:
    grid = planned(tmp_path, *specs, bands=bands)
    assert (grid.x_size, grid.y_size) == pytest.approx((gsd_m, gsd_m), rel=2e-3)


def test_a_cell_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    assert planned(tmp_path, COARSE, gsd_m=10).x_size == 10


def test_files_that_are_gone_leave_the_native_cell(tmp_path: Path) -> None:
    item = task_of(tmp_path, METRES).item
    (tmp_path / METRES.id / "B04.tif").unlink()
    scene = parse_scene(dict(item), catalog="catalog")
    grid = selection_grid(shape(area_of(METRES)), [scene], ("B04",), GatherOptions())
    assert grid.x_size == 10


@pytest.mark.parametrize(
    ("spec", "changes", "words"),
    [
        (METRES, {"dilate_m": 19}, "dilate_m 19 is below the mask's cell of 20 m"),
        (DEGREES, {"dilate_m": 15}, "dilate_m 15 is below the mask's cell of 15.49 m"),
        (MERCATOR, {"dilate_m": 13}, "dilate_m 13 is below the mask's cell of 13.87 m"),
        (COARSE, {}, "of 100 m on the mosaic's cells of 10 m"),
    ],
)
def test_cells_that_are_too_large_are_said_in_the_record_and_once_in_the_log(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spec: SceneSpec,
    changes: dict[str, Any],
    words: str,
) -> None:
    grid = GridDocument.of(planned(tmp_path, spec, gsd_m=10))
    tasks = [
        own_task(tmp_path, each, index=index, backstop_index=None, **changes)
        for index, each in enumerate((spec, other(spec)), start=1)
    ]
    with caplog.at_level(logging.WARNING):
        report = gather_scenes([task.model_copy(update={"grid": grid}) for task in tasks])
    assert report.failures == ()
    assert all(words in record.notes[0] for record in report.records)
    (logged,) = caplog.records
    assert words in vars(logged)["note"]
    assert vars(logged)["scenes"] == 2


def test_a_scene_of_usual_cells_has_no_notes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (record,) = gather_scenes([task_of(tmp_path, METRES, backstop_index=None)]).records
    assert record.notes == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("spec", "size_m"),
    [
        (METRES, (10, 10)),
        (DEGREES, (7.746, 11.115)),
        (MERCATOR, (6.959, 6.936)),
        (FEET, (10, 10)),
    ],
    ids=["metres", "degrees", "web Mercator", "feet"],
)
def test_clouds_grow_by_metres_on_the_ground_in_any_crs(
    tmp_path: Path, spec: SceneSpec, size_m: tuple[float, float]
) -> None:
    """A cloud of one cell of SCL, gathered on the scene's own grid."""
    cloudy = replace(spec, scl=[(slice(9, 10), slice(9, 10), 9)])
    scene = gathered(own_task(tmp_path, cloudy, dilate_m=50))["clear"]
    masked = scene.classes == PixelClass.MASKED
    # Cells of the mask have two pixels a side.
    rows, cols = np.mgrid[:20, :20] - 9
    metres = np.hypot(cols * 2 * size_m[0], rows * 2 * size_m[1])
    wanted = np.kron(metres <= 50, np.ones((2, 2), dtype=np.bool_))
    np.testing.assert_array_equal(masked, wanted)
    assert (scene.bands[:, ~masked] > 0).all()
