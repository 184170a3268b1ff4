"""Executions of the deployed stack: their mosaics, and their ends after failures."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import shapely
import shapely.geometry

from cloudbuster.aws.stack.state import RUN
from cloudbuster.models import MAX_INLINE_AOI_BYTES
from infra.settings import INLINE_TASKS
from tests.e2e.cloud import MAX_PAYLOAD_BYTES, DeployedStack, FinishedExecution, until
from tests.e2e.commands import run_locally
from tests.e2e.worlds import BUCKET, World, half_world, published_items, torn_world, upload
from tests.stac_server import StacServer, serving

pytestmark = pytest.mark.e2e

Entry = dict[str, Any]
PRODUCTS = ("cloudless", "cloudy", "quality", "preview")
EXITED = "Essential container in task exited"
HOST_GONE = "Host EC2 (instance i-0123456789abcdef0) terminated."
COLD = ("CodeArtifactUserPendingException", "ResourceConflictException")
NO_HOST = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity request"


def attempts(stack: DeployedStack, since: int) -> dict[str, list[Entry]]:
    """Attempts of jobs since a place in the journal, by the last word of the job's name."""
    found: dict[str, list[Entry]] = {}
    for entry in stack.cloud.journal.entries("attempt", since=since):
        found.setdefault(entry["job"].rsplit("-", 1)[-1], []).append(entry)
    return found


def status_of(stack: DeployedStack, name: str) -> Entry:
    """The ``status.json`` of the only run of a mosaic."""
    (key,) = (key for key in stack.keys(f"runs/{name}-") if key.endswith("/status.json"))
    status: Entry = json.loads(stack.get(f"s3://{stack.bucket}/{key}"))
    return status


@pytest.fixture(scope="module")
def sample_run(stack: DeployedStack, sample: World) -> FinishedExecution:
    """A run over the sample world."""
    return stack.run(sample.in_s3(), name="sample")


def test_the_mosaic_is_byte_for_byte_that_of_cloudbuster_run(
    stack, sample, sample_run, tmp_path
) -> None:
    assert sample_run.status == "SUCCEEDED", sample_run.cause
    assert sample_run.output["scenes"]["failed"] == 0
    expected = run_locally(sample, tmp_path)
    for product in PRODUCTS:
        made = stack.get(sample_run.output["products"][product])
        assert made == Path(expected[product]).read_bytes(), product
    # The report ends with the request, which has no mirror for the run on this machine.
    made = stack.get(sample_run.output["products"]["report"]).partition(b"<h2>Request")
    assert made[0] == Path(expected["report"]).read_bytes().partition(b"<h2>Request")[0]
    assert made[1]


def test_catalog_and_scenes_may_be_a_stac_api_and_a_bucket(stack, world, tmp_path) -> None:
    expected = run_locally(world, tmp_path)
    with serving(StacServer(published_items(world))) as server:
        query = {**world.request["query"], "catalog": server.url}
        ended = stack.run({**world.request, "name": "small", "query": query}, name="published")
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(server.searches) >= 2
    assert ended.output["scenes"] == {"selected": 3, "gathered": 3, "failed": 0}
    made = stack.get(ended.output["products"]["cloudless"])
    assert made == Path(expected["cloudless"]).read_bytes()


def test_scenes_in_a_bucket_that_no_role_may_read_end_the_run_before_its_first_job(
    stack, world
) -> None:
    place = stack.cloud.journal.place()
    items = json.dumps(published_items(world)).replace(f"s3://{BUCKET}/", "s3://theirs/")
    with serving(StacServer(json.loads(items))) as server:
        query = {**world.request["query"], "catalog": server.url}
        ended = stack.run({**world.request, "name": "theirs", "query": query}, name="theirs")
    assert (ended.status, ended.error) == ("FAILED", "RequestError")
    assert "deploy with theirs in input_buckets" in ended.cause
    assert not stack.cloud.journal.entries("started", since=place)


def test_the_largest_area_and_the_most_scenes_fit_into_the_state(stack, world, sample_run) -> None:
    area = shapely.segmentize(shapely.geometry.shape(world.request["aoi"]), 1.6e-5)
    aoi = shapely.geometry.mapping(area)
    size = len(json.dumps(aoi, separators=(",", ":")))
    assert 0.9 * MAX_INLINE_AOI_BYTES < size <= MAX_INLINE_AOI_BYTES
    small = stack.run(world.in_s3(name="wide", aoi=aoi), name="wide")
    assert small.status == "SUCCEEDED", small.cause
    # Each further scene adds the same few bytes to the state.
    runs = (small, sample_run)
    few, many = (ended.output["scenes"]["selected"] for ended in runs)
    short, long = (len(ended.entered_with("Assess")) for ended in runs)
    assert long + (INLINE_TASKS - many) * (long - short) / (many - few) < MAX_PAYLOAD_BYTES


