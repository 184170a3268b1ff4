"""``cloudbuster submit``."""

import click

from cloudbuster.cli.flags.common import stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import note, show


@click.command(cls=Command, short_help="Start a run on the deployed stack.")
@click.argument("request_file", metavar="REQUEST.json")
@click.option(
    "--wait/--no-wait",
    default=False,
    help="Wait until the run ends, print its outcome, and exit with its code.",
)
@stack_option
def submit(*, request_file: str, wait: bool, stack: str) -> None:
    """Start a run on the deployed stack, unless the same request runs or has succeeded.

    Examples
    --------
    $ cloudbuster submit request.json --wait
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.submit import submit_request, wait_for
    from cloudbuster.cli.inputs import json_text

    submitted = submit_request(
        request_file,
        DeployedStack.find(stack),
        on_warning=lambda text: note(f"warning: {text}"),
    )
    if not wait:
        show(json_text(submitted))
        return
    ended = wait_for(submitted.execution)
    show(json_text(ended.outcome))
    if ended.error is not None:
        raise ended.error
