"""The command line by hand: every flag of the original, and what wrong input looks like."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudbuster.errors import ExitCode
from tests import command_line
from tests.command_line import invoke, last_line
from tests.factories import SceneSpec, area_of, write_scene

CLOUD = [(slice(0, 10), slice(0, 10), 9)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Three dates of one small tile, the first of them partly cloudy, and an area."""
    specs = [
        SceneSpec(id="S2A_33TWL_20230510_0_L2A", datetime="2023-05-10T10:00:00Z", scl=CLOUD),
        SceneSpec(
            id="S2B_33TWL_20230515_0_L2A", datetime="2023-05-15T10:00:00Z", dn=700, cloud_cover=20
        ),
        SceneSpec(
            id="S2A_33TWL_20230520_0_L2A", datetime="2023-05-20T10:00:00Z", dn=900, cloud_cover=30
        ),
    ]
    for spec in specs:
        write_scene(tmp_path / "catalog", spec)
    (tmp_path / "area.geojson").write_text(json.dumps(area_of(specs[0])))
    return tmp_path


def run_flags(world: Path, **changes: str) -> list[str]:
    known = {"name": "small", "maxclouds": "100", "coverage_count": "2", "bands": "B04,B03,B02"}
    return command_line.run_flags(world, **(known | changes))


def original_flags(world: Path, **changes: str) -> list[str]:
    """Flags of a run by strategy `original`: scenes 1 and 2 are clear, 3 is the backstop."""
    return run_flags(world, strategy="original", **changes)


def test_the_four_stages_by_hand_make_the_same_mosaic_as_run(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*run_flags(world)) == ExitCode.DONE
    scenes, response, selection = world / "scenes", world / "response.json", world / "picked.json"
    query = ["query", "--geojson", world / "area.geojson", "--response", response]
    query += ["--catalog", world / "catalog", "--maxclouds", "100"]
    assert invoke(*query, "--mindate", "2023-05-01", "--maxdate", "2023-05-31") == 0
    assert invoke("filter", "--input", response, "--output", selection, "--coverage-count", 2) == 0
    gather = ["gather", "--response", selection, "--name", "small", "--output-path", scenes]
    assert invoke(*gather, "--bands", "B04,B03,B02", "--dilate-m", "0") == 0
    merge = ["merge", "--input-path", scenes, "--output-path", world / "merged", "--name", "small"]
    assert invoke(*merge) == 0
    capsys.readouterr()
    by_hand = (world / "merged" / "small-cloudless.tif").read_bytes()
    assert by_hand == (world / "out" / "small-cloudless.tif").read_bytes()


def test_run_prints_json_and_takes_the_clear_pixel_of_the_first_scene(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*original_flags(world), "--json") == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    with rasterio.open(result["products"]["cloudless"]) as mosaic:
        assert mosaic.descriptions == ("B04", "B03", "B02", "scene_index")
        red, index = mosaic.read(1), mosaic.read(4)
    # The first scene is the clearest by its catalog; its cloud is filled from the second.
    assert set(np.unique(index)) == {1, 2}
    np.testing.assert_array_equal(red, np.where(index == 1, 502, 702))
    assert 300 < (index == 2).sum() < 420


def test_with_composite_first_a_scene_that_is_clear_everywhere_makes_the_mosaic_alone(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*run_flags(world), "--composite", "first", "--json") == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    with rasterio.open(result["products"]["cloudless"]) as mosaic:
        assert set(np.unique(mosaic.read(4))) == {1}
    assert [path.name for path in (world / "out" / "scenes").glob("small-*.tif")] == [
        "small-01.tif"
    ]


