"""Tests of reading a scene: means of the valid pixels, the radiometric offset, the thumbnail."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.regrid import valid_means
from cloudbuster.core.offsets.radiometry import OffsetDecision
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import RasterError
from cloudbuster.source.scene_source import RasterSceneSource

SIDE = 512
JP2: dict[str, Any] = {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "YES", "ycc": "NO"}
COG: dict[str, Any] = {"driver": "COG", "blocksize": 128, "overview_resampling": "average"}
FORMATS = {"tif": {}, "cog": {**COG, "nodata": 0}, "jp2": JP2}


def written(path: Path, dn: np.ndarray, *, nodata: int | None = None, **how: Any) -> str:
    """One band at 10 m."""
    profile = {
        "driver": "GTiff",
        "width": dn.shape[1],
        "height": dn.shape[0],
        "count": 1,
        "dtype": dn.dtype.name,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_100_000),
        "nodata": nodata,
        **how,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(dn, 1)
    return str(path)


def scene_of(bands: dict[str, str], **changes: Any) -> Scene:
    assets = {name: BandAsset(href) for name, href in bands.items()}
    return Scene("S2A_33TWL_20230510_0_L2A", "L2A", baseline="05.09", bands=assets, **changes)


@cache
def ground(*, shift: int = 0, edge: bool = True) -> np.ndarray:
    """Rolling ground of 250 to 1350 DN, cut by the slanted edge of a swath."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    dn = 800 + 500 * np.sin(rows / 17) * np.cos(cols / 23) + shift
    dn += np.random.default_rng(5).integers(-50, 50, (SIDE, SIDE))
    if edge:
        dn[rows * 0.3 + cols > 420] = 0
    pixels: np.ndarray = dn.astype(np.uint16)
    pixels.setflags(write=False)
    return pixels


def coarse(grid: Grid, ratio: float, *, west: float = 0.0) -> Grid:
    size = int(np.ceil(SIDE / ratio)) + 1
    return Grid(grid.crs, grid.west + west, grid.north - west, 10 * ratio, 10 * ratio, size, size)


def in_cells(values: np.ndarray, ratio: float, *, west: float = 0.0) -> np.ndarray:
    """Sum ``values`` over each cell of `coarse`, in squares of 5 m, four to a pixel."""
    side, cut = round(2 * ratio), round(west / 5)
    fine = values.repeat(2, axis=0).repeat(2, axis=1)[cut:, cut:]
    cells = math.ceil(SIDE / ratio) + 1
    whole = np.zeros((cells * side, cells * side))
    whole[: fine.shape[0], : fine.shape[1]] = fine[: len(whole), : len(whole)]
    summed: np.ndarray = whole.reshape(cells, side, cells, side).sum(axis=(1, 3))
    return summed


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], str]:
    """Write `ground` in one of `FORMATS`, shifted by some DN, once."""
    folder = tmp_path_factory.mktemp("ground")

    @cache
    def make(name: str, shift: int) -> str:
        return written(folder / f"{name}-{shift}", ground(shift=shift), **FORMATS[name])

    return make


def test_valid_means_take_each_pixel_by_its_share_and_leave_zeros_out() -> None:
    native = Grid("EPSG:32633", 0, 40, 10, 10, 4, 4)
    pixels = np.array([[1, 2, 0, 0], [3, 4, 0, 9], [5, 5, 0, 0], [5, 6, 0, 0]], dtype=np.uint16)
    halves = Grid("EPSG:32633", 0, 40, 20, 20, 2, 2)
    # 2.5 is rounded up, 9 is the only valid pixel, and a cell without any is 0.
    np.testing.assert_array_equal(valid_means(pixels, native, halves), [[3, 9], [5, 0]])
    shifted = Grid("EPSG:32633", -10, 50, 25, 25, 1, 1)
    # Shares of 1, .5, .5 and .25 of the four pixels of the corner.
    share = (1 + 0.5 * 2 + 0.5 * 3 + 0.25 * 4) / 2.25
    np.testing.assert_array_equal(valid_means(pixels, native, shifted), [[round(share)]])


