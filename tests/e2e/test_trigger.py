"""Requests that are dropped in the bucket."""

import json

import pytest

from tests.e2e.cloud import DeployedStack, until

pytestmark = pytest.mark.e2e


def drop(stack: DeployedStack, key: str, document: object) -> None:
    stack.put(key, json.dumps(document).encode())


def runs_of(stack: DeployedStack, name: str) -> list[str]:
    """Names of the executions of one mosaic."""
    return [known for known in stack.executions() if known.startswith(f"{name}-")]


def handled(stack: DeployedStack, key: str, since: int) -> list[str]:
    """Outcome of each delivery of an object since a place in the journal."""
    logs = [
        entry["log"]
        for entry in stack.cloud.journal.entries("function", since=since)
        if "StartRun" in entry["name"]
    ]
    lines = [json.loads(line) for log in logs for line in log.splitlines()]
    return [line["state"] for line in lines if line.get("key") == key]


def drop_and_wait(stack: DeployedStack, key: str, document: object) -> str:
    """Drop a request; return the outcome."""
    place = stack.cloud.journal.place()
    drop(stack, key, document)
    (state,) = until(lambda: handled(stack, key, place))
    return state


def test_a_request_that_is_dropped_twice_is_one_run(stack, world) -> None:
    request = world.in_s3(name="twice")
    assert drop_and_wait(stack, "requests/twice.json", request) == "started"
    assert drop_and_wait(stack, "requests/twice again.json", request) == "running"
    (name,) = runs_of(stack, "twice")
    assert stack.end(stack.execution(name)).status == "SUCCEEDED"
    assert drop_and_wait(stack, "requests/twice.json", request) == "succeeded"
    assert runs_of(stack, "twice") == [name]
    status = json.loads(stack.get(f"s3://{stack.bucket}/runs/{name}/status.json"))
    assert status["state"] == "succeeded"


def test_a_bad_request_is_rejected_with_the_reason(stack, world, subscribed) -> None:
    request = world.in_s3(name="bad")
    request["query"] = {**request["query"], "maxclouds": 150}
    before = stack.executions()
    drop(stack, "requests/bad.json", request)
    message = until(subscribed.receive)
    assert message["request"] == "requests/bad.json"
    content = stack.get(f"s3://{stack.bucket}/rejected/bad.json.error.json")
    assert "maxclouds" in json.loads(content)["message"]
    assert stack.executions() == before


def test_a_bare_area_under_a_key_of_any_characters_runs_with_the_defaults(stack, world) -> None:
    error = {"errorType": "NothingUsableError", "errorMessage": "no scene"}
    stack.cloud.faults.add("invoke", match={"function": "*Query*"}, **error)
    area = {"type": "Feature", "geometry": world.request["aoi"], "properties": {}}
    assert drop_and_wait(stack, "requests/für Zoë + 1.json", area) == "started"
    (name,) = runs_of(stack, "f-r-Zo-1")
    ended = stack.end(stack.execution(name))
    assert (ended.status, ended.error) == ("FAILED", "NothingUsableError")


def test_the_request_of_a_failed_run_starts_again(stack, world) -> None:
    error = {"errorType": "KeyError", "errorMessage": "'features'"}
    stack.cloud.faults.add("invoke", match={"function": "*Filter*"}, **error)
    request = world.in_s3(name="failed")
    assert drop_and_wait(stack, "requests/failed.json", request) == "started"
    (first,) = runs_of(stack, "failed")
    assert stack.end(stack.execution(first)).status == "FAILED"
    assert drop_and_wait(stack, "requests/failed.json", request) == "started"
    assert runs_of(stack, "failed") == [first, f"{first}-a2"]
    assert stack.end(stack.execution(f"{first}-a2")).status == "SUCCEEDED"


def test_a_request_beyond_the_limit_waits_until_there_is_room(stack, world, tmp_path) -> None:
    held = tmp_path / "held"
    held.touch()
    journal, place = stack.cloud.journal, stack.cloud.journal.place()
    stack.cloud.faults.add("attempt", times=2, match={"job": "*-gather-*"}, held_by=str(held))
    names = ("busy-1", "busy-2")
    running = [stack.start(world.in_s3(name=name), name=name) for name in names]
    until(lambda: len(journal.entries("started", since=place)) == 2)
    drop(stack, "requests/third.json", world.in_s3(name="third"))
    assert until(lambda: journal.entries("delayed", since=place))[0]["seconds"] == 60
    assert not runs_of(stack, "third")
    for arn in running:
        stack.states.stop_execution(executionArn=arn)
    (name,) = until(lambda: runs_of(stack, "third"))
    assert stack.end(stack.execution(name)).status == "SUCCEEDED"
    assert not stack.keys("rejected/third")


def test_a_message_that_is_no_event_leaves_both_queues_empty(stack) -> None:
    sqs = stack.cloud.client("sqs")
    (url,) = (
        url
        for url in sqs.list_queues(QueueNamePrefix=stack.name)["QueueUrls"]
        if "TriggerRequests" in url and url.rsplit("/", 1)[-1].startswith(f"{stack.name}-Trigger")
    )
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty(queue: str) -> bool:
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"]
        return all(found[count] == "0" for count in counts)

    sqs.send_message(QueueUrl=url, MessageBody="no event")
    assert until(lambda: is_empty(url))
    assert is_empty(stack.outputs["DeadLettersUrl"])
