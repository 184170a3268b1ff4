"""The rim of low values at the edge of a swath is of low rank, and no sign about the offset."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.offsets.offset_pixels import pixel_evidence
from cloudbuster.core.offsets.radiometry import OffsetDecision
from cloudbuster.core.pixels.masks import RIM_DN, RIM_PIXELS, low_rim
from cloudbuster.source.bands import band_raster
from cloudbuster.source.scene_source import RasterSceneSource
from tests.odd_rasters import NO_OFFSET, PLACE, scene, write

SIDE = 48
# The swath ends with this column: no data, then the rim.
EDGE = 10
PRESENT = OffsetDecision("present", True, False, ("by hand",))


def ground(shift: int = 0) -> np.ndarray:
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return np.asarray(400 + 37 * cols + 11 * rows + shift, dtype=np.uint16)


def with_rim(values: np.ndarray, width: int, low: float = 1, edge: int = EDGE) -> np.ndarray:
    cut = values.copy()
    cut[:, :edge], cut[:, edge : edge + width] = 0, low
    return cut


def rim_of(
    folder: Path, values: dict[str, np.ndarray], decision: OffsetDecision = NO_OFFSET, **how: Any
) -> np.ndarray:
    """Columns with a rim, for a scene whose bands lie in a file each."""
    hrefs = {name: write(folder / f"{name}.tif", each, **how) for name, each in values.items()}
    names = tuple(hrefs)
    with RasterSceneSource(scene(hrefs), names, radiometry=decision) as source:
        pixels, rim = source.read_with_rim(names, source.grid)
        np.testing.assert_array_equal(pixels, source.read(names, source.grid))
        # Blocks give the same, wherever they are cut.
        for window in source.grid.blocks(7):
            _, part = source.read_with_rim(names, source.grid.crop(window))
            np.testing.assert_array_equal(part, rim[window.slices])
    assert (rim == rim[0]).all()
    return np.flatnonzero(rim[0])


@pytest.mark.parametrize("width", [1, 2, 5, 16])
@pytest.mark.parametrize("low", [1, 7, RIM_DN])
def test_low_values_beside_nodata_are_the_rim(tmp_path: Path, width: int, low: int) -> None:
    found = rim_of(tmp_path, {"B04": with_rim(ground(), width, low)})
    np.testing.assert_array_equal(found, np.arange(EDGE, EDGE + width))


@pytest.mark.parametrize("low", [1, 300, 1000, 1100])
def test_with_the_offset_in_the_rim_is_as_low_after_it(tmp_path: Path, low: int) -> None:
    values = {"B04": with_rim(ground(1000), 3, low)}
    np.testing.assert_array_equal(rim_of(tmp_path, values, PRESENT), [10, 11, 12])


@pytest.mark.parametrize("nodata", [None, 0])
def test_a_rim_of_some_bands_counts_for_the_pixel(tmp_path: Path, nodata: int | None) -> None:
    """The others have data further out, or end with the rim."""
    values = {
        "B02": with_rim(ground(), 0, edge=4),
        "B03": with_rim(ground(), 2),
        "B04": with_rim(ground(), 4),
    }
    np.testing.assert_array_equal(rim_of(tmp_path, values, nodata=nodata), [10, 11, 12, 13])


def test_a_band_that_is_never_nodata_has_its_rim_beside_that_of_the_others(tmp_path: Path) -> None:
    """All that lies outside of the swath is 1 in it, and some columns more."""
    values = {"B03": with_rim(ground(), 0), "B04": with_rim(ground(), 3, edge=0, low=1)}
    values["B04"][:, : EDGE + 3] = 1
    np.testing.assert_array_equal(rim_of(tmp_path, values), [10, 11, 12])


@pytest.mark.parametrize("edge", [0, 100, 600])
def test_a_rim_is_found_by_overviews_wherever_the_swath_ends(tmp_path: Path, edge: int) -> None:
    """Only blocks near the edge are read with their surroundings."""
    side = 640
    values = np.full((side, side), 900, np.uint16)
    values[:, 300:302] = 5
    if edge:
        values[:, :edge], values[:, edge : edge + 3] = 0, 1
    href = write(tmp_path / "b.tif", values, tiled=True, blockxsize=128, blockysize=128)
    with rasterio.open(href, "r+") as dataset:
        dataset.build_overviews([2, 4])
    with RasterSceneSource(scene({"B04": href}), ("B04",), radiometry=NO_OFFSET) as source:
        found = np.zeros((side, side), dtype=np.bool_)
        for window in source.grid.blocks(100):
            part = source.grid.crop(window)
            found[window.slices] = source.read_with_rim(("B04",), part)[1]
    wanted = list(range(edge, edge + 3)) if edge else []
    np.testing.assert_array_equal(np.flatnonzero(found.all(axis=0)), wanted)
    assert found.sum() == side * len(wanted)


def test_dark_ground_away_from_the_edge_is_no_rim(tmp_path: Path) -> None:
    values = with_rim(ground(), 0)
    values[:, 30:34] = 1
    assert rim_of(tmp_path, {"B04": values}).size == 0
    # Nor is a whole dark raster without an edge.
    assert rim_of(tmp_path, {"B04": np.full((SIDE, SIDE), 40, np.uint16)}).size == 0


def test_a_rim_is_not_wider_than_its_limit(tmp_path: Path) -> None:
    """Water that begins at the edge stays clear beyond it."""
    found = rim_of(tmp_path, {"B04": with_rim(ground(), 30)})
    np.testing.assert_array_equal(found, np.arange(EDGE, EDGE + RIM_PIXELS))


def test_the_cirrus_band_is_dark_everywhere_and_makes_no_rim(tmp_path: Path) -> None:
    values = {"B04": with_rim(ground(), 0), "B10": with_rim(ground() * 0 + 3, 0)}
    assert rim_of(tmp_path, values).size == 0


def test_isolated_zeros_make_no_rim(tmp_path: Path) -> None:
    values = np.full((SIDE, SIDE), 60, np.uint16)
    values[20:22, 20:22] = 0
    assert rim_of(tmp_path, {"B04": values}).size == 0


def test_a_coarse_band_spreads_its_rim_as_far_as_it_is_interpolated(tmp_path: Path) -> None:
    """At 20 m, two columns from 100 m on are low: on the ground to 140 m, and half a cell more."""
    fine = write(tmp_path / "B04.tif", ground())
    coarse = np.full((SIDE // 2, SIDE // 2), 900, np.uint16)
    coarse[:, :5], coarse[:, 5:7] = 0, 1
    place = PLACE @ PLACE.scale(2)
    hrefs = {"B04": fine, "B11": write(tmp_path / "B11.tif", coarse, transform=place)}
    with RasterSceneSource(scene(hrefs), ("B04", "B11"), radiometry=NO_OFFSET) as source:
        pixels, rim = source.read_with_rim(("B04", "B11"), source.grid)
    below = (pixels[1] > 0) & (pixels[1] < 900)
    assert below.any()
    np.testing.assert_array_equal(rim & below, below)
    assert not rim[:, 16:].any()


@pytest.mark.parametrize("seed", range(10))
def test_parts_have_the_rim_of_the_whole_scene_whatever_its_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Threads of low values run from the swath's edge around corners, in bands of two sizes."""
    # The edge of so small a raster is found as that of a whole tile is.
    monkeypatch.setattr(band_raster, "LEAST_PART_PIXELS", 2)
    rng = np.random.default_rng(seed)
    swath = np.add(*np.mgrid[:SIDE, :SIDE]) > 24
    low = ndimage.binary_dilation(rng.random((SIDE, SIDE)) < 0.07, iterations=1)
    fine = np.where(low, 20, 900) * swath
    coarse = np.where(low[::2, ::2], 20, 900) * swath[::2, ::2]
    place = PLACE @ PLACE.scale(2)
    hrefs = {}
    for name, dn, how in (("B04", fine, {}), ("B11", coarse, {"transform": place})):
        hrefs[name] = write(tmp_path / f"{name}.tif", dn.astype(np.uint16), **how)
        with rasterio.open(hrefs[name], "r+") as dataset:
            dataset.build_overviews([2])
    with RasterSceneSource(scene(hrefs), ("B04", "B11"), radiometry=NO_OFFSET) as source:
        _, rim = source.read_with_rim(("B04", "B11"), source.grid)
        assert 0 < rim.sum() < rim.size / 2
        for side in (16, 24):
            for window in source.grid.blocks(side):
                _, part = source.read_with_rim(("B04", "B11"), source.grid.crop(window))
                np.testing.assert_array_equal(part, rim[window.slices])


