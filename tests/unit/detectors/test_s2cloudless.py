import pickle

import numpy as np
import pytest
import rasterio

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.detectors import extras, s2cloudless
from cloudbuster.detectors.s2cloudless import (
    MODEL_BANDS,
    S2CloudlessDetector,
    cloud_from_probability,
    cloud_probability,
)
from cloudbuster.errors import MaskError, MissingExtraError
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of, source_of_tiff

# Top-of-atmosphere DN of a thick cloud and of vegetation, in the order of MODEL_BANDS.
CLOUD = np.array([5200, 5000, 5100, 5200, 5600, 5700, 2600, 500, 4200, 3300], dtype=np.uint16)
FIELD = np.array([1400, 1000, 600, 900, 3200, 3400, 1100, 15, 1700, 800], dtype=np.uint16)

DATES = (
    "20150711T100008",
    "20150731T100009",
    "20150820T100728",
    "20150830T100547",
    "20150909T100017",
)


def scene_with(cloudy, *, gsd_m=160.0, kind="L1C"):
    """Make a source whose cells are cloud where ``cloudy`` is True."""
    cloudy = np.asarray(cloudy)
    pixels = {
        name: np.where(cloudy, CLOUD[i], FIELD[i]).astype(np.uint16)
        for i, name in enumerate(MODEL_BANDS)
    }
    return FakeSource(scene_of(kind), grid_of(cloudy.shape[0], cloudy.shape[1], gsd_m), pixels)


def plain(**changes):
    return S2CloudlessDetector(**{"average_over": 0, "dilation_size": 0, **changes})


@pytest.fixture(params=DATES)
def real_scene(request, test_data):
    folder = test_data / "l1c-slovenia-5dates"
    return folder / f"S2A_L1C_{request.param}.tif"


def published(path, what):
    with rasterio.open(path.with_suffix(f".s2cloudless-{what}.tif")) as dataset:
        return dataset.read(1)


@pytest.mark.real_data
def test_probabilities_equal_the_published_ones(real_scene):
    source = source_of_tiff(real_scene)
    found = cloud_probability(source.read(MODEL_BANDS, source.grid))
    assert found.dtype == np.float32
    assert np.abs(found - published(real_scene, "prob")).max() == 0.0


@pytest.mark.real_data
def test_masks_equal_the_published_ones(real_scene):
    source = source_of_tiff(real_scene)
    detector = S2CloudlessDetector(threshold=0.4, average_over=4, dilation_size=2, mask_gsd_m=10)
    mask = detector.detect(source, source.grid)
    assert mask.grid == source.grid
    np.testing.assert_array_equal(mask.cloud, published(real_scene, "mask") != 0)
    assert not mask.defective.any()


@pytest.mark.real_data
def test_strips_give_the_same_mask_as_the_whole_scene(test_data, monkeypatch):
    source = source_of_tiff(test_data / "l1c-slovenia-5dates" / f"S2A_L1C_{DATES[1]}.tif")
    detector = S2CloudlessDetector(threshold=0.72, mask_gsd_m=10, dilation_size=2)
    whole = detector.detect(source, source.grid)
    assert 0.1 < whole.cloud.mean() < 0.9
    monkeypatch.setattr(s2cloudless, "STRIP_CELLS", 1700)
    source.reads.clear()
    strips = detector.detect(source, source.grid)
    assert len(source.reads) == 6
    np.testing.assert_array_equal(strips.cloud, whole.cloud)
    area = source.grid.crop(GridWindow(30, 20, 41, 23))
    part = detector.detect(source, area)
    assert part.grid == area
    np.testing.assert_array_equal(part.cloud, whole.cloud[30:71, 20:43])


def test_cloud_is_separated_from_vegetation_by_reflectance():
    # With DN divided by 1e5, as in the original, the probability of the cloud is below 0.1.
    probability = cloud_probability(np.stack([CLOUD, FIELD], axis=1)[:, None, :])
    assert probability[0, 0] > 0.9
    assert probability[0, 1] < 0.2