def test_several_dates_pair_by_position(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = ["query", "--geojson", world / "area.geojson", "--catalog", world / "catalog"]
    dates = ["--mindate", "2023-05-01", "2023-05-19", "--maxdate", "2023-05-11", "2023-05-31"]
    assert invoke(*query, *dates, "--maxclouds", "100") == 0
    found = json.loads(capsys.readouterr().out)["features"]
    assert [item["id"][10:18] for item in found] == ["20230520", "20230510"]


def test_response_beats_aoi_name_beats_name_property(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    area = json.loads((world / "area.geojson").read_text())
    feature = {"type": "Feature", "properties": {"title": "from-property"}, "geometry": area}
    (world / "feature.json").write_text(json.dumps(feature))
    query = ["query", "--geojson", "feature.json", "--catalog", "catalog", "--maxclouds", "100"]
    named = ["--name-property", "title"]
    assert invoke(*query, *named) == 0
    assert invoke(*query, *named, "--area-name", "from-name") == 0
    assert invoke(*query, *named, "--aoi-name", "x", "--response", "from-response.json") == 0
    assert capsys.readouterr().out.split() == [
        "from-property.json",
        "from-name.json",
        "from-response.json",
    ]
    assert not (world / "x.json").exists()


def test_documents_of_the_original_go_through_filter_and_back(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    response = world / "original.json"
    query = ["query", "--geojson", world / "area.geojson", "--catalog", world / "catalog"]
    assert invoke(*query, "--maxclouds", "100", "--response", response, "--format", "original") == 0
    assert set(json.loads(response.read_text())) == {"aoi", "results"}
    picked = world / "picked.json"
    # The original's documents name no masks, of which thumbnails could be made.
    filter_ = ["filter", "--input", response, "--output", picked, "--coverage-count", "1"]
    filter_ += ["--strategy", "original"]
    assert invoke(*filter_, "--format", "original") == 0
    document = json.loads(picked.read_text())
    assert set(document) == {"bounds", "selections"}
    assert [entry.get("backstop", False) for entry in document["selections"]] == [False, True]
    capsys.readouterr()
    dryrun = ["gather", "--response", picked, "--name", "n", "--output-path", world / "o"]
    assert invoke(*dryrun, "--dryrun", "True") == 0
    tasks = json.loads(capsys.readouterr().out)
    assert [(task["index"], task["backstop_index"]) for task in tasks] == [(1, None), (None, 2)]
    assert not (world / "o").exists()


def test_one_scene_is_gathered_by_its_index(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*original_flags(world)) == 0
    selection = world / "out" / "selection.json"
    gather = ["gather", "--response", selection, "--name", "one", "--output-path", world / "one"]
    assert invoke(*gather, "--bands", "B02", "--index", "12", "--index-start", "11") == 0
    capsys.readouterr()
    assert {path.name for path in (world / "one").iterdir()} == {"one-12.tif", "one-12.json"}


def test_a_donated_mask_is_taken_by_its_scene_and_refused_by_another(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*original_flags(world, donate_mask="True")) == 0
    scenes = world / "out" / "scenes"
    assert (scenes / "mask-small-01.tif").is_file()
    gather = ["gather", "--response", world / "out" / "selection.json", "--bands", "B04,B03,B02"]
    gather += ["--name", "small", "--dilate-m", "0", "--output-path", world / "donated"]
    assert invoke(*gather, "--donor-mask", scenes) == 0
    for name in ("small-01.tif", "small-02.tif"):
        assert (world / "donated" / name).read_bytes() == (scenes / name).read_bytes()
    donor = ["--donor-mask", scenes, "--donor-mask-name", "mask-small-02"]
    capsys.readouterr()
    assert invoke(*gather, "--index", "1", *donor) == ExitCode.BAD_INPUT
    assert last_line(capsys.readouterr().err).startswith("DonorError: ")


def test_an_area_that_cannot_be_covered_gives_its_mosaic_and_exit_4(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first of the scenes alone, with its cloud.
    assert invoke(*run_flags(world, maxdate="2023-05-11")) == ExitCode.NOT_COVERED
    captured = capsys.readouterr()
    assert "small-cloudless.tif" in captured.out
    assert last_line(captured.err).startswith("NotCoveredError: ")
    assert (world / "out" / "small-cloudless.tif").is_file()
    status = json.loads((world / "out" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("succeeded", 4)
    assessment = json.loads((world / "out" / "assessment.json").read_text())
    assert not assessment["covered"]
    assert assessment["reasons"]
    assert assessment["end"] == "no-more-candidates"
    assert Path(assessment["hole_file"]) == world / "out" / "small-holes.geojson"
    (hole,) = json.loads((world / "out" / "small-holes.geojson").read_text())["features"]
    assert hole["properties"]["state"] == "never-clear"


@pytest.mark.parametrize("strategy", ["clear", "original"])
def test_an_area_that_is_seen_clear_is_covered_however_often_it_was_to_be(
    world: Path, strategy: str
) -> None:
    assert invoke(*run_flags(world, strategy=strategy, coverage_count="9")) == ExitCode.DONE
    assessment = json.loads((world / "out" / "assessment.json").read_text())
    assert (assessment["covered"], assessment["end"]) == (True, "covered")
    assert not (world / "out" / "small-holes.geojson").exists()


@pytest.mark.parametrize(
    "flags",
    [
        # The one scene that is left has a cloud.
        ["--name-regexp", "20230510"],
        ["--strategy", "original", "--coverage-count", "7"],
    ],
    ids=["clear", "original"],
)
def test_filter_writes_output_error_where_it_cannot_cover(
    world: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert invoke(*run_flags(world)) == 0
    filter_ = ["filter", "--input", world / "out" / "candidates.json", *flags]
    assert invoke(*filter_, "--output", world / "picked.json") == ExitCode.NOT_COVERED
    assert last_line(capsys.readouterr().err).startswith("NotCoveredError: ")
    assert (world / "picked.json.ERROR").is_file()
    assert not (world / "picked.json").exists()


def break_band(world: Path) -> None:
    (world / "catalog" / "S2A_33TWL_20230510_0_L2A" / "B04.tif").unlink()


def truncate_band(world: Path) -> None:
    path = world / "catalog" / "S2A_33TWL_20230510_0_L2A" / "B04.tif"
    noise = np.random.default_rng(1).integers(300, 900, (60, 60), dtype=np.uint16)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(noise, 1)
    path.write_bytes(path.read_bytes()[:2000])


def break_mask(world: Path) -> None:
    (world / "catalog" / "S2A_33TWL_20230510_0_L2A" / "SCL.tif").write_bytes(b"no raster")


@pytest.mark.parametrize(
    ("damage", "error"),
    [(break_band, "RasterError"), (truncate_band, "RasterError"), (break_mask, "MaskError")],
)
def test_a_scene_with_broken_files_fails_alone_and_by_itself(
    world: Path, capsys: pytest.CaptureFixture[str], damage: Any, error: str
) -> None:
    assert invoke(*original_flags(world, output=str(world / "whole"))) == 0
    damage(world)
    gather = ["gather", "--response", world / "whole" / "selection.json", "--bands", "B04"]
    gather += ["--name", "n", "--output-path", world / "n"]
    capsys.readouterr()
    assert invoke(*gather, "--index", "1") == ExitCode.BAD_INPUT
    assert last_line(capsys.readouterr().err).startswith(f"{error}: ")
    assert list((world / "n").glob("*") if (world / "n").exists() else []) == []
    # The other scenes show all of the area clear: a run lacks nothing without this one.
    assert invoke(*original_flags(world)) == ExitCode.DONE
    assessment = json.loads((world / "out" / "assessment.json").read_text())
    assert [failure["error"] for failure in assessment["failures"]] == [error]
    with rasterio.open(world / "out" / "small-cloudless.tif") as mosaic:
        assert mosaic.read(4).min() > 0


SQUARE = [[15.001, 45.1], [15.004, 45.1], [15.004, 45.102], [15.001, 45.102], [15.001, 45.1]]
BOW_TIE = [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3], SQUARE[0]]


@pytest.mark.parametrize(
    ("content", "code", "error"),
    [
        ("{", ExitCode.BAD_INPUT, "AoiError"),
        ("", ExitCode.BAD_INPUT, "AoiError"),
        ('{"type": "FeatureCollection", "features": []}', ExitCode.BAD_INPUT, "AoiError"),
        ('{"type": "Point", "coordinates": [15, 45]}', ExitCode.BAD_INPUT, "AoiError"),
        (
            json.dumps({"type": "Polygon", "coordinates": [BOW_TIE]}),
            ExitCode.BAD_INPUT,
            "AoiError",
        ),
        (
            json.dumps({"type": "Polygon", "coordinates": [[[x + 9, y] for x, y in SQUARE]]}),
            ExitCode.NOTHING_USABLE,
            "NothingUsableError",
        ),
    ],
)
def test_a_bad_area_is_one_clear_line(
    world: Path, capsys: pytest.CaptureFixture[str], content: str, code: int, error: str
) -> None:
    (world / "area.geojson").write_text(content)
    assert invoke(*run_flags(world)) == code
    captured = capsys.readouterr()
    assert last_line(captured.err).startswith(f"{error}: ")
    assert "Traceback" not in captured.err
    assert not list((world / "out").rglob("*.tif") if (world / "out").exists() else [])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"mindate": "2023-06-30"}, "RequestError"),
        ({"mindate": "soon"}, "RequestError"),
        ({"crs": "EPSG:999999"}, "GridError"),
        ({"bands": "B02,B99"}, "RequestError"),
        ({"bands": "B10"}, "RequestError"),
        ({"name": "mask-mine"}, "RequestError"),
        ({"name": "a/b"}, "RequestError"),
        ({"catalog": "/no/such/catalog"}, "CatalogError"),
        ({"max_uncovered": "7"}, "RequestError"),
        ({"geojson": "/no/such/file"}, "AoiError"),
        ({"name_regexp": "("}, "RequestError"),
        ({"catalog": ""}, "RequestError"),
        ({"catalog": "earthsearch"}, "CatalogError"),
    ],
)
def test_a_bad_flag_is_one_clear_line_and_exit_5(
    world: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], error: str
) -> None:
    assert invoke(*run_flags(world, **changes)) == ExitCode.BAD_INPUT
    captured = capsys.readouterr()
    assert last_line(captured.err).startswith(f"{error}: ")
    assert not list((world / "out").rglob("*.tif") if (world / "out").exists() else [])


def test_an_unknown_field_of_a_request_is_named(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*run_flags(world), "--dryrun") == 0
    request = json.loads(capsys.readouterr().out)
    request["query"]["maxcluods"] = 3
    (world / "request.json").write_text(json.dumps(request))
    assert invoke("run", world / "request.json") == ExitCode.BAD_INPUT
    line = last_line(capsys.readouterr().err)
    assert line.startswith("RequestError: ")
    assert "maxcluods" in line
    assert "maxclouds" in line


def test_an_output_that_cannot_be_written_is_told(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (world / "file").write_text("in the way")
    assert invoke(*run_flags(world, output=str(world / "file" / "out"))) == ExitCode.BAD_INPUT
    assert last_line(capsys.readouterr().err).startswith("OutputError: ")
    assert (world / "file").read_text() == "in the way"


def test_another_request_does_not_overwrite_a_run(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(*run_flags(world)) == 0
    before = (world / "out" / "small-cloudless.tif").read_bytes()
    capsys.readouterr()
    assert invoke(*run_flags(world, bands="B08")) == ExitCode.BAD_INPUT
    assert last_line(capsys.readouterr().err).startswith("OutputError: ")
    assert (world / "out" / "small-cloudless.tif").read_bytes() == before
    assert invoke(*run_flags(world, bands="B08"), "--force") == 0
    with rasterio.open(world / "out" / "small-cloudless.tif") as mosaic:
        assert mosaic.descriptions == ("B08", "scene_index")


def test_code_from_a_file_does_not_run_without_trust(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touched = world / "touched"
    (world / "arch.py").write_text(f"open({str(touched)!r}, 'w')")
    (world / "weights.pth").write_bytes(b"")
    flags = run_flags(world, architecture=str(world / "arch.py"), weights=str(world / "w.pth"))
    assert invoke(*flags) == ExitCode.BAD_INPUT
    line = last_line(capsys.readouterr().err)
    assert "UntrustedCodeError" in line
    assert "--trust-architecture" in line
    assert not touched.exists()


def test_a_malformed_command_line_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("filter", "--no-such-flag") == ExitCode.USAGE
    assert invoke("no-such-command") == ExitCode.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, cloudbuster, cloudbuster.cli.main; heavy = {'boto3', 'torch', 's2cloudless', "
        "'rasterio', 'pystac', 'aws_cdk'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_variables_decide_what_is_logged_where_no_flag_does(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDBUSTER_LOG_LEVEL", "info")
    monkeypatch.setenv("CLOUDBUSTER_LOG_JSON", "true")
    assert invoke(*original_flags(world)) == ExitCode.DONE
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events.count("scene_gathered") == 3
    assert events[-2:] == ["mosaic_merged", "progress"]


def test_with_log_json_workers_write_objects_too(
    world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = original_flags(world, workers="2", output=str(world / "by-two"))
    assert invoke(*flags, "--log-json", "--log-level", "info") == ExitCode.DONE
    events = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert events.count("scene_gathered") == 3
