"""Values as a raster or its item declares them become DN; what cannot be understood is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.scenes.encoding import Declaration
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import RasterError
from cloudbuster.source.scene_source import RasterSceneSource
from tests.odd_rasters import NO_OFFSET, SIDE, absent, expected, scene, truth, write

Options = dict[str, Any]


def filled(dtype: str, fill: float, *, factor: float = 1.0, nodata: float | None = None) -> Options:
    """The true values times a factor, with a fill value where there is no data."""
    values = np.where(absent(), fill, truth() * factor).astype(dtype)
    return {"bands": [values], "nodata": nodata}


PRESENT = np.where(absent(), 0, 255).astype(np.uint8)

STORED: dict[str, Options] = {
    "uint16, nodata 0": filled("uint16", 0, nodata=0),
    "uint16, no tag": filled("uint16", 0),
    "uint16, saturated": filled("uint16", 65_535),
    "uint16, nodata 65535": filled("uint16", 65_535, nodata=65_535),
    "uint16, garbage over 15 bits": filled("uint16", 64_500),
    "uint16, garbage under another tag": filled("uint16", 64_500, nodata=0),
    "uint16, nodata 1": filled("uint16", 1, nodata=1),
    "uint16, nodata 32767": filled("uint16", 32_767, nodata=32_767),
    "int16, nodata -9999": filled("int16", -9999, nodata=-9999),
    "int16, -9999 without a tag": filled("int16", -9999),
    "int16, nodata -32768": filled("int16", -32_768, nodata=-32_768),
    "int16, nodata -1": filled("int16", -1, nodata=-1),
    "int32, nodata": filled("int32", -2_147_483_648, nodata=-2_147_483_648),
    "uint32, nodata": filled("uint32", 4_294_967_295, nodata=4_294_967_295),
    "float32 DN, NaN": filled("float32", np.nan, nodata=np.nan),
    "float32 DN, NaN without a tag": filled("float32", np.nan),
    "float32 DN, nodata -9999": filled("float32", -9999, nodata=-9999),
    "float64 DN, inf": filled("float64", np.inf),
    "float32 reflectance, NaN": filled("float32", np.nan, factor=1e-4),
    "float32 reflectance, nodata 0": filled("float32", 0, factor=1e-4, nodata=0),
    "float32 reflectance, nodata -9999": filled("float32", -9999, factor=1e-4, nodata=-9999),
    "float32 reflectance, least float": filled(
        "float32",
        float(np.finfo("float32").min),
        factor=1e-4,
        nodata=float(np.finfo("float32").min),
    ),
    "float64 reflectance, nodata 9999": filled("float64", 9999, factor=1e-4, nodata=9999),
    "uint16, internal mask": {**filled("uint16", 777), "mask": PRESENT},
    "uint16, mask beside it": {**filled("uint16", 777), "mask": PRESENT, "internal": False},
    "uint16, alpha 65535": {**filled("uint16", 777), "alpha": PRESENT * np.uint16(257)},
    "uint16, alpha 255": {**filled("uint16", 777), "alpha": PRESENT.astype(np.uint16)},
    "float32 reflectance, alpha 1": {
        **filled("float32", 0.3, factor=1e-4),
        "alpha": (PRESENT != 0).astype(np.float32),
    },
    "uint16, scale of DN": {**filled("uint16", 0, nodata=0), "scales": [1e-4]},
    "uint16, scale 5e-5": {**filled("uint16", 0, factor=2, nodata=0), "scales": [5e-5]},
    "int32, percent times 1000": {**filled("int32", -1, factor=10, nodata=-1), "scales": [1e-5]},
    "float32 percent": {**filled("float32", np.nan, factor=0.01), "scales": [0.01]},
    "uint16, scale and offset of ESA": {
        **filled("uint16", 0),
        "scales": [1e-4],
        "offsets": [-0.1],
    },
    "JPEG 2000": {
        **filled("uint16", 0),
        "driver": "JP2OpenJPEG",
        "quality": "100",
        "reversible": "YES",
    },
}


def read_band(scene_of_it: Scene) -> np.ndarray:
    with RasterSceneSource(scene_of_it, ("B04",), radiometry=NO_OFFSET) as source:
        return np.asarray(source.read(("B04",), source.grid)[0])


@pytest.mark.parametrize("how", STORED.values(), ids=STORED.keys())
def test_every_pixel_is_right_however_it_is_stored(tmp_path: Path, how: Options) -> None:
    options = dict(how)
    href = write(tmp_path / "b.tif", *options.pop("bands"), **options)
    np.testing.assert_array_equal(read_band(scene({"B04": href})), expected())
    with RasterSceneSource(scene({"B04": href}), ("B04",)) as source:
        assert source.radiometry.offset_dn == 0
        thumbnail = source.thumbnail().dn[0]
    np.testing.assert_array_equal(np.where(thumbnail > 32_767, 0, thumbnail), expected())


STATED: dict[str, tuple[Options, Declaration]] = {
    "nodata": (filled("int16", -5), Declaration(nodata=(-5.0,))),
    "nodata beside the file's": (filled("uint16", 7, nodata=0), Declaration(nodata=(7.0,))),
    "scale of DN": (filled("uint16", 0), Declaration(scale=1e-4, offset=0.0)),
    "scale of other integers": (filled("uint16", 0, factor=5), Declaration(scale=2e-5)),
    "scale of percent": (filled("float32", np.nan, factor=0.01), Declaration(scale=0.01)),
    "the file's own scale": (
        {**filled("uint16", 0, factor=2), "scales": [5e-5]},
        Declaration(scale=5e-5),
    ),
    "scale 1, which says nothing": (
        filled("float32", np.nan, factor=1e-4),
        Declaration(scale=1.0, offset=0.0),
    ),
}


@pytest.mark.parametrize(("how", "stated"), STATED.values(), ids=STATED.keys())
def test_what_the_item_declares_counts_as_well(
    tmp_path: Path, how: Options, stated: Declaration
) -> None:
    options = dict(how)
    href = write(tmp_path / "b.tif", *options.pop("bands"), **options)
    np.testing.assert_array_equal(read_band(scene({"B04": href}, stated=stated)), expected())


def stretched(top: float, dtype: str) -> np.ndarray:
    """Values from nearly 0 to a top, without nodata."""
    return np.asarray((truth() / truth().max() * top).astype(dtype))


REFUSED: dict[str, tuple[Options, Declaration, str]] = {
    "8 bits": ({"bands": [stretched(255, "uint8")]}, Declaration(), "8-bit values"),
    "8 bits with a scale": ({"bands": [stretched(255, "uint8")]}, Declaration(4e-3), "8-bit"),
    "signed 8 bits": ({"bands": [stretched(127, "int8")]}, Declaration(), "8-bit"),
    "8 bits in a wider type": (
        {"bands": [stretched(255, "uint16")]},
        Declaration(),
        "up to 255 in B04: 8-bit imagery",
    ),
    "complex": ({"bands": [stretched(1000, "complex64")]}, Declaration(), "no real numbers"),
    "another scale than the item's": (
        {"bands": [stretched(3000, "uint16")], "scales": [1e-4]},
        Declaration(scale=1e-3),
        "scaled twice",
    ),
    "reflectance scaled by the item once more": (
        {"bands": [stretched(0.3, "float32")]},
        Declaration(scale=1e-4),
        "scaled twice",
    ),
    "reflectance as integers": ({"bands": [stretched(1, "uint16")]}, Declaration(1e-4), "twice"),
    "an offset of no Sentinel-2": (
        {"bands": [stretched(3000, "uint16")], "scales": [1e-4], "offsets": [0.5]},
        Declaration(),
        "offset of 0.5",
    ),
    "a negative scale": (
        {"bands": [stretched(3000, "uint16")], "scales": [-1e-4]},
        Declaration(),
        "scale of -0.0001",
    ),
    "floats between reflectance and DN": (
        {"bands": [stretched(90, "float32")]},
        Declaration(),
        "clearly neither reflectance",
    ),
    "all values over 15 bits": (
        {"bands": [(truth() + 40_000).astype(np.uint16)]},
        Declaration(),
        "neither DN",
    ),
    "all values under a wrong scale": (
        {"bands": [stretched(3000, "uint16")]},
        Declaration(scale=1.5),
        "neither DN",
    ),
}


@pytest.mark.parametrize(("how", "stated", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_understood_is_refused_by_name(
    tmp_path: Path, how: Options, stated: Declaration, words: str
) -> None:
    options = dict(how)
    href = write(tmp_path / "b.tif", *options.pop("bands"), **options)
    with (
        pytest.raises(RasterError, match=words) as caught,
        RasterSceneSource(scene({"B04": href}, stated=stated), ("B04",)) as source,
    ):
        _ = source.radiometry
    assert "drop the scene" in str(caught.value)


def test_bands_with_different_offsets_are_refused(tmp_path: Path) -> None:
    values = stretched(3000, "uint16")
    hrefs = {
        name: write(tmp_path / f"{name}.tif", values, scales=[1e-4], offsets=[offset])
        for name, offset in (("B03", -0.1), ("B04", -0.1), ("B08", -0.05))
    }
    with (
        pytest.raises(RasterError, match=r"offset of -0\.05"),
        RasterSceneSource(scene(hrefs), tuple(hrefs)) as source,
    ):
        _ = source.radiometry


def test_reflectance_below_zero_is_dark_ground_and_no_gap(tmp_path: Path) -> None:
    values = (truth() / 1e4 - 0.04999).astype(np.float32)
    href = write(tmp_path / "b.tif", values)
    np.testing.assert_array_equal(read_band(scene({"B04": href})), np.maximum(truth() - 500, 1))


@pytest.mark.parametrize(
    ("shift", "stated"),
    [
        (0, None),
        (0, Declaration(1e-4, 0.0)),
        (1000, Declaration(1e-4, -0.1)),
        (1000, None),
    ],
)
def test_the_offset_of_reflectance_is_decided_as_that_of_dn(
    tmp_path: Path, shift: int, stated: Declaration | None
) -> None:
    """Declarations are one statement of several; the pixels have the last word."""
    dark = truth() // 2
    href = write(tmp_path / "b.tif", ((dark + shift) / 1e4).astype(np.float32))
    metadata = stated and Declaration(offset=stated.offset)
    told = scene({"B04": href}, stated=metadata, baseline="05.00")
    with RasterSceneSource(told, ("B04",)) as source:
        assert source.radiometry.offset_dn == -shift
        np.testing.assert_array_equal(source.read(("B04",), source.grid)[0], dark)


def test_means_of_a_masked_raster_come_from_its_pixels(tmp_path: Path) -> None:
    """Overviews are made without the mask: they would mix in what it hides."""
    side = 4 * SIDE
    values = np.full((side, side), 1000, np.uint16)
    mask = np.full((side, side), 255, np.uint8)
    values[:, side // 2 - 3 :], mask[:, side // 2 - 3 :] = 9000, 0
    href = write(tmp_path / "b.tif", values, mask=mask)
    with rasterio.open(href, "r+") as dataset:
        dataset.build_overviews([2, 4])
    with RasterSceneSource(scene({"B04": href}), ("B04",), radiometry=NO_OFFSET) as source:
        (pixels,) = source.read(("B04",), coarse(source.grid, 8))
    assert set(np.unique(pixels)) == {0, 1000}


def coarse(grid: Grid, ratio: int) -> Grid:
    return replace(
        grid,
        x_size=grid.x_size * ratio,
        y_size=grid.y_size * ratio,
        width=grid.width // ratio,
        height=grid.height // ratio,
    )


@pytest.mark.parametrize("layout", ["bands", "planes", "files"])
@pytest.mark.parametrize("fill", [0, 64_500])
def test_bands_in_one_file_or_several_read_alike(tmp_path: Path, layout: str, fill: int) -> None:
    values = [np.where(absent(), fill, truth() + shift).astype(np.uint16) for shift in (0, 5, 9)]
    names = ("B02", "B03", "B04")
    if layout == "files":
        bands: dict[str, str | BandAsset] = {
            name: write(tmp_path / f"{name}.tif", each)
            for name, each in zip(names, values, strict=True)
        }
    else:
        interleave = "pixel" if layout == "bands" else "band"
        href = write(tmp_path / "all.tif", *values, interleave=interleave, names=names)
        bands = {name: BandAsset(href, index) for index, name in enumerate(names, start=1)}
    with RasterSceneSource(scene(bands), names, radiometry=NO_OFFSET) as source:
        pixels = source.read(names, source.grid)
    wanted = [np.where(absent(), 0, truth() + shift) for shift in (0, 5, 9)]
    np.testing.assert_array_equal(pixels, wanted)


def test_the_record_says_how_values_were_understood(tmp_path: Path) -> None:
    options = filled("float32", -9999, factor=1e-4, nodata=-9999)
    href = write(tmp_path / "b.tif", *options.pop("bands"), **options)
    with RasterSceneSource(scene({"B04": href}), ("B04",)) as source:
        assert source.notes == ("b.tif: stored as float32 reflectance, nodata -9999",)
