"""One loopback AWS with one deployed stack for all tests of this folder.

``make e2e`` installs the CDK's command line and sets `CDK_VARIABLE` to its path. Without the
variable no test of this folder is collected, so that `make test` neither runs nor counts them.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud import (
    Cloud,
    DeployedStack,
    Subscriber,
    bootstrap,
    running_cloud,
    subscriber,
)
from tests.e2e.worlds import BUCKET, World, sample_world, small_world, upload

CDK_VARIABLE = "CLOUDBUSTER_CDK"
STACK = "CloudBuster"
# Longest duration of all tests of this folder; a longer one is reported at the end.
MOST_MINUTES = 12
STARTED = time.monotonic()
# With two jobs at a time, the third is submitted after the first has ended. A bare GeoJSON can be
# dropped. The mosaic of the sample world, with 1806 rows, is merged in two parts.
CONFIG: dict[str, Any] = {
    "stack_name": STACK,
    "map_concurrency": 2,
    "merge_part_cells": 1024,
    "max_running_executions": 2,
    # The scenes lie in a bucket that is not the stack's.
    "input_buckets": [BUCKET],
    # A catalog of a test is served on this machine.
    "allowed_hosts": ["127.0.0.1"],
    "default_request": {
        "query": {"mindate": ["2023-05-01"], "maxdate": ["2023-05-31"]},
        "filter": {"strategy": "original", "backstop": False},
        "gather": {"bands": ["B02", "B03", "B04", "B08"]},
    },
}

collect_ignore_glob = [] if os.environ.get(CDK_VARIABLE) else ["test_*.py"]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The loopback AWS, bootstrapped."""
    folder = tmp_path_factory.mktemp("aws")
    with running_cloud(folder, Path(os.environ[CDK_VARIABLE])) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def assembly(cloud: Cloud) -> Path:
    """Assembly of the stack, made by ``cdk synth``."""
    return cloud.synth("first", CONFIG)


@pytest.fixture(scope="session")
def stack(cloud: Cloud, assembly: Path) -> DeployedStack:
    """The stack, deployed."""
    bootstrap(cloud, assembly)
    cloud.deploy(assembly)
    return DeployedStack(cloud, STACK)


@pytest.fixture(scope="session")
def world(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three small scenes, in S3 too."""
    world = small_world(tmp_path_factory.mktemp("small"))
    upload(cloud, world)
    return world


@pytest.fixture(scope="session")
def sample(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The sample world, in S3 too; its 300 MB are removed, which pytest would keep."""
    world = sample_world(tmp_path_factory.mktemp("sample"))
    upload(cloud, world)
    yield world
    shutil.rmtree(world.folder)


@pytest.fixture
def subscribed(stack: DeployedStack) -> Iterator[Subscriber]:
    """A subscriber of the stack's topic."""
    with subscriber(stack) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_faults_left(cloud: Cloud) -> Iterator[None]:
    """Check that all ordered failures have happened, and remove the rest for the next test."""
    yield
    left = cloud.faults.left()
    cloud.faults.clear()
    assert not left


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Report the duration of the session, and whether it is over what it may take."""
    if not os.environ.get(CDK_VARIABLE):
        return
    minutes = (time.monotonic() - STARTED) / 60
    terminalreporter.write_sep("=", "duration of the loopback")
    over = minutes > MOST_MINUTES
    text = f"{minutes:.1f} minutes, {'OVER' if over else 'of'} the {MOST_MINUTES} that it may take"
    terminalreporter.write_line(text, red=over)