def test_functions_and_jobs_run_the_code_of_one_image(stack, assembly) -> None:
    template = json.loads((assembly / f"{stack.name}.template.json").read_text())["Resources"]
    images = [
        entry["Properties"]["Code"]["ImageUri"]
        if entry["Type"] == "AWS::Lambda::Function"
        else entry["Properties"]["ContainerProperties"]["Image"]
        for entry in template.values()
        if entry["Type"] in ("AWS::Lambda::Function", "AWS::Batch::JobDefinition")
    ]
    (tag,) = {json.dumps(image).rsplit(":", 1)[-1].rstrip('"}]') for image in images}
    builds = [call for call in stack.cloud.docker_calls() if call[0] == "build"]
    assert len([build for build in builds if tag in " ".join(build)]) == 1
    (query,) = (name for name in stack.function_names() if "Query" in name)
    answer = stack.invoke(query, {"request": {}, "execution": "nothing"})
    assert answer["errorType"] == "RequestError"
    root = str(stack.cloud.settings.images / "roots")
    frames = [frame for frame in answer["stackTrace"] if root in frame]
    assert any("opt/app/lambdas/query.py" in frame for frame in frames)
    assert "opt/venv/lib/site-packages/cloudbuster" in frames[-1]


def test_a_scene_that_cannot_be_gathered_does_not_end_the_run(stack, tmp_path) -> None:
    world = torn_world(tmp_path / "torn")
    upload(stack.cloud, world)
    request = world.in_s3(name="torn", limits={"min_success_fraction": 0.6})
    ended = stack.run(request, name="torn")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["scenes"] == {"selected": 3, "gathered": 2, "failed": 1}
    assert ended.entered("Exited") == 1
    # Every scene is needed now, and the run ends with the own error of the lost one.
    strict = stack.run(
        world.in_s3(name="strict", limits={"min_success_fraction": 1}), name="strict"
    )
    assert (strict.status, strict.error) == ("FAILED", "JobsTryAgainError")
    assert re.search(
        r"; scene \d: TryAgainError: s3://.*/B0\d\.tif: .*; submit it again", strict.cause
    )
    assert strict.cause in status_of(stack, "strict")["error"]


def test_a_second_round_replaces_a_scene_and_has_the_bytes_of_the_run_on_one_machine(
    stack, tmp_path
) -> None:
    world = half_world(tmp_path / "half")
    upload(stack.cloud, world)
    ended = stack.run(world.in_s3(), name="halves")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.entered("NextRound") == 1
    assert ended.output["scenes"]["failed"] == 1
    expected = run_locally(world, tmp_path)
    for product in PRODUCTS:
        made = stack.get(ended.output["products"][product])
        assert made == Path(expected[product]).read_bytes(), product


def test_killed_jobs_are_tried_again_depending_on_the_reason(stack, world) -> None:
    place = stack.cloud.journal.place()
    fault = {"after_s": 0.3, "code": None, "status_reason": HOST_GONE, "reason": ""}
    stack.cloud.faults.add("attempt", match={"job": "*-gather-1", "number": "1"}, **fault)
    memory = {"code": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}
    job = {"job": "*-gather-2"}
    stack.cloud.faults.add("attempt", match=job, **{**fault, **memory, "status_reason": EXITED})
    gone = {**fault, "status_reason": NO_HOST}
    stack.cloud.faults.add("attempt", match={"job": "*-gather-3"}, **gone)
    again = {"after_s": 0.3, "code": 75, "status_reason": EXITED, "reason": ""}
    stack.cloud.faults.add("attempt", match={"job": "*-merge"}, **again)
    ended = stack.run(world.in_s3(name="killed"), name="killed")
    assert ended.status == "SUCCEEDED", ended.cause
    by_job = attempts(stack, place)
    codes = {job: [entry["code"] for entry in entries] for job, entries in by_job.items()}
    assert codes == {"1": [None, 0], "2": [137, 0], "3": [None, 0], "merge": [75, 0]}
    # A reclaimed host: the same job again. No memory, or no host: another job.
    assert len({entry["id"] for entry in by_job["1"]}) == 1
    first, second = by_job["2"]
    assert int(second["sizes"]["MEMORY"]) == 2 * int(first["sizes"]["MEMORY"])
    assert [entry["queue"] for entry in by_job["3"]] == [
        stack.outputs[name].rsplit("/", 1)[-1] for name in ("QueueArn", "OnDemandQueueArn")
    ]


def test_a_throttled_submission_is_repeated_after_a_random_wait(stack, world) -> None:
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


