"""Cancelling a run on the deployed stack: its execution and its jobs, as moto keeps them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moto.batch.models import Job, batch_backends

from cloudbuster.aws.client import cancel
from cloudbuster.errors import ExitCode
from tests.unit.aws.account import (
    ACCOUNT,
    ON_DEMAND,
    QUEUE,
    REGION,
    Invoke,
    end_execution,
    executions,
)
from tests.unit.aws.conftest import Break

Submit = Callable[[str, str, str], str]

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "POLL_S", 0)


@pytest.fixture
def run(invoke: Invoke, request_file: Path) -> str:
    """A run whose execution is running; its id."""
    return str(json.loads(invoke("submit", request_file)[1])["run_id"])


@pytest.fixture
def submit(batch: Any, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Submit a job, and leave it in a status; a terminated job ends at once. Return its id."""

    def terminate(job: Job, reason: str) -> None:
        job.status, job.job_stopped_reason = "FAILED", reason

    monkeypatch.setattr(Job, "terminate", terminate)

    def submit_job(name: str, queue: str, status: str) -> str:
        job = batch.submit_job(jobName=name, jobQueue=queue, jobDefinition="my-gather")["jobId"]
        batch_backends[ACCOUNT][REGION]._jobs[job].status = status
        return str(job)

    return submit_job


def states(batch: Any, jobs: list[str]) -> list[str]:
    found = {job["jobId"]: job["status"] for job in batch.describe_jobs(jobs=jobs)["jobs"]}
    return [found[job] for job in jobs]


def test_cancel_stops_the_execution_and_the_jobs_of_a_run_alone(
    invoke: Invoke, batch: Any, submit: Submit, run: str
) -> None:
    active = [
        submit(f"{run}-gather-1", QUEUE, "RUNNING"),
        submit(f"{run}-gather-2", ON_DEMAND, "STARTING"),
        submit(f"{run}-gather-3", QUEUE, "SUBMITTED"),
        submit(f"{run}-part-4", QUEUE, "PENDING"),
        submit(f"{run}-survey", QUEUE, "RUNNABLE"),
    ]
    others = [
        submit(f"{run}-merge", QUEUE, "SUCCEEDED"),
        submit(f"{run}0-gather-1", QUEUE, "RUNNING"),
        submit(f"{run}-0123456789abcdef-gather-1", QUEUE, "RUNNING"),
        submit(f"{run.upper()}-gather-1", QUEUE, "RUNNING"),
    ]
    code, out, _ = invoke("cancel", run, "--json")
    names = ["gather-1", "gather-2", "gather-3", "part-4", "survey"]
    assert code == 0
    assert json.loads(out) == {
        "run_id": run,
        "stopped": [run],
        "terminated": [f"{run}-{name}" for name in names],
    }
    assert states(batch, active) == ["FAILED"] * 5
    assert states(batch, others) == ["SUCCEEDED", "RUNNING", "RUNNING", "RUNNING"]
    (reason,) = {job["statusReason"] for job in batch.describe_jobs(jobs=active)["jobs"]}
    assert reason == "Cancelled by cloudbuster cancel"
    assert [each["status"] for each in executions()] == ["ABORTED"]
    # Again: there is nothing left to stop.
    assert invoke("cancel", run) == (0, f"{run} was not running\n", "")


def test_cancel_ends_jobs_that_an_ended_execution_has_left(
    invoke: Invoke, batch: Any, submit: Submit, run: str
) -> None:
    end_execution(executions()[0]["executionArn"], "FAILED", error="KeyError", cause="'x'")
    left = submit(f"{run}-merge", QUEUE, "RUNNING")
    assert invoke("cancel", run)[:2] == (0, f"terminated job {run}-merge\n")
    assert states(batch, [left]) == ["FAILED"]


def test_cancel_waits_for_jobs_that_end_slowly_and_for_those_that_appear_late(
    invoke: Invoke, batch: Any, submit: Submit, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = submit(f"{run}-gather-1", QUEUE, "RUNNING")
    monkeypatch.setattr(Job, "terminate", lambda job, _reason: asked.append(job.job_id))
    asked: list[str] = []
    late: list[str] = []

    def sleep(_seconds: float) -> None:
        looks.append(len(asked))
        jobs = batch_backends[ACCOUNT][REGION]._jobs
        if len(looks) == 2:
            jobs[slow].status = "FAILED"
        elif len(looks) == 3:
            late.append(submit(f"{run}-gather-2", QUEUE, "SUBMITTED"))
        elif len(looks) == 4:
            jobs[late[0]].status = "FAILED"

    looks: list[int] = []
    monkeypatch.setattr("cloudbuster.aws.client.cancel.time.sleep", sleep)
    found = json.loads(invoke("cancel", run, "--json")[1])
    assert found["terminated"] == [f"{run}-gather-1", f"{run}-gather-2"]
    # Each job was terminated once.
    assert asked == [slow, *late]
    assert states(batch, asked) == ["FAILED", "FAILED"]


def test_jobs_that_do_not_end_are_named_and_the_command_may_be_repeated(
    invoke: Invoke, submit: Submit, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(f"{run}-gather-1", QUEUE, "RUNNING")
    monkeypatch.setattr(Job, "terminate", lambda _job, _reason: None)
    monkeypatch.setattr(cancel, "WAIT_S", -1)
    code, _, err = invoke("cancel", run)
    assert code == ExitCode.TRY_AGAIN
    assert f"have not ended after -1 s: {run}-gather-1; cancel it again" in err.splitlines()[-1]


@pytest.mark.usefixtures("batch")
def test_an_execution_that_has_ended_does_not_stop_a_later_one(
    invoke: Invoke, request_file: Path, run: str
) -> None:
    for _ in range(2):
        end_execution(executions()[-1]["executionArn"], "FAILED", error="KeyError", cause="'x'")
        invoke("submit", request_file)
    code, _, err = invoke("cancel", f"{run}-a2")
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1] == (
        f"BadInputError: {run}-a2 has ended, {run}-a3 of the same run is running; cancel {run}"
    )
    assert executions()[-1]["status"] == "RUNNING"
    arn = executions()[-1]["executionArn"]
    assert invoke("cancel", arn)[:2] == (0, f"stopped execution {run}-a3\n")


@pytest.mark.usefixtures("batch")
def test_a_run_that_does_not_exist_cannot_be_cancelled(invoke: Invoke) -> None:
    code, _, err = invoke("cancel", "no-such-run")
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].startswith("NotFoundError: no execution of no-such-run on stack")


@pytest.mark.parametrize(
    ("service", "operation", "permission"),
    [
        ("stepfunctions", "StopExecution", "states:StopExecution"),
        ("batch", "ListJobs", "batch:ListJobs"),
        ("batch", "TerminateJob", "batch:TerminateJob"),
    ],
)
def test_a_missing_permission_is_named(
    invoke: Invoke,
    submit: Submit,
    run: str,
    break_service: Break,
    service: str,
    operation: str,
    permission: str,
) -> None:
    submit(f"{run}-gather-1", QUEUE, "RUNNING")
    break_service(service, operation, "AccessDeniedException")
    code, _, err = invoke("cancel", run)
    assert code == ExitCode.BAD_INPUT
    last = err.splitlines()[-1]
    assert last.startswith("AccessError: ")
    assert f"these credentials need {permission}" in last
