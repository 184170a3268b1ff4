"""An area in a file, and commands that are run in this process."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Commands import these when they run: a stage that a test has replaced would stay in them.
import cloudbuster.runs.merging
import cloudbuster.runs.subruns  # noqa: F401 -- as above
from cloudbuster.processes import log
from tests.command_line import invoke

SQUARE: dict[str, Any] = {
    "type": "Polygon",
    "coordinates": [[[15.0, 45.1], [15.1, 45.1], [15.1, 45.2], [15.0, 45.2], [15.0, 45.1]]],
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """What went wrong."""
        return self.err.splitlines()[-1]


Call = Callable[..., Ended]


@pytest.fixture
def area(tmp_path: Path) -> Path:
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(SQUARE))
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Run a command: its exit code, stdout and stderr."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = invoke(*arguments)
        written = capsys.readouterr()
        return Ended(code, written.out, written.err)

    yield run
    log.configure(as_json=False)
