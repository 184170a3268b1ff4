import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import OutputError, TryAgainError
from cloudbuster.products.cog import CogBand, open_cog_writer, overview_factors
from cloudbuster.storage.rasters.gdal_env import CACHE_BYTES, gdal_env, writing
from tests.cogs import cog_errors

BANDS = (CogBand("B04", "average"), CogBand("scene_index", "nearest"), CogBand("B03", "average"))


def make_grid(height: int, width: int) -> Grid:
    return Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, width, height)


def make_pixels(grid: Grid) -> np.ndarray:
    """Reflectance with holes, and an index that jumps between 3 and 900 from cell to cell."""
    rows, cols = np.indices(grid.shape)
    index = np.where((rows + cols) % 2, 3, 900)
    hole = (rows // 3 + cols // 5) % 7 == 0
    pixels = np.stack([1000 + rows % 97, index, 2000 + cols % 89])
    return np.where(hole, 0, pixels).astype(np.uint16)


def write(path: Path, grid: Grid, pixels: np.ndarray, block: int = 1024) -> None:
    with gdal_env(), open_cog_writer(path, grid, BANDS, nodata=0) as writer:
        for window in grid.blocks(block):
            rows, cols = window.slices
            writer.write(window, pixels[:, rows, cols])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cog") / "large.tif"
    grid = make_grid(1100, 1300)
    write(path, grid, make_pixels(grid))
    return path


def test_cog_is_valid_and_holds_its_pixels(large: Path) -> None:
    assert cog_errors(large) == []
    with rasterio.open(large) as dataset:
        np.testing.assert_array_equal(dataset.read(), make_pixels(make_grid(1100, 1300)))
        assert dataset.descriptions == ("B04", "scene_index", "B03")
        assert dataset.nodata == 0
        assert dataset.crs == "EPSG:32633"
        assert dataset.transform == make_grid(1100, 1300).transform
        assert dataset.overviews(1) == [2, 4]
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        assert (structure["LAYOUT"], structure["PREDICTOR"]) == ("COG", "2")
        assert structure["COMPRESSION"] == "DEFLATE"


def test_cog_records_neither_time_nor_place_of_writing(large: Path) -> None:
    with rasterio.open(large) as dataset:
        assert dataset.tags() == {"AREA_OR_POINT": "Area"}
        assert all(dataset.tags(band) == {} for band in dataset.indexes)
        assert ColorInterp.alpha not in dataset.colorinterp


def test_overviews_of_an_index_invent_no_value(large: Path) -> None:
    for level in (0, 1):
        with rasterio.open(large, overview_level=level) as overview:
            assert set(np.unique(overview.read(2))) <= {0, 3, 900}


def test_overviews_of_reflectance_are_means_of_the_cells_that_have_a_value(large: Path) -> None:
    pixels = make_pixels(make_grid(1100, 1300))[[0, 2]].astype(float)
    cells = pixels.reshape(2, 550, 2, 650, 2)
    valid = (cells != 0).sum(axis=(2, 4))
    mean = cells.sum(axis=(2, 4)) / np.maximum(valid, 1)
    with rasterio.open(large, overview_level=0) as overview:
        found = overview.read([1, 3])
    np.testing.assert_array_equal(found == 0, valid == 0)
    assert np.abs(found - mean).max() <= 0.5


def test_cog_has_the_same_bytes_whatever_its_name_and_folder(large: Path, tmp_path: Path) -> None:
    grid = make_grid(1100, 1300)
    again = tmp_path / "a b & ü:<c>" / "other.tif"
    write(again, grid, make_pixels(grid))
    assert again.read_bytes() == large.read_bytes()


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((1, 1), 128),
        ((20, 129), 144),
        ((512, 512), 512),
        ((513, 20), 512),
        ((20, 1030), 512),
        ((2, 2100), 512),
    ],
)
def test_cog_of_any_shape_is_valid(tmp_path: Path, shape: tuple[int, int], tile: int) -> None:
    grid = make_grid(*shape)
    write(tmp_path / "any.tif", grid, make_pixels(grid))
    assert cog_errors(tmp_path / "any.tif") == []
    with rasterio.open(tmp_path / "any.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), make_pixels(grid))
        # One tile of a small raster, the side of which is a multiple of 16, holds all of it.
        assert set(dataset.block_shapes) == {(tile, tile)}


def test_empty_blocks_take_no_space(tmp_path: Path) -> None:
    grid = make_grid(1100, 1100)
    write(tmp_path / "empty.tif", grid, np.zeros((3, 1100, 1100), dtype=np.uint16))
    assert (tmp_path / "empty.tif").stat().st_size < 10_000
    assert cog_errors(tmp_path / "empty.tif") == []


def test_overview_factors_end_at_one_tile() -> None:
    assert overview_factors(make_grid(512, 300)) == []
    assert overview_factors(make_grid(513, 300)) == [2]
    assert overview_factors(make_grid(10, 10_980)) == [2, 4, 8, 16, 32]


def test_a_failing_body_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.tif"
    path.write_bytes(b"before")
    grid = make_grid(8, 8)

    def interrupted() -> None:
        with open_cog_writer(path, grid, BANDS, nodata=0) as writer:
            writer.write(grid.window, np.ones((3, 8, 8), dtype=np.uint16))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.tif"]
    assert path.read_bytes() == b"before"


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="choose a folder"),
        open_cog_writer(tmp_path / "file" / "a.tif", make_grid(8, 8), BANDS, nodata=0),
    ):
        pass


