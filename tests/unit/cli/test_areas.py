"""Areas on the command line: files, layers, bounding boxes, one mosaic for each feature."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.errors import ExitCode
from tests.unit.cli.conftest import SQUARE, Call


def features(*names: object) -> dict[str, Any]:
    """Squares side by side; each has a property ``name``."""
    members = []
    for number, name in enumerate(names):
        west = 15.0 + number / 10
        ring = [[west, 45.0], [west + 0.1, 45.0], [west + 0.1, 45.1], [west, 45.1], [west, 45.0]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        members.append({"type": "Feature", "properties": {"name": name}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": members}


@pytest.mark.parametrize(
    "words",
    [
        ["--bbox", "-15.5,45.9,15.25,46"],
        ["--bbox", "-15.5, 45.9, 15.25, 46"],
        ["--bbox=-15.5,45.9,15.25,46"],
        ["--bbox", "-15.5", "45.9", "15.25", "46"],
        ["--bbox", "[-15.5, 45.9, 15.25, 46.0]"],
        ["--bbox", "-1.55e1,45.9", "15.25,46"],
        ["--bbox", "(-15.5,45.9,15.25,46)"],
    ],
)
def test_a_bounding_box_is_read_in_every_way_that_people_write_it(
    call: Call, words: list[str]
) -> None:
    ended = call("run", "--name", "m", *words, "--dryrun")

    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["aoi"]["bbox"] == [-15.5, 45.9, 15.25, 46.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bbox", "15,45.9,15.1"], "--bbox takes four numbers, not 3: west, south, east, north"),
        (["--bbox", "15,45.9,15.1,46,1"], "--bbox takes four numbers, not 5"),
        (
            ["--bbox", "15,45.9,15.1,46", "--geojson", "a.json"],
            "--geojson and --bbox are two areas",
        ),
        (["--bbox", "15,45.9,15.1,46", "--layer", "a"], "--layer is a layer of the file"),
        (["--bbox", "a,b,c,d"], "'a' is not a valid float"),
    ],
)
@pytest.mark.parametrize("command", [["run", "--name", "m"], ["query"]])
def test_a_malformed_area_is_a_malformed_command_line(
    call: Call, command: list[str], words: list[str], message: str
) -> None:
    ended = call(*command, *words)

    assert ended.code == ExitCode.USAGE
    assert message in ended.last_line


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("15,46,15.1,45", "give west, south, east, north in this order"),
        ("nan,46,15.1,47", "is not two finite numbers"),
        ("46,200,47,201", "look swapped"),
    ],
)
def test_a_bounding_box_that_is_no_area_is_refused(call: Call, box: str, message: str) -> None:
    ended = call("query", "--bbox", box, "--catalog", "absent")

    assert ended.code == ExitCode.BAD_INPUT
    assert ended.last_line.startswith("AoiError: aoi: the feature")
    assert message in ended.last_line


def test_query_without_an_area_is_a_malformed_command_line(call: Call) -> None:
    ended = call("query", "--catalog", "absent")

    assert ended.code == ExitCode.USAGE
    assert ended.last_line == "UsageError: Missing option '--geojson' or '--bbox'"


def test_a_layer_of_geojson_is_refused(call: Call, area: Path) -> None:
    ended = call("query", "--aoi", area, "--layer", "fields")

    assert ended.code == ExitCode.BAD_INPUT
    assert "is GeoJSON, which has no layer 'fields'" in ended.last_line


def test_each_feature_becomes_a_request_of_its_own(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "fields.geojson"
    path.write_text(json.dumps(features("Žabja vas/2", 7, 8.0)))

    ended = call(
        *("run", "--geojson", path, "--each", "name", "--name", "m", "--dryrun"),
        *("--output", tmp_path / "out"),
    )

    assert ended.code == 0, ended.err
    made = json.loads(ended.out)
    names = ["m-Zabja-vas-2", "m-7", "m-8"]
    assert [request["name"] for request in made] == names
    assert [request["output"] for request in made] == [str(tmp_path / "out" / n) for n in names]
    assert [request["aoi"]["geometry"]["coordinates"][0][0][0] for request in made] == [
        15.0,
        15.1,
        15.2,
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a"), "name 'a' names 2 features; give a property of other values"),
        (("a b", "a/b"), "name 'a b' names 2 features"),
        (("a", "A"), "name 'a' names 2 features"),
        (("a", "..."), "name '...' names no feature"),
        (("a", None), "feature 2 has no property 'name'; it has name"),
        ((), "the FeatureCollection holds no feature"),
    ],
)
def test_features_that_cannot_be_named_are_refused(
    call: Call, tmp_path: Path, names: tuple[object, ...], message: str
) -> None:
    path = tmp_path / "fields.geojson"
    path.write_text(json.dumps(features(*names)))

    ended = call("run", "--geojson", path, "--each", "name", "--name", "m")

    assert ended.code == ExitCode.BAD_INPUT
    assert ended.last_line.startswith("AoiError: aoi: ")
    assert message in ended.last_line


def test_a_geometry_alone_has_no_features(call: Call, area: Path) -> None:
    assert json.loads(area.read_text()) == SQUARE

    ended = call("run", "--geojson", area, "--each", "name", "--name", "m")

    assert ended.code == ExitCode.BAD_INPUT
    assert "feature 1 has no property 'name'; it has none" in ended.last_line
