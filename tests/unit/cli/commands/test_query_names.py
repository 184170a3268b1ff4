"""Names of the files that `cloudbuster query` writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import invoke, last_line
from tests.stac_items import item_collection, make_item, square

BAD_NAMES = (
    *("../evil", "/etc/evil", "a/b", "a\\b", "..", ".hidden", "-rf", "a\nb", "a\0b", "\u202egpj"),
    *("x" * 300, "nul", " a", "a "),
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a catalog and without areas, in which the command runs."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (tmp_path / "items.json").write_text(json.dumps(item_collection(make_item())))
    return work


def query(world: Path, properties: dict[str, Any], *arguments: str) -> int:
    area = world.parent / "area.geojson"
    feature = {"type": "Feature", "properties": properties, "geometry": square(14.6, 45.6, 0.5)}
    area.write_text(json.dumps(feature))
    catalog = str(world.parent / "items.json")
    return invoke("query", "--geojson", area, "--catalog", catalog, *arguments)


def test_a_name_of_the_area_names_the_file(world: Path) -> None:
    assert query(world, {"title": "Trst 2020"}, "--name-property", "title") == 0
    assert query(world, {}, "--aoi-name", "Trieste") == 0
    assert [path.name for path in sorted(world.iterdir())] == ["Trieste.json", "Trst 2020.json"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_property_that_is_no_name_writes_nothing(
    world: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(world.parent.rglob("*"))
    assert query(world, {"title": name}, "--name-property", "title") == 5
    line = last_line(capsys.readouterr().err)
    assert line.startswith("RequestError: property 'title': ")
    assert "cannot name a file" in line
    assert sorted(world.parent.rglob("*")) == sorted({*before, world.parent / "area.geojson"})


@pytest.mark.parametrize("name", ["../evil", "a/b", "x" * 300])
def test_a_name_on_the_command_line_that_is_none_writes_nothing(
    world: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query(world, {}, "--aoi-name", name) == 5
    assert "--aoi-name: " in last_line(capsys.readouterr().err)
    assert list(world.iterdir()) == []
