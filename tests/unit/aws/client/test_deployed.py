"""Where a run is, what its jobs said, and whether the stack is well."""

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cloudbuster.aws.client import logs
from cloudbuster.aws.client import session as aws_client
from cloudbuster.errors import ExitCode
from cloudbuster.storage import s3
from tests.unit.aws.account import (
    ACCOUNT,
    IMAGE,
    ON_DEMAND,
    QUEUE,
    REGION,
    Invoke,
    deploy,
    end,
    template,
)


@pytest.mark.usefixtures("stack")
def test_status_tells_of_the_last_attempt(invoke: Invoke, request_file: Path) -> None:
    first = json.loads(invoke("submit", request_file)[1])
    name = first["run_id"]
    told = json.loads(invoke("status", name)[1])
    assert (told["state"], told["run_id"], told["status"]) == ("running", name, None)
    end(first["execution"], "FAILED", error="NothingUsableError", cause="no scene")
    told = json.loads(invoke("status", first["execution"])[1])
    assert (told["state"], told["error"], told["exit_code"]) == ("failed", "NothingUsableError", 3)
    invoke("submit", request_file)
    document = {"name": "denver-2020", "state": "running", "stage": "query"}
    content = json.dumps({**document, "request_fingerprint": "f"}).encode()
    s3.write_bytes(first["status_uri"], content)
    told = json.loads(invoke("status", name)[1])
    assert told["execution"] == f"{first['execution']}-a2"
    assert (told["run_id"], told["state"]) == (name, "running")
    assert told["status"]["stage"] == "query"
    code, _, err = invoke("status", "no-such-run")
    assert code == ExitCode.BAD_INPUT
    assert "give the run_id or the execution" in err.splitlines()[-1]


def test_status_tells_of_the_last_attempt_forced_or_not(
    invoke: Invoke, stack: Any, request_file: Path
) -> None:
    content = json.loads(request_file.read_text())
    request_file.write_text(json.dumps({**content, "force": True}))
    forced = json.loads(invoke("submit", request_file)[1])
    name = forced["run_id"]
    # A run that was started by force alone has no execution of its own name.
    told = json.loads(invoke("status", name)[1])
    assert (told["execution"], told["run_id"]) == (forced["execution"], name)
    end(forced["execution"], "FAILED", error="KeyError", cause="'x'")
    request_file.write_text(json.dumps(content))
    plain = json.loads(invoke("submit", request_file)[1])
    assert json.loads(invoke("status", name)[1])["execution"] == plain["execution"]
    end(plain["execution"], "SUCCEEDED")
    request_file.write_text(json.dumps({**content, "force": True}))
    last = json.loads(invoke("submit", request_file)[1])["execution"]
    told = json.loads(invoke("status", name)[1])
    assert (told["execution"], told["state"]) == (last, "running")
    # Each is still found by its own name.
    found = [json.loads(invoke("status", each)[1]) for each in (forced["execution"], last)]
    assert [each["state"] for each in found] == ["failed", "running"]
    short = last.rsplit(":", 1)[1]
    assert json.loads(invoke("status", short)[1])["execution"] == last
    # Other runs' executions are nobody's attempt.
    machine = last.rsplit(":", 1)[0].replace(":execution:", ":stateMachine:")
    stack.start_execution(stateMachineArn=machine, name="another", input="{}")
    assert json.loads(invoke("status", name)[1])["execution"] == last


@pytest.mark.usefixtures("stack")
def test_status_without_the_permission_is_no_missing_run(
    invoke: Invoke, request_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = json.loads(invoke("submit", request_file)[1])["run_id"]

    def denied(**_asked: Any) -> None:
        response = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
        raise ClientError(response, "DescribeExecution")

    found = aws_client.client("stepfunctions")
    monkeypatch.setattr(found, "describe_execution", denied)
    code, _, err = invoke("status", name)
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].startswith("AccessError: ")


@pytest.mark.usefixtures("stack")
def test_doctor_finds_what_is_wrong(invoke: Invoke, batch: Any) -> None:
    code, out, err = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert [line for line in out.splitlines() if line.startswith("[ ]")] == [
        line for line in out.splitlines() if line.startswith(f"[ ] image {IMAGE}: ")
    ]
    assert f"1 of 9 are not as they should be: image {IMAGE}" in err.splitlines()[-1]
    media = "application/vnd.docker.distribution.manifest.v2+json"
    content = {"schemaVersion": 2, "mediaType": media, "config": {"digest": "a"}, "layers": []}
    manifest = json.dumps(content)
    boto3.client("ecr", REGION).put_image(
        repositoryName="mosaics", imageManifest=manifest, imageTag="1"
    )
    code, out, err = invoke("doctor")
    assert (code, err) == (0, "")
    assert f"[x] queue {QUEUE}: ENABLED, VALID" in out
    assert "[x] region: us-west-2; L2A scenes lie in us-west-2" in out
    batch.update_job_queue(jobQueue=QUEUE, state="DISABLED")
    code, out, _ = invoke("doctor")
    assert code == ExitCode.BAD_INPUT
    assert f"[ ] queue {QUEUE}: DISABLED, VALID" in out


