"""``cloudbuster meta-merge``."""

import click

from cloudbuster.cli.flags.common import (
    container_tmp_option,
    dryrun_option,
    jobdef_option,
    jobqueue_option,
)
from cloudbuster.cli.flags.kinds import ExpertOption
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import note, show


@click.command(
    cls=Command, name="meta-merge", short_help="Submit a Batch job that merges gathered scenes."
)
@jobqueue_option
@jobdef_option
@click.option("--input-path", required=True, help="s3:// prefix of the gathered scenes.")
@click.option("--output-path", required=True, help="s3:// prefix that the job writes to.")
@click.option("--name", required=True, help="Base of the file names.")
@dryrun_option
@container_tmp_option
@click.option("--merge", cls=ExpertOption, help="Not executed: the image carries the code.")
def meta_merge(
    *,
    jobqueue: str,
    jobdef: str,
    input_path: str,
    output_path: str,
    name: str,
    dryrun: bool,
    tmp: str | None,
    merge: str | None,
) -> None:
    r"""Submit one Batch job that merges gathered scenes, to any queue and job definition.

    Prints the id of the job; with --dryrun, what would be submitted.

    Examples
    --------
    $ cloudbuster meta-merge --jobqueue my-queue --jobdef my-merge:7 --name denver \
          --input-path s3://my-bucket/scenes/ --output-path s3://my-bucket/mosaic/
    """
    from cloudbuster.aws.client.jobs import SubmitTarget, merge_submission, submit_jobs
    from cloudbuster.cli.inputs import checked_name, json_text

    if merge:
        note(f"meta-merge: --merge {merge} is not executed: the image carries the code")
    place = SubmitTarget(queue=jobqueue, definition=jobdef, tmp=tmp)
    submission = merge_submission(checked_name(name), input_path, output_path, place)
    show(json_text([submission.arguments] if dryrun else submit_jobs([submission])))
