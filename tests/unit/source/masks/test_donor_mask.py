from dataclasses import replace

import numpy as np
import pytest
import rasterio

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import DonorError
from cloudbuster.source.masks.donor_mask import SceneIdentity, read_donor_mask, write_donor_mask

SCENE = Scene("S2A_33TWL", "L1C", mgrs_tile="33TWL", datatake="S2A_20230818T100031")


def mask_of(seed=1):
    random = np.random.default_rng(seed)
    cloud, defective, low_rank = random.random((3, 7, 5)) > 0.5
    grid = Grid("EPSG:32633", 600_000, 5_100_000, 160, 160, 5, 7)
    return DetectedMask(grid, cloud, defective, low_rank, "s2cloudless threshold=0.4")


def test_a_donated_mask_comes_back_as_it_was(tmp_path):
    mask = mask_of()
    write_donor_mask(tmp_path / "mask-a-01.tif", mask, SCENE)
    donated = read_donor_mask(str(tmp_path / "mask-a-01.tif"))
    assert donated.identity == SceneIdentity("33TWL", "S2A_20230818T100031")
    assert donated.mask.grid == mask.grid
    assert donated.mask.detector == mask.detector
    for name in ("cloud", "defective", "low_rank"):
        np.testing.assert_array_equal(getattr(donated.mask, name), getattr(mask, name))


def test_a_donated_mask_is_a_small_tiled_geotiff_with_descriptive_tags(tmp_path):
    path = tmp_path / "mask-a-01.tif"
    write_donor_mask(path, mask_of(), SCENE)
    with rasterio.open(path) as dataset:
        assert dataset.dtypes == ("uint8", "uint8")
        assert dataset.profile["tiled"]
        assert dataset.compression.name == "deflate"
        assert dataset.descriptions == (
            "cloud 1, defective 2, low rank 4, unobserved 8, shadow 16",
            "agreement of detectors, percent; 0 for a single detector",
        )
        tags = dataset.tags()
    tags.pop("AREA_OR_POINT")
    assert tags == {
        "CLOUDBUSTER_MGRS_TILE": "33TWL",
        "CLOUDBUSTER_DATATAKE": "S2A_20230818T100031",
        "CLOUDBUSTER_DETECTOR": "s2cloudless threshold=0.4",
    }


def test_the_same_mask_is_the_same_bytes(tmp_path):
    for name in ("mask-a-01.tif", "mask-b-07.tif"):
        write_donor_mask(tmp_path / name, mask_of(), SCENE)
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("scene", "missing"),
    [
        (Scene("a", "L1C", datatake="S2A_20230818T100031"), "MGRS tile"),
        (Scene("a", "L1C", mgrs_tile="33TWL"), "datatake"),
    ],
)
def test_a_scene_without_identity_donates_nothing(tmp_path, scene, missing):
    with pytest.raises(DonorError, match=f"a has no {missing}"):
        write_donor_mask(tmp_path / "mask-a-01.tif", mask_of(), scene)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "mask-a-01.tif"
    write_donor_mask(path, mask_of(), SCENE)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DonorError, match=r"cannot be read.*--donate-mask"):
        read_donor_mask(str(path))
    with pytest.raises(DonorError, match="cannot be read"):
        read_donor_mask(str(tmp_path / "none.tif"))


def test_a_mask_without_identity_is_refused(tmp_path):
    path = tmp_path / "mask-a-01.tif"
    write_donor_mask(path, mask_of(), SCENE)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(CLOUDBUSTER_DATATAKE="")
    with pytest.raises(DonorError, match="does not name the scene of its mask"):
        read_donor_mask(str(path))


def test_a_raster_that_is_not_a_mask_is_refused(tmp_path):
    path = tmp_path / "mask-a-01.tif"
    write_donor_mask(path, mask_of(), SCENE)
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "B02")
    with pytest.raises(DonorError, match="is not a mask"):
        read_donor_mask(str(path))


def test_the_agreement_of_joined_detectors_and_their_shadow_are_kept(tmp_path):
    mask = replace(mask_of(), shadow=mask_of().defective, agreement=mask_of().cloud * np.uint8(50))
    path = tmp_path / "mask-a-01.tif"
    write_donor_mask(path, mask, SCENE)
    found = read_donor_mask(str(path)).mask
    np.testing.assert_array_equal(found.agreement, mask.agreement)
    np.testing.assert_array_equal(found.shadow, mask.shadow)
    write_donor_mask(path, mask_of(), SCENE)
    assert read_donor_mask(str(path)).mask.agreement is None
