"""Where a run on the deployed stack is, by its id or by the name of one of its executions."""

from typing import Any

from cloudbuster.aws.client import client, told
from cloudbuster.aws.deployed import DeployedStack
from cloudbuster.aws.runs import failure_of_execution, run_of
from cloudbuster.aws.submit import execution_arn
from cloudbuster.errors import BadInputError
from cloudbuster.io.documents import read_document
from cloudbuster.io.uri import exists, join
from cloudbuster.models import RunStatus


def run_status(name: str, stack: DeployedStack) -> dict[str, Any]:
    """Say where a run is.

    Parameters
    ----------
    name : str
        Id of a run, of which the last attempt counts, or name or ARN of an execution.
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
    """Describe an execution; of a run the last attempt."""
    if name.startswith("arn:"):
        return _described(name)
    found = _described(execution_arn(stack.machine_arn, name))
    attempt = 2
    while run_of(name) == name:
        try:
            found = _described(execution_arn(stack.machine_arn, f"{name}-a{attempt}"))
        except BadInputError:
            break
        attempt += 1
    return found


def _described(arn: str) -> dict[str, Any]:
    with told(f"find {arn}", hint="give the run_id or the execution that submit has printed"):
        found: dict[str, Any] = client("stepfunctions").describe_execution(executionArn=arn)
    return found
