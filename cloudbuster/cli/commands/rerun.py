"""``cloudbuster rerun``."""

from datetime import UTC, datetime

import click

from cloudbuster.cli.flags.common import json_option, stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


def _time(_ctx: click.Context, _option: click.Parameter, text: str) -> datetime:
    """Read a day or a time of ISO 8601; UTC without an offset."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{text} is no time; give 2026-06-20, or 2026-06-20T06:00"
        raise click.BadParameter(msg) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@click.command(cls=Command, short_help="Start all failed runs on the stack again.")
@click.option(
    "--since",
    metavar="TIME",
    callback=_time,
    required=True,
    help="Day or time, ISO 8601, in UTC unless it has an offset.",
)
@click.option("--dryrun/--no-dryrun", default=False, help="List the runs, and start none.")
@json_option
@stack_option
def rerun(*, since: datetime, dryrun: bool, as_json: bool, stack: str) -> None:
    """Start all runs on the deployed stack again that failed since a time.

    Examples
    --------
    $ cloudbuster rerun --since 2026-06-20

    $ cloudbuster rerun --since 2026-06-20T06:00+02:00 --dryrun
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.rerun import rerun_failed
    from cloudbuster.cli.inputs import json_text

    runs = rerun_failed(DeployedStack.find(stack), since, dryrun=dryrun)
    lines = [f"{run.state:9} {run.run_id} ({run.error})" for run in runs]
    text = "\n".join(lines) or f"no run has failed since {since.isoformat()}"
    show(json_text([run.to_json() for run in runs]) if as_json else text)
    refusals = [run.refusal for run in runs if run.refusal is not None]
    if refusals:
        msg = f"{len(refusals)} of {len(runs)} runs were not started: {refusals[0]}"
        raise type(refusals[0])(msg) from refusals[0]
