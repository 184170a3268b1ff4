"""The state of a run on the deployed stack, by its id or by the name of one of its executions."""

import itertools
from collections.abc import Iterator
from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.executions import attempt_name, execution_arn, run_of
from cloudbuster.aws.failures import failure_of_execution
from cloudbuster.aws.outputs import Output
from cloudbuster.errors import NotFoundError
from cloudbuster.models import RunStatus
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.files.uri import exists, join
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# Executions that one call of ListExecutions returns at most (its API reference).
PAGE_SIZE = 1000
HINT = "give the run_id or the execution that submit has printed"


def run_status(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Describe the state of a run.

    Parameters
    ----------
    name, stack : str, DeployedStack
        Id of a run of this stack, for its newest execution; or name or ARN of an execution.

    Returns
    -------
    dict
        ``execution``, ``run_id``, ``state``, ``started``, ``ended``; for a failure also ``error``,
        ``cause`` and ``exit_code``; ``status``, the run's ``status.json``, or None.

    Raises
    ------
    NotFoundError
        If there is no such run.
    """
    found = newest_execution(name, stack)
    run = run_of(str(found["name"]))
    uri = join(f"s3://{stack.outputs[Output.BUCKET]}", "runs", run, "status.json")
    document = read_document(uri, RunStatus).model_dump(mode="json") if exists(uri) else None
    ended = found.get("stopDate")
    description = {
        "execution": found["executionArn"],
        "run_id": run,
        "state": str(found["status"]).lower(),
        "started": found["startDate"].isoformat(),
        "ended": ended.isoformat() if ended else None,
    }
    if found["status"] not in ("RUNNING", "SUCCEEDED"):
        failure = failure_of_execution(found)
        description |= {
            "error": failure.error,
            "cause": failure.message,
            "exit_code": int(failure.exit_code),
        }
    return {**description, "status": document}


def describe_execution(arn: str) -> dict[str, Any]:
    """Describe an execution as Step Functions report it.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    with translate_boto_errors(f"find {arn}", hint=HINT):
        found: dict[str, Any] = aws_client("stepfunctions").describe_execution(executionArn=arn)
    return found


def newest_execution(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Describe an execution; for a run the one that started last, forced or not.

    Parameters
    ----------
    name, stack : str, DeployedStack
        Id of a run, or name or ARN of one of its executions, in this stack.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    if name.startswith("arn:"):
        return describe_execution(name)
    if run_of(name) != name:
        return describe_execution(execution_arn(stack.machine_arn, name))
    found = [*_attempts(name, stack), *_listed(name, stack)]
    if not found:
        msg = f"no execution of {name} on stack {stack.name}; {HINT}"
        raise NotFoundError(msg)
    return max(found, key=lambda execution: execution["startDate"])


def _attempts(run: str, stack: DeployedStack) -> Iterator[dict[str, Any]]:
    """Describe the unforced attempts of a run, whose names are known, in their order."""
    for attempt in itertools.count(1):
        try:
            yield describe_execution(execution_arn(stack.machine_arn, attempt_name(run, attempt)))
        except NotFoundError:
            return


def _listed(run: str, stack: DeployedStack) -> Iterator[dict[str, Any]]:
    """Describe the newest execution of a run in the list of executions.

    Only the list has the names of forced executions; it shows a start some seconds later.
    """
    with translate_boto_errors(f"list the executions of {stack.machine_arn}", hint=HINT):
        pages = aws_client("stepfunctions").get_paginator("list_executions")
        names = (
            str(execution["name"])
            for page in pages.paginate(
                stateMachineArn=stack.machine_arn, PaginationConfig={"PageSize": PAGE_SIZE}
            )
            for execution in page["executions"]
        )
        # The newest executions come first.
        first = next((name for name in names if run_of(name) == run), None)
    if first is not None:
        yield describe_execution(execution_arn(stack.machine_arn, first))
