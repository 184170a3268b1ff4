import pickle

import numpy as np
import pytest

from cloudbuster import detectors
from cloudbuster.detectors import JoinedDetectors, check_detector, choose, make_detector, resolved
from cloudbuster.detectors.csmask import CsmaskDetector
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.s2cloudless import S2CloudlessDetector
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.errors import MaskError, MissingBandsError, RequestError, UntrustedCodeError
from cloudbuster.models import DetectorOptions
from cloudbuster.source.masks.donor_mask import write_donor_mask
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of


@pytest.mark.parametrize(
    ("kind", "missing", "expected"),
    [
        ("L1C", (), "csmask"),
        ("L1C", ("ukis_csmask",), "s2cloudless"),
        ("L1C", ("onnxruntime",), "s2cloudless"),
        ("L1C", ("ukis_csmask", "s2cloudless"), "csmask"),
        ("L2A", (), "csmask+stock"),
        ("L2A", ("ukis_csmask", "s2cloudless"), "stock"),
    ],
)
def test_auto_is_the_best_that_is_installed(monkeypatch, caplog, kind, missing, expected):
    monkeypatch.setattr(detectors, "find_spec", lambda name: None if name in missing else name)
    with caplog.at_level("INFO", logger="cloudbuster.detectors"):
        found = resolved(DetectorOptions(mask_gsd_m=320), kind)
    assert (found.type, found.mask_gsd_m) == (expected, 320)
    assert found.optional == found.doubtful_shadow == (("csmask",) if "+" in expected else ())
    (record,) = caplog.records
    assert vars(record)["detector"] == expected
    assert vars(record)["reason"] == choose(kind).reason


def test_auto_may_be_one_of_several():
    assert resolved(DetectorOptions(type="auto+donor", donor_mask="m"), "L1C").type == (
        "csmask+donor"
    )
    assert resolved(DetectorOptions(type="auto+stock"), "L2A").type == "csmask+stock"


def test_also_stock_is_plus_stock():
    options = DetectorOptions(type="csmask", also_stock=True)
    found = resolved(options, "L1C")
    assert found == DetectorOptions(type="csmask+stock")
    assert resolved(DetectorOptions(type="stock", also_stock=True), "L1C").type == "stock"
    with pytest.raises(ValueError, match="is added with"):
        DetectorOptions(type="csmask&s2cloudless", also_stock=True)


def test_auto_uses_the_mask_of_the_product_alone_for_a_scene_without_the_bands(caplog):
    area = grid_of(16, 16, 10)
    source = _source(area, 9)
    found = make_detector(DetectorOptions(), "L2A").detect(source, area)
    assert found.detector == "stock scl standard"
    assert "detector_left_out" in caplog.text
    with pytest.raises(MissingBandsError, match="no B02, B03, B04, B08 or B8A"):
        make_detector(DetectorOptions(type="csmask+stock"), "L2A").detect(source, area)


def test_joined_detectors_are_made_from_the_same_options():
    options = DetectorOptions(type="csmask&s2cloudless", mask_gsd_m=60, threshold=0.3)
    assert make_detector(options, "L1C") == JoinedDetectors(
        (CsmaskDetector(60), S2CloudlessDetector(0.3, 4, 1, 60)), "&"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [("csmsk", "did you mean csmask"), ("stock+zzz", "there are stock, s2cloudless, csmask")],
)
def test_an_unknown_name_is_refused_with_those_that_exist(name, hint):
    for use in (resolved, make_detector, check_detector):
        with pytest.raises(RequestError, match=hint):
            use(DetectorOptions(type=name), "L2A")


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
    assert isinstance(detector, JoinedDetectors)
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
