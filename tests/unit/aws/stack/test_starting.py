"""Requests dropped in S3: each is one run, a bad one is rejected, the rest waits."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack import starting, turns
from cloudbuster.aws.stack.starting import Starter
from cloudbuster.errors import BadInputError, TryAgainError
from cloudbuster.storage.run_layout import run_id
from tests.unit.aws.requests import QUERY, REQUEST, SQUARE, request

MACHINE = "arn:aws:states:us-west-2:123456789012:stateMachine:CloudBuster"


class Services:
    """Step Functions, SQS and SNS as far as the starter calls them."""

    def __init__(self) -> None:
        self.executions: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.published: list[dict[str, Any]] = []
        self.raced: list[str] = []
        # Names that the list of executions does not show yet, and how many more times it does not.
        self.unlisted: dict[str, int] = {}
        self.turn_is_taken = False
        self.turns: list[str] = []

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
        wanted = asked.get("statusFilter")
        found = [
            {"name": name}
            for name, each in self.executions.items()
            if wanted in (None, each["status"]) and not self.unlisted.get(name)
        ]
        self.unlisted = {name: left - 1 for name, left in self.unlisted.items() if left > 1}
        return {"executions": found[: asked["maxResults"]]}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str) -> None:  # noqa: N803
        assert (Bucket, Key, IfNoneMatch) == ("stack", "turns/start-run", "*")
        assert Body
        if self.turn_is_taken:
            raise refused("PreconditionFailed")
        self.turn_is_taken = True
        self.turns.append("taken")

    def head_object(self, **_asked: str) -> dict[str, Any]:
        return {"LastModified": datetime.now(UTC), "ETag": "other"}

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        assert (Bucket, Key) == ("stack", "turns/start-run")
        self.turn_is_taken = False
        self.turns.append("given back")

    def send_message(self, **message: Any) -> None:
        self.sent.append(message)

    def publish(self, **message: Any) -> None:
        self.published.append(message)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "operation")


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, which take no time here."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


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
    first, same = (starter.start_object(event("requests/a.json", "1")) for _ in range(2))
    assert (first.state, same.state) == ("started", "running")
    services.end(first.execution or "", "SUCCEEDED")
    second = starter.start_object(event("requests/a.json", "2"))
    assert first.execution == same.execution != second.execution
    assert len(services.executions) == 2


def test_two_executions_never_work_on_one_run(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    forced = drop(objects, "requests/f.json", {**REQUEST, "force": True})
    first = starter.start_object(drop(objects, "requests/a.json", REQUEST)).execution or ""
    # From S3 the forced one waits; from the command line it is told to come again.
    assert starter.start_object(forced).state == "waiting"
    assert len(services.sent) == 1
    with pytest.raises(TryAgainError, match=f"is at work as {first}; wait for its end, or stop it"):
        starter.start(request(force=True), version=("now",))
    services.end(first, "FAILED")
    second = starter.start_object(forced)
    assert second.state == "started"
    # Meanwhile the plain one is answered by the forced one.
    answer = starter.start_object(event("requests/a.json"))
    assert (answer.state, answer.execution) == ("running", second.execution)
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
    monkeypatch.setattr(services, "list_executions", throttled)
    assert starter.start_messages(records[:1]) == ["0"]
    with pytest.raises(TryAgainError, match="ThrottlingException"):
        starter.start_object(good)


def test_two_objects_in_one_event_both_run(
    starter: Starter, services: Services, objects: dict[str, bytes]
) -> None:
    told = [drop(objects, f"requests/{n}.json", {**REQUEST, "name": f"n{n}"}) for n in (1, 2)]
    records = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(told)]
    assert starter.start_messages(records) == []
    names = sorted(execution["input"]["name"] for execution in services.executions.values())
    assert names == ["n1", "n2"]


def throttled(**_asked: Any) -> None:
    raise refused("ThrottlingException")


def start_of(starter: Starter, objects: dict[str, bytes], name: str) -> str:
    told = drop(objects, f"requests/{name}.json", {**REQUEST, "name": name})
    return starter.start_object(told).state


def test_a_start_that_the_list_does_not_show_yet_is_waited_for(
    starter: Starter, services: Services, objects: dict[str, bytes], slept: list[float]
) -> None:
    """The list is eventually consistent: who counted by it at once would start one too many."""
    states = []
    for number in range(3):
        name = f"n{number}"
        services.unlisted[run_id(request(name=name))] = 5
        states.append(start_of(starter, objects, name))
    assert states == ["started", "started", "waiting"]
    # Each is missing in three lists before it starts, and in two after.
    assert slept == [starting.LIST_PAUSE_S] * 4
    assert services.turns == ["taken", "given back"] * 3


def test_a_start_that_is_never_listed_ends_the_wait_and_is_told(
    starter: Starter,
    services: Services,
    objects: dict[str, bytes],
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    services.unlisted = {run_id(request()): 1000}
    assert start_of(starter, objects, REQUEST["name"]) == "started"
    assert len(slept) == starting.LIST_TRIES
    assert "execution_not_listed" in caplog.text


def test_who_does_not_get_its_turn_waits_at_the_end_of_the_queue(
    starter: Starter, services: Services, objects: dict[str, bytes], slept: list[float]
) -> None:
    services.turn_is_taken = True
    assert start_of(starter, objects, "n1") == "waiting"
    assert len(services.sent) == 1
    assert services.executions == {}
    assert slept == [turns.PAUSE_S] * (turns.TRIES - 1)
    # It is not ours to give back.
    assert services.turns == []


def test_a_turn_is_given_back_after_a_failure(
    starter: Starter,
    services: Services,
    objects: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "start_execution", throttled)
    with pytest.raises(TryAgainError, match="ThrottlingException"):
        start_of(starter, objects, "n1")
    assert services.turns == ["taken", "given back"]


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://states"),
        ConnectTimeoutError(endpoint_url="https://states"),
    ],
)
def test_a_service_out_of_reach_is_worth_another_try(
    starter: Starter,
    services: Services,
    objects: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def unreachable(**_asked: Any) -> None:
        raise error

    monkeypatch.setattr(services, "describe_execution", unreachable)
    told = drop(objects, "requests/a.json", REQUEST)
    with pytest.raises(TryAgainError) as caught:
        starter.start_object(told)
    message = str(caught.value)
    assert message.startswith("stepfunctions describe_execution: ")
    assert "https://states" in message
    assert message.endswith("; try again")
    record = {"messageId": "7", "body": json.dumps(told)}
    assert starter.start_messages([record]) == ["7"]
