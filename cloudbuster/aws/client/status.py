"""Where a run on the deployed stack is, by its id or by the name of one of its executions."""

import itertools
from collections.abc import Iterator
from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.session import client, told
from cloudbuster.aws.executions import attempt_name, execution_arn, run_of
from cloudbuster.aws.failures import failure_of_execution
from cloudbuster.errors import BadInputError
from cloudbuster.models import RunStatus
from cloudbuster.storage.documents import read_document
from cloudbuster.storage.uri import exists, join

# What one call lists at most (API reference).
PAGE_SIZE = 1000
HINT = "give the run_id or the execution that submit has printed"


def run_status(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Say where a run is.

    Parameters
    ----------
    name : str
        Id of a run, of which the execution that started last counts; or name or ARN of an
        execution.
    stack : DeployedStack
        Where it runs.

    Returns
    -------
    dict
        ``execution``, ``run_id``, ``state``, ``started``, ``ended``; of a failure ``error``,
        ``cause`` and ``exit_code``; ``status``, the run's ``status.json``, where there is one.

    Raises
    ------
    BadInputError
        Where there is no such run.
    """
    found = _newest(name, stack)
    run = run_of(str(found["name"]))
    uri = join(f"s3://{stack.outputs['BucketName']}", "runs", run, "status.json")
    document = read_document(uri, RunStatus).model_dump(mode="json") if exists(uri) else None
    ended = found.get("stopDate")
    told_of = {
        "execution": found["executionArn"],
        "run_id": run,
        "state": str(found["status"]).lower(),
        "started": found["startDate"].isoformat(),
        "ended": ended.isoformat() if ended else None,
    }
    if found["status"] not in ("RUNNING", "SUCCEEDED"):
        failure = failure_of_execution(found)
        told_of |= {
            "error": failure.error,
            "cause": failure.message,
            "exit_code": int(failure.exit_code),
        }
    return {**told_of, "status": document}


def _newest(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Describe an execution; of a run the one that started last, forced or not."""
    if name.startswith("arn:"):
        return _described(name)
    if run_of(name) != name:
        return _described(execution_arn(stack.machine_arn, name))
    found = [*_attempts(name, stack), *_listed(name, stack)]
    if not found:
        msg = f"no execution of {name} on stack {stack.name}; {HINT}"
        raise BadInputError(msg)
    return max(found, key=lambda execution: execution["startDate"])


def _attempts(run: str, stack: DeployedStack) -> Iterator[dict[str, Any]]:
    """Describe the plain attempts of a run in their order, which are known by their names."""
    for attempt in itertools.count(1):
        try:
            yield _described(execution_arn(stack.machine_arn, attempt_name(run, attempt)))
        except BadInputError as error:
            # Credentials and permissions are no sign that it does not exist.
            if type(error) is not BadInputError:
                raise
            return


def _listed(run: str, stack: DeployedStack) -> Iterator[dict[str, Any]]:
    """Describe the first execution of a run in the list, where the newest come first.

    The list alone knows forced ones, and lags some seconds behind.
    """
    with told(f"list the executions of {stack.machine_arn}", hint=HINT):
        pages = client("stepfunctions").get_paginator("list_executions")
        names = (
            str(execution["name"])
            for page in pages.paginate(
                stateMachineArn=stack.machine_arn, PaginationConfig={"PageSize": PAGE_SIZE}
            )
            for execution in page["executions"]
        )
        first = next((name for name in names if run_of(name) == run), None)
    if first is not None:
        yield _described(execution_arn(stack.machine_arn, first))


def _described(arn: str) -> dict[str, Any]:
    with told(f"find {arn}", hint=HINT):
        found: dict[str, Any] = client("stepfunctions").describe_execution(executionArn=arn)
    return found
