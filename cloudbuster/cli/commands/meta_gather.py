"""``cloudbuster meta-gather``."""

import click

from cloudbuster.cli.flags.common import (
    container_tmp_option,
    dryrun_option,
    jobdef_option,
    jobqueue_option,
)
from cloudbuster.cli.flags.detector import DetectorFlags, detector_options
from cloudbuster.cli.flags.gather import GatherFlags, gather_options
from cloudbuster.cli.flags.kinds import ExpertOption
from cloudbuster.cli.flags.query import KINDS, Kind
from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import note, show

# Level of a response that does not say it: the original's default for this command.
DEFAULT_KIND: Kind = "L1C"


@click.command(
    cls=Command, name="meta-gather", short_help="Submit a Batch job for each selected scene."
)
@jobqueue_option
@jobdef_option
@click.option("--response", required=True, help="Result of filter; - reads stdin.")
@click.option("--name", required=True, help="Base of the file names.")
@click.option("--output-path", required=True, help="s3:// prefix that the jobs write to.")
@dryrun_option
@gather_options
@detector_options
@click.option(
    "--kind",
    type=KINDS,
    cls=ExpertOption,
    help=f"Level of the scenes.  [default: the response's; {DEFAULT_KIND} where it does not say]",
)
@container_tmp_option
@click.option("--gather", cls=ExpertOption, help="Not executed: the image carries the code.")
def meta_gather(
    *,
    jobqueue: str,
    jobdef: str,
    response: str,
    name: str,
    output_path: str,
    dryrun: bool,
    gather_flags: GatherFlags,
    detector_flags: DetectorFlags,
    kind: Kind | None,
    tmp: str | None,
    gather: str | None,
) -> None:
    r"""Submit one Batch job for each selected scene, to any queue and job definition.

    Prints the ids of the jobs; with --dryrun, what would be submitted.

    Examples
    --------
    $ cloudbuster meta-gather --jobqueue my-queue --jobdef my-gather:33 --name denver \
          --response selection.json --output-path s3://my-bucket/scenes/
    """
    from cloudbuster.aws.client.jobs import SubmitTarget, gather_submissions, submit_jobs
    from cloudbuster.cli.inputs import checked_name, json_text, read_input, read_selection
    from cloudbuster.inputs.request_files import make_options
    from cloudbuster.models import GatherOptions
    from cloudbuster.original.documents import is_original_selection
    from cloudbuster.runs.tasks import plan_tasks
    from cloudbuster.storage.files.documents import parse_json

    if gather:
        note(f"meta-gather: --gather {gather} is not executed: the image carries the code")
    name = checked_name(name)
    options = make_options(GatherOptions, gather_flags.fields(detector_flags))
    content = read_input(response)
    selection = read_selection(content, source=response, kind=kind, default=DEFAULT_KIND)
    if kind is None:
        is_silent = is_original_selection(parse_json(content, source=response))
        why = "the default" if is_silent else "as in the response"
        note(f"meta-gather: --kind is {selection.cloudbuster.kind}, {why}")
    tasks = plan_tasks(selection, name=name, options=options, output=output_path.rstrip("/"))
    place = SubmitTarget(queue=jobqueue, definition=jobdef, tmp=tmp)
    submissions = gather_submissions(tasks, output_path, place)
    if dryrun:
        show(json_text([submission.arguments for submission in submissions]))
    else:
        show(json_text(submit_jobs(submissions)))
