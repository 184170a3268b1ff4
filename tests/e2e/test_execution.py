"""Executions of the deployed stack: what they make, and what they do when something fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cloud import DeployedStack, Ended, until
from tests.e2e.worlds import World, torn_world, upload

pytestmark = pytest.mark.e2e

PRODUCTS = ("cloudless", "cloudy", "quality", "preview")
HOST_GONE = "Host EC2 (instance i-0123456789abcdef0) terminated."
NO_HOST = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity request"


def run_here(world: World, folder: Path) -> dict[str, str]:
    """Products of ``cloudbuster run``."""
    request = folder / "request.json"
    request.write_text(json.dumps({**world.request, "output": str(folder / "output")}))
    program = Path(sys.executable).with_name("cloudbuster")
    done = subprocess.run(
        [program, "run", str(request), "--json"], capture_output=True, text=True, check=True
    )
    products: dict[str, str] = json.loads(done.stdout)["products"]
    return products


def attempts(stack: DeployedStack, since: int) -> dict[str, list[dict]]:
    """Attempts of jobs since a place in the journal, by the last word of the job's name."""
    found: dict[str, list[dict]] = {}
    for entry in stack.cloud.journal.entries("attempt", since=since):
        found.setdefault(entry["job"].rsplit("-", 1)[-1], []).append(entry)
    return found


def status_of(stack: DeployedStack, ended: Ended, run_id: str) -> dict:
    status: dict = json.loads(stack.get(f"s3://{stack.bucket}/runs/{run_id}/status.json"))
    return status


def failed_run(stack: DeployedStack) -> str:
    """Id of the run that was written last."""
    keys = [key for key in stack.keys("runs/") if key.endswith("/status.json")]
    newest = max(
        keys, key=lambda key: stack.s3.head_object(Bucket=stack.bucket, Key=key)["LastModified"]
    )
    return newest.split("/")[1]


def test_the_mosaic_is_byte_for_byte_that_of_cloudbuster_run(stack, sample, tmp_path) -> None:
    ended = stack.run(sample.in_s3(), name="sample")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["scenes"]["failed"] == 0
    expected = run_here(sample, tmp_path)
    for product in PRODUCTS:
        made = stack.get(ended.output["products"][product])
        assert made == Path(expected[product]).read_bytes(), product


def test_one_build_makes_the_image_that_everything_runs_from(stack, assembly) -> None:
    assert len([call for call in stack.cloud.docker_calls() if call[0] == "build"]) == 1
    template = json.loads((assembly / f"{stack.name}.template.json").read_text())
    functions = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert {function["PackageType"] for function in functions} == {"Image"}
    assert len({json.dumps(function["Code"]) for function in functions}) == 1


def test_a_scene_that_cannot_be_gathered_does_not_end_the_run(stack, tmp_path) -> None:
    world = torn_world(tmp_path / "torn")
    upload(stack.cloud, world)
    request = world.in_s3(name="torn", limits={"min_success_fraction": 0.6})
    ended = stack.run(request, name="torn")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["scenes"] == {"selected": 3, "gathered": 2, "failed": 1}
    assert ended.entered("Exited") == 1


def test_killed_jobs_are_tried_again_by_the_reason(stack, world) -> None:
    place = stack.cloud.journal.place()
    fault = {"after_s": 0.3, "code": None, "status_reason": HOST_GONE, "reason": ""}
    stack.cloud.faults.add("attempt", match={"job": "*-gather-1", "number": "1"}, **fault)
    memory = {"code": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}
    job = {"job": "*-gather-2"}
    stack.cloud.faults.add("attempt", match=job, **{**fault, **memory, "status_reason": "exited"})
    gone = {**fault, "status_reason": NO_HOST}
    stack.cloud.faults.add("attempt", match={"job": "*-gather-3"}, **gone)
    ended = stack.run(world.in_s3(name="killed"), name="killed")
    assert ended.status == "SUCCEEDED", ended.cause
    by_job = attempts(stack, place)
    codes = {job: [entry["code"] for entry in entries] for job, entries in by_job.items()}
    assert codes == {"1": [None, 0], "2": [137, 0], "3": [None, 0], "merge": [0]}
    # The host that went: the same job. Memory, or no host at all: one more job.
    assert len({entry["id"] for entry in by_job["1"]}) == 1
    first, second = by_job["2"]
    assert int(second["sizes"]["MEMORY"]) == 2 * int(first["sizes"]["MEMORY"])
    assert [entry["queue"] for entry in by_job["3"]] == [
        stack.outputs[name].rsplit("/", 1)[-1] for name in ("QueueArn", "OnDemandQueueArn")
    ]


