"""Watching a run on the deployed stack, by histories as Step Functions return them."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.watch import watch_run
from cloudbuster.errors import ExitCode
from tests.unit.aws.account import Invoke, end_execution, executions
from tests.unit.aws.conftest import Answer, Break

MAP_RUN = "arn:aws:states:us-west-2:123456789012:mapRun:CloudBuster/Gather:1"
History = list[dict[str, Any]]

pytestmark = pytest.mark.usefixtures("stack")


def entered(*names: str) -> History:
    return [
        {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}} for name in names
    ]


def started(length: int) -> History:
    return [{"type": "MapStateStarted", "mapStateStartedEventDetails": {"length": length}}]


def items(succeeded: int, failed: int = 0) -> History:
    ends = ["Succeeded"] * succeeded + ["Failed"] * failed
    # The states of an item are events of their own.
    return [
        event
        for end in ends
        for event in (*entered("GatherScene", "Gathered"), {"type": f"MapIteration{end}"})
    ]


BEGIN: History = [{"type": "ExecutionStarted"}, *entered("Request", "Query")]
GATHERING = [*BEGIN, *entered("Filter", "BaseImage", "Gather"), *started(3), *items(1)]
ASSESSED = [*GATHERING, *items(2), *entered("Assess")]
SECOND = [*ASSESSED, *entered("NextRound", "Filter", "NothingToGather", "Assess")]
MERGED = [*SECOND, *entered("PrepareMerge", "MergeFirstTry", "Merge", "Finish")]
PARTS = [*ASSESSED, *entered("SurveyFirstTry", "MergeParts"), *started(4), *items(1, failed=1)]


@pytest.fixture
def run(invoke: Invoke, request_file: Path) -> str:
    """A run whose execution is running; its id."""
    return str(json.loads(invoke("submit", request_file)[1])["run_id"])


@pytest.fixture
def looks(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> list[History]:
    """Histories to return, one a look; the execution ends, as the test says, before the last."""
    found: list[History] = []

    def respond(asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["includeExecutionData"] is False
        # In two pages.
        events = found[0]
        if "nextToken" in asked:
            return {"events": events[2:]}
        return {"events": events[:2], "nextToken": "more"}

    answer("stepfunctions", "GetExecutionHistory", respond)
    monkeypatch.setattr("cloudbuster.aws.client.watch.time.sleep", lambda _seconds: found.pop(0))
    return found


def end(status: str, monkeypatch: pytest.MonkeyPatch, looks: list[History], **values: Any) -> None:
    """End the execution before the last of the looks."""

    def sleep(_seconds: float) -> None:
        looks.pop(0)
        if len(looks) == 1:
            end_execution(executions()[0]["executionArn"], status, **values)

    monkeypatch.setattr("cloudbuster.aws.client.watch.time.sleep", sleep)


def test_watch_writes_a_line_for_each_stage_and_round(
    invoke: Invoke, run: str, looks: list[History], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks += [BEGIN[:1], BEGIN, GATHERING, ASSESSED, SECOND, MERGED]
    output = json.dumps({"exit_code": 0})
    end("SUCCEEDED", monkeypatch, looks, output=output)
    code, out, err = invoke("status", run, "--watch")
    assert err.splitlines() == [
        "query 1/1",
        "filter 1/1 round 1",
        "gather 3/3 round 1",
        "assess 1/1 round 1",
        "filter 1/1 round 2",
        "gather 1/1 round 2",
        "assess 1/1 round 2",
        "merge 1/1",
    ]
    assert (code, json.loads(out)["state"]) == (0, "succeeded")


def test_watch_ends_with_the_exit_code_of_the_run_and_shows_how_far_it_came(
    invoke: Invoke, run: str, looks: list[History], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks += [GATHERING, PARTS]
    end("FAILED", monkeypatch, looks, error="NothingUsableError", cause="no scene")
    code, out, err = invoke("status", run, "--watch")
    assert err.splitlines()[3:] == [
        "assess 1/1 round 1",
        "survey 1/1",
        "parts 2/4",
        f"NothingUsableError: {run}: no scene",
    ]
    assert (code, json.loads(out)["error"]) == (ExitCode.NOTHING_USABLE, "NothingUsableError")


def test_watch_counts_the_items_of_a_distributed_map_by_its_run(
    invoke: Invoke,
    run: str,
    looks: list[History],
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
) -> None:
    details = {"type": "MapRunStarted", "mapRunStartedEventDetails": {"mapRunArn": MAP_RUN}}
    gathering = [*BEGIN, *entered("Filter", "Gather"), details]
    counts = {"total": 900, "pending": 300, "running": 40, "succeeded": 550, "failed": 10}

    def describe(asked: dict[str, Any]) -> dict[str, Any]:
        assert asked == {"mapRunArn": MAP_RUN}
        return {"itemCounts": counts}

    answer("stepfunctions", "DescribeMapRun", describe)
    looks += [gathering, gathering]
    end("ABORTED", monkeypatch, looks)
    code, _, err = invoke("status", run, "--watch")
    assert (code, err.splitlines()[2]) == (ExitCode.TERMINATED, "gather 560/900 round 1")


def test_watch_of_a_run_that_has_ended_shows_its_stages_at_once(
    invoke: Invoke, run: str, looks: list[History]
) -> None:
    looks.append(MERGED)
    end_execution(executions()[0]["executionArn"], "SUCCEEDED", output='{"exit_code": 4}')
    code, _, err = invoke("status", run, "--watch")
    lines = err.splitlines()
    assert (code, lines[7]) == (ExitCode.NOT_COVERED, "merge 1/1")
    assert lines[-1].startswith(f"NotCoveredError: {run} made its mosaic")


def test_watch_reports_each_look_at_the_last_stage(
    run: str, stack: str, looks: list[History], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack
    looks += [GATHERING, [*GATHERING, *items(1)], ASSESSED]
    end("ABORTED", monkeypatch, looks)
    seen: list[tuple[str, float, int]] = []
    deployed = DeployedStack.find("CloudBuster")
    watch_run(run, deployed, lambda event: seen.append((event.stage, event.done, event.total)))
    assert seen == [
        ("query", 1, 1),
        ("filter", 1, 1),
        ("gather", 1, 3),
        ("gather", 2, 3),
        ("gather", 3, 3),
        ("assess", 0, 1),
    ]


def test_a_missing_permission_is_named(invoke: Invoke, run: str, break_service: Break) -> None:
    break_service("stepfunctions", "GetExecutionHistory", "AccessDeniedException")
    code, _, err = invoke("status", run, "--watch")
    assert code == ExitCode.BAD_INPUT
    assert "these credentials need states:GetExecutionHistory" in err.splitlines()[-1]
