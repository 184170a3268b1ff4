"""Decoded pixels are counted in whole tiles, of the overview that GDAL reads from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from cloudbuster.storage.rasters.decoded_tiles import DecodedTiles
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.raster_file import RasterFile

# Tiles of 64 x 64, the last column and row of them with 32 and 16 pixels inside the raster.
HEIGHT, WIDTH = 64 * 3 + 16, 64 * 4 + 32


def write(path: Path, *, bands: int = 1, **options: object) -> str:
    """A raster whose pixels are 1, and 2 in the first overview, 3 in the second."""
    profile = {
        "driver": "GTiff",
        "height": HEIGHT,
        "width": WIDTH,
        "count": bands,
        "dtype": "uint16",
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
    }
    with rasterio.open(path, "w", **{**profile, **options}) as dataset:
        dataset.write(np.ones((bands, HEIGHT, WIDTH), np.uint16))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    for level in (0, 1):
        with rasterio.open(path, "r+", overview_level=level) as overview:
            overview.write(np.full((bands, *overview.shape), level + 2, np.uint16))
    return str(path)


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gdal_env():
        yield write(tmp_path_factory.mktemp("tiles") / "one.tif")


@pytest.mark.parametrize(
    ("window", "tiles"),
    [
        (Window(0, 0, 64, 64), 1),
        (Window(10, 10, 1, 1), 1),
        (Window(63, 0, 2, 1), 2),
        (Window(63, 63, 2, 2), 4),
        (Window(0, 0, 256, 192), 12),
    ],
)
def test_a_read_counts_every_tile_that_it_touches(raster: str, window: Window, tiles: int) -> None:
    counted = DecodedTiles()
    with RasterFile(raster, tiles=counted) as file:
        file.read(1, window=window)
    assert counted.pixels_of(raster) == tiles * 64 * 64


def test_the_whole_raster_counts_its_own_pixels_and_nothing_twice(raster: str) -> None:
    counted = DecodedTiles()
    with RasterFile(raster, tiles=counted) as file:
        file.read(1, window=Window(280, 200, 1, 1))
        assert counted.pixels_of(raster) == 32 * 16
        file.read(1)
        file.read(1, window=Window(3, 5, 100, 100))
    assert counted.pixels_of(raster) == HEIGHT * WIDTH
    assert counted.pixels_of("another.tif") == 0


@pytest.mark.parametrize("resampling", [Resampling.nearest, Resampling.average])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((HEIGHT, WIDTH), (HEIGHT, WIDTH)),
        ((150, 200), (HEIGHT, WIDTH)),
        ((104, 144), (104, 144)),
        ((90, 120), (104, 144)),
        ((52, 72), (52, 72)),
        ((13, 18), (52, 72)),
        ((52, 144), (104, 144)),
    ],
)
def test_a_coarse_read_counts_the_overview_that_gdal_takes(
    raster: str, resampling: Resampling, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    counted = DecodedTiles()
    with RasterFile(raster, tiles=counted) as file:
        pixels = file.read(1, out_shape=shape, resampling=resampling)
    level = [(HEIGHT, WIDTH), (104, 144), (52, 72)].index(size)
    assert (pixels == level + 1).all()
    assert counted.pixels_of(raster) == size[0] * size[1]


def test_a_coarse_read_of_a_part_counts_the_tiles_of_that_part(raster: str) -> None:
    counted = DecodedTiles()
    with RasterFile(raster, tiles=counted) as file:
        file.read(1, window=Window(128, 0, 128, 128), out_shape=(64, 64))
    assert counted.pixels_of(raster) == 64 * 64


def test_nearest_neighbour_takes_an_overview_that_is_slightly_too_coarse(raster: str) -> None:
    for resampling, level, size in ((Resampling.nearest, 1, 104 * 144), (Resampling.average, 0, 0)):
        counted = DecodedTiles()
        with RasterFile(raster, tiles=counted) as file:
            pixels = file.read(1, out_shape=(115, 159), resampling=resampling)
        assert (pixels == level + 1).all()
        assert counted.pixels_of(raster) == size or HEIGHT * WIDTH


def test_a_tile_that_the_cache_has_lost_counts_again(raster: str) -> None:
    first, second, third = (Window(64 * col, 0, 64, 64) for col in range(3))
    counted = DecodedTiles(cache_bytes=2 * 64 * 64 * 2)
    with RasterFile(raster, tiles=counted) as file:
        for window in (first, second, first, third, first):
            file.read(1, window=window)
        assert counted.pixels_of(raster) == 3 * 64 * 64
        file.read(1, window=second)
    assert counted.pixels_of(raster) == 4 * 64 * 64


@pytest.mark.parametrize(("interleave", "layers"), [("band", 1), ("pixel", 3)])
def test_bands_interleaved_by_pixel_are_decoded_together(
    tmp_path: Path, interleave: str, layers: int
) -> None:
    path = write(tmp_path / "three.tif", bands=3, interleave=interleave)
    counted = DecodedTiles()
    with RasterFile(path, tiles=counted) as file:
        file.read(2, window=Window(0, 0, 5, 5))
        assert counted.pixels_of(path) == layers * 64 * 64
        file.read([1, 2, 3], window=Window(0, 0, 5, 5))
    assert counted.pixels_of(path) == 3 * 64 * 64


def test_strips_count_as_wide_as_the_raster(tmp_path: Path) -> None:
    path = write(tmp_path / "strips.tif", tiled=False, blockxsize=WIDTH, blockysize=4)
    counted = DecodedTiles()
    with RasterFile(path, tiles=counted) as file:
        file.read(1, window=Window(7, 6, 1, 4))
    assert counted.pixels_of(path) == 2 * 4 * WIDTH