def test_a_throttled_submit_is_tried_again_after_a_jittered_wait(stack, world) -> None:
    place = stack.cloud.journal.place()
    throttled = {"code": "TooManyRequestsException", "message": "Too Many Requests", "status": 429}
    stack.cloud.faults.add("submit", times=4, match={"job": "*-gather-*"}, **throttled)
    stack.cloud.faults.add("submit", times=1, match={"job": "*-merge"}, **throttled)
    ended = stack.run(world.in_s3(name="throttled"), name="throttled")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["scenes"]["gathered"] == 3
    journal = stack.cloud.journal
    assert len(journal.entries("refused", since=place)) == 5
    assert ended.failures() == 5 * ["Batch.AWSBatchException"]
    waits = [entry["seconds"] for entry in journal.entries("retry", since=place)]
    assert len(set(waits)) == len(waits) == 5
    assert max(waits) <= 600


def test_an_error_of_a_function_fails_the_run_and_is_told(stack, world, subscribed) -> None:
    error = {"errorType": "KeyError", "errorMessage": "'features'"}
    stack.cloud.faults.add("invoke", match={"function": "*Filter*"}, **error)
    ended = stack.run(world.in_s3(name="broken"), name="broken")
    assert (ended.status, ended.error) == ("FAILED", "KeyError")
    assert "'features'" in ended.cause
    status = status_of(stack, ended, failed_run(stack))
    assert (status["state"], status["stage"], status["exit_code"]) == ("failed", "filter", 1)
    told = until(subscribed.receive)
    assert told["state"] == "failed"
    assert told["error"] == "KeyError"


def test_a_run_over_its_budget_submits_no_job(stack, world) -> None:
    place = stack.cloud.journal.place()
    request = world.in_s3(name="dear", limits={"budget_usd": 0.001})
    ended = stack.run(request, name="dear")
    assert (ended.status, ended.error) == ("FAILED", "OverBudgetError")
    assert "raise limits.budget_usd" in ended.cause
    assert not stack.cloud.journal.entries("started", since=place)
    assert status_of(stack, ended, failed_run(stack))["exit_code"] == 6


def test_a_stopped_execution_leaves_no_job_running(stack, world) -> None:
    place = stack.cloud.journal.place()
    stack.cloud.faults.add("attempt", times=2, match={"job": "*-gather-*"}, delay_s=120)
    arn = stack.start(world.in_s3(name="stopped"), name="stopped")
    journal = stack.cloud.journal
    children = until(lambda: two(journal.entries("started", since=place)))
    stack.states.stop_execution(executionArn=arn, error="Operator", cause="changed my mind")
    until(lambda: not any(is_alive(child["pid"]) for child in children), 10)
    assert stack.end(arn).status == "ABORTED"
    codes = {entry["code"] for entry in until(lambda: two(journal.entries("attempt", since=place)))}
    assert codes == {143}
    assert not jobs_that_run(stack)
    assert len(journal.entries("started", since=place)) == 2


def two(entries: list[dict]) -> list[dict] | None:
    return entries if len(entries) == 2 else None


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def jobs_that_run(stack: DeployedStack) -> list[str]:
    batch = stack.cloud.client("batch")
    return [
        job["jobName"]
        for queue in ("QueueArn", "OnDemandQueueArn")
        for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
        for job in batch.list_jobs(jobQueue=stack.outputs[queue], jobStatus=state)["jobSummaryList"]
    ]
