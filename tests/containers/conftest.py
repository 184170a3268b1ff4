"""The real images, in a network that has only a loopback.

``make e2e-containers`` builds them, unshares the network and sets `IMAGES_VARIABLE` to the prefix
of their names. Without the variable no test of this folder is collected, so that `make test`
neither runs nor counts them.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.containers.podman import AWS
from tests.e2e.worlds import World, small_world
from tests.s3_server import S3Server, serving_s3

IMAGES_VARIABLE = "CLOUDBUSTER_IMAGES"
BUCKET = "world"

collect_ignore_glob = [] if os.environ.get(IMAGES_VARIABLE) else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _offline() -> None:
    """Check that only the loopback is in reach, since containers share this network."""
    interfaces = {name for _, name in socket.if_nameindex()}
    if interfaces != {"lo"}:
        pytest.fail(f"a network without {sorted(interfaces - {'lo'})} is needed", pytrace=False)


@pytest.fixture(scope="session")
def batch_image() -> str:
    return f"{os.environ[IMAGES_VARIABLE]}/batch:local"


@pytest.fixture(scope="session")
def lambda_image() -> str:
    return f"{os.environ[IMAGES_VARIABLE]}/lambda:local"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with serving_s3() as server:
        yield server


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> World:
    """Three small scenes, on disk and in the bucket ``world`` under the name of the folder."""
    folder = tmp_path_factory.mktemp("world") / "small"
    world = small_world(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            s3.put(BUCKET, f"{folder.name}/{path.relative_to(folder)}", path.read_bytes())
    return world


def stored(server: S3Server, key: str) -> bytes:
    """Content of an object that a container has written."""
    client = boto3.client(
        "s3",
        endpoint_url=server.behind,
        region_name=AWS["AWS_REGION"],
        aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
    )
    content: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return content


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The /scratch of a host."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder
