"""What the last line says to type next."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster import query as query_stage
from cloudbuster.errors import ExitCode
from tests.factories import SceneSpec, area_of, write_scene
from tests.unit.cli.conftest import SQUARE, Call, Ended

SCENE = SceneSpec(size=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of one L2A scene, and an area in it."""
    folder = tmp_path_factory.mktemp("world")
    write_scene(folder / "catalog", SCENE)
    (folder / "area.geojson").write_text(json.dumps(area_of(SCENE, inset_m=1)))
    return folder


def swapped(area: dict[str, Any]) -> dict[str, Any]:
    """An area whose positions have latitude first."""
    return {**area, "coordinates": [[[y, x] for x, y in ring] for ring in area["coordinates"]]}


def shifted(area: dict[str, Any], degrees: float) -> dict[str, Any]:
    """An area further east."""
    rings = [[[x + degrees, y] for x, y in ring] for ring in area["coordinates"]]
    return {**area, "coordinates": rings}


def query(call: Call, world: Path, *words: object, area: object = None) -> Ended:
    path = world / "area.geojson"
    if area is not None:
        path = world / "other.geojson"
        path.write_text(json.dumps(area))
    return call("query", "--geojson", path, "--catalog", world / "catalog", *words)


def test_scenes_of_the_other_level_alone_say_which_kind_to_ask_for(call: Call, world: Path) -> None:
    ended = query(call, world, "--kind", "L1C")
    assert ended.code == ExitCode.NOTHING_USABLE
    assert "1 of another product level" in ended.last_line
    assert "give --kind L2A" in ended.last_line
    assert query(call, world, "--kind", "L2A").code == 0


def test_scenes_that_other_filters_removed_do_not_ask_for_another_kind(
    call: Call, world: Path
) -> None:
    line = query(call, world, "--maxdate", "2016-01-01").last_line
    assert "--kind" not in line
    assert "for any date to 2016-01-01 with" in line
    assert (
        "for 2024-01-01 and later with" in query(call, world, "--mindate", "2024-01-01").last_line
    )
    assert "for any date with" in query(call, world, "--minclouds", "15").last_line


def test_dates_that_are_not_given_are_no_bound(call: Call, world: Path) -> None:
    for words in ([], ["--mindate", "2023-05-10"], ["--maxdate", "2023-05-10"]):
        assert query(call, world, *words).code == 0
    ended = query(call, world, "--mindate", "2023-05-01", "2023-06-01")
    assert ended.code == ExitCode.BAD_INPUT
    assert "2 mindate and 0 maxdate: they pair by position" in ended.last_line


def test_positions_that_are_only_in_range_the_other_way_round_look_swapped(
    call: Call, world: Path
) -> None:
    denver = shifted(SQUARE, -120)
    ended = query(call, world, area=swapped(denver))
    assert ended.code == ExitCode.BAD_INPUT
    assert "latitude and longitude look swapped; write longitude first" in ended.last_line
    ring = [[15e5, 45e5], [16e5, 45e5], [16e5, 46e5], [15e5, 45e5]]
    ended = query(call, world, area={"type": "Polygon", "coordinates": [ring]})
    assert ended.code == ExitCode.BAD_INPUT
    assert "swapped" not in ended.last_line


def test_an_area_beyond_the_tiles_may_be_swapped(call: Call, world: Path) -> None:
    kolkata = shifted(SQUARE, 73.3)
    line = query(call, world, area=swapped(kolkata)).last_line
    assert "no tile of Sentinel-2 lies between 88.30 and 88.40" in line
    assert "if latitude and longitude are swapped, write longitude first" in line
    north_pole = shifted(swapped(shifted(SQUARE, 73.3)), 90)
    assert "nearer to the equator" in query(call, world, area=north_pole).last_line


