"""``cloudbuster redrive``."""

import click

from cloudbuster.cli.flags.common import json_option, stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Send lost requests back to the stack.")
@json_option
@stack_option
def redrive(*, as_json: bool, stack: str) -> None:
    """Send the requests in the dead-letter queue of the deployed stack back, to be handled again.

    Examples
    --------
    $ cloudbuster redrive --stack CloudBuster
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.redrive import redrive_requests
    from cloudbuster.cli.inputs import json_text

    redriven = redrive_requests(DeployedStack.find(stack))
    lines = [
        *(f"sent back {key}" for key in redriven.requests),
        f"{len(redriven.requests)} requests sent back, {redriven.left} other messages left",
    ]
    show(json_text(redriven) if as_json else "\n".join(lines))
