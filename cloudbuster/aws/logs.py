"""What a job of a run has said."""

from typing import Any

from cloudbuster.aws.client import client, told
from cloudbuster.aws.deployed import DeployedStack
from cloudbuster.aws.status import run_of
from cloudbuster.errors import BadInputError

# Outputs of the stack that name its queues: the second tries go to the latter.
QUEUES = ("QueueArn", "OnDemandQueueArn")


def job_log(run: str, stack: DeployedStack, *, scene: int | None = None) -> list[str]:
    """Read the log of a job's last attempt.

    Parameters
    ----------
    run : str
        Id of a run, or name or ARN of one of its executions.
    stack : DeployedStack
        Where it runs.
    scene : int, optional
        Number of the scene's task; None for the merge.

    Returns
    -------
    list of str
        Lines, oldest first.

    Raises
    ------
    BadInputError
        Where there is no such job, or it has not said anything.
    """
    name = f"{run_of(run)}-{'merge' if scene is None else f'gather-{scene}'}"
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
        for queue in QUEUES
        for job in batch.list_jobs(jobQueue=stack.outputs[queue], filters=named)["jobSummaryList"]
    ]
    if not jobs:
        msg = f"no job {name}; Batch forgets jobs after a week, and scenes count from 1"
        raise BadInputError(msg)
    newest = max(jobs, key=lambda job: int(job["createdAt"]))
    found: dict[str, Any] = batch.describe_jobs(jobs=[newest["jobId"]])["jobs"][0]
    return found