def test_mask_has_the_shape_of_a_scene_that_is_not_square():
    cloudy = np.zeros((3, 7), dtype=bool)
    cloudy[0, 6] = cloudy[2, 1] = True
    mask = plain().detect(scene_with(cloudy), grid_of(3, 7, 160))
    np.testing.assert_array_equal(mask.cloud, cloudy)


def test_threshold_is_honoured():
    source = scene_with([[True, False]])
    found = cloud_probability(source.read(MODEL_BANDS, source.grid))
    for threshold in (0.0, float(found.min()), float(found.max()), 1.0):
        mask = plain(threshold=threshold).detect(source, source.grid)
        np.testing.assert_array_equal(mask.cloud, found > np.float32(threshold))


def test_default_cells_are_about_160_m_from_the_scenes_corner():
    source = scene_with(np.zeros((40, 56), dtype=bool), gsd_m=10)
    mask = plain().detect(source, source.grid.crop(GridWindow(17, 33, 2, 2)))
    assert mask.grid == grid_of(3, 4, 160).crop(GridWindow(1, 2, 1, 1))
    assert mask.detector == "s2cloudless threshold=0.4 average_over=0 dilation_size=0 gsd_m=160"
    coarse = scene_with(np.zeros((4, 5), dtype=bool), gsd_m=120)
    assert plain().detect(coarse, coarse.grid).grid.x_size == 120


def test_a_cell_without_data_is_defective_and_never_cloud():
    source = scene_with(np.ones((3, 3), dtype=bool))
    source.pixels["B10"][1, 1] = 0
    source.pixels["B01"][0, 2] = 65535
    mask = plain(dilation_size=1).detect(source, source.grid)
    expected = np.zeros((3, 3), dtype=bool)
    expected[1, 1] = expected[0, 2] = True
    np.testing.assert_array_equal(mask.defective, expected)
    np.testing.assert_array_equal(mask.cloud, ~expected)


def test_cells_without_data_take_no_part_in_the_average():
    probability = np.full((1, 9), 0.6, dtype=np.float32)
    probability[0, 4:] = np.nan
    cloud = cloud_from_probability(probability, threshold=0.5, average_over=2, dilation_size=0)
    np.testing.assert_array_equal(cloud[0], [True] * 4 + [False] * 5)


def test_postprocessing_equals_that_of_the_package():
    from s2cloudless.cloud_detector import S2PixelCloudDetector

    probability = np.random.default_rng(3).random((40, 31), dtype=np.float32)
    theirs = S2PixelCloudDetector(threshold=0.55, average_over=4, dilation_size=2)
    ours = cloud_from_probability(probability, threshold=0.55, average_over=4, dilation_size=2)
    np.testing.assert_array_equal(ours, theirs.get_mask_from_prob(probability[None])[0] != 0)
    assert 0.05 < ours.mean() < 0.95


def test_cells_outside_the_scene_are_defective():
    source = scene_with(np.zeros((2, 2), dtype=bool))
    mask = plain().detect(source, grid_of(2, 3, 160))
    np.testing.assert_array_equal(mask.defective, [[False, False, True]] * 2)


def test_l2a_is_masked_through_its_l1c_twin():
    source = FakeSource(scene_of("L2A"), grid_of(2, 2, 160))
    source.twin_source = scene_with([[True, False], [False, False]])
    mask = plain().detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [[True, False], [False, False]])


def test_l2a_without_twin_is_refused_and_names_the_donor_mask():
    source = FakeSource(scene_of("L2A"), grid_of(2, 2, 160))
    with pytest.raises(MaskError, match=r"no L1C twin is attached.*--donor-mask"):
        plain().detect(source, source.grid)


def test_a_twin_in_another_crs_is_refused():
    source = scene_with([[False]])
    with pytest.raises(MaskError, match="not in EPSG:32634"):
        plain().detect(source, grid_of(1, 1, 160, crs="EPSG:32634"))


def test_a_missing_package_names_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cloudbuster\[s2cloudless\]'"):
        S2CloudlessDetector()


def test_the_detector_goes_to_another_process():
    detector = S2CloudlessDetector(threshold=0.3)
    assert pickle.loads(pickle.dumps(detector)) == detector  # noqa: S301
