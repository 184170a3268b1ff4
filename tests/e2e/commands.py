"""Commands of the command line against the loopback AWS, each a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.aws.settings import COMMAND_LINE_KEY
from tests.e2e.cloud import DeployedStack
from tests.e2e.worlds import World

PROGRAM = Path(sys.executable).with_name("cloudbuster")
COMMAND_S = 240


def start(stack: DeployedStack, *words: object) -> subprocess.Popen[str]:
    """Start a command with the credentials of a user of the stack."""
    return subprocess.Popen(
        [PROGRAM, *map(str, words)],
        env={
            **os.environ,
            **stack.cloud.settings.environment(),
            "AWS_ACCESS_KEY_ID": COMMAND_LINE_KEY,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a command; return its exit code, stdout and stderr."""
    out, err = command.communicate(timeout=COMMAND_S)
    return command.returncode, out, err


def output_of(stack: DeployedStack, *words: object) -> str:
    """Run a command that must succeed; return its stdout."""
    code, out, err = result_of(start(stack, *words))
    assert code == 0, err
    return out


def run_locally(world: World, folder: Path) -> dict[str, str]:
    """Run ``cloudbuster run`` on this machine; return its products."""
    request = folder / "request.json"
    request.write_text(json.dumps({**world.request, "output": str(folder / "output")}))
    done = subprocess.run(
        [PROGRAM, "run", str(request), "--json"], capture_output=True, text=True, check=True
    )
    products: dict[str, str] = json.loads(done.stdout)["products"]
    return products
