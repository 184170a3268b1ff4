"""Merge: the scene that each pixel is taken from, and the quality raster."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.errors import NothingUsableError
from cloudbuster.gathered.scene_files import find_scenes
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.merge import MosaicRecipe, merge_scenes
from cloudbuster.products import blocks as mosaic_blocks
from tests.cogs import cog_errors
from tests.hand_made import (
    BANDS,
    GRID,
    THREE,
    GatheredSpec,
    merged,
    read,
    spec,
    write_gathered,
    write_original,
    write_three,
)


def test_merge_takes_clear_then_low_rank_then_backstop_by_index(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = merged(tmp_path)
    pixels = read(result.cloudless)
    index = np.array([[1, 2, 1, 0], [3, 3, 2, 0]])
    np.testing.assert_array_equal(pixels[-1], index)
    for band in range(3):
        expected = np.where(index, index * 100 + 10 * band + 1, 0)
        np.testing.assert_array_equal(pixels[band], expected)
    with rasterio.open(result.cloudless) as dataset:
        assert dataset.descriptions == (*BANDS, "scene_index")
        assert (dataset.nodata, dataset.dtypes[0]) == (0, "uint16")


def test_merge_writes_the_backstop_alone(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = merged(tmp_path)
    pixels = read(result.cloudy)
    np.testing.assert_array_equal(pixels[-1], [[3, 3, 3, 0], [3, 3, 3, 0]])
    np.testing.assert_array_equal(pixels[1], np.where(pixels[-1], 311, 0))


def test_merge_writes_the_cloudy_product_without_any_backstop(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    result = merged(tmp_path)
    assert not read(result.cloudy).any()
    assert cog_errors(Path(result.cloudy)) == []


def test_merge_counts_observations_by_acquisition(tmp_path: Path) -> None:
    write_three(tmp_path)
    times_observed, times_clear, distance, confidence, state = read(merged(tmp_path).quality)
    np.testing.assert_array_equal(times_observed, [[2, 2, 2, 0], [2, 2, 2, 0]])
    np.testing.assert_array_equal(times_clear, [[2, 1, 2, 0], [0, 0, 2, 0]])
    np.testing.assert_array_equal(distance, [[700, 90, 700, 0], [0, 0, 90, 0]])
    np.testing.assert_array_equal(confidence, [[100, 100, 100, 0], [0, 0, 100, 0]])
    np.testing.assert_array_equal(state, [[3, 3, 3, 0], [2, 2, 3, 0]])


def test_merge_distinguishes_never_clear_from_never_observed(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", spec(1, [[3, 1, 1, 0], [3, 1, 1, 0]]))
    result = merged(tmp_path)
    np.testing.assert_array_equal(read(result.quality)[-1], [[3, 1, 1, 0], [3, 1, 1, 0]])
    shares = (result.clear_fraction, result.backstop_fraction, result.hole_fraction)
    assert shares == (0.25, 0.0, 0.75)


def test_merge_orders_indices_as_numbers(tmp_path: Path) -> None:
    for index in (99, 100, 101, 1000):
        write_gathered(tmp_path / "scenes", spec(index, [[3, 3, 3, 3], [3, 3, 3, 3]]))
    assert (read(merged(tmp_path).cloudless)[-1] == 99).all()
    files = find_scenes(str(tmp_path / "scenes"), "m")
    assert [file.index for file in files] == [99, 100, 101, 1000]


def test_merge_handles_more_scenes_than_it_keeps_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_blocks, "MAX_OPEN_SCENES", 3)
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", 2)
    grid = replace(GRID, width=30)
    for index in range(1, 31):
        write_gathered(tmp_path / "scenes", spec(index, [[3], [3]], col=index - 1), grid=grid)
    result = merged(tmp_path)
    np.testing.assert_array_equal(read(result.cloudless)[-1], [range(1, 31)] * 2)
    assert result.hole_fraction == 0


def test_merge_takes_only_the_files_of_its_name(tmp_path: Path) -> None:
    write_three(tmp_path)
    expected = read(merged(tmp_path).cloudless)
    scenes = tmp_path / "scenes"
    everywhere = [[3, 3, 3, 3], [3, 3, 3, 3]]
    for name in ("m-2020", "mm", "am", "m.x"):
        write_gathered(scenes, spec(1, everywhere), name=name)
    for foreign in (
        "mask-m-01.tif",
        "m-01.tif.aux.xml",
        "m-001.tif",
        "m-1.tif",
        "m-04.TIF",
        "m-05.jp2",
        ".m-01.tif.1a2b3c4d.partial",
        "backstop-backstop-m-01.tif",
        "m-\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}.tif",
        "m--01.tif",
    ):
        (scenes / foreign).write_bytes(b"not a raster")
    result = merged(tmp_path)
    assert result.scene_count == 2
    np.testing.assert_array_equal(read(result.cloudless), expected)


def test_merge_reads_the_layout_of_the_original(tmp_path: Path) -> None:
    first = np.full((14, 2, 4), 700)
    first[3, 0, 0] = 0
    first[:, 1] = 0
    first[-1] = 1
    second = np.full((14, 2, 4), 900)
    second[:, :, 3] = 0
    write_original(tmp_path / "scenes", "m-01", first)
    write_original(tmp_path / "scenes", "backstop-m-02", second)
    result = merged(tmp_path)
    pixels = read(result.cloudless)
    np.testing.assert_array_equal(pixels[-1], [[2, 1, 1, 1], [2, 2, 2, 0]])
    np.testing.assert_array_equal(pixels[0], [[900, 700, 700, 700], [900, 900, 900, 0]])
    np.testing.assert_array_equal(read(result.quality)[-1], [[2, 3, 3, 3], [2, 2, 2, 0]])
    with rasterio.open(result.cloudless) as dataset:
        assert dataset.descriptions[8:] == ("B8A", "B09", "B10", "B11", "B12", "scene_index")


def test_merge_without_records_covers_all_aligned_rasters(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    write_gathered(scenes, spec(1, [[3, 3]], row=0, col=2), record=False)
    write_gathered(scenes, spec(2, [[3], [3]], row=-1, col=-1), record=False)
    result = merged(tmp_path)
    with rasterio.open(result.cloudless) as dataset:
        assert (dataset.transform.c, dataset.transform.f) == (499_990, 5_100_010)
    np.testing.assert_array_equal(read(result.cloudless)[-1], [[2, 0, 0, 0, 0], [2, 0, 0, 1, 1]])


def test_merge_crosses_block_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grid has 518 rows and 528 columns, so that the last ones are in other blocks."""
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", 512)
    grid = replace(GRID, width=528, height=518)
    top, bottom = np.full((264, 528), 3), np.full((268, 488), 3)
    bottom[100:110, 478:] = 1
    top[254:, 511:513] = 1
    write_gathered(tmp_path / "scenes", spec(1, top), grid=grid)
    write_gathered(tmp_path / "scenes", spec(2, bottom, row=250, col=40), grid=grid)
    result = merged(tmp_path)
    expected = np.zeros((518, 528), dtype=int)
    expected[250:, 40:] = np.where(bottom == 3, 2, 0)
    expected[:264] = np.where(top == 3, 1, expected[:264])
    np.testing.assert_array_equal(read(result.cloudless)[-1], expected)
    for path in (result.cloudless, result.cloudy, result.quality):
        assert cog_errors(Path(path)) == []
    with rasterio.open(result.quality) as dataset:
        assert dataset.overviews(5) == [2]
        assert dataset.nodata is None