def test_where_no_scene_lies_the_place_of_the_area_is_said(call: Call, world: Path) -> None:
    ended = query(call, world, area=swapped(area_of(SCENE)))
    assert ended.code == ExitCode.NOTHING_USABLE
    assert "lies at longitude 45.15" in ended.last_line
    assert "latitude 15.00" in ended.last_line
    assert "swap the two" in ended.last_line
    # Beyond 90 degrees the two cannot have been swapped.
    assert "swap" not in query(call, world, area=shifted(SQUARE, 100)).last_line


@pytest.mark.parametrize("name", ["a/b", "a b", "", "backstop-a", "mask-a", ".a", "ä", "x" * 129])
def test_a_name_that_is_refused_says_which_characters_are_allowed(
    call: Call, world: Path, tmp_path: Path, name: str
) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"name": name, "aoi": SQUARE}))
    scenes = ["--response", "none", "--output-path", "s3://b/x"]
    jobs = ["--jobqueue", "q", "--jobdef", "d"]
    commands: list[list[object]] = [
        ["run", request],
        ["meta-gather", *scenes, *jobs, "--name", name],
        ["meta-merge", *jobs, "--input-path", "s3://b/in", *scenes[2:], "--name", name],
    ]
    if name:
        commands += [
            ["run", "--geojson", world / "area.geojson", "--name", name],
            ["gather", *scenes, "--name", name],
            ["merge", "--input-path", "in", "--output-path", "out", "--name", name],
        ]
    for command in commands:
        ended = call(*command)
        assert ended.code == ExitCode.BAD_INPUT, command
        assert "letters (A-Z, a-z), digits, '.', '_' and '-'" in ended.last_line


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("S2A(", "at position 3; correct it there"),
        ("*2020", "at position 0; correct it there"),
        ("a{99999999999}", "simplify it"),
    ],
)
@pytest.mark.parametrize("option", ["--name-regexp", "--date-regexp"])
def test_a_bad_regular_expression_is_refused_before_the_search(
    call: Call,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    pattern: str,
    words: str,
) -> None:
    monkeypatch.setattr(query_stage, "query_scenes", None)
    run = ["run", "--geojson", world / "area.geojson", "--name", "m"]
    ended = call(*run, "--catalog", world / "catalog", option, pattern)
    assert ended.code == ExitCode.BAD_INPUT
    field = option.removeprefix("--").replace("-", "_")
    assert ended.last_line.startswith(f"RequestError: filter.{field}: ")
    assert ended.last_line.endswith(words)
    # The filter does not even read its input.
    ended = call("filter", "--input", "none", "--output", "-", option, pattern)
    assert ended.last_line.startswith(f"RequestError: {field}: ")


def test_a_selection_of_another_level_says_which_kind_to_give(
    call: Call, world: Path, tmp_path: Path
) -> None:
    response, selection = tmp_path / "response.json", tmp_path / "selection.json"
    assert query(call, world, "--response", response).code == 0
    assert (
        call("filter", "--input", response, "--output", selection, "--coverage-count", 1).code == 0
    )
    gather = ["gather", "--response", selection, "--name", "m", "--output-path", tmp_path / "out"]
    ended = call(*gather, "--kind", "L1C")
    assert ended.code == ExitCode.BAD_INPUT
    assert "selects L2A scenes, not L1C: give --kind L2A" in ended.last_line


def test_the_log_says_why_a_scene_failed(call: Call, world: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    write_scene(catalog, SCENE)
    (catalog / SCENE.id / "B04.tif").write_bytes(b"no raster")
    run = ["run", "--geojson", world / "area.geojson", "--name", "m", "--catalog", catalog]
    run += ["--bands", "B04", "--output", tmp_path / "out", "--workers", "1"]
    ended = call(*run, "--coverage-count", "1", "--no-backstop", "--log-json")
    assert ended.code == ExitCode.NOTHING_USABLE
    found = [json.loads(line) for line in ended.err.splitlines()]
    (failed,) = [each for each in found if each["event"] == "scene_failed"]
    assert (failed["scene"], failed["error"]) == (SCENE.id, "RasterError")
    assert "B04.tif" in failed["reason"]
