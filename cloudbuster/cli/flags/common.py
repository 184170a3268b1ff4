"""Options of several commands that are no field of the request."""

import os

import click

from cloudbuster.cli.flags.kinds import ExpertOption

format_option = click.option(
    "--format",
    "style",
    type=click.Choice(["stac", "original"]),
    default="stac",
    show_default=True,
    help="Write a STAC ItemCollection, or what the original wrote.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one for each CPU",
    help="Processes to work with.",
)
tmp_option = click.option(
    "--tmp", cls=ExpertOption, help="Folder for temporary files.  [default: the system's]"
)
dryrun_option = click.option(
    "--dryrun/--no-dryrun", default=False, help="Print what would be done, and do nothing."
)
stack_option = click.option(
    "--stack", default="CloudBuster", show_default=True, help="Name of the deployed stack."
)
json_option = click.option(
    "--json/--no-json", "as_json", default=False, help="Print the result as JSON."
)
jobqueue_option = click.option("--jobqueue", required=True, help="Name or ARN of the Batch queue.")
jobdef_option = click.option("--jobdef", required=True, help="Name or ARN of the job definition.")
container_tmp_option = click.option(
    "--tmp",
    cls=ExpertOption,
    help="Folder for temporary files in the container.  [default: the definition's]",
)
