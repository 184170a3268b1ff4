import pickle
from pathlib import Path

import numpy as np
import pytest

from cloudbuster.detectors import check_detector, make_detector, resolved
from cloudbuster.errors import BadInputError, MaskError, MissingExtraError, RequestError
from cloudbuster.models import DetectorOptions
from cloudbuster.processes.workers import run_tasks
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

DOCS = Path(__file__).resolve().parents[3] / "docs" / "detectors.md"


def example() -> str:
    """The module of the worked example in the docs."""
    _, _, rest = DOCS.read_text().partition("```python\n")
    return rest.partition("```")[0]


def install(folder: Path, name: str, code: str, value: str) -> None:
    """What pip leaves of a package of one module that registers one detector."""
    (folder / f"{name}_package.py").write_text(code)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[cloudbuster.detectors]\n{name} = {name}_package:{value}\n"
    )


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that Python finds."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def source_of_blue(blue: object) -> FakeSource:
    pixels = np.array(blue, dtype=np.uint16)
    height, width = pixels.shape
    return FakeSource(scene_of(), grid_of(height, width, 60), {"B02": pixels})


def test_the_example_of_the_docs_finds_bright_cells(packages):
    install(packages, "bright", example(), "make_bright")
    detector = make_detector(DetectorOptions(type="bright"), "L2A")
    source = source_of_blue([[500, 4000], [0, 900]])
    mask = detector.detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [[False, True], [False, False]])
    np.testing.assert_array_equal(mask.defective, [[False, False], [True, False]])
    assert resolved(DetectorOptions(type="bright+stock"), "L2A").type == "bright+stock"
    check_detector(DetectorOptions(type="bright"), "L2A")
    assert pickle.loads(pickle.dumps(detector)) == detector  # noqa: S301


def found_in_a_worker(options: DetectorOptions, _report: object) -> str:
    """Detect in this process; the name of the detector."""
    source = source_of_blue([[500, 4000]])
    return make_detector(options, "L2A").detect(source, source.grid).detector


def test_a_worker_process_finds_the_package_too(packages):
    install(packages, "bright", example(), "make_bright")
    tasks = [DetectorOptions(type="bright", mask_gsd_m=gsd_m) for gsd_m in (60, 120)]
    found = set(run_tasks(found_in_a_worker, tasks, workers=2))
    assert found == {"bright gsd_m=60", "bright gsd_m=120"}


def test_a_package_does_not_replace_a_built_in_detector(packages):
    install(packages, "stock", example(), "make_bright")
    assert type(make_detector(DetectorOptions(type="stock"), "L2A")).__name__ == "StockDetector"


FAULTS = {
    "absent": ("", "AttributeError"),
    "broken": ("raise OSError('no disk')", "OSError: no disk"),
    "refusing": ("def make(options, kind):\n    raise KeyError(kind)", "KeyError: 'L2A'"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_package_that_fails_is_named(packages, name):
    code, message = FAULTS[name]
    install(packages, name, code, "make")
    with pytest.raises(BadInputError, match=f"detector {name} .* cannot be made: {message}"):
        make_detector(DetectorOptions(type=name), "L2A")


def test_an_error_of_ours_passes_as_it_is(packages):
    code = (
        "from cloudbuster.errors import MissingExtraError\n"
        "def make(options, kind):\n    raise MissingExtraError('pip install x')"
    )
    install(packages, "ours", code, "make")
    with pytest.raises(MissingExtraError, match="pip install x"):
        make_detector(DetectorOptions(type="ours"), "L2A")


DETECT = """
import numpy as np
from dataclasses import replace
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import DetectedMask

class Detector:
    def detect(self, source, area):
        no = np.zeros(area.shape, dtype=bool)
        mask = DetectedMask(area, no, no, no, "odd")
        return {}

def make(options, kind):
    return Detector()
"""
RESULTS = {
    "raising": ("1 / 0", "failed: ZeroDivisionError"),
    "nothing": ("None", "returned a NoneType, not a DetectedMask"),
    "codes": ("replace(mask, cloud=no.astype('uint8'))", "returned cloud that is no array of bool"),
    "shape": ("replace(mask, shadow=no[1:])", r"returned shadow of shape \(1, 2\) on a grid"),
    "crs": ("replace(mask, grid=replace(area, crs='EPSG:32634'))", "returned a mask in EPSG:32634"),
    "elsewhere": ("replace(mask, grid=replace(area, west=0))", "returned a mask of .* not cover"),
}


@pytest.mark.parametrize("name", list(RESULTS))
def test_a_mask_that_cannot_be_used_rejects_the_scene(packages, name):
    result, message = RESULTS[name]
    install(packages, name, DETECT.format(result), "make")
    source = source_of_blue([[1, 1], [1, 1]])
    with pytest.raises(MaskError, match=f"S2A_33TWL.*detector {name} {message}"):
        make_detector(DetectorOptions(type=name), "L2A").detect(source, source.grid)


def test_a_name_that_cannot_be_asked_for_is_not_listed(packages):
    install(packages, "Bad.Name", "", "make")
    with pytest.raises(RequestError) as caught:
        make_detector(DetectorOptions(type="zzzz"), "L2A")
    assert "Bad" not in str(caught.value)
