"""``cloudbuster doctor``."""

from pathlib import Path

import click

from cloudbuster.cli.flags.common import stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Check whether the deployed stack is sound.")
@stack_option
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration file that the stack should have been deployed with.",
)
def doctor(*, stack: str, config: Path | None) -> None:
    """Check whether the deployed stack is as it should be, and exit with 5 if it is not.

    Examples
    --------
    $ cloudbuster doctor --stack CloudBuster

    $ cloudbuster doctor --config prod.json
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.doctor import examine, read_config
    from cloudbuster.errors import BadInputError

    given = None if config is None else read_config(config)
    findings = examine(DeployedStack.find(stack), config=given)
    show(
        "\n".join(
            f"[{'x' if finding.ok else ' '}] {finding.what}: {finding.detail}"
            for finding in findings
        )
    )
    wrong = [finding.what for finding in findings if not finding.ok]
    if wrong:
        msg = f"{len(wrong)} of {len(findings)} are not as they should be: {', '.join(wrong)}"
        raise BadInputError(msg)
