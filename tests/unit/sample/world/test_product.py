"""Tests of the products in memory: windows, digital numbers, and the masks of detectors."""

from dataclasses import dataclass

import numpy as np
import pytest
from s2cloudless import S2PixelCloudDetector  # type: ignore[attr-defined]
from scipy import ndimage

from cloudbuster.core.scenes.bands import BANDS
from cloudbuster.sample.world import plan, spectra
from cloudbuster.sample.world.ground import make_ground
from cloudbuster.sample.world.product import Block, SceneBlock, shift_dn
from cloudbuster.sample.world.sky import make_sky

BOUNDS = plan.world_bounds("small")
TILE = plan.tiles_of("small")[1]
# A world of its own for what is seen in the mean: a cover that is planned for it comes true in it.
SIDE = 336
# A stock mask: nodata, defective, shadow, unclassified, cloud, cirrus.
MASKED = (0, 1, 3, 7, 8, 9, 10)


def scene_of(datatake, *, block):
    return SceneBlock(make_sky(datatake, seed=7, bounds=BOUNDS), block)


def small_world_of(datatake):
    block = Block(TILE.west_m, TILE.north_m, SIDE, SIDE)
    extent = 10 * SIDE
    bounds = (TILE.west_m, TILE.north_m - extent, TILE.west_m + extent, TILE.north_m)
    return SceneBlock(make_sky(datatake, seed=7, bounds=bounds), block)


@dataclass
class Looked:
    scl: np.ndarray
    affected: np.ndarray


@pytest.fixture(scope="module")
def season():
    looks = []
    for datatake in plan.PLAN:
        scene = small_world_of(datatake)
        looks.append(Looked(scene.scene_classes(), scene.affected()))
    return looks


@pytest.mark.parametrize("datatake", [plan.PLAN[0], plan.PLAN[1]])
def test_block_of_a_scene_equals_the_block_of_the_whole(datatake):
    whole = scene_of(datatake, block=Block(TILE.west_m, TILE.north_m, 360, 480))
    part = scene_of(datatake, block=Block(TILE.west_m + 1200, TILE.north_m - 600, 120, 240))
    for band, kind in (("B02", "L2A"), ("B12", "L2A"), ("B10", "L1C"), ("B09", "L1C")):
        gsd_m = BANDS[band].gsd_m
        top, left = 600 // gsd_m, 1200 // gsd_m
        high, wide = 1200 // gsd_m, 2400 // gsd_m
        expected = whole.digital(band, kind)[top : top + high, left : left + wide]
        np.testing.assert_array_equal(part.digital(band, kind), expected)
    inside = (slice(30, 90), slice(60, 180))
    np.testing.assert_array_equal(part.scene_classes(), whole.scene_classes()[inside])
    np.testing.assert_array_equal(part.cloud_probability(), whole.cloud_probability()[inside])
    np.testing.assert_array_equal(part.affected(), whole.affected()[inside])


def test_block_refuses_sides_that_60_m_pixels_do_not_divide():
    with pytest.raises(ValueError, match="multiples of 6"):
        Block(0, 0, 100, 60)


def test_digital_differs_by_the_offset_between_the_levels():
    present = scene_of(plan.PLAN[2], block=Block(TILE.west_m, TILE.north_m, 60, 60))
    removed = scene_of(plan.PLAN[4], block=Block(TILE.west_m, TILE.north_m, 60, 60))
    none = scene_of(plan.PLAN[0], block=Block(TILE.west_m, TILE.north_m, 60, 60))
    for scene, l1c, l2a in ((present, 1000, 1000), (removed, 1000, 0), (none, 0, 0)):
        for kind, offset in (("L1C", l1c), ("L2A", l2a)):
            shifted = scene.digital("B04", kind).astype(float) - offset
            expected = scene.reflectance("B04", kind) * 10_000
            np.testing.assert_allclose(shifted, expected, atol=5)


def test_shift_dn_keeps_dark_pixels_valid_and_nodata_zero():
    reflectance = np.array([[-0.01, 0.0, 0.2]], np.float32)
    valid = np.array([[True, True, False]])
    np.testing.assert_array_equal(shift_dn(reflectance, valid, offset_dn=0), [[1, 1, 0]])
    np.testing.assert_array_equal(shift_dn(reflectance, valid, offset_dn=1000), [[1001, 1001, 0]])


