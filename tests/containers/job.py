"""A stand-in for ``cloudbuster`` in jobs of the loopback AWS: runs it in a real container.

Call ``python -m tests.containers.job IMAGE RECORD WORDS...`` in the folder that is the host's
/scratch, with the environment of the job. It appends a line with the words to the file ``RECORD``.
"""

import json
import os
import sys
from pathlib import Path

from tests.containers.podman import command

# Variables of the programs here; a container has its own.
NOT_OF_THE_JOB = ("CONTAINERS_CONF", "HOME", "OLDPWD", "PATH", "PWD", "PYTHONPATH", "SHLVL", "_")


def main(image: str, record: Path, words: list[str]) -> None:
    """Replace this process by the container."""
    here = Path.cwd()
    here.chmod(0o1777)
    environment = {
        name: value.replace(str(here), "/scratch")
        for name, value in os.environ.items()
        if name not in NOT_OF_THE_JOB
    }
    with record.open("a") as file:
        file.write(f"{json.dumps(words)}\n")
    podman = command(image, words, writable={"/scratch": here}, environment=environment)
    os.execvp(podman[0], podman)  # noqa: S606 -- signals must reach the container


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
