"""``cloudbuster status``."""

import click

from cloudbuster.cli.flags.common import stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Show where a run on the deployed stack is.")
@click.argument("run", metavar="RUN|EXECUTION")
@click.option(
    "--watch/--no-watch",
    default=False,
    help="Draw one line a stage on stderr until the run ends, and exit with its code.",
)
@stack_option
def status(*, run: str, watch: bool, stack: str) -> None:
    """Show where a run on the deployed stack is, as JSON.

    Examples
    --------
    $ cloudbuster status denver-2020-0123456789abcdef

    $ cloudbuster status denver-2020-0123456789abcdef --watch
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.status import run_status
    from cloudbuster.aws.client.watch import watch_run
    from cloudbuster.cli.inputs import json_text

    deployed = DeployedStack.find(stack)
    if not watch:
        show(json_text(run_status(run, deployed)))
        return
    with progress() as on_event:
        ended = watch_run(run, deployed, on_event)
    show(json_text(run_status(run, deployed)))
    if ended.error is not None:
        raise ended.error
