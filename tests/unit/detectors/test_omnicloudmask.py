"""Detector ``omnicloudmask`` with a stand-in for its package.

`test_networks_of_random_weights` runs the package itself where it is installed.
"""

import csv
import importlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.detectors import check_detector, extras, make_detector, omnicloudmask
from cloudbuster.detectors.omnicloudmask import OmniCloudMaskDetector
from cloudbuster.errors import BadInputError, MaskError, MissingBandsError, MissingExtraError
from cloudbuster.models import DetectorOptions
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

BANDS = ("B04", "B03", "B8A")
# The functions of the package that the detector calls, with a network that takes the red band, in
# thousands, for the class.
PACKAGE = {
    "__init__.py": """
import numpy as np

def predict_from_array(window, *, patch_size, patch_overlap, custom_models):
    if custom_models[0] == "fails":
        raise RuntimeError("no memory")
    assert window.shape == (3, patch_size, patch_size) and window.dtype == np.float32
    return (window[:1] // 1000).astype(np.uint8)
""",
    "download_models.py": """
from pathlib import Path

model_index_path = Path(__file__).with_name("index.csv")

def get_latest_model_version():
    return 4.0

def get_model_data_dir():
    return str(Path(__file__).with_name("cache"))
""",
    "model_utils.py": """
def default_device():
    return "cpu"

def load_model_from_weights(*, model_name, weights_path, model_library, device):
    if weights_path.read_text() == "broken":
        raise ValueError("no header")
    return weights_path.read_text()
""",
    "index.csv": "file_name,timm_model_name,version,model_library\n"
    "old.pth,a,3,fastai\none.safetensors,tu-a,4,smp\ntwo.safetensors,tu-b,4,smp\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The stand-in; its folder of weights is returned, and has some."""
    folder = tmp_path / "packages" / "omnicloudmask"
    cache = folder / "cache"
    cache.mkdir(parents=True)
    for name, content in PACKAGE.items():
        (folder / name).write_text(content)
    for name in ("one", "two"):
        (cache / f"{name}.safetensors").write_text(name)
    monkeypatch.syspath_prepend(str(folder.parent))
    for name in [name for name in sys.modules if name.split(".")[0] == "omnicloudmask"]:
        monkeypatch.delitem(sys.modules, name)
    omnicloudmask._networks.cache_clear()
    yield cache
    omnicloudmask._networks.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "omnicloudmask"]:
        del sys.modules[name]


def source_of(red, gsd_m=20, bands=BANDS):
    """Scene whose red band is given; the others are 500 where it has a value."""
    red = np.array(red, dtype=np.uint16)
    height, width = red.shape
    pixels = {name: np.where(red > 0, 500, 0).astype(np.uint16) for name in bands} | {"B04": red}
    assets = {name: BandAsset(f"memory/{name}.tif") for name in bands}
    return FakeSource(scene_of(bands=assets), grid_of(height, width, gsd_m), pixels)


@pytest.mark.usefixtures("package")
def test_classes_become_cloud_and_shadow():
    source = source_of([[500, 1500, 2500, 3500, 0]])
    mask = OmniCloudMaskDetector().detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [[False, True, True, False, False]])
    np.testing.assert_array_equal(mask.shadow, [[False, False, False, True, False]])
    np.testing.assert_array_equal(mask.defective, [[False, False, False, False, True]])
    # By `printf onetwo | sha256sum`.
    assert mask.detector == "omnicloudmask weights=25b6746d5172 gsd_m=20"


@pytest.mark.usefixtures("package")
def test_a_part_is_as_in_the_whole_scene():
    red = np.random.default_rng(3).integers(1, 4000, (40, 300))
    source = source_of(red)
    window = GridWindow(10, 130, 20, 150)
    whole = OmniCloudMaskDetector().detect(source, source.grid)
    part = OmniCloudMaskDetector().detect(source, source.grid.crop(window))
    np.testing.assert_array_equal(part.cloud, whole.cloud[window.slices])
    np.testing.assert_array_equal(whole.cloud, (red >= 1000) & (red < 3000))


