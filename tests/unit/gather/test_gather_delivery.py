"""Gather reads and writes the units of a scene that its task asks for, and no other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from cloudbuster import gather
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import DetectedMask, PixelClass
from cloudbuster.detectors import make_detector
from cloudbuster.detectors.protocol import CloudDetector, SceneSource
from cloudbuster.errors import GridError, NothingUsableError, RasterError
from cloudbuster.gather import gather_scene, gather_scenes
from cloudbuster.gathered.resume import raster_fingerprint, task_outputs
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.models import GatherTask, GridDocument
from cloudbuster.source import placing
from tests.factories import BANDS, CRS, NORTH, WEST, SceneSpec, write_raster
from tests.gathering import (
    UNIT_M,
    Gathered,
    delivery,
    gathered,
    grid_of,
    scene_files,
    task_of,
    tiled,
)

SIZE = 256
# Units of 64 pixels; a column is missing, so that the scene reaches beyond their grid.
ROWS = ("101", "010", "011", "000")


def needed_cells(grid: Grid, rows: tuple[str, ...]) -> np.ndarray:
    """The cells of a mosaic whose centre lies in a needed unit, one by one."""
    to_scene = Transformer.from_crs(grid.crs, CRS, always_xy=True)
    row, col = np.mgrid[: grid.height, : grid.width]
    x, y = to_scene.transform(
        grid.west + (col + 0.5) * grid.x_size, grid.north - (row + 0.5) * grid.y_size
    )
    found = np.zeros(grid.shape, dtype=bool)
    for unit_row, digits in enumerate(rows):
        for unit_col, digit in enumerate(digits):
            if digit == "1":
                across = (x >= WEST + unit_col * UNIT_M) & (x < WEST + (unit_col + 1) * UNIT_M)
                down = (y <= NORTH - unit_row * UNIT_M) & (y > NORTH - (unit_row + 1) * UNIT_M)
                found |= across & down
    return found


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> GatherTask:
    """A scene of noise under clouds, snow and a swath's edge, in tiles as large as the units."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(1)
    pixels = rng.integers(300, 3000, (SIZE, SIZE)).astype(np.uint16)
    rows, cols = np.mgrid[:SIZE, :SIZE]
    pixels[rows + 2 * cols < 60] = 0
    spec = SceneSpec(
        size=SIZE,
        pixels=pixels,
        scl=[(slice(20, 45), slice(28, 90), 9), (slice(70, 90), slice(40, 60), 11)],
    )
    made = task_of(folder, spec, dilate_m=50)
    for band in BANDS:
        tiled(folder / spec.id / f"{band}.tif")
    # A band of 20 m with small groups of zeros, which are repaired wherever a window cuts them.
    coarse = folder / spec.id / "B12.tif"
    dn = rng.integers(300, 3000, (SIZE // 2, SIZE // 2)).astype(np.uint16)
    dn[rng.random(dn.shape) < 0.01] = 0
    write_raster(coarse, dn, west=WEST, north=NORTH, gsd=20)
    made.item["assets"]["B12"] = {"href": str(coarse), "roles": ["data"]}
    # Known, so that no gather reads thumbnails to decide it.
    return made.model_copy(update={"radiometry": gather_scene(made)[0].radiometry})


def gather_on(task: GatherTask, folder: Path, grid: Grid, **changes: object) -> dict[str, Gathered]:
    place = {"grid": GridDocument.of(grid), "output": str(folder)}
    return gathered(task.model_copy(update={**place, **changes}))


def utm_grid(crs: str, cell: float, cells: int) -> Grid:
    """A grid in another CRS that reaches a little beyond the scene."""
    x, y = Transformer.from_crs(CRS, crs, always_xy=True).transform(WEST, NORTH)
    return Grid(crs, x - 20 * cell, y + 20 * cell, cell, cell, cells, cells)


GRIDS: dict[str, Callable[[], Grid]] = {
    "copy": lambda: Grid(CRS, WEST - 70, NORTH + 110, 10, 10, 280, 290),
    "mean": lambda: Grid(CRS, WEST - 130, NORTH + 70, 60, 60, 48, 50),
    "shifted": lambda: Grid(CRS, WEST - 66, NORTH + 14, 10, 10, 270, 270),
    "other zone": lambda: utm_grid("EPSG:32632", 12.0, 290),
    "coarse in another zone": lambda: utm_grid("EPSG:32632", 50.0, 90),
    "degrees": lambda: utm_grid("EPSG:4326", 0.00012, 320),
}


@pytest.mark.parametrize(
    ("grid", "block_pixels"),
    [*((grid, 1024) for grid in GRIDS), ("copy", 64), ("other zone", 128)],
)
def test_needed_cells_are_those_of_a_whole_gather_and_the_others_unobserved(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: GatherTask,
    grid: str,
    block_pixels: int,
) -> None:
    monkeypatch.setattr(placing, "BLOCK_PIXELS", block_pixels)
    mosaic = GRIDS[grid]()
    bands = (*BANDS, "B12")
    whole = gather_on(task, tmp_path / "whole", mosaic, bands=bands)
    part = gather_on(task, tmp_path / "part", mosaic, bands=bands, delivery=delivery(*ROWS))
    needed = needed_cells(mosaic, ROWS)
    assert set(np.unique(whole["clear"].classes[needed])) == {0, 1, 2, 3}
    for role, raster in part.items():
        for name, values in vars(raster).items():
            expected = np.where(needed, getattr(whole[role], name), 0)
            np.testing.assert_array_equal(values, expected, err_msg=f"{role} {name}")


def decoded(task: GatherTask, folder: Path, **changes: object) -> int:
    """Decoded pixels of a gather on the scene's own grid, in sum over its records."""
    place = {"output": str(folder), "grid": GridDocument.of(grid_of(SceneSpec(size=SIZE)))}
    records = gather_scene(task.model_copy(update={**place, **changes}))
    return sum(record.decoded_pixels for record in records)


def test_a_copy_decodes_the_tiles_of_the_needed_units_alone(
    tmp_path: Path, task: GatherTask
) -> None:
    per_unit = 64 * 64 * len(BANDS)
    assert decoded(task, tmp_path / "all") == 16 * per_unit
    for rows, units in ((("0000", "0000", "0010", "0000"), 1), (("0000", "0011", "1011"), 5)):
        changes = {"delivery": delivery(*rows)}
        assert decoded(task, tmp_path / "part", **changes) == units * per_unit
        assert decoded(task, tmp_path / "clear", **changes, backstop_index=None) == units * per_unit


def test_a_unit_at_the_edge_of_the_swath_needs_no_neighbouring_tile(
    tmp_path: Path, task: GatherTask
) -> None:
    # The swath's edge crosses unit (0, 0), with more missing pixels than are repaired.
    assert decoded(task, tmp_path / "fine", delivery=delivery("1")) == 64 * 64 * len(BANDS)
    # A coarser band is interpolated, so that it may be low beyond the unit; the others need not be
    # read there if it is not. It lies in strips, of which two are touched.
    bands = (*BANDS, "B12")
    coarse = 64 * (SIZE // 2)
    found = decoded(task, tmp_path / "coarse", delivery=delivery("1"), bands=bands)
    assert found == 64 * 64 * len(BANDS) + coarse


def break_tile(path: Path, row: int, col: int) -> None:
    """Overwrite a tile of a file with bytes that cannot be decoded."""
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1))
            for what in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    path.write_bytes(content)


def test_a_broken_tile_of_a_unit_that_is_not_needed_is_never_read(tmp_path: Path) -> None:
    spec = SceneSpec(size=SIZE)
    broken = task_of(tmp_path, spec, radiometry=gather_scene(task_of(tmp_path, spec))[0].radiometry)
    for band in BANDS:
        tiled(tmp_path / spec.id / f"{band}.tif")
        break_tile(tmp_path / spec.id / f"{band}.tif", 1, 2)
    with pytest.raises(RasterError):
        gather_scene(broken)
    rows = ("1111", "1101", "1111", "1111")
    clear = gathered(broken.model_copy(update={"delivery": delivery(*rows)}))["clear"]
    expected = np.full((SIZE, SIZE), 500)
    expected[64:128, 128:192] = 0
    np.testing.assert_array_equal(clear.bands[0], expected)


class AreaDetector:
    """A detector that notes the area that it is asked for."""

    def __init__(self, detector: CloudDetector) -> None:
        self.detector = detector
        self.areas: list[Grid] = []

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        self.areas.append(area)
        return self.detector.detect(source, area)


@pytest.mark.parametrize(("donate", "shape"), [(False, (155, 155)), (True, (250, 250))])
def test_the_mask_is_read_around_the_needed_units_unless_it_is_donated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, donate: bool, shape: tuple[int, int]
) -> None:
    # The needed units end at pixel 100 each way. The distance to cloud of 3000 m and the growth of
    # 60 m reach 51 pixels further, and the kernel 3.
    spec = SceneSpec(size=250, gsd=60)
    units = ("0000", "1100", "0000", "0000", "0000")
    asked = task_of(
        tmp_path,
        spec,
        grid_of(spec, gsd=60),
        delivery=delivery(*units, unit_m=60 * 50),
        dilate_m=60,
        donate_mask=donate,
        backstop_index=None,
    )
    noted = AreaDetector(make_detector(asked.detector, asked.kind))
    monkeypatch.setattr(gather, "make_detector", lambda *_: noted)
    gather_scene(asked)
    (area,) = noted.areas
    assert (area.west, area.north, area.shape) == (WEST, NORTH, shape)


