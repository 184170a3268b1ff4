"""CONTRIBUTING shows the house as it is: each room, the order of imports, and paths that exist."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
# Files of the worked examples, which show where an addition goes.
ADDITIONS = {
    "cloudbuster/detectors/bright.py",
    "cloudbuster/cli/commands/bands.py",
    "cloudbuster/products/report/templates/sections/bands.html",
    "tests/unit/detectors/test_bright.py",
    "tests/unit/cli/commands/test_bands.py",
}


def test_every_room_is_named():
    files = [path.relative_to(ROOT) for path in ROOT.glob("cloudbuster/*/**/__init__.py")]
    rooms = {path.parent for path in files}
    named = set(re.findall(r"^\| `([a-z/]+)`", TEXT, re.M))
    assert len(rooms) > 30
    assert {str(room) for room in rooms} | {"infra", "lambdas", "containers", "tests"} <= named


def test_the_order_of_imports_is_that_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["cloudbuster"])
    assert "\n".join(layers) in TEXT


def test_paths_exist():
    paths = set(re.findall(r"`((?:cloudbuster|tests|docs|infra)/[\w/.-]+)`", TEXT))
    assert len(paths) > 20
    assert {path for path in paths if not (ROOT / path).exists()} == ADDITIONS


def test_no_room_is_large():
    rooms = {path.parent for path in (ROOT / "cloudbuster").rglob("*.py")}
    rooms |= {path.parent for path in (ROOT / "infra").rglob("*.py")}
    lines = {
        str(room.relative_to(ROOT)): sum(
            len(path.read_text().splitlines()) for path in room.glob("*.py")
        )
        for room in rooms
    }
    large = {room for room, count in lines.items() if count > 2500}
    assert large == {"cloudbuster/catalogs"}
