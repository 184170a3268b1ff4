"""``cloudbuster cancel``."""

import click

from cloudbuster.cli.flags.common import json_option, stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Stop a run on the deployed stack.")
@click.argument("run", metavar="RUN|EXECUTION")
@json_option
@stack_option
def cancel(*, run: str, as_json: bool, stack: str) -> None:
    """Stop a run on the deployed stack, and wait until none of its jobs is left.

    Examples
    --------
    $ cloudbuster cancel denver-2020-0123456789abcdef
    """
    from cloudbuster.aws.client.cancel import cancel_run
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.cli.inputs import json_text

    cancelled = cancel_run(run, DeployedStack.find(stack))
    lines = [
        *(f"stopped execution {name}" for name in cancelled.stopped),
        *(f"terminated job {name}" for name in cancelled.terminated),
    ]
    text = "\n".join(lines) or f"{cancelled.run_id} was not running"
    show(json_text(cancelled) if as_json else text)
