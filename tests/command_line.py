"""The command line, called in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloudbuster.cli.main import main


def exit_code(call: Callable[[], object]) -> int:
    """Exit code of a call that ends the process."""
    with pytest.raises(SystemExit) as stop:
        call()
    return int(stop.value.code or 0)


def invoke(*arguments: object) -> int:
    """Run a command and give its exit code."""
    return exit_code(lambda: main([str(argument) for argument in arguments]))


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def run_flags(folder: Path, **changes: str) -> list[str]:
    """``run`` over the area and the catalog in a folder, in May of 2023, into ``out`` beside it."""
    flags = {
        "geojson": str(folder / "area.geojson"),
        "catalog": str(folder / "catalog"),
        "mindate": "2023-05-01",
        "maxdate": "2023-05-31",
        "dilate-m": "0",
        "output": str(folder / "out"),
        "workers": "1",
    }
    flags |= {key.replace("_", "-"): value for key, value in changes.items()}
    return ["run", *(text for key, value in flags.items() for text in (f"--{key}", value))]
