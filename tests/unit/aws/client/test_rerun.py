"""Starting runs on the deployed stack again that failed since a time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.errors import ExitCode
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import MACHINE, Invoke, deploy, end_execution, executions, template
from tests.unit.aws.conftest import Answer, Break
from tests.unit.aws.requests import REQUEST

NOW = datetime.now(UTC)
SINCE = (NOW - timedelta(hours=6)).isoformat()
Ended = Callable[..., str]

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def ended(invoke: Invoke, tmp_path: Path) -> Ended:
    """Run a request of a name that ends with a status some hours ago; return the run's id."""

    def end(name: str, status: str, *, hours: float = 1, lasted: float = 0, **changes: Any) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**REQUEST, "name": name, **changes}))
        started = json.loads(invoke("submit", path)[1])
        # moto keeps times in UTC, without a zone.
        stop = (NOW - timedelta(hours=hours)).replace(tzinfo=None)
        times = {"start_date": stop - timedelta(hours=lasted), "stop_date": stop}
        errors = {"error": "TryAgainError", "cause": "busy"} if status == "FAILED" else {}
        end_execution(started["execution"], status, **times, **errors)
        return str(started["run_id"])

    return end


def names() -> set[str]:
    return {str(each["name"]) for each in executions() if each["status"] == "RUNNING"}


def test_rerun_starts_what_failed_since_the_time_and_nothing_else(
    invoke: Invoke, ended: Ended
) -> None:
    failed = ended("failed", "FAILED", hours=5, lasted=30)
    slow = ended("slow", "FAILED", hours=1, lasted=47)
    ended("early", "FAILED", hours=7)
    ended("stopped", "ABORTED")
    ended("fine", "SUCCEEDED")
    listed = json.loads(invoke("rerun", "--since", SINCE, "--dryrun", "--json")[1])
    assert [(run["run_id"], run["error"], run["state"]) for run in listed] == [
        (slow, "TryAgainError", "failed"),
        (failed, "TryAgainError", "failed"),
    ]
    assert names() == set()
    code, out, _ = invoke("rerun", "--since", SINCE)
    assert (code, out.splitlines()) == (
        *(0, [f"started   {slow} (TryAgainError)", f"started   {failed} (TryAgainError)"]),
    )
    assert names() == {f"{failed}-a2", f"{slow}-a2"}
    # Both are running now.
    code, out, _ = invoke("rerun", "--since", SINCE)
    assert (code, out.startswith("no run has failed since ")) == (0, True)


def test_a_run_that_took_too_long_has_failed(invoke: Invoke, answer: Answer) -> None:
    # moto gives no end of such an execution.
    found = {
        "executionArn": f"{MACHINE.replace('stateMachine', 'execution')}:slow-0123456789abcdef",
        "name": "slow-0123456789abcdef",
        "status": "TIMED_OUT",
        "startDate": NOW - timedelta(hours=49),
        "stopDate": NOW - timedelta(hours=1),
    }
    answer("stepfunctions", "ListExecutions", lambda _asked: {"executions": [found]})
    answer("stepfunctions", "DescribeExecution", lambda _asked: dict(found))
    code, out, _ = invoke("rerun", "--since", SINCE, "--dryrun")
    assert (code, out) == (0, "failed    slow-0123456789abcdef (TimedOut)\n")


def test_a_run_that_has_succeeded_since_it_failed_is_left_alone(
    invoke: Invoke, ended: Ended
) -> None:
    ended("late", "FAILED", hours=3)
    ended("late", "SUCCEEDED", hours=2)
    assert json.loads(invoke("rerun", "--since", SINCE, "--json")[1]) == []


def test_a_forced_run_is_forced_again(invoke: Invoke, ended: Ended) -> None:
    run = ended("forced", "FAILED", force=True)
    (found,) = json.loads(invoke("rerun", "--since", SINCE, "--json")[1])
    assert (found["run_id"], found["state"]) == (run, "started")
    (name,) = names()
    assert name.startswith(f"{run}-f")
    assert name != found["failed"]
    assert found["execution"].endswith(f":{name}")


def test_a_run_that_may_not_start_any_more_is_named_and_the_others_start(
    invoke: Invoke, ended: Ended
) -> None:
    deploy(template(output_roots=("s3://elsewhere",)))
    ended("far", "FAILED", hours=2, output="s3://elsewhere/far")
    near = ended("near", "FAILED", hours=1)
    deploy(template())
    code, out, err = invoke("rerun", "--since", SINCE, "--json")
    far, other = json.loads(out)
    assert (far["state"], other["state"]) == ("refused", "started")
    assert far["refusal"].startswith("RequestError: far-")
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].startswith("RequestError: 1 of 2 runs were not started: far-")
    assert names() == {f"{near}-a2"}


def test_an_execution_whose_input_is_no_request_is_refused(invoke: Invoke) -> None:
    arn = aws_client("stepfunctions").start_execution(
        stateMachineArn=MACHINE, name="by-hand", input="[]"
    )["executionArn"]
    end_execution(arn, "FAILED", stop_date=NOW.replace(tzinfo=None), error="KeyError", cause="'x'")
    code, out, err = invoke("rerun", "--since", SINCE)
    assert (code, out) == (ExitCode.BAD_INPUT, "refused   by-hand (KeyError)\n")
    assert "by-hand: list is no request" in err.splitlines()[-1]


def test_a_time_that_is_none_is_a_malformed_command_line(invoke: Invoke) -> None:
    code, _, err = invoke("rerun", "--since", "yesterday")
    assert code == ExitCode.USAGE
    assert "yesterday is no time; give 2026-06-20" in err


def test_a_missing_permission_is_named(invoke: Invoke, break_service: Break) -> None:
    break_service("stepfunctions", "ListExecutions", "AccessDeniedException")
    code, _, err = invoke("rerun", "--since", SINCE)
    assert code == ExitCode.BAD_INPUT
    assert "these credentials need states:ListExecutions" in err.splitlines()[-1]
