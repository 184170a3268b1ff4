"""The commands that submit to AWS; `cloudbuster.cli` adds them to its group."""

from typing import Any

import click

from cloudbuster.aws import DEFAULT_STACK
from cloudbuster.options import gather_flags, switch

KIND_HELP = "Level of a response that does not tell it.  [default: L1C]"
tmp_flag = click.option(
    "--tmp", help="Folder for temporary files in the container; the definition's own by default."
)
stack_flag = click.option(
    "--stack", default=DEFAULT_STACK, show_default=True, help="Name of the deployed stack."
)


def _say(text: str) -> None:
    """Tell what a person should know, beside the result."""
    click.echo(text, err=True)


@click.command(name="meta-gather")
@click.option("--gather", help="Accepted, not executed: the image carries the code.")
@click.option("--jobqueue", required=True, help="Name or ARN of the Batch queue.")
@click.option("--jobdef", required=True, help="Name or ARN of the job definition.")
@click.option("--response", required=True, help="Result of filter; - reads stdin.")
@click.option("--name", required=True, help="Base of the file names.")
@click.option("--output-path", required=True, help="s3:// prefix that the jobs write to.")
@click.option("--kind", type=click.Choice(["L2A", "L1C"]), help=KIND_HELP)
@gather_flags
@tmp_flag
@switch("--dryrun", help_text="Print what would be submitted.")
def meta_gather(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Submit one Batch job for each selected scene, to any queue and job definition."""
    from cloudbuster import adapters_aws

    click.echo(adapters_aws.meta_gather(flags, _say))


@click.command(name="meta-merge")
@click.option("--merge", help="Accepted, not executed: the image carries the code.")
@click.option("--jobqueue", required=True, help="Name or ARN of the Batch queue.")
@click.option("--jobdef", required=True, help="Name or ARN of the job definition.")
@click.option("--input-path", required=True, help="s3:// prefix of the gathered scenes.")
@click.option("--output-path", required=True, help="s3:// prefix that the job writes to.")
@click.option("--name", required=True, help="Base of the file names.")
@tmp_flag
@switch("--dryrun", help_text="Print what would be submitted.")
def meta_merge(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Submit one Batch job that merges gathered scenes, to any queue and job definition."""
    from cloudbuster import adapters_aws

    click.echo(adapters_aws.meta_merge(flags, _say))


@click.command()
@click.argument("request_file", metavar="REQUEST.json")
@stack_flag
@click.option("--wait", is_flag=True, help="Until the run ends; print its outcome, exit with it.")
def submit(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Start a run on the deployed stack, unless the same request runs or has succeeded."""
    from cloudbuster import adapters_aws

    text, error = adapters_aws.submit(flags, _say)
    click.echo(text)
    if error is not None:
        raise error


@click.command()
@click.argument("run", metavar="RUN|EXECUTION")
@stack_flag
def status(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Say where a run on the deployed stack is."""
    from cloudbuster import adapters_aws

    click.echo(adapters_aws.status(flags))


@click.command()
@click.argument("run", metavar="RUN|EXECUTION")
@click.option("--scene", type=click.IntRange(min=1), help="Of the task of a scene; else the merge.")
@click.option("--part", type=click.IntRange(min=1), help="Of a part of a large mosaic.")
@click.option("--survey", is_flag=True, help="Of the job before the parts of a large mosaic.")
@stack_flag
def logs(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Print what a job of a run has said."""
    from cloudbuster import adapters_aws

    named = {
        f"gather-{flags['scene']}": flags.pop("scene"),
        f"part-{flags['part']}": flags.pop("part"),
        "survey": flags.pop("survey"),
    }
    jobs = [name for name, is_given in named.items() if is_given] or ["merge"]
    if len(jobs) > 1:
        msg = "--scene, --part and --survey name one job each; give one of them, or none"
        raise click.UsageError(msg)
    flags["job"] = jobs[0]
    click.echo(adapters_aws.logs(flags))


@click.command()
@stack_flag
def doctor(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Say whether the deployed stack is as it should be."""
    from cloudbuster import adapters_aws

    text, error = adapters_aws.doctor(flags)
    click.echo(text)
    if error is not None:
        raise error


COMMANDS = (meta_gather, meta_merge, submit, status, logs, doctor)
