"""The process in which a target is executed many times."""

import logging
import resource
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.fuzz.execution import MAX_GROWTH_BYTES, finding
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

FINDINGS = Path("build/fuzz")
# The address space of a process: what it has at its start, and room to notice what takes too much.
ROOM_BYTES = 4 * MAX_GROWTH_BYTES
# Findings of one target after which it is left.
MAX_FINDINGS = 200


def execute(name: str, seeds: range, done: "Synchronized[int]", found: "Synchronized[int]") -> None:
    """Execute a target for each seed in this process, up to a finding that takes memory."""
    target = TARGETS[name]
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        valid = target.samples(folder)
        for content in valid:
            target.run(content, folder)
        _limit_memory()
        for seed in seeds:
            done.value = seed
            content = mutated(valid, seed)
            problem = finding(target, content, folder)
            if problem is not None:
                found.value += 1
                FINDINGS.mkdir(parents=True, exist_ok=True)
                (FINDINGS / f"{name}-{seed}.bin").write_bytes(content)
                click.echo(f"{name} {seed}: {problem}")
                if found.value >= MAX_FINDINGS or problem.startswith("memory"):
                    break
        done.value = seed + 1


def _limit_memory() -> None:
    """Let the process take `ROOM_BYTES` more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
