"""Start all runs on the deployed stack again that failed since a time."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cloudbuster.aws.admission import admit
from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.status import PAGE_SIZE, describe_execution
from cloudbuster.aws.executions import execution_arn, run_of
from cloudbuster.aws.failures import failure_of_execution
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.starting import RunStarter
from cloudbuster.errors import CloudBusterError
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# The state machine ends an execution after two days, and executions are listed by their start.
LONGEST = timedelta(days=3)
FAILED = frozenset({"FAILED", "TIMED_OUT"})


@dataclass(frozen=True)
class RerunRun:
    """A run that failed, and what became of it.

    Attributes
    ----------
    run_id : str
        Id of the run.
    failed : str
        Name of the execution that failed.
    error : str
        Name of its error.
    state : str
        ``failed`` for a run that was not to be started; ``started``; ``running`` or ``succeeded``
        if somebody else has started it meanwhile; ``refused``.
    execution : str or None
        ARN of the execution that was started or found.
    refusal : CloudBusterError or None
        Why the run could not be started.
    """

    run_id: str
    failed: str
    error: str
    state: str
    execution: str | None = None
    refusal: CloudBusterError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        reason = None if self.refusal is None else f"{type(self.refusal).__name__}: {self.refusal}"
        return {**vars(self), "refusal": reason}


def rerun_failed(stack: DeployedStack, since: datetime, *, dryrun: bool = False) -> list[RerunRun]:
    """Start all runs again whose last execution failed since a time.

    Parameters
    ----------
    stack : DeployedStack
        Stack of the runs.
    since : datetime
        Time with a zone; executions that ended earlier are left alone.
    dryrun : bool
        Whether only to list the runs.

    Returns
    -------
    list of RerunRun
        The runs, the one that started first before the others. A run that cannot be started does
        not keep the others from being started.

    Raises
    ------
    BadInputError
        If the stack publishes no settings of this version.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If a service is throttled, broken or out of reach.
    """
    last: dict[str, dict[str, Any]] = {}
    for execution in _executions(stack, since - LONGEST):
        # The newest executions come first.
        last.setdefault(run_of(str(execution["name"])), execution)
    failed = [
        describe_execution(str(execution["executionArn"]))
        for execution in reversed(last.values())
        if execution["status"] in FAILED and execution["stopDate"] >= since
    ]
    settings = None if dryrun else stack.settings()
    runs = []
    for found in failed:
        name = str(found["name"])
        run = RerunRun(run_of(name), name, failure_of_execution(found).error, "failed")
        if settings is not None:
            run = _start(run, found, stack, settings)
        runs.append(run)
    return runs


def _executions(stack: DeployedStack, since: datetime) -> Iterator[dict[str, Any]]:
    """List the executions that started after a time, newest first."""
    action = f"list the executions of {stack.machine_arn}"
    with translate_boto_errors(action, permission="states:ListExecutions"):
        pages = aws_client("stepfunctions").get_paginator("list_executions")
        for page in pages.paginate(
            stateMachineArn=stack.machine_arn, PaginationConfig={"PageSize": PAGE_SIZE}
        ):
            for execution in page["executions"]:
                if execution["startDate"] < since:
                    return
                yield execution


def _start(
    run: RerunRun, found: dict[str, Any], stack: DeployedStack, settings: StackSettings
) -> RerunRun:
    """Start the request of a failed execution, as far as the stack admits it."""
    try:
        document = parse_json(str(found.get("input", "")).encode(), source=run.failed)
        request = admit(document, source=run.failed, settings=settings)
        # Each rerun of a request with `force` is a run of its own.
        outcome = RunStarter(stack.machine_arn).start(request, version=(secrets.token_hex(8),))
    except CloudBusterError as error:
        return replace(run, state="refused", refusal=error)
    name = execution_arn(stack.machine_arn, str(outcome.execution))
    return replace(run, state=outcome.state, execution=name)
