"""``cloudbuster plan``."""

from typing import TYPE_CHECKING

import click

from cloudbuster.cli.flags.common import json_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show

if TYPE_CHECKING:
    from cloudbuster.aws.run_plan import Prices
    from cloudbuster.models import MosaicRequest
    from cloudbuster.storage.files.run_layout import RunLayout


@click.command(cls=Command, short_help="Show what a run would read, decode and cost.")
@click.argument("request_file", metavar="REQUEST.json")
@click.option(
    "--max-usd",
    type=click.FloatRange(min=0, min_open=True),
    help="Plan with the most scenes whose run costs at most this, US dollars.",
)
@click.option(
    "--stack",
    help="Name of a deployed stack, whose prices and documents are used.  [default: none]",
)
@click.option(
    "--region", help="Region of the prices without a stack.  [default: that of the scenes]"
)
@json_option
def plan(
    *,
    request_file: str,
    max_usd: float | None,
    stack: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Show what the run of a request would read, decode and cost on a stack, and write nothing.

    Searches the catalog and reads thumbnails, or takes candidates and selection from the folder
    where the same request ran before. The table at the end shows what fewer scenes would cost.

    Examples
    --------
    $ cloudbuster plan request.json

    $ cloudbuster plan request.json --max-usd 2 --json

    $ cloudbuster plan request.json --stack CloudBuster
    """
    if stack and region:
        msg = "Give --stack or --region: a stack has a region"
        raise click.UsageError(msg)
    from cloudbuster.aws.run_plan import plan_lines, plan_request
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.inputs.request_files import load_request

    request = load_request(request_file)
    prices, layout = _on_stack(request_file, stack) if stack else _here(request, region)
    with progress() as on_event:
        planned = plan_request(request, prices, layout, max_usd=max_usd, on_event=on_event)
    show(json_text(planned) if as_json else "\n".join(plan_lines(planned)))


def _on_stack(request_file: str, name: str) -> "tuple[Prices, RunLayout | None]":
    """Prices of a stack, and where it would keep the run."""
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.submit import admitted_request
    from cloudbuster.aws.run_plan import Prices
    from cloudbuster.storage.files.run_layout import RunLayout

    found = DeployedStack.find(name)
    settings = found.settings()
    admitted, _ = admitted_request(request_file, settings)
    return Prices(settings, found.region), RunLayout.in_bucket(admitted, settings.root)


def _here(request: "MosaicRequest", region: str | None) -> "tuple[Prices, RunLayout | None]":
    """Prices of a stack with all defaults, and the folder of an earlier run of the request."""
    from cloudbuster.aws.bill import default_settings
    from cloudbuster.aws.costs import HOMES
    from cloudbuster.aws.run_plan import Prices
    from cloudbuster.runs.run_status import layout_of_earlier

    place = region or HOMES[request.query.kind]
    return Prices(default_settings(place), place), layout_of_earlier(request)
