"""Logs of the jobs of a run."""

from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.executions import run_of
from cloudbuster.errors import BadInputError, NotFoundError
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors


def job_log(run: str, stack: DeployedStack, *, job: str = "merge") -> list[str]:
    """Read the log of a job's last attempt.

    Parameters
    ----------
    run : str
        Id of a run, or name or ARN of one of its executions.
    stack : DeployedStack
        Stack of the run.
    job : str
        Job of the run: ``gather-N`` for the scene of task N, ``merge``, and for a mosaic that is
        merged in parts ``survey`` and ``part-N``.

    Returns
    -------
    list of str
        Lines, oldest first.

    Raises
    ------
    NotFoundError
        If there is no such job.
    BadInputError
        If the job has not started.
    """
    name = f"{run_of(run)}-{job}"
    with translate_boto_errors(f"read the log of {name}", hint="the log may have been deleted"):
        container = _newest_job(name, stack).get("container", {})
        stream = container.get("logStreamName")
        group = container.get("logConfiguration", {}).get("options", {}).get("awslogs-group")
        if not (stream and group):
            msg = f"job {name} has no log: it has not started"
            raise BadInputError(msg)
        pages = aws_client("logs").get_paginator("filter_log_events")
        return [
            str(entry["message"])
            for page in pages.paginate(logGroupName=group, logStreamNames=[stream])
            for entry in page["events"]
        ]


def _newest_job(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Describe the job of that name that was submitted last."""
    batch = aws_client("batch")
    named = [{"name": "JOB_NAME", "values": [name]}]
    jobs = [
        job
        for queue in stack.queue_arns
        for job in batch.list_jobs(jobQueue=queue, filters=named)["jobSummaryList"]
    ]
    if not jobs:
        msg = f"no job {name}; Batch forgets jobs after a week, scenes and parts count from 1"
        raise NotFoundError(msg)
    newest = max(jobs, key=lambda job: int(job["createdAt"]))
    found: dict[str, Any] = batch.describe_jobs(jobs=[newest["jobId"]])["jobs"][0]
    return found