@st.composite
def scene_sets(draw: st.DrawFn) -> list[GatheredSpec]:
    """Draw up to five scenes of any classes, in any window of a 7x9 grid or beyond its edge."""
    scenes = []
    for index in range(1, draw(st.integers(1, 5)) + 1):
        height, width = draw(st.integers(1, 7)), draw(st.integers(1, 9))
        codes = draw(st.lists(st.integers(0, 3), min_size=63, max_size=63))
        scenes.append(
            spec(
                draw(st.sampled_from([index, index + 97])),
                np.array(codes).reshape(7, 9)[:height, :width],
                row=draw(st.integers(-2, 6)),
                col=draw(st.integers(-2, 8)),
                backstop=draw(st.booleans()),
                item_id=draw(st.sampled_from([None, "SHARED"])),
                distance=index * 10,
            )
        )
    return list({scene.index: scene for scene in scenes}.values())


def reference(scenes: list[GatheredSpec], grid: Grid) -> dict[str, np.ndarray]:
    """Compute the three rasters cell by cell from whole arrays."""
    cloudless, cloudy = (np.zeros((4, *grid.shape), dtype=int) for _ in range(2))
    quality = np.zeros((5, *grid.shape), dtype=int)
    for row, col in np.ndindex(grid.shape):
        here = []
        for scene in scenes:
            inside = GridWindow(row, col, 1, 1).intersection(scene.window)
            if not inside.is_empty:
                cell = (row - scene.row, col - scene.col)
                here.append(
                    (scene, int(scene.classes[cell]), scene.reflectance[(slice(None), *cell)])
                )
        here.sort(
            key=lambda entry: (entry[0].backstop, -(entry[1] >= 2) * entry[1], entry[0].index)
        )
        clear = [entry for entry in here if entry[1] >= 2 and not entry[0].backstop]
        fallback = [entry for entry in here if entry[1] >= 1 and entry[0].backstop]
        fallback.sort(key=lambda entry: entry[0].index)
        for raster, choices in ((cloudless, clear + fallback), (cloudy, fallback)):
            if choices:
                raster[:, row, col] = [*choices[0][2], choices[0][0].index]
        seen = {entry[0].item_id or entry[0].index for entry in here if entry[1] >= 1}
        seen_clear = {entry[0].item_id or entry[0].index for entry in clear}
        state = 3 if clear else 2 if fallback else 1 if seen else 0
        distance, confidence = (clear[0][0].distance, 100) if clear else (0, 0)
        quality[:, row, col] = [len(seen), len(seen_clear), distance, confidence, state]
    return {"cloudless": cloudless, "cloudy": cloudy, "quality": quality}


