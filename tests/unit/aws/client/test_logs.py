"""Logs of the jobs of a run, as moto keeps jobs and logs."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from moto.batch.models import Job

from cloudbuster.errors import ExitCode
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import ON_DEMAND, QUEUE, Invoke, deploy, template

RUN = "denver-2020-0123456789abcdef"
Submit = Callable[..., None]

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def submit(batch: Any, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Run a job of the run ``RUN``, which writes its name and queue to its log."""
    logs = aws_client("logs")
    logs.create_log_group(logGroupName="jobs")
    options = {"logDriver": "awslogs", "options": {"awslogs-group": "jobs"}}
    original = Job._container_details

    # moto does not describe the log configuration of a job.
    def details(job: Job) -> dict[str, Any]:
        return {**original(job), "logConfiguration": options}

    monkeypatch.setattr(Job, "_container_details", details)

    def run(name: str, queue: str) -> None:
        job = batch.submit_job(jobName=f"{RUN}-{name}", jobQueue=queue, jobDefinition="my-gather")
        (found,) = batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
        stream = found["container"]["logStreamName"]
        logs.create_log_stream(logGroupName="jobs", logStreamName=stream)
        now = int(time.time() * 1000)
        lines = [
            {"timestamp": now + number, "message": f"{name} on {queue}, line {number}"}
            for number in (1, 2)
        ]
        logs.put_log_events(logGroupName="jobs", logStreamName=stream, logEvents=lines)

    return run


def test_logs_are_those_of_the_last_try(invoke: Invoke, submit: Submit) -> None:
    submit("gather-7", QUEUE)
    submit("gather-8", QUEUE)
    time.sleep(0.002)  # Batch orders jobs by milliseconds.
    submit("gather-7", ON_DEMAND)
    lines = "gather-7 on on-demand, line 1\ngather-7 on on-demand, line 2\n"
    assert invoke("logs", f"{RUN}-a2", "--scene", "7") == (0, lines, "")


@pytest.mark.usefixtures("batch")
def test_a_job_that_does_not_exist_is_named(invoke: Invoke) -> None:
    for flags, job in (
        ((), "merge"),
        (("--scene", "7"), "gather-7"),
        (("--part", "2"), "part-2"),
        (("--survey",), "survey"),
    ):
        code, _, err = invoke("logs", RUN, *flags)
        assert code == ExitCode.BAD_INPUT
        assert f"NotFoundError: no job {RUN}-{job};" in err.splitlines()[-1]


def test_the_job_of_a_scene_is_found_on_the_gpu_queue_if_there_is_one(
    invoke: Invoke, batch: Any, submit: Submit
) -> None:
    batch.create_job_queue(
        jobQueueName="gpu",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "hosts"}],
    )
    submit("gather-8", "gpu")
    assert invoke("logs", RUN, "--scene", "8")[0] == ExitCode.BAD_INPUT
    deploy(template(more={"GpuQueueArn": "job-queue/gpu"}))
    code, out, _ = invoke("logs", RUN, "--scene", "8")
    assert (code, out.splitlines()[0]) == (0, "gather-8 on gpu, line 1")


@pytest.mark.usefixtures("batch")
def test_a_job_that_has_not_started_has_no_log(
    invoke: Invoke, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto starts each job at once.
    monkeypatch.setattr(Job, "_container_details", lambda _job: {})
    batch.submit_job(jobName=f"{RUN}-merge", jobQueue=QUEUE, jobDefinition="my-merge")
    code, _, err = invoke("logs", RUN)
    assert code == ExitCode.BAD_INPUT
    assert f"job {RUN}-merge has no log: it has not started" in err.splitlines()[-1]


def test_two_jobs_at_a_time_are_a_malformed_command_line(invoke: Invoke) -> None:
    code, _, err = invoke("logs", RUN, "--part", "2", "--scene", "1")
    assert code == ExitCode.USAGE
    assert "give one of them" in err
