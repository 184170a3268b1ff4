import logging

import numpy as np
import pytest

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.errors import DonorError
from cloudbuster.source.masks.donor_mask import write_donor_mask
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

MASK_GRID = grid_of(3, 4, 160)
AREA = grid_of(48, 64, 10)
CLOUD = np.array([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=bool)


def mask_on(grid, cloud):
    nothing = np.zeros_like(cloud)
    return DetectedMask(grid, cloud, nothing, nothing.copy(), "s2cloudless")


def donate(path, cloud=CLOUD, grid=MASK_GRID, **scene):
    write_donor_mask(path, mask_on(grid, cloud), scene_of("L1C", **scene))
    return str(path)


def source(**changes):
    return FakeSource(scene_of("L2A", **changes), AREA)


def test_a_mask_of_l1c_serves_l2a_of_the_same_datatake(tmp_path):
    uri = donate(tmp_path / "mask-a-01.tif")
    mask = DonorDetector(uri).detect(source(), AREA)
    assert mask.grid == MASK_GRID
    assert mask.detector == "donor (s2cloudless)"
    np.testing.assert_array_equal(mask.cloud, CLOUD)
    assert not mask.defective.any()


@pytest.mark.parametrize("name", ["mask-a-01", "mask-a-01.tif"])
def test_the_name_may_have_its_ending_or_not(tmp_path, name):
    donate(tmp_path / "mask-a-01.tif")
    mask = DonorDetector(str(tmp_path), name).detect(source(), AREA)
    np.testing.assert_array_equal(mask.cloud, CLOUD)


def test_a_folder_gives_the_one_mask_of_this_scene(tmp_path):
    donate(tmp_path / "mask-a-01.tif", ~CLOUD, mgrs_tile="33TWM")
    donate(tmp_path / "mask-a-02.tif", ~CLOUD, datatake="S2B_20230820T100559")
    donate(tmp_path / "mask-a-03.tif")
    (tmp_path / "mask-a-04.tif").write_bytes(b"broken")
    mask = DonorDetector(str(tmp_path)).detect(source(), AREA)
    np.testing.assert_array_equal(mask.cloud, CLOUD)


def test_two_copies_of_the_mask_of_this_scene_are_one_mask(tmp_path):
    donate(tmp_path / "mask-a-01.tif")
    donate(tmp_path / "mask-a-05.tif")
    mask = DonorDetector(str(tmp_path)).detect(source(), AREA)
    np.testing.assert_array_equal(mask.cloud, CLOUD)


def test_a_folder_with_two_masks_of_this_scene_asks_for_a_name(tmp_path):
    donate(tmp_path / "mask-a-01.tif")
    donate(tmp_path / "mask-b-01.tif", ~CLOUD)
    with pytest.raises(DonorError, match=r"holds 2 masks.*--donor-mask-name"):
        DonorDetector(str(tmp_path)).detect(source(), AREA)


def test_a_folder_without_a_mask_of_this_scene_says_so(tmp_path):
    donate(tmp_path / "mask-a-01.tif", mgrs_tile="33TWM")
    (tmp_path / "mask-a-02.tif").write_bytes(b"broken")
    with pytest.raises(DonorError, match=r"no mask of tile 33TWL.*its 2 mask.*1 of which cannot"):
        DonorDetector(str(tmp_path)).detect(source(), AREA)


def test_a_missing_mask_or_folder_raises_donor_error(tmp_path):
    with pytest.raises(DonorError, match="none does not exist"):
        DonorDetector(str(tmp_path / "none")).detect(source(), AREA)
    with pytest.raises(DonorError, match=r"mask cannot be read: .*none\.tif: No such file"):
        DonorDetector(str(tmp_path), "none").detect(source(), AREA)
    with pytest.raises(DonorError, match="name the mask with --donor-mask-name"):
        DonorDetector("https://example.org/masks").detect(source(), AREA)


@pytest.mark.parametrize(
    "other", [{"mgrs_tile": "33TWM"}, {"datatake": "S2B_20230820T100559"}], ids=["tile", "take"]
)
def test_a_mask_of_another_scene_is_refused_with_both_identities(tmp_path, other):
    uri = donate(tmp_path / "mask-a-01.tif", **other)
    with pytest.raises(DonorError, match=r"is the mask of tile .* is tile 33TWL of datatake S2A_"):
        DonorDetector(uri).detect(source(), AREA)


def test_a_scene_without_identity_takes_no_mask(tmp_path):
    uri = donate(tmp_path / "mask-a-01.tif")
    with pytest.raises(DonorError, match="has no datatake"):
        DonorDetector(uri).detect(source(datatake=None), AREA)


def test_a_mask_in_another_crs_is_refused(tmp_path):
    uri = donate(tmp_path / "mask-a-01.tif", grid=grid_of(3, 4, 160, crs="EPSG:32634"))
    with pytest.raises(DonorError, match="is in EPSG:32634"):
        DonorDetector(uri).detect(source(), AREA)


def test_cells_outside_the_mask_are_defective(tmp_path, caplog):
    grid = MASK_GRID.crop(GridWindow(0, 0, 3, 3))
    uri = donate(tmp_path / "mask-a-01.tif", CLOUD[:, :3], grid)
    with caplog.at_level(logging.WARNING):
        mask = DonorDetector(uri).detect(source(), AREA)
    assert mask.grid == MASK_GRID
    np.testing.assert_array_equal(mask.cloud[:, :3], CLOUD[:, :3])
    assert mask.defective[:, 3].all()
    assert not mask.defective[:, :3].any()
    assert [record.message for record in caplog.records] == ["donor_mask_partial"]


def test_a_mask_that_does_not_overlap_the_area_is_refused(tmp_path):
    grid = MASK_GRID.crop(GridWindow(50, 50, 3, 4))
    uri = donate(tmp_path / "mask-a-01.tif", grid=grid)
    with pytest.raises(DonorError, match="does not overlap the area"):
        DonorDetector(uri).detect(source(), AREA)


def test_a_coarser_cell_touches_any_cloud(tmp_path):
    uri = donate(tmp_path / "mask-a-01.tif")
    mask = DonorDetector(uri, mask_gsd_m=320).detect(source(), AREA)
    assert mask.grid == grid_of(2, 2, 320)
    np.testing.assert_array_equal(mask.cloud, [[True, True], [True, False]])
