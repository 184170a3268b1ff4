"""Fuzz the parsers: ``python -m tests.fuzz [--executions N] [--first SEED] [TARGET ...]``.

Each target runs in a process of its own, which is started again after it dies. Findings are written
to ``build/fuzz``; the exit code is 1 if there are any.
"""

import importlib.util
import multiprocessing
import sys
from collections.abc import Sequence
from typing import Any

import click

from tests.fuzz.execution import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import MAX_FINDINGS, execute


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(TARGETS)), metavar="[TARGET]...")
@click.option("--executions", default=20_000, show_default=True, help="For each target.")
@click.option("--first", default=0, show_default=True, help="First seed.")
def main(names: Sequence[str], executions: int, first: int) -> None:
    """Fuzz the parsers, all of them or those that are named."""
    count = 0
    for name in names or TARGETS:
        target = TARGETS[name]
        if target.package and importlib.util.find_spec(target.package) is None:
            click.echo(f"{name}: left out, {target.package} is not installed")
            continue
        found = _fuzz(target, range(first, first + executions))
        click.echo(f"{name}: {found} findings in {executions} executions")
        count += found
    sys.exit(1 if count else 0)


def _fuzz(target: Target, seeds: range) -> int:
    """Execute a target for each seed; return the number of findings."""
    context: Any = multiprocessing.get_context("spawn")
    done, found = context.Value("q", seeds.start), context.Value("q", 0)
    while done.value < seeds.stop and found.value < MAX_FINDINGS:
        rest = range(done.value, seeds.stop)
        process = context.Process(target=execute, args=(target.name, rest, done, found))
        process.start()
        process.join()
        if process.exitcode:
            click.echo(f"{target.name} {done.value}: the process died of {process.exitcode}")
            done.value += 1
            found.value += 1
    return int(found.value)


if __name__ == "__main__":
    main()
