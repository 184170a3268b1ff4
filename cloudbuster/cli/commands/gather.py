"""``cloudbuster gather``."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from cloudbuster.cli.flags.common import dryrun_option, tmp_option, workers_option
from cloudbuster.cli.flags.detector import DetectorFlags, detector_options
from cloudbuster.cli.flags.gather import GatherFlags, gather_options
from cloudbuster.cli.flags.kinds import ExpertOption
from cloudbuster.cli.flags.query import KINDS, Kind
from cloudbuster.cli.parsing import Command, needed
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show

if TYPE_CHECKING:
    from cloudbuster.models import GatherTask, SceneRecord


@click.command(cls=Command, short_help="Remove the clouds of selected scenes.")
@click.option("--response", help="Result of filter; - reads stdin.")
@click.option("--name", help="Base of the file names.")
@click.option("--output-path", help="Folder or s3:// prefix to write to.")
@click.option("--index", type=int, help="Gather the scene of this index alone.")
@workers_option
@dryrun_option
@gather_options
@detector_options
@click.option(
    "--kind", type=KINDS, cls=ExpertOption, help="Level of the scenes.  [default: the response's]"
)
@click.option(
    "--task", cls=ExpertOption, help="Task document, which takes the place of every other option."
)
@tmp_option
def gather(
    *,
    response: str | None,
    name: str | None,
    output_path: str | None,
    index: int | None,
    workers: int,
    dryrun: bool,
    gather_flags: GatherFlags,
    detector_flags: DetectorFlags,
    kind: Kind | None,
    task: str | None,
    tmp: str | None,
) -> None:
    r"""Find and remove the clouds of selected scenes, and put them on the grid of the mosaic.

    Prints the files that are there then, one a line.

    Examples
    --------
    $ cloudbuster gather --response selection.json --name denver --output-path scenes/ \
          --bands B04,B03,B02,B08
    """
    from cloudbuster.cli.inputs import checked_name, json_text, read_input, read_selection, use_tmp
    from cloudbuster.detectors import check_detector
    from cloudbuster.inputs.request_files import make_options
    from cloudbuster.models import GatherOptions, GatherTask, QueryOptions
    from cloudbuster.runs.tasks import plan_tasks, tasks_of_index
    from cloudbuster.storage.files.documents import read_document

    use_tmp(tmp)
    if task:
        tasks = [read_document(task, GatherTask)]
    else:
        source, name = needed(response, "--response"), checked_name(needed(name, "--name"))
        output = needed(output_path, "--output-path").rstrip("/")
        options = make_options(GatherOptions, gather_flags.fields(detector_flags))
        level = QueryOptions().kind
        selection = read_selection(read_input(source), source=source, kind=kind, default=level)
        if not dryrun:
            check_detector(options.detector, selection.cloudbuster.kind)
        tasks = plan_tasks(selection, name=name, options=options, output=output)
    if index is not None:
        tasks = tasks_of_index(tasks, index)
    if dryrun:
        show(json_text(tasks))
        return
    records = _gathered(tasks, task, workers)
    show("\n".join(f"{tasks[0].output}/{record.raster}" for record in records))


def _gathered(
    tasks: "list[GatherTask]", task_uri: str | None, workers: int
) -> "tuple[SceneRecord, ...]":
    """Gather scenes, or as a job of the stack copy what an earlier execution has gathered."""
    from cloudbuster.gather import gather_or_raise
    from cloudbuster.models import LimitOptions
    from cloudbuster.runs.refresh import adopt_task
    from cloudbuster.runs.task_jobs import TaskJob

    with TaskJob(task_uri) if task_uri else nullcontext(), progress() as on_event:
        known = adopt_task(tasks[0], task_uri) if task_uri else ()
        return known or gather_or_raise(
            tasks,
            workers=workers,
            min_success_fraction=LimitOptions().min_success_fraction,
            on_event=on_event,
        )
