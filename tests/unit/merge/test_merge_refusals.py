"""Scenes, names and folders that merge refuses, and the error that it raises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.errors import (
    BadInputError,
    GridError,
    NothingUsableError,
    OutputError,
    RasterError,
    RequestError,
)
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.merge import MosaicRecipe, merge_scenes
from cloudbuster.storage.rasters.tiled_raster import raster_profile
from tests.hand_made import (
    BANDS,
    GRID,
    THREE,
    merged,
    record_of,
    spec,
    write_gathered,
    write_original,
    write_three,
)


def test_merge_treats_the_name_as_text_not_as_a_pattern(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0], name="axb")
    with pytest.raises(NothingUsableError, match="no scene"):
        merge_scenes(str(tmp_path / "scenes"), str(tmp_path), MosaicRecipe("a.b"))


@pytest.mark.parametrize("name", ["", "backstop-m", "mask-m", "../m", "a/b", "a b"])
def test_merge_refuses_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot name a mosaic"):
        merge_scenes(str(tmp_path), str(tmp_path), MosaicRecipe(name))


def test_merge_refuses_an_unknown_composite(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose one of first"):
        merged(tmp_path, composite="loudest")


@pytest.mark.parametrize("folder", ["", "missing"])
def test_merge_without_a_scene_writes_nothing(tmp_path: Path, folder: str) -> None:
    with pytest.raises(NothingUsableError, match="gather some"):
        merge_scenes(str(tmp_path / folder), str(tmp_path / "out"), MosaicRecipe("m"))
    assert not (tmp_path / "out").exists()


def test_merge_of_scenes_without_a_pixel_writes_nothing(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", spec(1, [[1, 1, 0, 0], [0, 0, 0, 0]]))
    with pytest.raises(NothingUsableError, match="none of the 1 scenes"):
        merged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_merge_names_a_truncated_scene(tmp_path: Path) -> None:
    grid = replace(GRID, width=700, height=600)
    classes = np.full((600, 700), 3)
    write_gathered(tmp_path / "scenes", spec(1, classes), grid=grid)
    path = write_gathered(tmp_path / "scenes", spec(2, classes), grid=grid)
    whole = path.read_bytes()
    for size in (0, 3, 200, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:size])
        with pytest.raises(RasterError, match=r"m-02\.tif.*gather this scene again"):
            merged(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenes"]


def test_merge_names_a_scene_off_the_grid(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    path = write_gathered(tmp_path / "scenes", THREE[1], grid=replace(GRID, west=500_005))
    path.with_suffix(".json").write_bytes(record_of(THREE[1]).to_json())
    with pytest.raises(RasterError, match=r"m-02\.tif.*not aligned"):
        merged(tmp_path)


def test_merge_names_a_scene_in_another_crs(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    path = write_gathered(tmp_path / "scenes", THREE[1], grid=replace(GRID, crs="EPSG:32634"))
    path.with_suffix(".json").write_bytes(record_of(THREE[1]).to_json())
    with pytest.raises(RasterError, match=r"m-02\.tif.*EPSG:32634"):
        merged(tmp_path)


def test_merge_names_a_scene_with_other_bands(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    path = tmp_path / "scenes" / "m-02.tif"
    with open_scene_writer(path, GRID, ("B02",), index=2) as writer:
        classes = np.full((2, 4), 3)
        writer.write(GRID.window, np.ones((1, 2, 4), dtype=np.uint16), classes, classes)
    with pytest.raises(RasterError, match=r"m-02\.tif: bands B02"):
        merged(tmp_path)


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (("B02", "B03", "pixel_class", "scene_index"), "uint16"),
        (("B02", "x"), "uint16"),
        ((), "float32"),
    ],
)
def test_merge_names_a_raster_of_another_layout(
    tmp_path: Path, names: tuple[str, ...], dtype: str
) -> None:
    count = len(names) or 2
    path = tmp_path / "scenes" / "m-01.tif"
    path.parent.mkdir()
    profile = {**raster_profile(GRID, count), "dtype": dtype, "predictor": 1}
    with rasterio.open(path, "w", **profile) as dataset:
        if names:
            dataset.descriptions = names
    with pytest.raises(RasterError, match=r"m-01\.tif"):
        merged(tmp_path)


def test_merge_refuses_records_of_two_grids(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    write_gathered(tmp_path / "scenes", THREE[1], grid=replace(GRID, width=5))
    with pytest.raises(GridError, match=r"m-02\.tif is on another grid than m-01\.tif"):
        merged(tmp_path)


def test_merge_refuses_a_record_of_another_scene_or_without_sense(tmp_path: Path) -> None:
    path = write_gathered(tmp_path / "scenes", THREE[0])
    document = path.with_suffix(".json")
    document.write_bytes(record_of(THREE[1]).to_json())
    with pytest.raises(RequestError, match="is the record of scene 2 of m"):
        merged(tmp_path)
    document.write_bytes(b'{"schema": "cloudbuster.scene/1"')
    with pytest.raises(RequestError, match=r"m-01\.json"):
        merged(tmp_path)


def test_merge_refuses_one_index_for_two_items(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", THREE[0])
    write_gathered(tmp_path / "scenes", spec(1, [[3]], backstop=True, item_id="OTHER"))
    with pytest.raises(RasterError, match="share index 1"):
        merged(tmp_path)


@pytest.mark.parametrize("stem", ["m-00", "m-65535", "m-70000"])
def test_merge_refuses_an_index_that_the_band_cannot_hold(tmp_path: Path, stem: str) -> None:
    write_original(tmp_path / "scenes", stem, np.ones((3, 2, 4)))
    with pytest.raises(RasterError, match="not in 1 to 65534"):
        merged(tmp_path)


def test_merge_refuses_a_scene_whose_classes_promise_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "scenes" / "m-01.tif"
    with open_scene_writer(path, GRID, BANDS, index=1) as writer:
        pixels = np.full((3, 2, 4), 500, dtype=np.uint16)
        pixels[1, 0, 0] = 0
        classes = np.full((2, 4), 3)
        writer.write(GRID.window, pixels, classes, classes)
    with pytest.raises(RasterError, match="have no value"):
        merged(tmp_path)


def test_merge_into_a_place_that_is_no_folder_is_an_output_error(tmp_path: Path) -> None:
    write_three(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="choose a folder"):
        merge_scenes(str(tmp_path / "scenes"), str(tmp_path / "file"), MosaicRecipe("m"))


def test_merge_of_remote_folders_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="give a local path"):
        merge_scenes("https://host/scenes", str(tmp_path), MosaicRecipe("m"))
    with pytest.raises(BadInputError, match="give a folder or an s3:// prefix"):
        merge_scenes(str(tmp_path), "https://host/products", MosaicRecipe("m"))
