"""``cloudbuster run``: a request file, options, or both."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.errors import ExitCode
from tests.unit.cli.conftest import SQUARE, Call

REQUEST = {
    "name": "m",
    "aoi": {"uri": "area.geojson"},
    "query": {
        "catalog": "catalog",
        "kind": "L1C",
        "mindate": ["2023-05-01"],
        "maxdate": ["2023-05-31"],
        "maxclouds": 60,
        "asset_mirror": ["s3://a=copy"],
    },
    "filter": {"coverage_count": 2, "minclouds": 5},
    "gather": {
        "bands": ["B04"],
        "detector": {
            "type": "pytorch",
            "architecture": "model.py",
            "weights": "model.pth",
            "trust_architecture": True,
            "also_stock": True,
        },
    },
    "limits": {"budget_usd": 3},
    "force": True,
}


@pytest.fixture
def folder(tmp_path: Path, area: Path) -> Path:
    """The folder of a request, which is not the working directory."""
    assert area.parent == tmp_path
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    return tmp_path


@pytest.fixture
def made(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The request of the file and more words, as ``--dryrun`` prints it."""
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")

    def run(*words: object) -> Any:
        ended = call("run", "../request.json", *words, "--dryrun")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


def test_paths_of_a_file_count_from_its_folder(made: Any, folder: Path) -> None:
    request = made()
    assert request["aoi"] == {"uri": str(folder / "area.geojson")}
    assert request["query"]["catalog"] == str(folder / "catalog")
    assert request["query"]["asset_mirror"] == [f"s3://a={folder / 'copy'}"]
    assert request["gather"]["detector"]["architecture"] == str(folder / "model.py")
    assert request["gather"]["detector"]["weights"] == str(folder / "model.pth")
    assert request["output"] == str(folder / "m")


def test_paths_of_options_count_from_the_working_directory(made: Any, folder: Path) -> None:
    here = folder / "here"
    request = made(
        *("--catalog", "mine", "--asset-mirror", "s3://b=copy", "--output", "out"),
        *("--weights", "other.pth"),
    )
    assert request["query"]["catalog"] == str(here / "mine")
    assert request["query"]["asset_mirror"] == [f"s3://b={here / 'copy'}"]
    assert request["gather"]["detector"]["weights"] == str(here / "other.pth")
    assert request["output"] == str(here / "out")


@pytest.mark.parametrize(
    ("words", "part", "field", "value"),
    [
        (["--maxclouds", "30"], "query", "maxclouds", 30),
        (["--minclouds", "2"], "query", "minclouds", 2),
        (["--kind", "L2A"], "query", "kind", "L2A"),
        (["--catalog", "cdse"], "query", "catalog", "cdse"),
        (["--limit", "7"], "query", "limit", 7),
        (["--scale", "2"], "query", "scale", 2),
        (["--original-shape"], "query", "original_shape", True),
        (["--mindate", "2023-05-09"], "query", "mindate", ["2023-05-09"]),
        (["--maxdate", "2023-05-09"], "query", "maxdate", ["2023-05-09"]),
        (["--coverage-count", "4"], "filter", "coverage_count", 4),
        (["--max-selections", "9"], "filter", "max_selections", 9),
        (["--max-uncovered", "0.5"], "filter", "max_uncovered", 0.5),
        (["--backstop", "False"], "filter", "backstop", False),
        (["--name-regexp", "S2A"], "filter", "name_regexp", "S2A"),
        (["--date-regexp", "2023"], "filter", "date_regexp", "2023"),
        (["--bands", "B02", "B03"], "gather", "bands", ["B02", "B03"]),
        (["--crs", "EPSG:4326"], "gather", "crs", "EPSG:4326"),
        (["--gsd", "20"], "gather", "gsd_m", 20),
        (["--dilate-m", "0"], "gather", "dilate_m", 0),
        (["--bounds-clip", "False"], "gather", "bounds_clip", False),
        (["--index-start", "5"], "gather", "index_start", 5),
        (["--donate-mask", "True"], "gather", "donate_mask", True),
        (["--on-radiometry-conflict", "skip"], "gather", "on_radiometry_conflict", "skip"),
        (["--composite", "percentile:25"], "merge", "composite", "percentile:25"),
        (["--self-check"], "merge", "self_check", True),
        (["--min-success-fraction", "0.1"], "limits", "min_success_fraction", 0.1),
    ],
)
def test_an_option_overrides_the_field_of_the_file_and_no_other(
    made: Any, words: list[str], part: str, field: str, value: object
) -> None:
    changed = made(*words)
    assert changed[part][field] == value
    assert changed == {**made(), part: {**made()[part], field: value}}


