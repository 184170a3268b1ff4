"""The README's Python as people run it: a script with and without a guard, ``-c``, stdin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import BANDS, SceneSpec, area_of, write_scene

SNIPPET = """
from cloudbuster import MosaicRequest, run

print("started")
request = MosaicRequest(
    name="m",
    aoi="area.geojson",
    query={{"catalog": "catalog", "mindate": "2023-05-01", "maxdate": "2023-05-31"}},
    filter={{"coverage_count": 2, "backstop": False}},
    gather={{"bands": {bands}}},
    output="{output}",
)
result = run(request, workers=2)
print(result.products.cloudless, result.assessment.covered)
"""
GUARDED = """
def main():
    {body}

if __name__ == "__main__":
    main()
"""
POOL = """
import multiprocessing
{snippet}
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(abs, [1])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("scripts")
    for day in (10, 11):
        spec = SceneSpec(id=f"S2A_33TWL_202305{day}_0_L2A", datetime=f"2023-05-{day}T10:00:00Z")
        write_scene(home / "catalog", spec)
    (home / "area.geojson").write_text(json.dumps(area_of(SceneSpec())))
    return home


def snippet(output: str) -> str:
    return SNIPPET.format(bands=list(BANDS), output=output)


def python(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("form", ["script", "guarded", "command", "stdin"])
def test_the_snippet_runs_once_in_every_form(folder: Path, form: str) -> None:
    code, stdin = snippet(form), ""
    if form == "guarded":
        code = GUARDED.format(body=code.replace("\n", "\n    "))
    arguments = ["script.py"]
    if form == "command":
        arguments = ["-c", code]
    elif form == "stdin":
        arguments, stdin = ["-"], code
    else:
        (folder / "script.py").write_text(code)
    ended = python(folder, *arguments, stdin=stdin)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "started",
        f"{folder / form / 'm-cloudless.tif'} True",
    ]


def test_a_pool_of_ones_own_that_imports_the_script_is_told_of_the_guard(folder: Path) -> None:
    (folder / "pool.py").write_text(POOL.format(snippet=snippet("pool")))
    process = subprocess.Popen(
        [sys.executable, "pool.py"], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    # The pool starts a new process for each one that fails, without end.
    for line in process.stderr:
        if line.startswith("cloudbuster.errors.RequestError:"):
            break
    process.kill()
    process.communicate()
    assert 'put the call under: if __name__ == "__main__":' in line
