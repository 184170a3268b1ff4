"""Tests of scenes on the mosaic's grid: independent of the blocks, and without cloud."""

from pathlib import Path

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.models import GatherTask, GridDocument
from cloudbuster.source import placing
from tests.factories import CRS, SceneSpec, write_raster
from tests.gathering import gathered, grid_of, task_of

SIZE = 96


def busy_scene() -> SceneSpec:
    """Noise under a slanted swath edge, with isolated zeros and patches of every class."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(300, 3000, (SIZE, SIZE)).astype(np.uint16)
    rows, cols = np.mgrid[:SIZE, :SIZE]
    pixels[cols + 0.3 * rows > 1.1 * SIZE] = 0
    pixels[rng.random((SIZE, SIZE)) < 0.001] = 0
    scl = []
    for value in (1, 2, 3, 7, 8, 9, 10, 11, 13) * 3:
        row, col = rng.integers(0, SIZE // 2 - 12, 2)
        height, width = rng.integers(1, 12, 2)
        scl.append((slice(row, row + height), slice(col, col + width), value))
    return SceneSpec(size=SIZE, pixels=pixels, scl=scl)


@pytest.fixture(scope="module")
def busy_task(tmp_path_factory: pytest.TempPathFactory) -> GatherTask:
    return task_of(tmp_path_factory.mktemp("busy"), busy_scene(), dilate_m=50)


@pytest.mark.parametrize(
    ("gsd", "shift"), [(10, 0), (20, 0), (60, 0), (120, 0), (5, 0), (10, 4), (15, 0)]
)
def test_the_result_does_not_depend_on_the_blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    busy_task: GatherTask,
    gsd: float,
    shift: float,
) -> None:
    # The window begins outside the scene, north-west of it.
    whole = grid_of(SceneSpec(size=SIZE + 30), gsd=gsd)
    grid = Grid(CRS, whole.west - 120 + shift, whole.north + 120 - shift, gsd, gsd, *whole.shape)
    place = {"grid": GridDocument.of(grid), "output": str(tmp_path)}
    task = busy_task.model_copy(update=place)
    by_large = gathered(task)
    monkeypatch.setattr(placing, "BLOCK_PIXELS", 32)
    by_small = gathered(task)
    for role, large in by_large.items():
        for name, values in vars(large).items():
            np.testing.assert_array_equal(values, getattr(by_small[role], name), err_msg=name)
    clear, backstop = by_large["clear"], by_large["backstop"]
    np.testing.assert_array_equal(
        (clear.bands > 0).all(axis=0), clear.classes >= PixelClass.LOW_RANK
    )
    np.testing.assert_array_equal(
        (clear.bands > 0).any(axis=0), clear.classes >= PixelClass.LOW_RANK
    )
    np.testing.assert_array_equal(backstop.present, backstop.classes != PixelClass.UNOBSERVED)
    assert set(np.unique(clear.classes)) == {0, 1, 2, 3}


def test_pixels_of_the_scenes_grid_are_copied_to_their_very_place(tmp_path: Path) -> None:
    pixels = np.arange(3600, dtype=np.uint16).reshape(60, 60) + 100
    spec = SceneSpec(pixels=pixels)
    grid = grid_of(spec).crop(GridWindow(-2, 5, 70, 20))
    clear = gathered(task_of(tmp_path, spec, grid))["clear"]
    expected = np.zeros((70, 20), dtype=np.uint16)
    expected[2:62] = pixels[:, 5:25]
    np.testing.assert_array_equal(clear.bands[0], expected)


def test_a_mosaic_of_one_cell_is_a_mosaic(tmp_path: Path) -> None:
    spec = SceneSpec(dn=700)
    grid = grid_of(spec).crop(GridWindow(59, 59, 1, 1))
    clear = gathered(task_of(tmp_path, spec, grid))["clear"]
    assert (clear.bands[0, 0, 0], clear.classes[0, 0]) == (700, PixelClass.CLEAR)


def test_cloud_in_any_part_of_a_pixel_that_is_coarser_than_the_mask_masks_it(
    tmp_path: Path,
) -> None:
    # B01 alone: pixels of 60 m under a mask of 20 m, cloudy at a corner of one of them.
    spec = SceneSpec(size=120, bands=("B02",), scl=[(slice(0, 1), slice(3, 4), 9)])
    grid = grid_of(spec, gsd=60)
    task = task_of(tmp_path, spec, grid, bands=("B01",))
    path = tmp_path / "B01.tif"
    write_raster(path, np.full((20, 20), 800, np.uint16), west=spec.west, north=spec.north, gsd=60)
    assets = {**task.item["assets"], "B01": {"href": str(path), "roles": ["data"]}}
    task = task.model_copy(update={"item": {**task.item, "assets": assets}})
    classes = gathered(task)["clear"].classes
    assert classes[0, 1] == PixelClass.MASKED
    assert (classes == PixelClass.MASKED).sum() == 1


def test_saturation_in_a_coarser_band_is_not_interpolated_away(tmp_path: Path) -> None:
    spec = SceneSpec(size=120, bands=("B02",))
    task = task_of(tmp_path, spec, bands=("B02", "B12"))
    pixels = np.full((60, 60), 900, np.uint16)
    pixels[10, 10] = 65_535
    path = tmp_path / "B12.tif"
    write_raster(path, pixels, west=spec.west, north=spec.north, gsd=20)
    assets = {**task.item["assets"], "B12": {"href": str(path), "roles": ["data"]}}
    task = task.model_copy(update={"item": {**task.item, "assets": assets}})
    classes = gathered(task)["backstop"].classes
    assert (classes[20:22, 20:22] == PixelClass.UNOBSERVED).all()
    assert (classes == PixelClass.UNOBSERVED).sum() == 4


def test_cloud_outside_of_the_area_grows_in_and_gives_the_distance(tmp_path: Path) -> None:
    spec = SceneSpec(scl=[(slice(0, 30), slice(0, 5), 9)])
    east = grid_of(spec).crop(GridWindow(0, 10, 60, 50))
    clear = gathered(task_of(tmp_path, spec, east, dilate_m=40))["clear"]
    assert (clear.classes[:, :4] == PixelClass.MASKED).all()
    assert (clear.classes[:, 4:] == PixelClass.CLEAR).all()
    np.testing.assert_array_equal(clear.distance_m[0, :6], [20, 20, 40, 40, 60, 60])


def test_a_block_of_coarse_cells_holds_no_more_source_than_any_other() -> None:
    for scale in (0.5, 1.0, 6.0, 12.0, 100.0, 1000.0):
        side = placing._block_size(scale)
        assert side * scale <= 1.5 * placing.BLOCK_PIXELS
        assert placing.MAX_TARGET_BLOCK % side == 0
