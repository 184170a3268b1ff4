import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.detectors import csmask, extras
from cloudbuster.detectors.csmask import CsmaskDetector
from cloudbuster.errors import MissingBandsError, MissingExtraError, RasterError
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

if TYPE_CHECKING:
    from pathlib import Path

    from cloudbuster.core.pixels.masks import DetectedMask

SIX = ("B02", "B03", "B04", "B08", "B11", "B12")
FOUR = SIX[:4]
# Reflectance times 10 000 of a field and of a thick cloud, in the order of SIX.
FIELD = (900, 1000, 800, 3200, 1900, 1000)
CLOUD = (5200, 5100, 5200, 5900, 4200, 3300)


def source_of(pixels: Any, gsd_m: float, *, kind: Any = "L2A", bands: Any = SIX) -> FakeSource:
    """Scene whose bands are the arrays of ``pixels``."""
    assets = {name: BandAsset(f"memory/{name}.tif") for name in bands}
    height, width = pixels.shape[1:]
    grid = grid_of(height, width, gsd_m)
    return FakeSource(scene_of(kind, bands=assets), grid, dict(zip(bands, pixels, strict=True)))


def field_with_cloud(size: int, cloud: GridWindow) -> Any:
    """Pixels of a field, textured so that it is no uniform surface, with a cloud in it."""
    pixels = np.empty((6, size, size), dtype=np.uint16)
    texture = np.random.default_rng(1).integers(-60, 60, (size, size))
    pixels[:] = np.array(FIELD)[:, None, None] + texture
    pixels[(slice(None), *cloud.slices)] = np.array(CLOUD)[:, None, None]
    return pixels


@pytest.fixture(scope="module")
def labelled(request: pytest.FixtureRequest) -> tuple[FakeSource, Any]:
    """A real scene at 30 m, and its labels: 0 shadow, 1 and 3 clear, 4 cloud."""
    folder: Path = request.getfixturevalue("test_data") / "toa-labelled-dlr"
    with rasterio.open(folder / "sentinel2_toa_6band.tif") as dataset:
        pixels = np.rint(dataset.read() * 10_000).clip(1, 32_767).astype(np.uint16)
    with rasterio.open(folder / "sentinel2_labels.tif") as dataset:
        labels = dataset.read(1)
    return source_of(pixels, 30, kind="L1C"), labels


@pytest.fixture(scope="module")
def whole(labelled: tuple[FakeSource, Any]) -> "DetectedMask":
    """The mask of the whole real scene."""
    source, _ = labelled
    return CsmaskDetector().detect(source, source.grid)


def share(of: Any, within: Any) -> float:
    return float((of & within).sum() / within.sum())


@pytest.mark.real_data
def test_cloud_and_shadow_are_found_apart_on_labelled_imagery(labelled, whole):
    source, labels = labelled
    mask = whole
    assert mask.grid == source.grid
    assert mask.detector == "csmask 1.0.0-6BL1C gsd_m=30"
    assert share(mask.cloud, labels == 4) > 0.97
    assert share(mask.shadow, labels == 0) > 0.93
    assert share(~mask.cloud_or_shadow, np.isin(labels, (1, 3))) > 0.85
    assert not mask.defective.any()


@pytest.mark.real_data
@pytest.mark.parametrize("window", [GridWindow(180, 100, 60, 120), GridWindow(480, 500, 32, 12)])
def test_a_part_is_as_in_the_whole_scene_and_reads_no_more_than_it_needs(labelled, whole, window):
    source, _ = labelled
    source.reads.clear()
    part = CsmaskDetector().detect(source, source.grid.crop(window))
    for name in ("cloud", "shadow", "defective"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[window.slices])
    # Windows of 256 cells of which 192 are kept.
    windows = [grid for _, grid in source.reads if grid.shape != (1, 1)]
    assert len(windows) <= 4
    assert all(max(grid.shape) <= 256 for grid in windows)


@pytest.fixture(scope="module")
def half_empty() -> FakeSource:
    """A field whose right half has no data, with a cloud of 800 m at the edge of the data."""
    pixels = field_with_cloud(128, GridWindow(20, 24, 40, 40))
    pixels[:, :, 64:] = 0
    return source_of(pixels, 20)


def test_cells_without_a_value_are_defective_and_make_no_shadow_beside_them(half_empty):
    mask = CsmaskDetector().detect(half_empty, half_empty.grid)
    assert mask.detector == "csmask 1.0.0-6BL2A gsd_m=20"
    assert mask.defective[:, 64:].all()
    assert not mask.defective[:, :64].any()
    assert not mask.cloud_or_shadow[:, 64:].any()
    assert mask.cloud[24:56, 28:64].mean() > 0.95
    assert not mask.cloud_or_shadow[90:, :64].any()


