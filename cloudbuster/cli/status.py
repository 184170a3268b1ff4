"""``cloudbuster status``."""

import click

from cloudbuster.cli.options import stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Show where a run on the deployed stack is.")
@click.argument("run", metavar="RUN|EXECUTION")
@stack_option
def status(*, run: str, stack: str) -> None:
    """Show where a run on the deployed stack is, as JSON.

    Examples
    --------
    $ cloudbuster status denver-2020-0123456789abcdef
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.status import run_status
    from cloudbuster.cli.inputs import json_text

    show(json_text(run_status(run, DeployedStack.find(stack))))
