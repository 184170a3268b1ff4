"""The start of executions: one for each request, another after a failure or by force."""

import json
from typing import Any

import pytest

from cloudbuster.aws import starting
from cloudbuster.aws.starting import RunStarter
from cloudbuster.errors import AccessError, RequestError, TryAgainError
from cloudbuster.storage.files.run_layout import run_id
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import MACHINE, end_execution, executions
from tests.unit.aws.conftest import Break
from tests.unit.aws.requests import request

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture
def starter() -> RunStarter:
    return RunStarter(MACHINE)


def end(name: str, status: str, **values: Any) -> None:
    end_execution(f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}", status, **values)


def names() -> list[str]:
    return [execution["name"] for execution in executions()]


def test_a_request_is_started_once(starter: RunStarter) -> None:
    first = starter.start(request())
    assert (first.state, first.execution) == ("started", run_id(request()))
    assert starter.start(request()).state == "running"
    end(str(first.execution), "SUCCEEDED", output=json.dumps({"covered": True}))
    answer = starter.start(request())
    assert (answer.state, answer.result) == ("succeeded", {"covered": True})
    assert names() == [first.execution]
    assert json.loads(executions()[0]["input"])["name"] == request().name


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "TIMED_OUT"])
def test_a_run_that_did_not_succeed_starts_again(starter: RunStarter, status: str) -> None:
    run = run_id(request())
    for name in (run, f"{run}-a2", f"{run}-a3"):
        assert starter.start(request()).execution == name
        end(name, status)


def test_a_run_that_always_fails_is_given_up(
    starter: RunStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "MAX_ATTEMPTS", 2)
    for _ in range(2):
        end(str(starter.start(request()).execution), "FAILED")
    with pytest.raises(RequestError, match="failed 2 times; change the request, or set force"):
        starter.start(request())


@pytest.mark.parametrize("wish", ["force", "refresh"])
def test_a_request_that_starts_anew_does_once_for_each_version(
    starter: RunStarter, wish: str
) -> None:
    anew = request(force=wish == "force", refresh=wish == "refresh")
    first, same = (starter.start(anew, version=("1",)) for _ in range(2))
    assert (first.state, same.state) == ("started", "running")
    end(str(first.execution), "SUCCEEDED")
    second = starter.start(anew, version=("2",))
    assert second.state == "started"
    assert names() == [first.execution, second.execution]


def test_two_executions_never_work_on_one_run(starter: RunStarter) -> None:
    first = str(starter.start(request()).execution)
    with pytest.raises(TryAgainError, match=f"is at work as {first}; wait for its end, or stop it"):
        starter.start(request(force=True), version=("now",))
    end(first, "FAILED")
    forced = starter.start(request(force=True), version=("now",))
    # An unforced request is answered by the forced execution while that is running.
    answer = starter.start(request())
    assert (answer.state, answer.execution) == ("running", forced.execution)
    assert len(names()) == 2


def test_the_loser_of_a_race_finds_the_run_of_the_winner(starter: RunStarter) -> None:
    """Another process starts the same execution between the look and the start."""
    client = aws_client("stepfunctions")
    event, name = "before-call.sfn.StartExecution", run_id(request())

    def start_first(**_call: Any) -> None:
        client.meta.events.unregister(event, start_first)
        client.start_execution(stateMachineArn=MACHINE, name=name, input="{}")

    client.meta.events.register(event, start_first)
    outcome = starter.start(request())
    assert (outcome.state, outcome.execution) == ("running", name)
    assert names() == [name]


@pytest.mark.parametrize("force", [False, True])
def test_a_request_is_answered_by_its_running_or_succeeded_run(
    starter: RunStarter, *, force: bool
) -> None:
    asked, version = request(force=force), ("1",)
    assert not starter.is_answered(asked, version)
    name = str(starter.start(asked, version=version).execution)
    assert starter.is_answered(asked, version)
    end(name, "SUCCEEDED")
    assert starter.is_answered(asked, version)
    end(name, "FAILED")
    # A forced request starts once for its version, whatever becomes of it.
    assert starter.is_answered(asked, version) is force


def test_a_start_that_is_listed_is_not_waited_for(
    starter: RunStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", pytest.fail)
    assert starter.await_listed(str(starter.start(request()).execution))


def test_a_start_that_is_never_listed_ends_the_wait(
    starter: RunStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    assert not starter.await_listed("another")
    assert pauses == [starting.LIST_PAUSE_S] * starting.LIST_TRIES


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ThrottlingException", TryAgainError),
        (None, TryAgainError),
        ("AccessDeniedException", AccessError),
    ],
)
@pytest.mark.parametrize("operation", ["ListExecutions", "DescribeExecution", "StartExecution"])
def test_a_service_that_fails_is_no_answer(
    starter: RunStarter,
    break_service: Break,
    operation: str,
    code: str | None,
    error: type[Exception],
) -> None:
    break_service("stepfunctions", operation, code)
    with pytest.raises(error, match=f"{run_id(request())}|the executions of {MACHINE}"):
        starter.start(request())
