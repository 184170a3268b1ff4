"""The sample world and its own request, each made once for all tests that look at it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudbuster.inputs.request_files import load_request
from cloudbuster.models import MosaicRequest, RunResult
from cloudbuster.runs.pipeline import run
from cloudbuster.sample import SampleWorld, write_sample
from tests.sample_world import cut_tiles_down


@dataclass(frozen=True)
class SampleRun:
    """The sample world, the request that was run, and its result."""

    world: Path
    request: MosaicRequest
    result: RunResult


@pytest.fixture(scope="session")
def sample_world(tmp_path_factory: pytest.TempPathFactory) -> SampleWorld:
    """Small sample world; tests read it and write nothing into it."""
    with pytest.MonkeyPatch.context() as patch:
        cut_tiles_down(patch)
        return write_sample(tmp_path_factory.mktemp("sample") / "world")


@pytest.fixture(scope="session")
def sample_run(sample_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    output = str(tmp_path_factory.mktemp("sample-run") / "output")
    request = load_request(str(sample_world.request))
    # The tests' world is 3 km wide, and some of its clouds are as wide.
    wanted = request.filter.model_copy(update={"max_never_clear": 0.15})
    request = request.model_copy(update={"output": output, "filter": wanted})
    return SampleRun(sample_world.folder, request, run(request))