def test_outside_the_swath_every_band_and_mask_is_zero():
    scene = scene_of(plan.PLAN[1], block=Block(TILE.west_m + 4800, TILE.north_m - 6600, 360, 300))
    outside = ~scene.valid(20)
    assert 0.2 < outside.mean() < 1
    assert (scene.scene_classes()[outside] == 0).all()
    assert (scene.affected()[outside] == 0).all()
    for band in ("B04", "B11", "B09"):
        valid = scene.valid(BANDS[band].gsd_m)
        np.testing.assert_array_equal(scene.digital(band, "L2A") > 0, valid)


def test_small_world_has_every_surface():
    whole = Block(TILE.west_m, TILE.north_m, 1950, 1026)
    surface = make_ground(*whole.axes(20), seed=7).surface
    hectares = np.bincount(surface.ravel(), minlength=spectra.CLASS_COUNT) * 0.04
    assert (hectares[: spectra.CROP] > 10).all()
    assert hectares[spectra.CROP :].sum() > 2000


def test_cloud_cover_is_the_planned_one(season):
    for datatake, look in zip(plan.PLAN, season, strict=True):
        valid = look.affected > 0
        assert abs((look.affected[valid] == 2).mean() - datatake.cover) < 0.12
        assert (look.affected[valid] == 3).mean() > 0.02


def test_scene_classes_are_imperfect_without_growth_and_good_with_50_m(season):
    left = []
    for grow_m in (0, 50):
        taken = np.zeros(season[0].affected.shape, np.uint8)
        for look in season:
            masked = np.isin(look.scl, MASKED)
            if grow_m:
                masked = ndimage.distance_transform_edt(~masked, sampling=20) <= grow_m
            first = (taken == 0) & ~masked
            taken[first] = look.affected[first]
        assert (taken > 0).mean() > 0.95
        left.append((taken[taken > 0] > 1).mean())
    assert 0.005 < left[0] < 0.05
    assert left[1] < 0.005


def cells(field, factor):
    """Pixels of each cell of ``factor`` by ``factor``, along the last axis."""
    high, wide = field.shape
    cut = field.reshape(high // factor, factor, wide // factor, factor)
    return cut.swapaxes(1, 2).reshape(high // factor, wide // factor, factor**2)


def toa(scene, gsd_m):
    """Harmonised L1C reflectance, all bands on one grid, (1, y, x, band) as s2cloudless wants."""
    bands = []
    for band in spectra.BAND_NAMES:
        fine = scene.reflectance(band, "L1C")
        copies = BANDS[band].gsd_m // 10
        fine = np.repeat(np.repeat(fine, copies, axis=0), copies, axis=1)
        bands.append(cells(fine, gsd_m // 10).mean(axis=-1))
    return np.stack(bands, axis=-1)[np.newaxis]


@pytest.mark.parametrize("gsd_m", [60, 160])
def test_s2cloudless_separates_clouds_from_every_clear_surface(gsd_m):
    detector = S2PixelCloudDetector(threshold=0.4, average_over=4, dilation_size=2, all_bands=True)
    scene = small_world_of(plan.PLAN[6])
    sky, factor = scene.sky_at(10), gsd_m // 10
    probability = detector.get_cloud_probability_maps(toa(scene, gsd_m))
    mask = detector.get_mask_from_prob(probability)[0].astype(bool)
    opaque = cells(np.maximum(sky.cloud, sky.cirrus), factor).max(axis=-1)
    thick = cells(sky.cloud, factor).mean(axis=-1) > 0.7
    clear = opaque <= 0.01
    # The mask may reach as far as its averaging and its growth: 4 + 2 pixels.
    far = clear & (ndimage.distance_transform_edt(opaque <= 0.1) > 7)
    assert thick.mean() > 0.1
    assert far.mean() > 0.05
    assert mask[thick].mean() > 0.99
    assert mask[far].mean() < 0.01
    flagged = probability[0] > 0.4
    surface = scene.ground.surface[1:-1, 1:-1]
    lit = cells(sky.shadow, factor).mean(axis=-1) < 0.02
    for kind in (*range(spectra.BROADLEAF + 1), spectra.CONIFER):
        pure = clear & lit & (cells(surface == kind, factor).mean(axis=-1) > 0.95)
        assert not pure.any() or flagged[pure].mean() < 0.02, kind


def test_s2cloudless_calls_bright_roofs_clear():
    detector = S2PixelCloudDetector(all_bands=True)
    roof = spectra.surface_table(180)[spectra.ROOF]
    spectrum = np.asarray(spectra.PATH) + np.asarray(spectra.TRANSMITTANCE) * roof
    probability = detector.get_cloud_probability_maps(spectrum.reshape(1, 1, 1, 13))
    assert probability.item() < 0.2