def test_a_backstop_of_masked_pixels_holds_these_and_no_others(
    tmp_path: Path, task: GatherTask
) -> None:
    mosaic = GRIDS["copy"]()
    whole = gather_on(task, tmp_path / "all", mosaic)
    masked = gather_on(task, tmp_path / "masked", mosaic, backstop_pixels="masked")
    here = whole["clear"].classes == PixelClass.MASKED
    assert 0 < here.sum() < here.size
    for name, values in vars(masked["backstop"]).items():
        expected = np.where(here, getattr(whole["backstop"], name), 0)
        np.testing.assert_array_equal(values, expected, err_msg=name)
    for name, values in vars(masked["clear"]).items():
        np.testing.assert_array_equal(values, getattr(whole["clear"], name), err_msg=name)


def test_a_raster_holds_the_tiles_of_the_needed_units_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(1, 9000, (1100, 1100)).astype(np.uint16)
    spec = SceneSpec(size=1100, bands=("B02",), pixels=pixels)
    noisy = task_of(
        tmp_path,
        spec,
        bands=("B02",),
        backstop_index=None,
        delivery=delivery("000", "001", "010", unit_m=5120),
    )
    (record,) = gather_scene(noisy)
    path = tmp_path / "scenes" / record.raster
    with SceneRaster(path, grid_of(spec)) as raster:
        assert raster.window == GridWindow(512, 512, 588, 588)
        present = raster.read_present(grid_of(spec).window)
    expected = np.zeros((1100, 1100), dtype=bool)
    expected[512:1024, 1024:] = True
    expected[1024:, 512:1024] = True
    np.testing.assert_array_equal(present, expected)
    with rasterio.open(path) as dataset:
        written = [
            dataset.get_tag_item(f"BLOCK_OFFSET_{tile}", "TIFF", bidx=1) is not None
            for tile in ("0_0", "1_0", "0_1", "1_1")
        ]
    assert written == [False, True, True, False]
    # The noise of two strips of 512 by 76 pixels, where all of it would be 690 kB.
    assert path.stat().st_size < 2 * 512 * 76 * 2 + 60_000