@pytest.mark.parametrize("code", COLD)
def test_functions_of_a_stack_that_was_idle_for_weeks_are_called_again(stack, world, code) -> None:
    place = stack.cloud.journal.place()
    cold = {"code": code, "message": "The function is not ready", "status": 409}
    # 10 + 20 + 40 + 60 s: longer than the 106 s of public reports.
    stack.cloud.faults.add("call", times=4, match={"function": "*Query*"}, **cold)
    stack.cloud.faults.add("call", times=4, match={"function": "*Finish*"}, **cold)
    name = f"cold-{COLD.index(code)}"
    request = world.in_s3(name=name, limits={"budget_usd": 0.001})
    ended = stack.run(request, name=name)
    assert (ended.status, ended.error) == ("FAILED", "OverBudgetError")
    assert ended.failures() == 8 * [f"Lambda.{code}"]
    waits = [entry["seconds"] for entry in stack.cloud.journal.entries("retry", since=place)]
    assert waits == 2 * [10, 20, 40, 60]


def test_an_error_of_a_function_fails_the_run_with_a_notification(stack, world, subscribed) -> None:
    error = {"errorType": "KeyError", "errorMessage": "'features'"}
    stack.cloud.faults.add("invoke", match={"function": "*Filter*"}, **error)
    ended = stack.run(world.in_s3(name="broken"), name="broken")
    assert (ended.status, ended.error) == ("FAILED", "KeyError")
    assert "'features'" in ended.cause
    status = status_of(stack, "broken")
    assert (status["state"], status["stage"], status["exit_code"]) == ("failed", "filter", 1)
    outcome = until(subscribed.receive)
    assert (outcome["state"], outcome["error"]) == ("failed", "KeyError")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("empty-list", []),
        ("bare-text", "text"),
        ("no-run", {"run": {**dict.fromkeys(RUN, "s3://elsewhere/x"), "round": 1}}),
    ],
)
def test_an_input_that_is_no_request_fails_with_a_notification(
    stack, subscribed, name, given
) -> None:
    before = stack.keys("runs/")
    ended = stack.run(given, name=name)
    assert (ended.status, ended.error) == ("FAILED", "RequestError")
    outcome = until(subscribed.receive)
    assert (outcome["run_id"], outcome["stage"], outcome["exit_code"]) == (name, "query", 5)
    assert outcome["cause"].startswith(f"{name}: ")
    assert stack.keys("runs/") == before


def test_a_finished_mosaic_succeeds_if_its_last_state_fails(stack, world, subscribed) -> None:
    error = {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 120 s"}
    stack.cloud.faults.add("invoke", match={"function": "*Finish*"}, **error)
    ended = stack.run(world.in_s3(name="unnotified"), name="unnotified")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.entered("FinishNotNotified") == 1
    assert stack.get(ended.output["products"]["cloudless"])
    assert until(subscribed.receive)["state"] == "succeeded"
    assert status_of(stack, "unnotified")["state"] == "succeeded"


def test_a_run_over_its_budget_submits_no_job(stack, world) -> None:
    place = stack.cloud.journal.place()
    request = world.in_s3(name="dear", limits={"budget_usd": 0.001})
    ended = stack.run(request, name="dear")
    assert (ended.status, ended.error) == ("FAILED", "OverBudgetError")
    assert "raise limits.budget_usd" in ended.cause
    assert not stack.cloud.journal.entries("started", since=place)
    assert status_of(stack, "dear")["exit_code"] == 6


def test_a_stopped_execution_leaves_no_running_job_and_is_reported(
    stack, world, subscribed, tmp_path
) -> None:
    place = stack.cloud.journal.place()
    held = tmp_path / "held"
    held.touch()
    stack.cloud.faults.add("attempt", times=2, match={"job": "*-gather-*"}, held_by=str(held))
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
    outcome = until(subscribed.receive)
    assert (outcome["execution"], outcome["state"]) == ("stopped", "failed")
    assert (outcome["exit_code"], outcome["stage"]) == (143, "gather")
    assert outcome["error"] == "Aborted"
    assert "Operator: changed my mind" in outcome["cause"]
    status = until(lambda: ended_status(stack, "stopped"))
    assert (status["state"], status["stage"], status["exit_code"]) == ("failed", "gather", 143)
    assert status["error"] == f"{outcome['error']}: {outcome['cause']}"


def test_a_run_whose_last_state_fails_is_reported_by_an_event(stack, world, subscribed) -> None:
    error = {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 120 s"}
    request = world.in_s3(name="unreported", limits={"budget_usd": 0.001})
    # The call of the last state, and the first one for the event.
    stack.cloud.faults.add("invoke", times=2, match={"function": "*Finish*"}, **error)
    ended = stack.run(request, name="unreported")
    assert (ended.status, ended.error) == ("FAILED", "FinishError")
    outcome = until(subscribed.receive)
    assert (outcome["execution"], outcome["state"]) == ("unreported", "failed")
    assert outcome["exit_code"] == 1
    assert until(lambda: ended_status(stack, "unreported"))["exit_code"] == 1
    assert subscribed.receive() is None


def ended_status(stack: DeployedStack, name: str) -> Entry | None:
    status = status_of(stack, name)
    return None if status["state"] == "running" else status


def two(entries: list[Entry]) -> list[Entry] | None:
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
