"""Jobs submitted by hand, to any Batch queue and with any job definition of this package's image.

The command of the definition is ``gather --task Ref::task_uri`` or ``merge --task Ref::task_uri``,
like that of the stack's own: a task document describes the work, and the job gets its URI.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cloudbuster.errors import CloudBusterError, RequestError
from cloudbuster.models import Document, GatherTask, MergeTask
from cloudbuster.storage.files.run_layout import slug
from cloudbuster.storage.files.uri import join, scheme_of, write_bytes
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubmitTarget:
    """Where jobs are submitted.

    Attributes
    ----------
    queue, definition : str
        Names or ARNs; that of the definition with or without its revision.
    tmp : str or None
        Folder for temporary files in the container; None for the definition's own.
    """

    queue: str
    definition: str
    tmp: str | None = None


@dataclass(frozen=True)
class Submission:
    """One job: its task document, and the arguments of ``SubmitJob``.

    Attributes
    ----------
    document : Document
        Task, which is written to ``uri`` before the job is submitted.
    uri : str
        URI of the task.
    arguments : dict
        Arguments of boto3's ``submit_job``.
    """

    document: Document
    uri: str
    arguments: dict[str, Any]


def gather_submissions(
    tasks: Sequence[GatherTask], output_path: str, target: SubmitTarget
) -> list[Submission]:
    """Make one job for each scene.

    Parameters
    ----------
    tasks : sequence of GatherTask
        Tasks as `cloudbuster.runs.tasks.plan_tasks` makes them.
    output_path : str
        Folder or prefix of the scenes. The task documents go to ``tasks/`` in it and are named
        after the scenes, so that another gather into the same folder does not replace them.
    target : SubmitTarget
        Queue and definition.
    """
    submissions = []
    for task in tasks:
        number = f"{task.index or task.backstop_index:02d}"
        uri = join(output_path, "tasks", f"{task.name}-{number}.json")
        job = f"{slug(task.name)}-gather-{number}"
        submissions.append(Submission(task, uri, _arguments(job, uri, target)))
    return submissions


def merge_submission(
    name: str, input_path: str, output_path: str, target: SubmitTarget
) -> Submission:
    """Make the job that merges the scenes of ``name``.

    Parameters
    ----------
    name : str
        Base of the file names.
    input_path, output_path : str
        Folders or prefixes of the scenes and of the products; task and result go to ``tasks/`` in
        the latter.
    target : SubmitTarget
        Queue and definition.
    """
    uri = join(output_path, "tasks", f"{name}-merge.json")
    task = MergeTask(
        name=name,
        scenes=input_path.rstrip("/"),
        output=output_path.rstrip("/"),
        result=join(output_path, "tasks", f"{name}-products.json"),
    )
    return Submission(task, uri, _arguments(f"{slug(name)}-merge", uri, target))


def _arguments(job: str, task_uri: str, target: SubmitTarget) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "jobName": job,
        "jobQueue": target.queue,
        "jobDefinition": target.definition,
        "parameters": {"task_uri": task_uri},
    }
    if target.tmp is not None:
        # The temporary files of Python and of GDAL, as --tmp of gather and merge sets them.
        environment = [{"name": name, "value": target.tmp} for name in ("TMPDIR", "CPL_TMPDIR")]
        arguments["containerOverrides"] = {"environment": environment}
    return arguments


def submit_jobs(submissions: Sequence[Submission]) -> list[str]:
    """Write the task documents, then submit the jobs.

    Returns
    -------
    list of str
        Ids of the jobs, in the order of the submissions.

    Raises
    ------
    RequestError
        If a document would lie on this machine, where no job can read it.
    BadInputError
        If the queue or the definition does not exist, or may not be used; the message names the
        jobs that were submitted before.
    TryAgainError
        If Batch is throttled, broken or out of reach; the message names the jobs that were
        submitted before.
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
            with translate_boto_errors(
                f"submit {arguments['jobName']} to {arguments['jobQueue']}",
                hint="check --jobqueue and --jobdef, and the region",
            ):
                ids.append(aws_client("batch").submit_job(**arguments)["jobId"])
        except CloudBusterError as error:
            if not ids:
                raise
            msg = f"{error}; {len(ids)} of {len(submissions)} were submitted: {', '.join(ids)}"
            raise type(error)(msg) from error
        logger.info("job_submitted", extra={"job": arguments["jobName"], "id": ids[-1]})
    return ids
