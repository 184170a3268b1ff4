"""``cloudbuster verify`` on the sample world: sound mosaics pass, and planted defects are found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.checks.verify import Verified, VerifyOptions, verify_mosaic
from cloudbuster.errors import ExitCode
from cloudbuster.inputs.request_files import load_request
from cloudbuster.models import DetectorOptions, MosaicRequest
from cloudbuster.runs.pipeline import run
from cloudbuster.sample import SampleWorld
from tests.command_line import invoke, last_line
from tests.planting import DEFECTS, Products

BANDS = ("B04", "B03", "B8A")
OPTIONS = VerifyOptions(samples=40)
# Side of the world's tiles at 5 m is above one tile of a COG, so that there is an overview.
GSD_M = 5.0


def request_of(world: SampleWorld, output: Path, **gather: Any) -> MosaicRequest:
    """Request of the sample world, with other options of gather."""
    request = load_request(str(world.request))
    wanted = request.filter.model_copy(update={"max_never_clear": 0.15})
    detector = DetectorOptions(type="stock")
    options = request.gather.model_copy(update={"bands": BANDS, "detector": detector, **gather})
    changes = {"output": str(output), "filter": wanted, "gather": options}
    return request.model_copy(update=changes)


@pytest.fixture(scope="module")
def finished(sample_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run on the native grid; tests only read it."""
    folder = tmp_path_factory.mktemp("verify") / "run"
    run(request_of(sample_world, folder))
    return folder


@pytest.fixture(scope="module")
def alone(finished: Path) -> Path:
    """Products of the run without its documents and scenes, as they are passed on."""
    folder = finished.with_name("alone")
    folder.mkdir()
    for path in finished.glob("sample*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Products]:
    """Copy the products in a folder, and all beside them, to plant a defect in the copy."""

    def copy(folder: Path) -> Products:
        return Products(Path(shutil.copytree(folder, tmp_path / "copy")), "sample")

    return copy


def statuses(verified: Verified) -> dict[str, str]:
    return {check.name: check.status for check in verified.report.checks}


def found_by(verified: Verified) -> set[str]:
    return {check.name for check in verified.report.disagreeing}


def test_a_sound_mosaic_passes_every_check(finished: Path) -> None:
    verified = verify_mosaic(str(finished), OPTIONS)
    assert found_by(verified) == set(), verified.report
    assert set(statuses(verified).values()) == {"agrees"}
    verified.raise_for_disagreement()
    assert verified.report.samples == OPTIONS.samples


def test_products_alone_are_verified_against_the_catalog(alone: Path) -> None:
    verified = verify_mosaic(str(alone / "sample-cloudless.tif"), OPTIONS)
    assert found_by(verified) == set(), verified.report
    skipped = {name for name, status in statuses(verified).items() if status == "not-checked"}
    assert skipped == {"scenes"}


@pytest.mark.parametrize(
    "gather",
    [
        {"crs": "EPSG:4326"},
        {"crs": "EPSG:32634", "gsd_m": 25.0},
        {"gsd_m": 40.0},
        {"gsd_m": GSD_M},
        {"bounds_clip": False},
        {"detector": DetectorOptions()},
    ],
    ids=str,
)
def test_a_sound_mosaic_passes_on_every_grid(
    sample_world: SampleWorld, tmp_path: Path, gather: dict[str, Any]
) -> None:
    run(request_of(sample_world, tmp_path / "run", **{"bands": ("B04", "B8A"), **gather}))
    verified = verify_mosaic(str(tmp_path / "run"), OPTIONS)
    assert found_by(verified) == set(), verified.report
    assert {"pixels", "masks", "scenes"} <= set(statuses(verified))


@pytest.mark.parametrize("defect", [name for name in DEFECTS if name != "stale overview"])
def test_a_planted_defect_is_found_without_the_gathered_scenes(
    alone: Path, copied: Callable[[Path], Products], defect: str
) -> None:
    products = copied(alone)
    plant, check = DEFECTS[defect]
    plant(products)
    verified = verify_mosaic(str(products.folder), OPTIONS)
    assert check in found_by(verified), verified.report


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        ("shifted block", "scenes"),
        ("offset 1000 in one scene", "scenes"),
        ("swapped bands", "scenes"),
        ("wrong scene index", "scenes"),
        ("masked pixel called clear", "scenes"),
        ("flipped state", "scenes"),
        ("other scene's item id", "scene-table"),
    ],
)
def test_a_planted_defect_is_found_offline_with_the_gathered_scenes(
    finished: Path, copied: Callable[[Path], Products], defect: str, check: str
) -> None:
    products = copied(finished)
    DEFECTS[defect][0](products)
    verified = verify_mosaic(str(products.folder), VerifyOptions(samples=0, offline=True))
    assert check in found_by(verified), verified.report
    assert statuses(verified)["pixels"] == "not-checked"


def test_a_stale_overview_is_found(sample_world: SampleWorld, tmp_path: Path) -> None:
    run(request_of(sample_world, tmp_path / "run", bands=("B04",), gsd_m=GSD_M))
    products = Products(tmp_path / "run", "sample")
    DEFECTS["stale overview"][0](products)
    verified = verify_mosaic(str(products.folder), VerifyOptions(offline=True))
    assert "overviews" in found_by(verified), verified.report


def test_a_defect_ends_the_command_with_7_and_one_clear_line(
    alone: Path, copied: Callable[[Path], Products], capsys: pytest.CaptureFixture[str]
) -> None:
    products = copied(alone)
    DEFECTS["offset 1000 in one scene"][0](products)
    code = invoke("verify", products.folder, "--samples", "20", "--json")
    written = capsys.readouterr()
    assert code == ExitCode.VERIFY_DISAGREES
    line = last_line(written.err)
    assert line.startswith("VerifyError: sample: pixels: ")
    assert "by 1000 DN everywhere" in line
    assert line.endswith("make the mosaic again (run with --force), and do not use this one")
    report = json.loads(written.out)
    assert report["schema"] == "cloudbuster.verification/1"
    assert [each["name"] for each in report["checks"] if each["status"] == "disagrees"]


def test_sources_that_are_gone_end_the_command_unless_it_is_offline(
    alone: Path, copied: Callable[[Path], Products], capsys: pytest.CaptureFixture[str]
) -> None:
    products = copied(alone)
    item = products.item
    for row in item["properties"]["cloudbuster:scenes"]:
        row["catalog"] = str(products.folder / "gone")
    products.write_item(item)
    assert invoke("verify", products.folder) == ExitCode.BAD_INPUT
    assert "--offline checks what needs no source" in last_line(capsys.readouterr().err)
    assert invoke("verify", products.folder, "--offline") == ExitCode.DONE
