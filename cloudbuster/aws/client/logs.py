"""What a job of a run has said."""

from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.session import client, told
from cloudbuster.aws.executions import run_of
from cloudbuster.errors import BadInputError


def job_log(run: str, stack: DeployedStack, *, job: str = "merge") -> list[str]:
    """Read the log of a job's last attempt.

    Parameters
    ----------
    run : str
        Id of a run, or name or ARN of one of its executions.
    stack : DeployedStack
        Where it runs.
    job : str
        Which of its jobs: ``gather-N`` of the task of a scene, ``merge``, and of a mosaic that is
        merged in parts ``survey`` and ``part-N``.

    Returns
    -------
    list of str
        Lines, oldest first.

    Raises
    ------
    BadInputError
        Where there is no such job, or it has not said anything.
    """
    name = f"{run_of(run)}-{job}"
    with told(f"read the log of {name}", hint="the log may have been deleted"):
        container = _newest(name, stack).get("container", {})
        stream = container.get("logStreamName")
        group = container.get("logConfiguration", {}).get("options", {}).get("awslogs-group")
        if not (stream and group):
            msg = f"job {name} has no log: it has not started"
            raise BadInputError(msg)
        pages = client("logs").get_paginator("filter_log_events")
        return [
            str(entry["message"])
            for page in pages.paginate(logGroupName=group, logStreamNames=[stream])
            for entry in page["events"]
        ]


def _newest(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Describe the job of that name that was submitted last."""
    batch = client("batch")
    named = [{"name": "JOB_NAME", "values": [name]}]
    jobs = [
        job
        for queue in stack.queue_arns
        for job in batch.list_jobs(jobQueue=queue, filters=named)["jobSummaryList"]
    ]
    if not jobs:
        msg = f"no job {name}; Batch forgets jobs after a week, scenes and parts count from 1"
        raise BadInputError(msg)
    newest = max(jobs, key=lambda job: int(job["createdAt"]))
    found: dict[str, Any] = batch.describe_jobs(jobs=[newest["jobId"]])["jobs"][0]
    return found