def test_writing_distinguishes_a_full_disk_from_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = rasterio.errors.RasterioIOError("Write failed")
    with pytest.raises(OutputError), writing(tmp_path / "a.tif"):
        raise error
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(TryAgainError, match="free some space"), writing(tmp_path / "a.tif"):
        raise error


def test_gdal_cache_is_given_in_bytes() -> None:
    with gdal_env():
        assert rasterio.env.getenv()["GDAL_CACHEMAX"] == CACHE_BYTES
    assert CACHE_BYTES >= 64 * 2**20
    with gdal_env(GDAL_HTTP_TIMEOUT=7):
        assert rasterio.env.getenv()["GDAL_HTTP_TIMEOUT"] == 7


def reflectance(*names: str) -> list[CogBand]:
    return [
        *(CogBand(name, "average", is_reflectance=True) for name in names),
        CogBand("scene_index", "nearest"),
    ]


@pytest.mark.parametrize(
    ("names", "colours"),
    [
        (("B04", "B03", "B02"), "red green blue undefined"),
        (("B02", "B03", "B04", "B08"), "blue green red undefined undefined"),
        (("B01", "B02", "B03", "B04"), "undefined blue green red undefined"),
        (("B08", "B04", "B03"), "undefined red green undefined"),
        (("B08", "B11"), "gray undefined undefined"),
        (("B8A",), "gray undefined"),
    ],
)
def test_red_green_and_blue_are_shown_as_such_wherever_they_stand(
    tmp_path: Path, names: tuple[str, ...], colours: str
) -> None:
    grid, path = make_grid(30, 40), tmp_path / "a.tif"
    pixels = np.full((len(names) + 1, 30, 40), 700, np.uint16)
    with gdal_env(), open_cog_writer(path, grid, reflectance(*names), nodata=0) as writer:
        writer.write(next(iter(grid.blocks(1024))), pixels)
    with rasterio.open(path) as dataset:
        assert " ".join(colour.name for colour in dataset.colorinterp) == colours
        np.testing.assert_array_equal(dataset.read(), pixels)
    assert cog_errors(path) == []


def test_bands_of_reflectance_say_scale_wavelength_and_a_first_stretch(tmp_path: Path) -> None:
    grid, path = make_grid(10, 101), tmp_path / "a.tif"
    pixels = np.zeros((3, 10, 101), np.uint16)
    # 1 to 100 times ten, and a column without a value; the second band has none at all.
    pixels[0, :, 1:] = 10 * np.arange(1, 101)
    pixels[2] = 7
    bands = reflectance("B04", "B8A")
    tags = {"ACQUISITION_START": "2023-05-10T10:07:53Z"}
    with gdal_env(), open_cog_writer(path, grid, bands, nodata=0, tags=tags) as writer:
        writer.write(next(iter(grid.blocks(1024))), pixels)

    with rasterio.open(path) as dataset:
        assert dataset.tags() == {"AREA_OR_POINT": "Area", **tags}
        assert dataset.scales == (0.0001, 0.0001, 1.0)
        assert dataset.offsets == (0.0, 0.0, 0.0)
        assert dataset.tags(1, ns="IMAGERY") == {
            "CENTRAL_WAVELENGTH_UM": "0.665",
            "FWHM_UM": "0.038",
        }
        found = dataset.tags(1)
        assert (found["STATISTICS_MINIMUM"], found["STATISTICS_MAXIMUM"]) == ("30", "980")
        assert (found["STATISTICS_MEAN"], found["STATISTICS_VALID_PERCENT"]) == ("505.00", "99.01")
        assert found["STATISTICS_APPROXIMATE"] == "YES"
        assert dataset.tags(2) == {}
        assert dataset.tags(3) == {}