@pytest.mark.parametrize("low", [False, True])
def test_fine_bands_are_read_beyond_a_part_only_if_something_is_low_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low: bool
) -> None:
    """The swath ends in the middle of a part, so that its neighbours may lack data too."""
    swath = np.add(*np.mgrid[:SIDE, :SIDE]) > 24
    coarse = np.full((SIDE // 2, SIDE // 2), 900) * swath[::2, ::2]
    if low:
        coarse[10:12, 2:4] = 5
    place = PLACE @ PLACE.scale(2)
    hrefs = {}
    for name, dn, how in (("B04", 900 * swath, {}), ("B11", coarse, {"transform": place})):
        hrefs[name] = write(tmp_path / f"{name}.tif", dn.astype(np.uint16), **how)
        with rasterio.open(hrefs[name], "r+") as dataset:
            dataset.build_overviews([2])
    shapes: dict[tuple[str, ...], set[tuple[int, int]]] = {}
    read = RasterSceneSource.read

    def spy(source: RasterSceneSource, bands: tuple[str, ...], grid: Grid) -> np.ndarray:
        shapes.setdefault(bands, set()).add(grid.shape)
        return read(source, bands, grid)

    monkeypatch.setattr(RasterSceneSource, "read", spy)
    with RasterSceneSource(scene(hrefs), ("B04", "B11"), radiometry=NO_OFFSET) as source:
        source.read_with_rim(("B04", "B11"), source.grid.crop(GridWindow(0, 0, 20, 20)))
    assert max(shapes["B11",]) > (20, 20)
    assert (max(shapes["B04", "B11"]) > (20, 20)) == low


@pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
def test_low_rim_is_joined_to_nodata_by_low_values_alone(shape: tuple[int, int]) -> None:
    band = np.array([0, 50, 100, 101, 50, 900], np.uint16).reshape(shape)
    found = low_rim(band, band == 0)
    np.testing.assert_array_equal(found.ravel(), [0, 1, 1, 0, 0, 0])


# --- the radiometric decision ---------------------------------------------------------------------


@pytest.mark.parametrize("low", [1, 300, 899])
@pytest.mark.parametrize("width", [1, 3, 8, 14])
def test_a_rim_is_no_sign_that_the_offset_was_removed(tmp_path: Path, low: int, width: int) -> None:
    """Dark ground at 1030 and above says that it is in the pixels; the rim would deny it."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    dn = (1030 + 40 * ((rows * 7 + cols * 3) % 29)).astype(np.uint16)
    href = write(tmp_path / "b.tif", with_rim(dn, width, low))
    with RasterSceneSource(scene({"B04": href}, baseline="05.09"), ("B04",)) as source:
        assert source.radiometry.verdict == "present"
        assert not source.radiometry.conflict
        (pixels,) = source.read(("B04",), source.grid)
    np.testing.assert_array_equal(pixels[:, EDGE + width :], dn[:, EDGE + width :] - 1000)
    assert (pixels[:, EDGE : EDGE + width] == 1).all()


@pytest.mark.parametrize("baseline", ["05.09", "03.01"])
def test_a_scene_without_the_offset_is_still_known_by_its_dark_ground(
    tmp_path: Path, baseline: str
) -> None:
    rows, cols = np.mgrid[:SIDE, :SIDE]
    dn = (100 + 40 * ((rows * 7 + cols * 3) % 29)).astype(np.uint16)
    href = write(tmp_path / "b.tif", with_rim(dn, 3))
    with RasterSceneSource(scene({"B04": href}, baseline=baseline), ("B04",)) as source:
        assert source.radiometry.offset_dn == 0


def test_a_narrow_strip_is_judged_by_all_its_pixels() -> None:
    """Where too few pixels are far from nodata, those near it count."""
    bands = np.zeros((1, 40, 40), np.uint16)
    bands[:, :, 10:22] = 700
    narrow = pixel_evidence(bands, ("B04",), rim_cells=RIM_PIXELS)
    assert narrow == pixel_evidence(bands, ("B04",))
    assert narrow.offset_in_pixels is False
