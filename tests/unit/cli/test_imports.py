"""What the command line loads, and when."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import SceneSpec, area_of, write_scene

PROBE = """
import sys
from cloudbuster.cli.main import main
for words in {commands!r}:
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 0, words
print(sorted(name for name in sys.modules if name.split(".")[0] in {watched!r}
             or name.startswith("cloudbuster.aws")))
"""


def loaded(commands: list[list[str]], watched: set[str]) -> str:
    """Modules that commands load in a process of their own, as it prints them."""
    code = PROBE.format(commands=commands, watched=watched)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


HEAVY = {"boto3", "torch", "s2cloudless", "aws_cdk"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["gather", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    more = {"rasterio", "pystac", "pydantic", "numpy", "scipy", "shapely", "tqdm"}
    assert loaded([words], HEAVY | more) == "[]"


def test_the_laptops_commands_load_nothing_of_aws(tmp_path: Path) -> None:
    spec = SceneSpec(size=8)
    write_scene(tmp_path / "catalog", spec)
    (tmp_path / "area.geojson").write_text(json.dumps(area_of(spec, inset_m=1)))
    area = ["--geojson", str(tmp_path / "area.geojson"), "--catalog", str(tmp_path / "catalog")]
    response, selection = str(tmp_path / "response.json"), str(tmp_path / "selection.json")
    scenes, output = str(tmp_path / "scenes"), str(tmp_path / "output")
    named = ["--name", "m", "--bands", "B04"]
    commands = [
        ["query", *area, "--response", response],
        ["filter", "--input", response, "--output", selection, "--coverage-count", "1"],
        ["gather", "--response", selection, *named, "--output-path", scenes],
        ["merge", "--input-path", scenes, "--output-path", output, *named[:2]],
        ["run", *area, *named, "--coverage-count", "1", "--output", f"{output}-run"],
        ["catalogs"],
        ["schema"],
    ]
    # rasterio itself loads boto3 where it is installed.
    assert loaded(commands, HEAVY - {"boto3"}) == "[]"
