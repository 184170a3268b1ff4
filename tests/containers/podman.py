"""The real images, run as Batch and Lambda run them."""

import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Options of every container; Batch provides no writable /tmp.
OPTIONS = ("--read-only", "--read-only-tmpfs=false", "--memory=2g", "--memory-swap=2g")
# The network of the tests, which has only a loopback.
NETWORK = "--network=host"
# Variables that direct a client of AWS to the loopback.
AWS = {
    "AWS_REGION": "us-west-2",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_ACCESS_KEY_ID": "loopback",
    "AWS_SECRET_ACCESS_KEY": "loopback",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Variables that the stack's job definitions set.
JOB = {"TMPDIR": "/scratch", "CPL_TMPDIR": "/scratch", "NUMBA_CACHE_DIR": "/scratch/.numba"}


def command(
    image: str,
    words: Sequence[str],
    *,
    writable: dict[str, Path] | None = None,
    environment: dict[str, str] | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Make the command line that runs a container until it ends.

    Parameters
    ----------
    image : str
        Tag of the image.
    words : sequence of str
        Arguments of the entry point.
    writable : dict of str to Path, optional
        Folders of this machine for the writable folders of the container.
    environment : dict of str to str, optional
        Variables.
    options : sequence of str
        Further options of ``podman run``, which override the others.
    """
    variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    mounts = [f"--volume={here}:{inside}" for inside, here in (writable or {}).items()]
    given = [*OPTIONS, NETWORK, *variables, *mounts, *options]
    return ["podman", "run", "--rm", *given, image, *words]


def call(words: Sequence[str], *, within_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whether it succeeds or not."""
    return subprocess.run(words, capture_output=True, text=True, timeout=within_s, check=False)


@contextmanager
def running(words: Sequence[str]) -> Iterator[Path]:
    """Run a container until the body ends; yield the file with its output."""
    name = f"cloudbuster-{uuid.uuid4().hex[:8]}"
    with tempfile.NamedTemporaryFile() as log:
        named = [*words[:2], f"--name={name}", *words[2:]]
        process = subprocess.Popen(named, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Path(log.name)
        finally:
            # The first process of a container ignores signals without a handler.
            call(["podman", "rm", "--force", "--ignore", "--time=0", name])
            process.wait(timeout=60)
