"""One loopback AWS with one deployed stack, for all the tests of this folder.

``make e2e`` installs the CDK's command line and says where it lies in `CDK_VARIABLE`. Without that
nothing of this folder is collected: `make test` neither runs nor counts it.
"""

import os
import shutil
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
from tests.e2e.worlds import World, sample_world, small_world, upload

CDK_VARIABLE = "CLOUDBUSTER_CDK"
STACK = "CloudBuster"
# Two scenes at a time leave one to submit after the first ends; a bare GeoJSON can be dropped; the
# mosaic of the sample world, of 1806 rows, is merged in two parts.
CONFIG: dict[str, Any] = {
    "stack_name": STACK,
    "map_concurrency": 2,
    "merge_part_cells": 1024,
    "max_running_executions": 2,
    "default_request": {
        "query": {"mindate": ["2023-05-01"], "maxdate": ["2023-05-31"]},
        "filter": {"backstop": False},
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
    """What ``cdk synth`` makes of the stack."""
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
    """The sample world, in S3 too; 300 MB that pytest would keep for two more sessions."""
    world = sample_world(tmp_path_factory.mktemp("sample"))
    upload(cloud, world)
    yield world
    shutil.rmtree(world.folder)


@pytest.fixture
def subscribed(stack: DeployedStack) -> Iterator[Subscriber]:
    """Somebody who is told of outcomes."""
    with subscriber(stack) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_faults_left(cloud: Cloud) -> Iterator[None]:
    """What one test breaks is whole for the next; what it ordered must have happened."""
    yield
    left = cloud.faults.left()
    cloud.faults.clear()
    assert not left
