"""``cloudbuster results``."""

from pathlib import Path

import click

from cloudbuster.cli.flags.common import json_option, stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="List or download what a run on the stack has made.")
@click.argument("run", metavar="RUN|EXECUTION")
@click.option(
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Download the files into this folder.",
)
@json_option
@stack_option
def results(*, run: str, output: Path | None, as_json: bool, stack: str) -> None:
    """List the files that a run on the deployed stack has made, or download them.

    Examples
    --------
    $ cloudbuster results denver-2020-0123456789abcdef

    $ cloudbuster results denver-2020-0123456789abcdef --output denver
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.results import download_results, list_results
    from cloudbuster.cli.inputs import json_text

    files = list_results(run, DeployedStack.find(stack))
    if output is not None:
        files = download_results(files, output)
    lines = [f"{file.what:10} {file.path or file.uri}" for file in files]
    show(json_text(files) if as_json else "\n".join(lines))
