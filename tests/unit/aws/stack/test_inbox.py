"""Requests dropped in S3: each is one run, a bad one is rejected, the rest waits for room."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cloudbuster.aws import starting
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack import turns
from cloudbuster.aws.stack.inbox import TURN_KEY, Inbox
from cloudbuster.errors import TryAgainError
from cloudbuster.storage.remote import s3
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import MACHINE, end_execution, executions
from tests.unit.aws.conftest import Break
from tests.unit.aws.requests import QUERY, REQUEST, SQUARE

TURN = f"s3://store/{TURN_KEY}"


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, which take no time here."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


@pytest.fixture
def settings(machine: str) -> StackSettings:
    """A stack with room for two executions; its topic sends to the queue ``outcomes``."""
    sqs, sns = aws_client("sqs"), aws_client("sns")
    url = sqs.create_queue(QueueName="outcomes")["QueueUrl"]
    asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topic = sns.create_topic(Name="outcomes")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])
    return StackSettings(
        root="s3://store",
        default_request={"query": QUERY},
        state_machine_arn=machine,
        topic_arn=topic,
        queue_url=sqs.create_queue(QueueName="requests")["QueueUrl"],
        max_running_executions=2,
    )


@pytest.fixture
def inbox(settings: StackSettings) -> Inbox:
    return Inbox(settings)


def event(key: str, sequencer: str = "1") -> dict[str, Any]:
    """As https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html."""
    entry = {"key": key, "etag": "e", "sequencer": sequencer}
    return {"detail": {"bucket": {"name": "store"}, "object": entry}}


def drop(key: str, content: object) -> dict[str, Any]:
    """Write an object; return the event that reports it."""
    s3.write_object(f"s3://store/{key}", json.dumps(content).encode())
    return event(key)


def drop_named(name: str) -> dict[str, Any]:
    return drop(f"requests/{name}.json", {**REQUEST, "name": name})


def delayed() -> int:
    """Number of the messages in the queue that nobody can receive yet."""
    sqs, name = aws_client("sqs"), "ApproximateNumberOfMessagesDelayed"
    url = sqs.get_queue_url(QueueName="requests")["QueueUrl"]
    asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(asked["Attributes"][name])


def published() -> list[dict[str, Any]]:
    """Messages of the topic since the last look."""
    sqs = aws_client("sqs")
    url = sqs.get_queue_url(QueueName="outcomes")["QueueUrl"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def end_named(name: str, status: str, **values: Any) -> None:
    end_execution(f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}", status, **values)


def test_the_same_request_in_two_objects_is_one_run(inbox: Inbox) -> None:
    dropped = drop("requests/a.json", REQUEST)
    assert inbox.handle_event(dropped).state == "started"
    assert inbox.handle_event(dropped).state == "running"
    (execution,) = executions()
    end_named(execution["name"], "SUCCEEDED", output=json.dumps({"run_id": "x"}))
    answer = inbox.handle_event(drop("requests/b.json", REQUEST))
    assert (answer.state, answer.result) == ("succeeded", {"run_id": "x"})
    assert len(executions()) == 1


def test_force_starts_once_for_each_object(inbox: Inbox) -> None:
    drop("requests/a.json", {**REQUEST, "force": True})
    first, same = (inbox.handle_event(event("requests/a.json", "1")) for _ in range(2))
    assert (first.state, same.state) == ("started", "running")
    end_named(str(first.execution), "SUCCEEDED")
    second = inbox.handle_event(event("requests/a.json", "2"))
    assert first.execution == same.execution != second.execution
    assert len(executions()) == 2


def test_a_forced_request_waits_while_its_run_is_at_work(inbox: Inbox) -> None:
    first = inbox.handle_event(drop("requests/a.json", REQUEST))
    forced = drop("requests/f.json", {**REQUEST, "force": True})
    assert inbox.handle_event(forced).state == "waiting"
    assert delayed() == 1
    end_named(str(first.execution), "FAILED")
    assert inbox.handle_event(forced).state == "started"


def test_a_request_without_room_waits_at_the_end_of_the_queue(inbox: Inbox) -> None:
    states = [inbox.handle_event(drop_named(f"n{number}")).state for number in range(3)]
    assert states == ["started", "started", "waiting"]
    assert len(executions()) == 2
    assert delayed() == 1
    # A run that exists needs no room.
    assert inbox.handle_event(event("requests/n0.json")).state == "running"


def test_the_message_of_a_waiting_request_is_its_event(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudbuster.aws.stack.inbox.WAIT_S", 0)
    s3.write_object(TURN, b"taken")
    dropped = drop_named("n1")
    assert inbox.handle_event(dropped).state == "waiting"
    sqs = aws_client("sqs")
    url = sqs.get_queue_url(QueueName="requests")["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"]) == dropped


def test_a_bad_request_is_answered_with_the_reason_in_s3_and_by_a_message(inbox: Inbox) -> None:
    dropped = drop("requests/deep/a.json", {**REQUEST, "nam": "x"})
    assert inbox.handle_event(dropped).state == "rejected"
    content = json.loads(s3.read_object("s3://store/rejected/deep/a.json.error.json"))
    assert content["request"] == "requests/deep/a.json"
    assert "did you mean name?" in content["message"]
    (message,) = published()
    assert message["Subject"] == "cloudbuster rejected a request"
    assert json.loads(message["Message"]) == content
    assert executions() == []


def test_an_object_that_does_not_exist_is_rejected(inbox: Inbox) -> None:
    assert inbox.handle_event(event("requests/gone.json")).state == "rejected"
    content = json.loads(s3.read_object("s3://store/rejected/gone.json.error.json"))
    assert content["error"] == "NotFoundError"


@pytest.mark.parametrize("key", ["requests/my area é.json", "requests/a+b.json"])
def test_keys_with_spaces_and_other_letters_work(inbox: Inbox, key: str) -> None:
    assert inbox.handle_event(drop(key, SQUARE)).state == "started"


def test_a_quoted_key_is_unquoted_if_there_is_no_such_object(inbox: Inbox) -> None:
    drop("requests/my area é.json", SQUARE)
    assert inbox.handle_event(event("requests/my+area+%C3%A9.json")).state == "started"


@pytest.mark.parametrize("key", ["runs/x/status.json", "requests/notes.txt"])
def test_other_objects_are_ignored(inbox: Inbox, key: str) -> None:
    assert inbox.handle_event(event(key)).state == "ignored"
    assert s3.object_names("s3://store/rejected") == []


def test_a_large_area_is_written_to_s3_before_its_run_starts(inbox: Inbox) -> None:
    ring = [[x / 10_000, 0.123456789] for x in range(4000)]
    area = {"type": "Polygon", "coordinates": [[*ring, [0.2, 1], ring[0]]]}
    assert inbox.handle_event(drop("requests/a.json", area)).state == "started"
    (execution,) = executions()
    uri = json.loads(execution["input"])["aoi"]["uri"]
    assert json.loads(s3.read_object(uri)) == area


LONG_KEY = f"requests/{'x' * 1010}.json"
NO_EVENTS: list[Any] = [
    *("", "{", "[]", "1", "null", '"text"', "[" * 100_000, '{"detail":' * 2000),
    *({}, {"detail": None}, {"detail": []}, {"detail": {"bucket": {}}}, {"detail": {"object": 1}}),
    *(event(""), event("requests/\ud800.json"), event(f"requests/{'x' * 1100}.json")),
    {"detail": {"bucket": {"name": ["store"]}, "object": {"key": "requests/a.json"}}},
    {"detail": {"bucket": {"name": "theirs"}, "object": {"key": "requests/a.json"}}},
    {"detail": {"bucket": {"name": "store"}, "object": {"key": {"a": 1}}}},
    {"detail": {"bucket": {"name": "store"}, "object": {"key": 10**400}}},
]


def message(body: object, number: int = 0) -> dict[str, Any]:
    """Message of SQS; a text stands for itself."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {"messageId": str(number), "body": text}