@pytest.mark.real_data
def test_without_short_wave_infrared_the_network_of_four_bands_is_used(labelled):
    scene, labels = labelled
    window = GridWindow(128, 128, 192, 192)
    pixels = np.stack([scene.pixels[name][window.slices] for name in FOUR])
    source = source_of(pixels, 30, kind="L1C", bands=FOUR)
    mask = CsmaskDetector().detect(source, source.grid)
    assert mask.detector == "csmask 1.0.0-4BL1C gsd_m=30"
    assert share(mask.cloud, labels[window.slices] == 4) > 0.9
    assert {bands for bands, _ in source.reads} == {FOUR}


def test_b8a_stands_in_for_a_missing_b08(half_empty):
    bands = ("B02", "B03", "B04", "B8A", "B11", "B12")
    pixels = np.stack([half_empty.pixels[name] for name in SIX])
    source = source_of(pixels, 20, bands=bands)
    found = CsmaskDetector().detect(source, source.grid)
    expected = CsmaskDetector().detect(half_empty, half_empty.grid)
    np.testing.assert_array_equal(found.cloud, expected.cloud)


def test_a_scene_without_a_needed_band_is_refused():
    source = source_of(np.ones((2, 4, 4), dtype=np.uint16), 20, bands=("B02", "B04"))
    with pytest.raises(MissingBandsError, match="has no B03, B08 or B8A, which csmask needs"):
        CsmaskDetector().detect(source, source.grid)


@pytest.mark.parametrize(
    ("scene_m", "asked_m", "expected_m"),
    [(10, None, 20), (20, None, 20), (60, None, 60), (10, 30, 30), (60, 20, 60), (10, 10, 10)],
)
def test_cells_are_of_20_m_and_never_finer_than_the_scene(scene_m, asked_m, expected_m):
    pixels = np.zeros((6, 12, 12), dtype=np.uint16)
    source = source_of(pixels, scene_m)
    mask = CsmaskDetector(asked_m).detect(source, source.grid)
    assert (mask.grid.x_size, mask.grid.west) == (expected_m, source.grid.west)
    assert mask.defective.all()
    assert not mask.cloud_or_shadow.any()


def test_values_are_mirrored_into_cells_without_one():
    values = np.array([[[1, 2, 3, 0, 0, 0, 0]]], dtype=np.float32)
    filled = csmask._filled(values, values[0] != 0)
    # The mirror image of the last cell lies outside of the window.
    np.testing.assert_array_equal(filled, [[[1, 2, 3, 2, 1, 3, 3]]])


def test_a_network_is_loaded_once_in_a_process(half_empty):
    CsmaskDetector().detect(half_empty, half_empty.grid)
    loads = csmask._load.cache_info().misses
    CsmaskDetector(40).detect(half_empty, half_empty.grid)
    assert csmask._load.cache_info().misses == loads


def test_a_missing_package_names_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="pip install ukis-csmask"):
        CsmaskDetector()


def test_the_detector_goes_to_another_process():
    detector = CsmaskDetector(30)
    assert pickle.loads(pickle.dumps(detector)) == detector  # noqa: S301


def test_the_area_may_reach_beyond_a_small_scene():
    source = source_of(field_with_cloud(40, GridWindow(0, 0, 0, 0)), 20)
    beyond = Grid(source.grid.crs, source.grid.west, source.grid.north, 20, 20, 44, 42)
    mask = CsmaskDetector().detect(source, beyond)
    assert mask.defective[:, 40:].all()
    assert not mask.defective[:40, :40].any()


class PartlyCopied(FakeSource):
    """Scene of which some bands are listed, but cannot be read."""

    absent: tuple[str, ...] = ()

    def read(self, bands: tuple[str, ...], grid: Grid) -> Any:
        """Read as `FakeSource`; raise RasterError for an absent band."""
        gone = [name for name in bands if name in self.absent]
        if gone:
            msg = f"{gone[0]}.tif: No such file"
            raise RasterError(msg)
        return super().read(bands, grid)


def partly_copied(absent: tuple[str, ...], **hrefs: str) -> PartlyCopied:
    """Field at 20 m, without the files of some bands; bands at other places by ``hrefs``."""
    source = source_of(field_with_cloud(16, GridWindow(0, 0, 0, 0)), 20)
    bands = {
        name: BandAsset(hrefs.get(name, asset.href)) for name, asset in source.scene.bands.items()
    }
    scene = scene_of(bands=bands)
    copied = PartlyCopied(scene, source.grid, source.pixels)
    copied.absent = absent
    return copied


def test_short_wave_infrared_that_was_not_copied_is_left_out():
    source = partly_copied(("B11", "B12"))
    assert "4BL2A" in CsmaskDetector().detect(source, source.grid).detector


def test_bands_on_another_server_are_not_asked_for():
    source = partly_copied((), B12="https://example.org/B12.tif")
    assert "4BL2A" in CsmaskDetector().detect(source, source.grid).detector
    assert not any("B12" in bands for bands, _ in source.reads)


def test_a_needed_band_that_cannot_be_read_is_named():
    source = partly_copied(("B03",))
    with pytest.raises(MissingBandsError, match=r"B03\.tif: No such file; csmask needs it"):
        CsmaskDetector().detect(source, source.grid)
