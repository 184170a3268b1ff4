"""``cloudbuster logs``."""

import click

from cloudbuster.cli.flags.common import stack_option
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Print the log of a job of a run.")
@click.argument("run", metavar="RUN|EXECUTION")
@click.option("--scene", type=click.IntRange(min=1), help="The job of this task of a scene.")
@click.option("--part", type=click.IntRange(min=1), help="The job of this part of a large mosaic.")
@click.option(
    "--survey/--no-survey", default=False, help="The job before the parts of a large mosaic."
)
@stack_option
def logs(*, run: str, scene: int | None, part: int | None, survey: bool, stack: str) -> None:
    """Print the log of a job of a run on the deployed stack: the merge, unless another is named.

    Examples
    --------
    $ cloudbuster logs denver-2020-0123456789abcdef

    $ cloudbuster logs denver-2020-0123456789abcdef --scene 7
    """
    from cloudbuster.aws.client.deployed import DeployedStack
    from cloudbuster.aws.client.logs import job_log

    named = {f"gather-{scene}": scene, f"part-{part}": part, "survey": survey}
    jobs = [job for job, is_given in named.items() if is_given] or ["merge"]
    if len(jobs) > 1:
        msg = "--scene, --part and --survey name one job each; give one of them, or none"
        raise click.UsageError(msg)
    show("\n".join(job_log(run, DeployedStack.find(stack), job=jobs[0])))
