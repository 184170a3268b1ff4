"""An execution of the deployed stack whose jobs are real containers."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.e2e.cloud import ROOT, Cloud, DeployedStack, bootstrap, running_cloud
from tests.e2e.commands import run_locally
from tests.e2e.conftest import CDK_VARIABLE, CONFIG, STACK
from tests.e2e.worlds import small_world, upload

pytestmark = pytest.mark.containers

RASTERS = ("cloudless", "cloudy", "quality")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """File with the words of each started container, one JSON array per line."""
    return tmp_path / "containers.jsonl"


@pytest.fixture
def cloud(tmp_path: Path, batch_image: str, record: Path) -> Iterator[Cloud]:
    """A loopback AWS in which ``cloudbuster`` runs in a container of the image."""
    programs = tmp_path / "programs"
    programs.mkdir()
    job = [sys.executable, "-m", "tests.containers.job", batch_image, str(record)]
    # A job is started with its own variables only.
    needed = {"PYTHONPATH": str(ROOT), "CONTAINERS_CONF": os.environ["CONTAINERS_CONF"]}
    variables = [f"{name}={value}" for name, value in needed.items()]
    _write_program(programs / "cloudbuster", ["env", *variables, *job])
    _write_program(programs / "python", [sys.executable])
    folder = tmp_path / "aws"
    folder.mkdir()
    cdk = Path(os.environ[CDK_VARIABLE])
    with running_cloud(folder, cdk, python=str(programs / "python")) as cloud:
        yield cloud


def _write_program(path: Path, words: list[str]) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)


def test_jobs_in_containers_make_the_pixels_of_cloudbuster_run(
    cloud: Cloud, record: Path, tmp_path: Path
) -> None:
    world = small_world(tmp_path / "small")
    upload(cloud, world)
    assembly = cloud.synth("containers", CONFIG)
    bootstrap(cloud, assembly)
    cloud.deploy(assembly)
    stack = DeployedStack(cloud, STACK)
    ended = stack.run(world.in_s3(), name="containers")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["scenes"]["failed"] == 0

    started = [json.loads(line)[0] for line in record.read_text().splitlines()]
    assert sorted(started) == ["gather", "gather", "gather", "merge"]
    expected = run_locally(world, tmp_path)
    for product in RASTERS:
        content = stack.get(ended.output["products"][product])
        with (
            rasterio.open(expected[product]) as wanted,
            rasterio.MemoryFile(content).open() as made,
        ):
            np.testing.assert_array_equal(made.read(), wanted.read(), err_msg=product)
