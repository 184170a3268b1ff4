"""Watch a run on the deployed stack, stage by stage, in the history of its execution."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.status import describe_execution, newest_execution
from cloudbuster.aws.client.submit import POLL_S, ExecutionResult, result_of
from cloudbuster.events import Event, OnEvent
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# State of the state machine by which a stage begins. A mosaic that is merged in parts has three.
STAGES = {
    "Query": "query",
    "Filter": "filter",
    "Gather": "gather",
    "NothingToGather": "gather",
    "Assess": "assess",
    "SurveyFirstTry": "survey",
    "MergeParts": "parts",
    "MergeFirstTry": "merge",
}
# Stages that each round has.
IN_ROUNDS = frozenset({"filter", "gather", "assess"})
# Events by which an item of an inline map ends.
ITEM_ENDS = frozenset({f"MapIteration{end}" for end in ("Succeeded", "Failed", "Aborted")})
# Events that GetExecutionHistory returns at most in one page (its API reference).
PAGE_SIZE = 1000


@dataclass(eq=False)
class _Stage:
    """A stage that an execution has entered, with as many steps as its map has items, or one."""

    name: str
    round: int
    done: int = 0
    total: int = 1
    map_run: str | None = None


def watch_run(name: str, stack: DeployedStack, on_event: OnEvent) -> ExecutionResult:
    """Report the stages of a run until it ends.

    Parameters
    ----------
    name, stack : str, DeployedStack
        Id of a run of this stack, for its newest execution; or name or ARN of an execution.
    on_event : callable
        Progress callback: called for each stage that the execution has entered, and again for the
        last one whenever the run is looked at.

    Returns
    -------
    ExecutionResult
        How the execution ended.

    Raises
    ------
    NotFoundError
        If there is no such run.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If Step Functions is throttled, broken or out of reach; the run goes on.
    """
    arn = str(newest_execution(name, stack)["executionArn"])
    first = 0
    while True:
        # Described before its history is read, so that the history of an ended one is whole.
        found = describe_execution(arn)
        stages = _stages(_history(arn))
        ended = stages if found["status"] == "SUCCEEDED" else stages[:-1]
        for stage in stages[first:]:
            on_event(_counted(stage, has_ended=stage in ended))
        # The last stage is reported again, since it goes on.
        first = max(len(stages) - 1, 0)
        if found["status"] != "RUNNING":
            return result_of(found)
        time.sleep(POLL_S)


def _history(arn: str) -> Iterable[Mapping[str, Any]]:
    """Read the events of an execution, oldest first, without the data of its states."""
    with translate_boto_errors(
        f"read the history of {arn}", permission="states:GetExecutionHistory"
    ):
        pages = aws_client("stepfunctions").get_paginator("get_execution_history")
        for page in pages.paginate(
            executionArn=arn, includeExecutionData=False, PaginationConfig={"PageSize": PAGE_SIZE}
        ):
            yield from page["events"]


def _stages(events: Iterable[Mapping[str, Any]]) -> list[_Stage]:
    """List the stages that an execution has entered, in their order."""
    stages: list[_Stage] = []
    rounds = 0
    for event in events:
        kind = str(event["type"])
        entered = STAGES.get(event.get("stateEnteredEventDetails", {}).get("name", ""))
        if entered is not None:
            rounds += entered == "filter"
            stages.append(_Stage(entered, rounds))
        elif not stages:
            continue
        elif kind == "MapStateStarted":
            stages[-1].total = int(event["mapStateStartedEventDetails"]["length"])
        elif kind in ITEM_ENDS:
            stages[-1].done += 1
        elif kind == "MapRunStarted":
            stages[-1].map_run = str(event["mapRunStartedEventDetails"]["mapRunArn"])
    return stages


def _counted(stage: _Stage, *, has_ended: bool) -> Event:
    """Make the progress event of a stage; the items of a distributed map are counted by its run."""
    done, total = stage.done, stage.total
    if stage.map_run is not None:
        with translate_boto_errors(f"describe {stage.map_run}", permission="states:DescribeMapRun"):
            client = aws_client("stepfunctions")
            counts = client.describe_map_run(mapRunArn=stage.map_run)["itemCounts"]
        total = int(counts["total"])
        done = total - int(counts["pending"]) - int(counts["running"])
    message = f"round {stage.round}" if stage.name in IN_ROUNDS else ""
    return Event(stage.name, total if has_ended else done, total, message)
