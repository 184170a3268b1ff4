"""Requests dropped in S3: each is one run, a bad one is rejected, the rest waits."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloudbuster.aws import starting
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.starting import Starter
from cloudbuster.errors import BadInputError, TryAgainError
from tests.unit.aws.test_runs import QUERY, REQUEST, SQUARE

MACHINE = "arn:aws:states:us-west-2:123456789012:stateMachine:CloudBuster"


class Services:
    """Step Functions, SQS and SNS as far as the starter calls them."""

    def __init__(self) -> None:
        self.executions: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.published: list[dict[str, Any]] = []
        self.raced: list[str] = []

    def client(self, _service: str) -> "Services":
        return self

    def end(self, name: str, status: str, output: object = None) -> None:
        self.executions[name] |= {"status": status, "output": json.dumps(output)}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803 -- boto3's
        name = executionArn.rsplit(":", 1)[1]
        if name not in self.executions or name in self.raced:
            self.raced = [other for other in self.raced if other != name]
            raise refused("ExecutionDoesNotExist")
        return self.executions[name]

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:  # noqa: A002, N803
        assert stateMachineArn == MACHINE
        if name in self.executions:
            raise refused("ExecutionAlreadyExists")
        self.executions[name] = {"status": "RUNNING", "input": json.loads(input)}

    def list_executions(self, **asked: Any) -> dict[str, Any]:
        assert asked["statusFilter"] == "RUNNING"
        running = [name for name, each in self.executions.items() if each["status"] == "RUNNING"]
        return {"executions": running[: asked["maxResults"]]}

    def send_message(self, **message: Any) -> None:
        self.sent.append(message)

    def publish(self, **message: Any) -> None:
        self.published.append(message)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "operation")


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Objects of S3, by URI."""
    known: dict[str, bytes] = {}

    def read(uri: str) -> bytes:
        if uri not in known:
            msg = f"{uri}: no such object"
            raise BadInputError(msg)
        return known[uri]

    monkeypatch.setattr(starting, "read_bytes", read)
    monkeypatch.setattr(starting, "write_bytes", known.__setitem__)
    return known


@pytest.fixture
def starter(services: Services) -> Starter:
    settings = StackSettings(
        root="s3://stack",
        default_request={"query": QUERY},
        state_machine_arn=MACHINE,
        topic_arn="arn:topic",
        queue_url="https://queue",
        max_running_executions=2,
    )
    return Starter(settings, services.client)


def event(key: str, sequencer: str = "1") -> dict[str, Any]:
    entry = {"key": key, "etag": "e", "sequencer": sequencer}
    return {"detail": {"bucket": {"name": "stack"}, "object": entry}}


def drop(objects: dict[str, bytes], key: str, content: object) -> dict[str, Any]:
    objects[f"s3://stack/{key}"] = json.dumps(content).encode()
    return event(key)


def test_the_same_request_twice_is_one_run(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    told = drop(objects, "requests/a.json", REQUEST)
    assert starter.start_object(told).state == "started"
    assert starter.start_object(told).state == "running"
    (name,) = services.executions
    services.end(name, "SUCCEEDED", {"run_id": name})
    answer = starter.start_object(drop(objects, "requests/b.json", REQUEST))
    assert (answer.state, answer.result) == ("succeeded", {"run_id": name})
    assert list(services.executions) == [name]


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "TIMED_OUT"])
def test_a_run_that_did_not_succeed_starts_again(
    starter: Starter, services: Services, objects: dict[str, bytes], status: str
) -> None:
    told = drop(objects, "requests/a.json", REQUEST)
    first = starter.start_object(told).execution or ""
    services.end(first, status)
    second = starter.start_object(told)
    assert second.execution == f"{first}-a2"
    services.end(f"{first}-a2", status)
    assert starter.start_object(told).execution == f"{first}-a3"


def test_force_starts_once_for_each_object_that_is_dropped(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    drop(objects, "requests/a.json", {**REQUEST, "force": True})
    names = [
        starter.start_object(event("requests/a.json", sequencer)).execution for sequencer in "112"
    ]
    assert names[0] == names[1] != names[2]
    assert len(services.executions) == 2


def test_who_loses_a_race_finds_the_run_of_the_other(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    told = drop(objects, "requests/a.json", REQUEST)
    name = starter.start_object(told).execution or ""
    services.raced = [name]
    assert starter.start_object(told).state == "running"
    assert len(services.executions) == 1


def test_what_does_not_fit_waits_at_the_end_of_the_queue(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    for number in range(3):
        told = drop(objects, f"requests/{number}.json", {**REQUEST, "name": f"n{number}"})
        answer = starter.start_object(told)
    assert answer.state == "waiting"
    assert len(services.executions) == 2
    (message,) = services.sent
    assert json.loads(message["MessageBody"]) == told
    assert message["DelaySeconds"] == 60
    # What runs already needs no room.
    known = drop(objects, "requests/0.json", {**REQUEST, "name": "n0"})
    assert starter.start_object(known).state == "running"


def test_a_bad_request_is_rejected_with_the_reason_and_told(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    told = drop(objects, "requests/deep/a.json", {**REQUEST, "nam": "x"})
    assert starter.start_object(told).state == "rejected"
    content = json.loads(objects["s3://stack/rejected/deep/a.json.error.json"])
    assert content["request"] == "requests/deep/a.json"
    assert "did you mean name?" in content["message"]
    assert services.published[0]["TopicArn"] == "arn:topic"
    assert services.executions == {}


@pytest.mark.parametrize("key", ["requests/my area é.json", "requests/a+b.json"])
def test_keys_with_spaces_and_other_letters_work(
    starter: Starter, objects: dict[str, bytes], key: str
) -> None:
    assert starter.start_object(drop(objects, key, SQUARE)).state == "started"


def test_a_quoted_key_is_unquoted_where_there_is_no_such_object(
    starter: Starter, objects: dict[str, bytes]
) -> None:
    drop(objects, "requests/my area é.json", SQUARE)
    assert starter.start_object(event("requests/my+area+%C3%A9.json")).state == "started"


@pytest.mark.parametrize("key", ["runs/x/status.json", "requests/notes.txt"])
def test_other_objects_are_ignored(starter: Starter, objects: dict[str, bytes], key: str) -> None:
    assert starter.start_object(event(key)).state == "ignored"
    assert objects == {}


def test_a_large_area_is_kept_before_its_run_starts(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    ring = [[x / 10_000, 0.123456789] for x in range(4000)]
    area = {"type": "Polygon", "coordinates": [[*ring, [0.2, 1], ring[0]]]}
    assert starter.start_object(drop(objects, "requests/a.json", area)).state == "started"
    (execution,) = services.executions.values()
    assert json.loads(objects[execution["input"]["aoi"]["uri"]]) == area


def test_messages_that_cannot_be_handled_are_delivered_again_and_the_others_run(
    starter: Starter,
    services: Services,
    objects: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = drop(objects, "requests/a.json", REQUEST)
    bodies = [json.dumps(good), "{", json.dumps({"detail": {}})]
    records = [{"messageId": str(n), "body": body} for n, body in enumerate(bodies)]
    assert starter.start_messages(records) == ["1", "2"]
    assert len(services.executions) == 1
    monkeypatch.setattr(services, "describe_execution", throttled)
    assert starter.start_messages(records[:1]) == ["0"]
    with pytest.raises(TryAgainError, match="ThrottlingException"):
        starter.start_object(good)


def throttled(**_asked: Any) -> None:
    raise refused("ThrottlingException")