def test_a_message_that_is_no_event_of_the_bucket_is_logged_and_not_delivered_again(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    for number, body in enumerate(NO_EVENTS):
        assert inbox.handle_messages([message(body)]) == [], body
        logged = caplog.records[number:]
        assert [record.message for record in logged] == ["event_refused"], body
        assert len(logged[0].reason) < 1000  # type: ignore[attr-defined]  # from `extra`
    assert executions() == []


def test_an_invocation_without_messages_does_nothing(inbox: Inbox) -> None:
    lists: tuple[list[Any], ...] = ([None], [[]], ["x"], [{}], [{"body": None}], [{"body": {}}])
    others: tuple[Any, ...] = (None, {}, "text", 5)
    for records in (*others, *lists):
        assert inbox.handle_messages(records) == [], records


def test_bad_messages_do_not_keep_the_others_from_running(inbox: Inbox) -> None:
    good = drop("requests/a.json", REQUEST)
    s3.write_object("s3://store/requests/b.json", b"[" * 10_000)
    bodies = [*NO_EVENTS[:4], event("requests/b.json"), good, NO_EVENTS[-1]]
    assert inbox.handle_messages([message(body, n) for n, body in enumerate(bodies)]) == []
    assert len(executions()) == 1
    assert s3.object_names("s3://store/rejected") == ["b.json.error.json"]


BAD_CONTENTS = (
    *(b"", b"\xef\xbb\xbf", b"{", b"\xff\xfe", b"null", b"[]", b"[" * 500 + b"]" * 500),
    *(b'{"a":' * 100 + b"1" + b"}" * 100, b'{"name": "\\ud800"}', b'{"name": NaN}'),
    *(b'{"name": "a", "name": "b"}', b'{"type": ["Polygon"]}', b'{"name": 1e999}'),
    b'{"type": "Polygon", "coordinates": [[[0,0],[1e308,0],[1,1e308],[0,0]]]}',
    b'{"type": "Polygon", "coordinates": [[[0,0],[1,1],[1,0],[0,1],[0,0]]]}',
    b'{"type": "Polygon", "coordinates": ' + b"[" * 60 + b"]" * 60 + b"}",
    b'{"type": "FeatureCollection", "features": [' + b"null," * 9 + b"null]}",
    b'{"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": [[]]}}',
    json.dumps({**REQUEST, "filter": {"name_regexp": "(a+)+\\1"}}).encode(),
    json.dumps({**REQUEST, "gather": {"crs": "+proj=utm +nadgrids=/etc/passwd"}}).encode(),
    json.dumps({**REQUEST, "query": {"mindate": ["0001-01-01"], "maxdate": [1e300]}}).encode(),
    json.dumps({**REQUEST, "output": "s3://store/runs/x"}).encode(),
    json.dumps({**REQUEST, "name": "request"}).encode(),
    json.dumps({**REQUEST, **{f"field{n}": n for n in range(1000)}}).encode(),
)


def test_a_content_that_is_no_request_is_answered_with_the_reason(inbox: Inbox) -> None:
    for number, content in enumerate(BAD_CONTENTS):
        s3.write_object(f"s3://store/requests/{number}.json", content)
        assert inbox.handle_messages([message(event(f"requests/{number}.json"))]) == []
        answer = json.loads(s3.read_object(f"s3://store/rejected/{number}.json.error.json"))
        assert answer["error"] in ("RequestError", "AoiError", "GridError"), content
        assert "a fault of cloudbuster" not in answer["message"], content
        assert len(answer["message"]) <= 4096
        (sent,) = published()
        assert json.loads(sent["Message"]) == answer
    assert executions() == []


def test_a_content_that_shows_a_fault_is_answered_too(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cloudbuster.aws.stack.inbox.parse_request", fail)
    dropped = drop("requests/a.json", REQUEST)
    assert inbox.handle_messages([message(dropped)]) == []
    answer = json.loads(s3.read_object("s3://store/rejected/a.json.error.json"))
    assert "a fault of cloudbuster (ZeroDivisionError); report it" in answer["message"]


def test_a_request_that_failed_too_often_is_answered(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "MAX_ATTEMPTS", 1)
    dropped = drop("requests/a.json", REQUEST)
    end_named(str(inbox.handle_event(dropped).execution), "FAILED")
    assert inbox.handle_event(dropped).state == "rejected"
    answer = json.loads(s3.read_object("s3://store/rejected/a.json.error.json"))
    assert "failed 1 times" in answer["message"]


@pytest.mark.parametrize(
    "key", [LONG_KEY, "requests/../runs/x/status.json", "requests/a//b.json", "requests/./a.json"]
)
def test_a_key_that_cannot_name_its_answer_is_answered_under_another(
    inbox: Inbox, key: str
) -> None:
    assert inbox.handle_messages([message(event(key))]) == []
    (name,) = s3.object_names("s3://store/rejected")
    answer = json.loads(s3.read_object(f"s3://store/rejected/{name}"))
    assert answer["request"] == key
    assert s3.object_names("s3://store/runs") == []


@pytest.mark.parametrize("code", ["ThrottlingException", None])
@pytest.mark.parametrize("operation", ["ListExecutions", "DescribeExecution"])
def test_a_message_is_delivered_again_after_a_failure_of_a_service(
    inbox: Inbox, break_service: Break, operation: str, code: str | None
) -> None:
    dropped = drop("requests/a.json", REQUEST)
    break_service("stepfunctions", operation, code)
    with pytest.raises(TryAgainError, match=r"; try again$"):
        inbox.handle_event(dropped)
    record = {"messageId": "7", "body": json.dumps(dropped)}
    assert inbox.handle_messages([record]) == ["7"]
    assert s3.object_names("s3://store/rejected") == []


def test_two_objects_in_two_messages_both_run(inbox: Inbox) -> None:
    dropped = [drop_named(f"n{number}") for number in (1, 2)]
    records = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(dropped)]
    assert inbox.handle_messages(records) == []
    started = sorted(json.loads(execution["input"])["name"] for execution in executions())
    assert started == ["n1", "n2"]


@pytest.fixture
def unlisted() -> Iterator[dict[str, int]]:
    """Runs that the list of executions does not show yet, and for how many more looks.

    moto's list shows a start at once; that of AWS is eventually consistent.
    """
    hidden: dict[str, int] = {}
    client = aws_client("stepfunctions")

    def hide(parsed: dict[str, Any], **_call: Any) -> None:
        shown = [each for each in parsed["executions"] if not hidden.get(run_name(each["name"]))]
        parsed["executions"] = shown
        for name in hidden:
            hidden[name] = max(0, hidden[name] - 1)

    client.meta.events.register("after-call.sfn.ListExecutions", hide)
    yield hidden
    client.meta.events.unregister("after-call.sfn.ListExecutions", hide)


def run_name(execution: str) -> str:
    """Name of the mosaic in the name of an execution."""
    return execution.rpartition("-")[0]


def test_a_start_is_waited_for_until_the_list_shows_it(
    inbox: Inbox, unlisted: dict[str, int], slept: list[float]
) -> None:
    """A function that counted by the list at once would start one execution too many."""
    states = []
    for number in range(3):
        unlisted[f"n{number}"] = 5
        states.append(inbox.handle_event(drop_named(f"n{number}")).state)
    assert states == ["started", "started", "waiting"]
    # Each is missing in three lists before it starts, and in two after.
    assert slept == [starting.LIST_PAUSE_S] * 4
    assert not s3.object_exists(TURN)


def test_a_start_that_is_never_listed_ends_the_wait_with_a_warning(
    inbox: Inbox,
    unlisted: dict[str, int],
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    unlisted["n1"] = 1000
    assert inbox.handle_event(drop_named("n1")).state == "started"
    assert len(slept) == starting.LIST_TRIES
    assert "execution_not_listed" in caplog.text


def test_a_function_that_does_not_get_its_turn_puts_the_request_off(
    inbox: Inbox, slept: list[float]
) -> None:
    s3.write_object(TURN, b"of another function")
    assert inbox.handle_event(drop_named("n1")).state == "waiting"
    assert delayed() == 1
    assert executions() == []
    assert slept == [turns.PAUSE_S] * (turns.TRIES - 1)
    # The turn is not its own to give back.
    assert s3.read_object(TURN) == b"of another function"


def test_the_turn_is_given_back_after_a_failure(inbox: Inbox, break_service: Break) -> None:
    break_service("stepfunctions", "StartExecution", "ThrottlingException")
    with pytest.raises(TryAgainError, match="ThrottlingException"):
        inbox.handle_event(drop_named("n1"))
    assert not s3.object_exists(TURN)