def test_name_area_and_force_override_the_file(made: Any, folder: Path) -> None:
    other = {"type": "Feature", "geometry": SQUARE, "properties": {}}
    (folder / "here" / "other.geojson").write_text(json.dumps(other))
    request = made("--name", "n", "--geojson", "other.geojson", "--no-force")
    assert (request["name"], request["aoi"], request["force"]) == ("n", other, False)
    assert request["output"] == str(folder / "n")
    assert request["filter"] == made()["filter"]


def detector_of(made: Any, *words: str) -> dict[str, Any]:
    """What the options change of the detector's defaults."""
    known = {"type", "architecture", "weights", "trust_architecture", "donor_mask", "also_stock"}
    detector = made(*words)["gather"]["detector"]
    return {key: value for key, value in detector.items() if key in known and value}


def test_an_option_of_a_detector_replaces_that_of_the_file(made: Any, folder: Path) -> None:
    here = str(folder / "here")
    assert detector_of(made, "--s2cloudless") == {"type": "s2cloudless", "also_stock": True}
    assert detector_of(made, "--donor-mask", "masks") == {
        "type": "donor",
        "donor_mask": f"{here}/masks",
        "also_stock": True,
    }
    assert detector_of(made, "--no-s2cloudless") == {"type": "stock", "also_stock": True}
    assert detector_of(made, "--detector", "stock+pytorch") == {
        "type": "stock+pytorch",
        "architecture": str(folder / "model.py"),
        "weights": str(folder / "model.pth"),
        "trust_architecture": True,
        "also_stock": True,
    }
    assert detector_of(made, "--detector", "csmask") == {"type": "csmask", "also_stock": True}
    # Of the same detector the rest of the file holds.
    assert detector_of(made, "--weights", "w.pth", "--no-trust-architecture") == {
        "type": "pytorch",
        "architecture": str(folder / "model.py"),
        "weights": f"{here}/w.pth",
        "also_stock": True,
    }
    assert detector_of(made, "--also-stock", "no")["type"] == "pytorch"


def test_options_of_two_detectors_are_a_malformed_command_line(call: Call, folder: Path) -> None:
    ended = call("run", folder / "request.json", "--s2cloudless", "--weights", "w.pth")
    assert ended.code == ExitCode.USAGE
    assert ended.last_line.startswith("UsageError: s2cloudless and pytorch: ")


def test_the_file_and_the_options_are_checked_together(call: Call, folder: Path) -> None:
    ended = call("run", folder / "request.json", "--minclouds", "70", "--dryrun")
    assert ended.code == ExitCode.BAD_INPUT
    assert "request.json with the options given: query: minclouds 70" in ended.last_line
    fixed = {**REQUEST, "query": {**REQUEST["query"], "maxclouds": 400}}  # type: ignore[dict-item]
    (folder / "request.json").write_text(json.dumps(fixed))
    assert call("run", folder / "request.json", "--dryrun").code == ExitCode.BAD_INPUT
    assert call("run", folder / "request.json", "--dryrun", "--maxclouds", "40").code == 0


@pytest.mark.parametrize(
    "words", [[], ["--name", "m"], ["--geojson", "area.geojson"], ["--maxclouds", "30"]]
)
def test_neither_a_file_nor_an_area_with_a_name_is_a_malformed_command_line(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(folder)
    ended = call("run", *words)
    assert ended.code == ExitCode.USAGE
    assert ended.last_line == (
        "UsageError: Give a request file, or --name and an area by --geojson or --bbox"
    )


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "null"])
def test_a_file_that_holds_no_object_is_refused(call: Call, folder: Path, content: str) -> None:
    (folder / "request.json").write_text(content)
    ended = call("run", folder / "request.json", "--maxclouds", "30")
    assert ended.code == ExitCode.BAD_INPUT
    assert ended.last_line.startswith("RequestError: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"query": None},
        {"query": [1]},
        {"gather": {"detector": "s2cloudless"}},
        {"aoi": {"uri": 3}},
        {"output": 3},
        {"query": {"asset_mirror": "s3://a=/b"}},
        {"query": {"asset_mirror": [3]}},
        {"query": {"catalog": 3}},
    ],
)
def test_a_file_of_the_wrong_shape_is_one_clear_line(
    call: Call, folder: Path, changes: dict[str, object]
) -> None:
    (folder / "request.json").write_text(json.dumps({**REQUEST, **changes}))
    ended = call("run", folder / "request.json", "--name", "n", "--workers", "1")
    assert ended.code == ExitCode.BAD_INPUT
    assert "Traceback" not in ended.err
    assert ended.last_line.split(":")[0] in ("RequestError", "AoiError")


def test_a_composite_that_does_not_exist_is_refused_in_one_line(call: Call, folder: Path) -> None:
    ended = call("run", folder / "request.json", "--composite", "percentile:200", "--dryrun")
    assert ended.code == ExitCode.BAD_INPUT
    assert "percentile:200" in ended.err
    assert "a number from 0 to 100 after a colon, as in percentile:25" in ended.err
