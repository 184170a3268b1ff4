"""Stop a run on the deployed stack, and all of its jobs."""

import time
from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.status import newest_execution
from cloudbuster.aws.executions import execution_arn, run_of, run_of_job
from cloudbuster.aws.starting import RunStarter
from cloudbuster.errors import BadInputError, TryAgainError
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# Error and cause of the execution, as `cloudbuster status` shows them.
ERROR, CAUSE = "Cancelled", "by cloudbuster cancel"
# Seconds between two looks at the jobs, and until they must have ended: a container has 30 seconds
# after SIGTERM, a host that starts takes minutes.
POLL_S, WAIT_S = 3, 300
# Looks in a row without an active job: a submission that was under way when the execution was
# stopped shows its job some time later.
QUIET_LOOKS = 2
ENDED = frozenset({"SUCCEEDED", "FAILED"})


@dataclass(frozen=True)
class CancelledRun:
    """What was stopped of a run.

    Attributes
    ----------
    run_id : str
        Id of the run.
    stopped : list of str
        Names of the executions that were running.
    terminated : list of str
        Names of the jobs that had not ended.
    """

    run_id: str
    stopped: list[str]
    terminated: list[str]


def cancel_run(name: str, stack: DeployedStack) -> CancelledRun:
    """Stop a run, and return when none of its jobs is left.

    Parameters
    ----------
    name, stack : str, DeployedStack
        Id of a run, or name or ARN of one of its executions, in this stack.

    Raises
    ------
    NotFoundError
        If there is no such run.
    BadInputError
        If a named execution has ended, and another one of its run is running.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If jobs have not ended after `WAIT_S`, or a service is throttled, broken or out of reach.
    """
    short = name.rpartition(":")[2]
    newest = newest_execution(short, stack)
    run = run_of(short)
    running = {each for each in RunStarter(stack.machine_arn).running() if run_of(each) == run}
    if newest["status"] == "RUNNING":
        # The list of executions shows a start some seconds later.
        running.add(str(newest["name"]))
    if running and short not in {run, *running}:
        msg = f"{short} has ended, {min(running)} of the same run is running; cancel {run}"
        raise BadInputError(msg)
    for execution in sorted(running):
        with translate_boto_errors(f"stop {execution}", permission="states:StopExecution"):
            aws_client("stepfunctions").stop_execution(
                executionArn=execution_arn(stack.machine_arn, execution), error=ERROR, cause=CAUSE
            )
    return CancelledRun(run, sorted(running), _end_jobs(run, stack))


def _end_jobs(run: str, stack: DeployedStack) -> list[str]:
    """Terminate the jobs of a run until none is left; return the names of those that were."""
    terminated: dict[str, str] = {}
    quiet = 0
    deadline = time.monotonic() + WAIT_S
    while True:
        active = _active_jobs(run, stack)
        for job in active:
            if job["jobId"] not in terminated:
                _terminate(job)
                terminated[job["jobId"]] = str(job["jobName"])
        quiet = 0 if active else quiet + 1
        if quiet == QUIET_LOOKS:
            return sorted(terminated.values())
        if time.monotonic() > deadline:
            names = ", ".join(sorted(str(job["jobName"]) for job in active)) or "none in sight"
            msg = f"jobs of {run} have not ended after {WAIT_S} s: {names}; cancel it again"
            raise TryAgainError(msg)
        time.sleep(POLL_S)


def _active_jobs(run: str, stack: DeployedStack) -> list[dict[str, Any]]:
    """List the jobs of a run that have not ended, in all queues."""
    # A filter by name finds jobs in every state, without regard to case.
    named = [{"name": "JOB_NAME", "values": [f"{run}-*"]}]
    with translate_boto_errors(f"list the jobs of {run}", permission="batch:ListJobs"):
        pages = aws_client("batch").get_paginator("list_jobs")
        return [
            job
            for queue in stack.queue_arns
            for page in pages.paginate(jobQueue=queue, filters=named)
            for job in page["jobSummaryList"]
            if job["status"] not in ENDED and run_of_job(job["jobName"]) == run
        ]


def _terminate(job: dict[str, Any]) -> None:
    with translate_boto_errors(f"terminate {job['jobName']}", permission="batch:TerminateJob"):
        aws_client("batch").terminate_job(jobId=job["jobId"], reason=f"{ERROR} {CAUSE}")
