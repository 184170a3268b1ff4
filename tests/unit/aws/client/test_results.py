"""Listing and downloading what a run on the deployed stack has made."""

import json
from pathlib import Path

import pytest

from cloudbuster.errors import ExitCode
from cloudbuster.models import Assessment, MergeResult
from cloudbuster.storage.remote import s3
from tests.unit.aws.account import Invoke
from tests.unit.aws.conftest import Break

RUN = "denver-2020-0123456789abcdef"
DOCUMENTS, PLACE = f"s3://store/runs/{RUN}", f"s3://store/mosaics/{RUN}"
NAMES = {
    "mosaic": "denver-2020-cloudless.tif",
    "backstop": "denver-2020-cloudy.tif",
    "quality": "denver-2020-quality.tif",
    "preview": "denver-2020-preview.png",
    "report": "denver-2020-report.html",
    "item": "denver-2020.json",
}

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def made(stack: str) -> dict[str, str]:
    """A run that has made its products and found holes; the URIs of its files."""
    assert stack
    products = {name: f"{PLACE}/{file}" for name, file in NAMES.items()}
    holes = f"{PLACE}/denver-2020-holes.geojson"
    uris = {**products, "holes": holes}
    for name, uri in uris.items():
        s3.write_object(uri, f"content of {name}".encode())
    result = MergeResult(
        cloudless=products["mosaic"],
        cloudy=products["backstop"],
        **{name: products[name] for name in ("quality", "preview", "report", "item")},
        scene_count=3,
        clear_fraction=0.9,
        backstop_fraction=0.1,
        hole_fraction=0.0,
    )
    s3.write_object(f"{DOCUMENTS}/products.json", result.to_json())
    assess(holes)
    return {**products, "assessment": f"{DOCUMENTS}/assessment.json", "holes": holes}


def assess(holes: str | None) -> None:
    assessment = Assessment(
        area_km2=1.0,
        coverage=(),
        never_observed_fraction=0.0,
        never_clear_fraction=0.1,
        backstop_fraction=0.1,
        hole_fraction=0.0,
        scenes_selected=3,
        scenes_gathered=3,
        covered=False,
        hole_file=holes,
    )
    s3.write_object(f"{DOCUMENTS}/assessment.json", assessment.to_json())


def test_results_lists_the_files_of_a_run(invoke: Invoke, made: dict[str, str]) -> None:
    code, out, _ = invoke("results", RUN)
    assert code == 0
    assert dict(line.split() for line in out.splitlines()) == made
    # By the name of one of its executions, as JSON.
    listed = json.loads(invoke("results", f"{RUN}-a2", "--json")[1])
    assert {file["what"]: file["uri"] for file in listed} == made
    assert {file["path"] for file in listed} == {None}
    assess(None)
    assert "holes" not in invoke("results", RUN)[1]


def test_results_downloads_the_files(invoke: Invoke, made: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "denver"
    listed = json.loads(invoke("results", RUN, "--output", folder, "--json")[1])
    assert {file["what"] for file in listed} == set(made)
    paths = {file["what"]: Path(file["path"]) for file in listed}
    for name, file in {**NAMES, "holes": "denver-2020-holes.geojson"}.items():
        assert paths[name] == folder / file
        assert paths[name].read_text() == f"content of {name}"
    assert json.loads(paths["assessment"].read_text())["hole_file"] == made["holes"]
    # A second download replaces the first and leaves nothing else.
    s3.write_object(made["mosaic"], b"newer")
    out = invoke("results", RUN, "--output", folder)[1]
    assert f"mosaic     {paths['mosaic']}" in out.splitlines()
    assert paths["mosaic"].read_bytes() == b"newer"
    assert len(list(folder.iterdir())) == len(made)


@pytest.mark.usefixtures("made")
def test_a_download_that_fails_leaves_no_file_and_names_the_permission(
    invoke: Invoke, tmp_path: Path, break_service: Break
) -> None:
    break_service("s3", "HeadObject", "AccessDenied")
    code, _, err = invoke("results", RUN, "--output", tmp_path)
    assert code == ExitCode.BAD_INPUT
    last = err.splitlines()[-1]
    assert last.startswith("AccessError: ")
    assert "s3:GetObject" in last
    assert not list(tmp_path.iterdir())


def test_a_run_without_products_is_reported_with_its_state(
    invoke: Invoke, request_file: Path
) -> None:
    name = json.loads(invoke("submit", request_file)[1])["run_id"]
    code, _, err = invoke("results", name)
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1] == (
        f"NotFoundError: {name} has made no products, it is running; see cloudbuster status {name}"
    )


def test_results_of_an_unknown_run_are_refused(invoke: Invoke) -> None:
    code, _, err = invoke("results", "no-such-run")
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].startswith("NotFoundError: no execution of no-such-run on stack")