def test_units_that_cannot_be_delivered_are_refused(tmp_path: Path, task: GatherTask) -> None:
    for rows in (("000", "000"), ("0000", "0000", "0000", "0000", "0001")):
        with pytest.raises(NothingUsableError, match=r"no part of S2A_33TWL.* needed lies on"):
            gather_on(task, tmp_path, GRIDS["copy"](), delivery=delivery(*rows))
    other = delivery("111", crs="EPSG:32632")
    with pytest.raises(GridError, match=r"EPSG:32633, but the parts .* in EPSG:32632; plan"):
        gather_on(task, tmp_path, GRIDS["copy"](), delivery=other)
    cloudless = delivery("1", unit_m=40)
    with pytest.raises(NothingUsableError, match="has no valid pixel"):
        gather_on(task, tmp_path, GRIDS["copy"](), delivery=cloudless)
    assert scene_files(tmp_path) == []


def test_what_decides_pixels_is_part_of_the_fingerprint(task: GatherTask) -> None:
    part = task.model_copy(update={"delivery": delivery("10")})
    other = task.model_copy(update={"delivery": delivery("11")})
    masked = task.model_copy(update={"backstop_pixels": "masked"})
    prints = {
        name: tuple(raster_fingerprint(each, output) for output in task_outputs(each))
        for name, each in {"all": task, "part": part, "other": other, "masked": masked}.items()
    }
    for role in (0, 1):
        assert len({prints[name][role] for name in ("all", "part", "other")}) == 3
    assert prints["masked"][0] == prints["all"][0]
    assert prints["masked"][1] != prints["all"][1]


def test_other_units_are_gathered_anew_and_the_same_ones_reused(
    tmp_path: Path, task: GatherTask
) -> None:
    place = {"output": str(tmp_path), "backstop_index": 1}
    first = task.model_copy(update={**place, "delivery": delivery("10")})
    assert gather_scenes([first]).reused == ()
    again = gather_scenes([first])
    assert again.reused == ("backstop-m-01.tif", "m-01.tif")
    assert [record.backstop for record in again.records] == [False, True]
    masked = first.model_copy(update={"backstop_pixels": "masked"})
    assert gather_scenes([masked]).reused == ("m-01.tif",)
    assert gather_scenes([task.model_copy(update=place)]).reused == ()