@pytest.mark.parametrize("ratio", [2, 3, 8, 12.5, 16])
@pytest.mark.parametrize("west", [0.0, 40.0])
@pytest.mark.parametrize("name", ["tif", "jp2"])
def test_means_at_a_swath_edge_hold_no_zeros(
    raster: Callable[[str, int], str], ratio: float, west: float, name: str
) -> None:
    dn = ground()
    with RasterSceneSource(scene_of({"B04": raster(name, 0)}), ("B04",)) as source:
        (found,) = source.read(("B04",), coarse(source.grid, ratio, west=west))
    valid = in_cells(dn > 0, ratio, west=west)
    # Halves are rounded up, and a cell without valid pixels is 0.
    wanted = np.floor(in_cells(dn, ratio, west=west) / np.maximum(valid, 1) + 0.5)
    edge = (valid > 0) & (valid < in_cells(dn >= 0, ratio, west=west))
    assert edge.sum() > 20
    np.testing.assert_array_equal(found[edge], wanted[edge])
    np.testing.assert_array_equal(found > 0, wanted > 0)
    if name == "tif":
        np.testing.assert_array_equal(found, wanted)
    else:
        # The overviews of JPEG 2000 are wavelets, shifted by half a pixel: near, not equal.
        assert np.abs(found.astype(int) - wanted)[wanted > 0].mean() < 40


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("ratio", [3, 16])
def test_a_shifted_raster_reads_as_the_one_without_offset(
    raster: Callable[[str, int], str], name: str, ratio: float
) -> None:
    found = []
    for shift in (0, 1000):
        with RasterSceneSource(scene_of({"B04": raster(name, shift)}), ("B04",)) as source:
            assert source.radiometry.offset_dn == -shift
            found.append(source.read(("B04",), coarse(source.grid, ratio)))
    np.testing.assert_array_equal(found[0], found[1])


def test_saturated_pixels_take_no_part_in_a_mean(tmp_path: Path) -> None:
    dn = ground(edge=False).copy()
    dn[0, 0] = 65535
    with RasterSceneSource(scene_of({"B04": written(tmp_path / "b.tif", dn)}), ("B04",)) as source:
        (found,) = source.read(("B04",), coarse(source.grid, 8))
    assert found[0, 0] == int(dn[:8, :8].ravel()[1:].mean() + 0.5)


def test_masks_are_never_shifted(tmp_path: Path) -> None:
    band = written(tmp_path / "b.tif", ground(shift=1000))
    scl = written(tmp_path / "s.tif", np.full((SIDE, SIDE), 4, np.uint8))
    with RasterSceneSource(
        scene_of({"B04": band}, masks={"scl": BandAsset(scl)}), ("B04",)
    ) as source:
        assert source.radiometry.verdict == "present"
        assert (source.read_mask("scl", source.grid) == 4).all()


def test_a_decision_that_was_made_before_is_not_made_again(tmp_path: Path) -> None:
    decided = OffsetDecision("present", True, True, ("somebody looked",))
    dn = ground(edge=False)
    scene = scene_of({"B04": written(tmp_path / "b.tif", dn)})
    with RasterSceneSource(scene, ("B04",), radiometry=decided) as source:
        assert source.radiometry is decided
        window = source.grid.crop(GridWindow(0, 0, 9, 9))
        np.testing.assert_array_equal(
            source.read(("B04",), window)[0], np.maximum(dn[:9, :9].astype(int) - 1000, 1)
        )


def test_a_thumbnail_is_small_and_marks_clear_ground(tmp_path: Path) -> None:
    scl = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
    scl[:128] = 9
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", width=256, height=256, count=1, dtype="uint8",
        crs="EPSG:32633", transform=Affine(20, 0, 500_000, 0, -20, 5_100_000),
    ) as dataset:  # fmt: skip
        dataset.write(scl, 1)
    scene = scene_of(
        {"B04": written(tmp_path / "b.tif", ground(edge=False))},
        masks={"scl": BandAsset(str(tmp_path / "s.tif"))},
    )
    with RasterSceneSource(scene, ("B04",)) as source:
        thumbnail = source.thumbnail()
        assert thumbnail.grid.bounds == source.grid.bounds
    assert thumbnail.names == ("B04",)
    assert thumbnail.dn.shape == (1, 256, 256)
    assert not thumbnail.clear[:128].any()
    assert thumbnail.clear[128:].all()


def test_thumbnails_include_bands_beside_the_requested_ones(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    bands = {
        "B04": written(tmp_path / "B04.tif", ground()),
        "B12": written(tmp_path / "B12.tif", ground()),
        "B02": written(tmp_path / "elsewhere" / "B02.tif", ground()),
        "B8A": str(tmp_path / "B8A.tif"),
    }
    with RasterSceneSource(scene_of(bands), ("B04",)) as source:
        # B02 is in another folder and the file of B8A is missing; neither was requested.
        assert source.thumbnail().names == ("B12", "B04")


def test_a_requested_band_that_cannot_be_read_for_the_thumbnail_is_an_error(tmp_path: Path) -> None:
    bands = {"B04": written(tmp_path / "B04.tif", ground()), "B02": str(tmp_path / "B02.tif")}
    with (
        pytest.raises(RasterError, match="B02"),
        RasterSceneSource(scene_of(bands), ("B04", "B02")) as source,
    ):
        source.thumbnail()
