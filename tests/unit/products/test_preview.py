from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.products.preview import MAX_SIZE, preview_shape, stretch, write_preview


def write_mosaic(path: Path, pixels: np.ndarray, names: tuple[str, ...]) -> None:
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=count,
        dtype="uint16",
        nodata=0,
        crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as dataset:
        dataset.write(pixels.astype(np.uint16))
        dataset.descriptions = names


def read_png(path: Path) -> np.ndarray:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        png = rasterio.open(path, driver="PNG")
    with png:
        return np.asarray(png.read())


def test_stretch_makes_nodata_transparent_and_keeps_the_order_of_tones() -> None:
    ramp = np.arange(1, 4001, 40).reshape(10, 10)
    reflectance = np.stack([ramp, ramp + 100, ramp + 500])
    reflectance[1, 0, 0] = 0
    picture = stretch(reflectance.astype(np.uint16))
    assert picture.shape == (4, 10, 10)
    assert picture.dtype == np.uint8
    assert picture[3, 0, 0] == 0
    assert (picture[:, 0, 0] == 0).all()
    assert (picture[3].ravel()[1:] == 255).all()
    assert (np.diff(picture[0].ravel()[1:].astype(int)) >= 0).all()
    assert picture[0].max() == 255
    # The offset of each band is haze: removed, so that grey ground is grey.
    np.testing.assert_array_equal(picture[0], picture[2])


def test_stretch_of_nothing_is_transparent() -> None:
    assert not stretch(np.zeros((3, 2, 2), dtype=np.uint16)).any()


def test_stretch_of_a_flat_scene_stays_flat() -> None:
    picture = stretch(np.full((3, 4, 4), 1200, dtype=np.uint16))
    assert (picture[:3] == 0).all()
    assert (picture[3] == 255).all()


def test_preview_shape_has_a_longest_side_of_at_most_1024() -> None:
    assert preview_shape(300, 200) == (300, 200)
    assert preview_shape(10_980, 10_980) == (MAX_SIZE, MAX_SIZE)
    assert preview_shape(1, 5000) == (1, MAX_SIZE)


def test_write_preview_takes_red_green_blue_whatever_their_order(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(1, 51) * 60, (40, 1))
    flat = np.full((40, 50), 500)
    write_mosaic(
        tmp_path / "m.tif", np.stack([flat, flat, flat, ramp]), ("B02", "B08", "B03", "B04")
    )
    assert write_preview(tmp_path / "m.tif", tmp_path / "m.png") == (40, 50)
    picture = read_png(tmp_path / "m.png")
    assert picture.shape == (4, 40, 50)
    assert picture[0].max() == 255
    assert picture[1:3].max() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.png", "m.tif"]


def test_write_preview_without_true_colour_is_grey(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(1, 2001, 20), (20, 1))
    write_mosaic(tmp_path / "m.tif", np.stack([ramp, ramp * 2]), ("B08", "scene_index"))
    write_preview(tmp_path / "m.tif", tmp_path / "m.png")
    picture = read_png(tmp_path / "m.png")
    np.testing.assert_array_equal(picture[0], picture[1])
    np.testing.assert_array_equal(picture[0], picture[2])


def test_write_preview_of_a_large_mosaic_is_reduced_without_nodata_in_the_means(
    tmp_path: Path,
) -> None:
    pixels = np.full((3, 4, 3000), 1000)
    pixels[:, :, ::2] = 0
    pixels[:, :, :900] = 0
    write_mosaic(tmp_path / "m.tif", pixels, ("B04", "B03", "B02"))
    assert write_preview(tmp_path / "m.tif", tmp_path / "m.png") == (1, MAX_SIZE)
    opacity = read_png(tmp_path / "m.png")[3, 0]
    assert (opacity[:300] == 0).all()
    assert (opacity[310:] == 255).all()
