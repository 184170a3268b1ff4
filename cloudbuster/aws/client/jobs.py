"""Jobs submitted by hand: to any Batch queue, with any job definition of this package's image.

The definition's command is ``gather --task Ref::task_uri`` or ``merge --task Ref::task_uri``, as
that of the stack's own: what a job does stands in a task document, and the job is told its address.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.client.session import client, told
from cloudbuster.errors import CloudBusterError, RequestError
from cloudbuster.models import Document, GatherTask, MergeTask
from cloudbuster.storage.run_layout import slug
from cloudbuster.storage.uri import join, scheme_of, write_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where jobs go.

    Attributes
    ----------
    queue, definition : str
        Names or ARNs; of the definition with or without its revision.
    tmp : str or None
        Folder for temporary files in the container; None for the definition's own.
    """

    queue: str
    definition: str
    tmp: str | None = None


@dataclass(frozen=True)
class Submission:
    """One job: its task document, and what ``SubmitJob`` is called with.

    Attributes
    ----------
    document : Document
        Written to ``uri`` before the job is submitted.
    uri : str
        What the job is told.
    arguments : dict
        Of boto3's ``submit_job``.
    """

    document: Document
    uri: str
    arguments: dict[str, Any]


def gather_submissions(
    tasks: Sequence[GatherTask], output_path: str, place: Place
) -> list[Submission]:
    """Make one job for each scene.

    Parameters
    ----------
    tasks : sequence of GatherTask
        Of `cloudbuster.tasks.plan_tasks`.
    output_path : str
        Folder or prefix of the scenes; the task documents go to ``tasks/`` in it, named after
        the scenes, so that another gather into the same place leaves them alone.
    place : Place
        Where the jobs go.
    """
    submissions = []
    for task in tasks:
        number = f"{task.index or task.backstop_index:02d}"
        uri = join(output_path, "tasks", f"{task.name}-{number}.json")
        job = f"{slug(task.name)}-gather-{number}"
        submissions.append(Submission(task, uri, _arguments(job, uri, place)))
    return submissions


def merge_submission(name: str, input_path: str, output_path: str, place: Place) -> Submission:
    """Make the job that merges the scenes of ``name``.

    Parameters
    ----------
    name : str
        Base of the file names.
    input_path, output_path : str
        Folders or prefixes of the scenes and of the products; task and result lie in ``tasks/`` of
        the latter.
    place : Place
        Where the job goes.
    """
    uri = join(output_path, "tasks", f"{name}-merge.json")
    task = MergeTask(
        name=name,
        scenes=input_path.rstrip("/"),
        output=output_path.rstrip("/"),
        result=join(output_path, "tasks", f"{name}-products.json"),
    )
    return Submission(task, uri, _arguments(f"{slug(name)}-merge", uri, place))


def _arguments(job: str, task_uri: str, place: Place) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "jobName": job,
        "jobQueue": place.queue,
        "jobDefinition": place.definition,
        "parameters": {"task_uri": task_uri},
    }
    if place.tmp is not None:
        # As --tmp of gather and merge: Python's temporary files and GDAL's.
        environment = [{"name": name, "value": place.tmp} for name in ("TMPDIR", "CPL_TMPDIR")]
        arguments["containerOverrides"] = {"environment": environment}
    return arguments


def submit_jobs(submissions: Sequence[Submission]) -> list[str]:
    """Write the task documents, then submit the jobs.

    Returns
    -------
    list of str
        Ids of the jobs, in their order.

    Raises
    ------
    RequestError
        Where a document would lie on this machine, where no job can read it.
    BadInputError
        Where the queue or the definition does not exist, or may not be used; also which jobs were
        submitted before.
    TryAgainError
        Where Batch is throttled or out of reach; also which jobs were submitted before.
    """
    for submission in submissions:
        if scheme_of(submission.uri) != "s3":
            msg = f"{submission.uri} lies on this machine; give an s3:// prefix that jobs can reach"
            raise RequestError(msg)
    for submission in submissions:
        write_bytes(submission.uri, submission.document.to_json())
    ids: list[str] = []
    for submission in submissions:
        arguments = submission.arguments
        try:
            with told(
                f"submit {arguments['jobName']} to {arguments['jobQueue']}",
                hint="check --jobqueue and --jobdef, and the region",
            ):
                ids.append(client("batch").submit_job(**arguments)["jobId"])
        except CloudBusterError as error:
            if not ids:
                raise
            msg = f"{error}; {len(ids)} of {len(submissions)} were submitted: {', '.join(ids)}"
            raise type(error)(msg) from error
        logger.info("job_submitted", extra={"job": arguments["jobName"], "id": ids[-1]})
    return ids
