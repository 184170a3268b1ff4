import pickle

import numpy as np
import pytest

from cloudbuster.detectors import WithStock, make_detector, resolve_type
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.s2cloudless import S2CloudlessDetector
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.errors import MaskError, UntrustedCodeError
from cloudbuster.models import DetectorOptions
from cloudbuster.source.masks.donor_mask import write_donor_mask
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of


def test_auto_is_s2cloudless_for_l1c_and_stock_for_l2a():
    options = DetectorOptions(mask_gsd_m=320, threshold=0.3)
    assert resolve_type(options, "L1C") == "s2cloudless"
    assert resolve_type(options, "L2A") == "stock"
    assert make_detector(options, "L1C") == S2CloudlessDetector(0.3, 4, 1, 320)
    assert make_detector(options, "L2A") == StockDetector("L2A", "standard", 320)


def test_every_type_can_be_made():
    options = DetectorOptions(type="donor", donor_mask="masks", donor_mask_name="a")
    assert make_detector(options, "L2A") == DonorDetector("masks", "a")
    options = DetectorOptions(type="stock", preset="strict", also_stock=True)
    assert make_detector(options, "L1C") == StockDetector("L1C", "strict")
    pytorch = make_detector(DetectorOptions(type="pytorch", weights="w.pt2"), "L1C")
    assert len(getattr(pytorch, "bands")) == 13  # noqa: B009 -- not in the Protocol


def test_an_untrusted_architecture_is_refused_before_any_work():
    options = DetectorOptions(type="pytorch", weights="w.pth", architecture="net.py")
    with pytest.raises(UntrustedCodeError, match=r"net\.py is code"):
        make_detector(options, "L2A")


def test_detectors_go_to_another_process():
    options = DetectorOptions(type="s2cloudless", also_stock=True)
    detector = make_detector(options, "L1C")
    assert isinstance(detector, WithStock)
    assert pickle.loads(pickle.dumps(detector)) == detector  # noqa: S301


def test_also_stock_masks_what_either_finds(tmp_path):
    area = grid_of(16, 32, 10)
    nothing = np.zeros((1, 2), dtype=bool)
    donated = np.array([[True, False]])
    mask = StockDetector("L2A").detect(_source(area, 4), grid_of(1, 2, 160))
    donor = type(mask)(grid_of(1, 2, 160), donated, nothing, nothing, "s2cloudless")
    write_donor_mask(tmp_path / "mask-a-01.tif", donor, scene_of("L1C"))
    options = DetectorOptions(type="donor", donor_mask=str(tmp_path), also_stock=True)
    found = make_detector(options, "L2A").detect(_source(area, 9), area)
    assert found.grid == grid_of(8, 16, 20)
    assert found.detector == "donor (s2cloudless) + stock scl standard"
    expected = np.zeros((8, 16), dtype=bool)
    expected[:, :8] = True
    expected[3, 12] = True
    np.testing.assert_array_equal(found.cloud, expected)


def test_also_stock_rejects_a_scene_without_stock_masks(tmp_path):
    area = grid_of(16, 16, 10)
    nothing = np.zeros((1, 1), dtype=bool)
    found = StockDetector("L2A").detect(_source(area, 4), area)
    donor = type(found)(grid_of(1, 1, 160), nothing, nothing, nothing, "s2cloudless")
    write_donor_mask(tmp_path / "mask-a-01.tif", donor, scene_of("L2A"))
    options = DetectorOptions(type="donor", donor_mask=str(tmp_path), also_stock=True)
    with pytest.raises(MaskError, match="no mask scl"):
        make_detector(options, "L2A").detect(FakeSource(scene_of("L2A"), area), area)


def _source(area, value):
    """Make a scene whose SCL is vegetation but for one cell of ``value``."""
    native = grid_of(area.height // 2, area.width // 2, 20)
    scl = np.full((1, *native.shape), 4, dtype=np.uint8)
    scl[0, 3, -4] = value
    return FakeSource(scene_of("L2A"), area, masks={"scl": (native, scl)})
