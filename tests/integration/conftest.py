"""The sample world's own request, run once for all tests that look at the result."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudbuster.adapters import load_request
from cloudbuster.models import MosaicRequest, RunResult
from cloudbuster.pipeline import run
from cloudbuster.sample import SampleWorld


@dataclass(frozen=True)
class SampleRun:
    """The sample world, the request that was run, and its result."""

    world: Path
    request: MosaicRequest
    result: RunResult


@pytest.fixture(scope="session")
def sample_run(sample_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    output = str(tmp_path_factory.mktemp("sample-run") / "output")
    request = load_request(str(sample_world.request)).model_copy(update={"output": output})
    return SampleRun(sample_world.folder, request, run(request))
