from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.core.pixels.stretch import stretch
from cloudbuster.products.preview import (
    BACKSTOP_COLOUR,
    MAX_SIZE,
    preview_shape,
    write_preview,
)


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


@pytest.mark.parametrize("snow_share", [0.0, 0.05, 0.3, 0.8])
def test_stretch_shows_land_and_snow_whatever_their_shares(snow_share: float) -> None:
    land = np.linspace(100, 900, 1000)
    snow = np.linspace(5000, 9000, int(1000 * snow_share / (1 - snow_share)))
    ramp = np.concatenate([land, snow])[np.newaxis]
    tones = stretch(np.stack([ramp, ramp, ramp]).astype(np.uint16))[0, 0].astype(int)
    land_tones, snow_tones = tones[:1000], tones[1000:]
    # Median of land: 400 DN above black, at 0.4 of the scale.
    assert land_tones[500] == pytest.approx(0.4 * 255, abs=25)
    assert land_tones[750] - land_tones[250] >= 30
    if snow_tones.size:
        assert snow_tones.min() > land_tones.max() + 10
        assert snow_tones.max() - snow_tones.min() >= 15


def test_stretch_keeps_the_colour_of_a_pixel() -> None:
    levels = np.concatenate([[1], np.linspace(200, 9000, 99)])
    picture = stretch(
        np.stack([levels, levels / 2 + 0.5, levels / 4 + 0.75])[:, np.newaxis].astype(np.uint16)
    )
    red, green, blue = picture[:3, 0, 10:].astype(float)
    np.testing.assert_allclose(green / red, 0.5, atol=0.02)
    np.testing.assert_allclose(blue / red, 0.25, atol=0.02)


def test_open_water_stays_dark() -> None:
    water = np.linspace(100, 130, 400).reshape(1, 20, 20).repeat(3, axis=0)
    assert stretch(water.astype(np.uint16))[:3].max() < 40


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


def test_the_backstop_is_outlined_from_outside_where_there_is_data(tmp_path: Path) -> None:
    pixels = np.full((3, 6, 6), 1000)
    pixels[:, 0] = 0
    write_mosaic(tmp_path / "m.tif", pixels, ("B04", "B03", "B02"))
    cells = np.zeros((6, 6), dtype=bool)
    cells[1:3, 2:4] = True
    write_preview(tmp_path / "m.tif", tmp_path / "m.png", backstop=cells)
    picture = read_png(tmp_path / "m.png")
    line = (picture[:3] == np.reshape(BACKSTOP_COLOUR, (3, 1, 1))).all(axis=0)
    expected = np.zeros((6, 6), dtype=bool)
    expected[1:4, 1:5] = True
    expected[1:3, 2:4] = False
    np.testing.assert_array_equal(line, expected)
    assert (picture[3, 0] == 0).all()


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
