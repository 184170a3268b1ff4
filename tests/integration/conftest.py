"""The sample world, written and run once for all the tests that look at it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudbuster.models import RunResult
from cloudbuster.pipeline import run
from cloudbuster.request_files import load_request
from cloudbuster.sample import write_sample


@dataclass(frozen=True)
class SampleRun:
    """The sample world, and the result of its own request."""

    world: Path
    result: RunResult


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    world = tmp_path_factory.mktemp("sample") / "world"
    write_sample(world, workers=2)
    result = run(load_request(str(world / "request.json")), workers=2)
    return SampleRun(world, result)