@pytest.mark.usefixtures("package")
def test_b08_stands_in_for_b8a_and_other_bands_must_be_there():
    source = source_of([[1500]], bands=("B04", "B03", "B08"))
    assert OmniCloudMaskDetector().detect(source, source.grid).cloud.all()
    for bands, missing in ((("B04", "B8A"), "B03"), (("B04", "B03"), "B8A or B08")):
        source = source_of([[1500]], bands=bands)
        with pytest.raises(MissingBandsError, match=f"has no {missing}, which omnicloudmask"):
            OmniCloudMaskDetector().detect(source, source.grid)


@pytest.mark.usefixtures("package")
def test_weights_are_those_of_a_folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    options = DetectorOptions(type="omnicloudmask", weights=str(folder))
    with pytest.raises(BadInputError, match=r"one\.safetensors does not exist; download"):
        check_detector(options, "L2A")
    for name in ("one", "two"):
        (folder / f"{name}.safetensors").write_text(f"my {name}")
    check_detector(options, "L2A")
    source = source_of([[1500]])
    mine = make_detector(options, "L2A").detect(source, source.grid)
    theirs = OmniCloudMaskDetector().detect(source, source.grid)
    assert mine.detector != theirs.detector


def test_broken_weights_and_remote_folders_are_refused(package):
    with pytest.raises(BadInputError, match="no folder on this machine"):
        OmniCloudMaskDetector("s3://bucket/weights").check()
    (package / "two.safetensors").write_text("broken")
    with pytest.raises(BadInputError, match=r"two\.safetensors holds no weights.*no header"):
        OmniCloudMaskDetector().check()


def test_a_network_that_fails_rejects_the_scene(package):
    (package / "one.safetensors").write_text("fails")
    source = source_of([[1500]])
    with pytest.raises(MaskError, match="omnicloudmask failed: no memory"):
        OmniCloudMaskDetector().detect(source, source.grid)


def test_a_missing_package_names_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cloudbuster\[omnicloudmask\]'"):
        OmniCloudMaskDetector()


@pytest.mark.usefixtures("package")
def test_the_detector_goes_to_another_process():
    detector = OmniCloudMaskDetector("folder", 30)
    assert pickle.loads(pickle.dumps(detector)) == detector  # noqa: S301


def test_pytorch_and_omnicloudmask_do_not_share_weights():
    with pytest.raises(ValueError, match="both take weights"):
        DetectorOptions(type="pytorch+omnicloudmask", weights="w")


def test_networks_of_random_weights(tmp_path: Path):
    """The networks as the package builds them, with weights that nobody trained."""
    package = pytest.importorskip("omnicloudmask", reason="the extra omnicloudmask is missing")
    smp = importlib.import_module("segmentation_models_pytorch")
    torch = importlib.import_module("torch")
    save_file = importlib.import_module("safetensors.torch").save_file
    index = Path(package.__file__).with_name("model_download_links.csv")
    with index.open() as rows:
        latest = [row for row in csv.DictReader(rows) if row["model_library"] == "smp"]
    for row in latest:
        torch.manual_seed(1)
        network = smp.Unet(row["timm_model_name"], encoder_weights=None, in_channels=3, classes=4)
        save_file(network.state_dict(), tmp_path / row["file_name"])
    red = np.random.default_rng(2).integers(1, 5000, (64, 64))
    red[:, :8] = 0
    source = source_of(red)
    detector = OmniCloudMaskDetector(str(tmp_path))
    detector.check()
    first = detector.detect(source, source.grid)
    assert first.defective[:, :8].all()
    assert not first.cloud_or_shadow[:, :8].any()
    again = detector.detect(source, source.grid)
    np.testing.assert_array_equal(first.cloud, again.cloud)
    np.testing.assert_array_equal(first.layers.shadow, again.layers.shadow)