@settings(max_examples=8)
@given(scene_sets())
def test_merge_equals_the_choice_made_cell_by_cell(scenes: list[GatheredSpec]) -> None:
    grid = replace(GRID, width=9, height=7)
    expected = reference(scenes, grid)
    with TemporaryDirectory() as name, mock.patch.object(mosaic_blocks, "BLOCK_SIZE", 4):
        for scene in scenes:
            write_gathered(Path(name) / "scenes", scene, grid=grid)
        if not expected["cloudless"].any():
            with pytest.raises(NothingUsableError):
                merged(Path(name))
            return
        result = merged(Path(name))
        for key, raster in expected.items():
            np.testing.assert_array_equal(read(getattr(result, key)), raster, err_msg=key)
        fractions = result.clear_fraction + result.backstop_fraction + result.hole_fraction
        assert fractions == pytest.approx(1)


def test_merge_reads_reflectance_only_of_scenes_that_give_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in (1, 2, 3):
        write_gathered(tmp_path / "scenes", spec(index, [[3, 3, 3, 3], [3, 3, 3, 3 - index % 2]]))
    read_by: list[tuple[str, GridWindow]] = []
    original = SceneRaster.read_reflectance

    def spy(raster: SceneRaster, window: GridWindow) -> np.ndarray:
        read_by.append((Path(raster.path).name, window))
        return original(raster, window)

    monkeypatch.setattr(SceneRaster, "read_reflectance", spy)
    merged(tmp_path)
    assert read_by == [("m-01.tif", GridWindow(0, 0, 2, 4)), ("m-02.tif", GridWindow(1, 3, 1, 1))]


def test_each_band_gets_a_file_of_its_own_if_asked(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = merged(tmp_path, layout="per-band")
    whole = read(result.cloudless)
    names = (*BANDS, "scene_index")
    for band, name in zip(whole, names, strict=True):
        path = tmp_path / f"m-cloudless-{name}.tif"
        np.testing.assert_array_equal(read(str(path)), [band])
        with rasterio.open(path) as dataset:
            assert dataset.descriptions == (name,)
            assert dataset.scales == (1.0 if name == "scene_index" else 0.0001,)
        assert cog_errors(path) == []
    assets = json.loads(Path(result.item).read_text())["assets"]
    assert list(assets) == [*names, "cloudy", "quality", "preview", "report"]
    for name in names:
        assert assets[name]["href"] == f"./m-cloudless-{name}.tif"
        assert [band["name"] for band in assets[name]["eo:bands"]] == [name]
        assert len(assets[name]["raster:bands"]) == 1


# Grid cells are 10 m; corners of the clipped areas by (column, row) from the grid's upper left.
CLIPS: dict[str, tuple[list[tuple[float, float]], list[list[int]]]] = {
    "the western half": ([(0, 0), (2, 0), (2, 2), (0, 2)], [[1, 1, 0, 0], [1, 1, 0, 0]]),
    "a triangle by centres": ([(0, 0), (4, 0), (0, 2)], [[1, 1, 1, 0], [1, 0, 0, 0]]),
    "less than a cell": ([(1.1, 0.1), (1.3, 0.1), (1.3, 0.3), (1.1, 0.3)], [[0, 1, 0, 0], [0] * 4]),
}


@pytest.mark.parametrize("name", CLIPS)
def test_products_are_clipped_to_the_area_and_counted_in_it(tmp_path: Path, name: str) -> None:
    write_three(tmp_path)
    whole = merged(tmp_path)
    corners, cells = CLIPS[name]
    inside = np.array(cells, bool)
    points = [GRID.transform @ corner for corner in corners]
    change = pyproj.Transformer.from_crs(GRID.crs, "OGC:CRS84", always_xy=True)
    area = shapely.Polygon([change.transform(*point) for point in points])

    recipe = MosaicRecipe("m", clip_area=area)
    result = merge_scenes(str(tmp_path / "scenes"), str(tmp_path / "clipped"), recipe)

    for key in ("cloudless", "cloudy", "quality"):
        expected = np.where(inside, read(getattr(whole, key)), 0)
        np.testing.assert_array_equal(read(getattr(result, key)), expected)
    state = read(whole.quality)[-1][inside]
    assert result.clear_fraction == (state == 3).mean()
    assert result.backstop_fraction == (state == 2).mean()
    assert result.hole_fraction == (state < 2).mean()