@pytest.mark.usefixtures("stack")
def test_doctor_looks_at_the_gpu_queue_and_at_pytorch(invoke: Invoke, batch: Any) -> None:
    deploy(template(more={"GpuQueueArn": "job-queue/gpu", "TorchJobArn": "job-definition/torch:1"}))
    _, out, _ = invoke("doctor")
    assert "[ ] queues: 2 of 3 exist" in out
    assert "[ ] job definitions: 2 of 3 exist" in out
    batch.create_job_queue(
        jobQueueName="gpu",
        state="DISABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "hosts"}],
    )
    properties = {"image": f"{IMAGE}-torch", "vcpus": 2, "memory": 2048}
    batch.register_job_definition(
        jobDefinitionName="torch", type="container", containerProperties=properties
    )
    _, out, _ = invoke("doctor")
    assert "[ ] queue gpu: DISABLED, VALID" in out
    assert "[x] job definition torch:1: ACTIVE" in out
    assert f"[ ] image {IMAGE}-torch: " in out


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize(
    ("home", "line"),
    [
        ("L1C", "[ ] region: us-west-2; L1C scenes lie in eu-central-1"),
        (
            None,
            "[x] region: us-west-2; L2A scenes lie in us-west-2, L1C scenes lie in eu-central-1",
        ),
    ],
)
def test_doctor_says_which_scenes_are_far(
    invoke: Invoke, aws: str, home: str | None, line: str
) -> None:
    assert aws == REGION
    deploy(template(home=home))
    assert line in invoke("doctor")[1].splitlines()


class Finished:
    """Batch with one job that was tried on both queues."""

    def list_jobs(self, *, jobQueue: str, filters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 -- boto3's
        (wanted,) = filters
        if wanted == {"name": "JOB_NAME", "values": [f"{RUN}-gather-8"]} and jobQueue == GPU:
            return {"jobSummaryList": [{"jobId": "first", "createdAt": 3}]}
        if wanted != {"name": "JOB_NAME", "values": [f"{RUN}-gather-7"]} or jobQueue == GPU:
            return {"jobSummaryList": []}
        second = jobQueue.endswith(ON_DEMAND)
        job = {"jobId": "second" if second else "first", "createdAt": 2 if second else 1}
        return {"jobSummaryList": [job]}

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        options = {"awslogs-group": "jobs"}
        container = {"logStreamName": jobs[0], "logConfiguration": {"options": options}}
        return {"jobs": [{"container": container}]}


RUN = "denver-2020-0123456789abcdef"
GPU = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/gpu"


@pytest.mark.usefixtures("stack")
def test_logs_are_those_of_the_last_try(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudwatch = boto3.client("logs", REGION)
    cloudwatch.create_log_group(logGroupName="jobs")
    for stream in ("first", "second"):
        cloudwatch.create_log_stream(logGroupName="jobs", logStreamName=stream)
        now = int(time.time() * 1000)
        told = [{"timestamp": now + number, "message": f"{stream} {number}"} for number in (1, 2)]
        cloudwatch.put_log_events(logGroupName="jobs", logStreamName=stream, logEvents=told)
    real = aws_client.client
    monkeypatch.setattr(logs, "client", lambda name: Finished() if name == "batch" else real(name))
    assert invoke("logs", f"{RUN}-a2", "--scene", "7") == (0, "second 1\nsecond 2\n", "")
    code, _, err = invoke("logs", RUN)
    assert code == ExitCode.BAD_INPUT
    assert f"no job {RUN}-merge" in err.splitlines()[-1]
    # A scene with a model of PyTorch is gathered on the GPU queue, where there is one.
    assert invoke("logs", RUN, "--scene", "8")[0] == ExitCode.BAD_INPUT
    deploy(template(more={"GpuQueueArn": "job-queue/gpu"}))
    assert invoke("logs", RUN, "--scene", "8") == (0, "first 1\nfirst 2\n", "")
    for flags, job in ((("--part", "2"), "part-2"), (("--survey",), "survey")):
        assert f"no job {RUN}-{job};" in invoke("logs", RUN, *flags)[2]
    code, _, err = invoke("logs", RUN, "--part", "2", "--scene", "1")
    assert code == ExitCode.USAGE
    assert "give one of them" in err
