"""The content and the limits of the images, and a gather in one that makes the same pixels."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.errors import ExitCode
from cloudbuster.filter import filter_scenes
from cloudbuster.models import GatherTask, MosaicRequest
from cloudbuster.query import query_scenes
from cloudbuster.runs.tasks import plan_tasks
from tests.containers.conftest import BUCKET, stored
from tests.containers.podman import AWS, JOB, call, command
from tests.e2e.worlds import World
from tests.s3_server import S3Server

pytestmark = pytest.mark.containers

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
# Size with s2cloudless and without PyTorch.
LARGEST_BYTES = 1_000_000_000
# Packages that are needed to build or test an image, but not to run it.
LEFT_OUT = ("pip", "setuptools", "torch", "moto", "aws_cdk", "pytest")
S2CLOUDLESS = """
import numpy, s2cloudless
pixels = numpy.random.default_rng(1).uniform(0, 0.6, (1, 16, 16, 10))
found = s2cloudless.S2PixelCloudDetector().get_cloud_probability_maps(pixels)
print(found.round(6).tolist())
"""
# Prints the shared libraries that are missing. A library of a wheel counts as present, since the
# module of the wheel finds it.
LIBRARIES = """
import pathlib, subprocess
modules = list(pathlib.Path("/opt/venv/lib").rglob("*.so*"))
brought = {module.name for module in modules}
listed = subprocess.run(["ldd", *modules], capture_output=True, text=True).stdout
missing = {line.split()[0] for line in listed.splitlines() if line.endswith("not found")}
assert len(modules) > 100
print(sorted(missing - brought))
"""


@pytest.fixture
def python(batch_image: str, scratch: Path) -> Run:
    """Run a program in the image of the jobs."""

    def run(program: str, *, options: Sequence[str] = ()) -> Done:
        entry = ["--entrypoint=python", *options]
        words = command(
            batch_image,
            ["-c", program],
            writable={"/scratch": scratch},
            environment=JOB,
            options=entry,
        )
        return call(words)

    return run


@pytest.fixture
def task(world: World) -> GatherTask:
    """The first scene of the small world, on this machine."""
    request = MosaicRequest.model_validate(world.request)
    candidates = query_scenes(request.aoi, request.query)
    selection = filter_scenes(candidates, request.filter)
    output = str(world.folder / "scenes")
    return plan_tasks(selection, name="small", options=request.gather, output=output)[0]


def test_the_image_is_small_enough(batch_image: str) -> None:
    done = call(["podman", "image", "inspect", "--format", "{{.Size}}", batch_image])
    assert int(done.stdout) <= LARGEST_BYTES


def test_the_image_holds_no_trace_of_where_it_was_built(batch_image: str, python: Run) -> None:
    done = python(
        "import pathlib;"
        "print([path.stat().st_size for path in pathlib.Path('/etc').glob('pip.conf')],"
        "[str(path) for path in pathlib.Path('/mnt').glob('*/*')])"
    )
    assert done.stdout.strip() in ("[] []", "[0] []"), done.stderr
    history = call(["podman", "history", "--no-trunc", "--format", "{{.CreatedBy}}", batch_image])
    assert "://" not in history.stdout


def test_the_user_is_not_root_and_may_write_to_scratch_only(python: Run, scratch: Path) -> None:
    done = python(
        "import os, pathlib;"
        "pathlib.Path('/scratch/mine').write_text('');"
        "print(os.getuid(), os.getgid(), *[name for name in ('/', '/opt/app', '/tmp', '/var/tmp')"
        " if os.access(name, os.W_OK)])"
    )
    assert done.stdout.split() == ["10001", "10001"], done.stderr
    assert (scratch / "mine").stat().st_uid == 10001


def test_the_folder_of_numba_can_be_written(python: Run) -> None:
    program = (
        "import os, pathlib; folder = pathlib.Path(os.environ['NUMBA_CACHE_DIR']);"
        "folder.mkdir(); (folder / 'index').write_text('')"
    )
    done = python(program)
    assert done.returncode == 0, done.stderr


def test_packages_for_building_and_testing_are_left_out(python: Run) -> None:
    done = python(
        f"import importlib.util as util; print([n for n in {LEFT_OUT!r} if util.find_spec(n)])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_s2cloudless_gives_the_same_result_as_on_this_machine(python: Run) -> None:
    done = python(S2CLOUDLESS)
    assert done.returncode == 0, done.stderr
    here = call([sys.executable, "-W", "ignore", "-c", S2CLOUDLESS])
    np.testing.assert_allclose(json.loads(done.stdout), json.loads(here.stdout), atol=2e-6)


def test_every_library_that_a_module_needs_is_present(python: Run) -> None:
    done = python(LIBRARIES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_only_the_loopback_is_in_reach(python: Run) -> None:
    done = python("import socket; print([name for _, name in socket.if_nameindex()])")
    assert done.stdout.strip() == "['lo']", done.stderr


def test_a_job_over_its_memory_is_killed(python: Run) -> None:
    done = python("bytearray(400 << 20)", options=["--memory=200m", "--memory-swap=200m"])
    assert done.returncode == 137


def test_a_gather_makes_the_same_pixels_as_on_this_machine(
    task: GatherTask, world: World, s3: S3Server, batch_image: str, scratch: Path
) -> None:
    document = task.model_dump_json(by_alias=True)
    here = world.folder / "task.json"
    here.write_text(document)
    program = str(Path(sys.executable).with_name("cloudbuster"))
    local = call([program, "gather", "--task", str(here)])
    assert local.returncode == 0, local.stderr

    remote = document.replace(f"{world.folder}/", f"s3://{BUCKET}/{world.folder.name}/")
    s3.put(BUCKET, "tasks/1.json", remote.encode())
    done = call(
        command(
            batch_image,
            ["gather", "--task", f"s3://{BUCKET}/tasks/1.json"],
            writable={"/scratch": scratch},
            environment={**AWS, **JOB, "AWS_ENDPOINT_URL": s3.behind},
        )
    )
    assert done.returncode == 0, done.stderr
    (made,) = done.stdout.split()
    assert made.startswith(f"s3://{BUCKET}/")
    (expected,) = local.stdout.split()
    content = stored(s3, made.removeprefix(f"s3://{BUCKET}/"))
    with rasterio.open(expected) as wanted, rasterio.MemoryFile(content).open() as found:
        assert found.profile == wanted.profile
        assert found.read().any()
        np.testing.assert_array_equal(found.read(), wanted.read())
    assert [path.name for path in scratch.iterdir()] == []


def test_a_task_that_does_not_exist_is_one_clear_line(
    s3: S3Server, batch_image: str, scratch: Path
) -> None:
    words = ["gather", "--task", f"s3://{BUCKET}/tasks/none.json"]
    environment = {**AWS, **JOB, "AWS_ENDPOINT_URL": s3.behind}
    done = call(
        command(batch_image, words, writable={"/scratch": scratch}, environment=environment)
    )
    assert done.returncode == ExitCode.BAD_INPUT
    assert "Traceback" not in done.stderr
    assert "none.json" in done.stderr.splitlines()[-1]
