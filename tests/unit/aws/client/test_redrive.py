"""Sending the requests in the dead-letter queue of the deployed stack back."""

import json
from typing import Any

import pytest

from cloudbuster.aws.client import redrive
from cloudbuster.errors import ExitCode
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import DEAD_LETTERS, Invoke, deploy, template
from tests.unit.aws.conftest import Break

FINISH = {"detail-type": "Step Functions Execution Status Change", "detail": {"name": "x-1"}}


def event(number: int) -> str:
    detail = {"bucket": {"name": "store"}, "object": {"key": f"requests/{number}.json"}}
    return json.dumps({"source": "aws.s3", "detail": detail})


@pytest.fixture
def requests(aws: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The stack with its two queues; URL of the queue of requests."""
    assert aws
    monkeypatch.setattr(redrive, "WAIT_S", 0)
    sqs = aws_client("sqs")
    assert sqs.create_queue(QueueName="dead-letters")["QueueUrl"] == DEAD_LETTERS
    url = str(sqs.create_queue(QueueName="requests")["QueueUrl"])
    deploy(template(queue_url=url))
    return url


def lose(*bodies: str) -> None:
    for body in bodies:
        aws_client("sqs").send_message(QueueUrl=DEAD_LETTERS, MessageBody=body)


def visible(queue: str) -> list[str]:
    """Bodies of the messages that can be received now."""
    found: list[dict[str, Any]] = []
    while True:
        answer = aws_client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            return sorted(message["Body"] for message in found)
        found += answer["Messages"]


def test_redrive_sends_every_request_back_and_leaves_other_messages(
    invoke: Invoke, requests: str
) -> None:
    events = [event(number) for number in range(23)]
    others = [json.dumps(FINISH), "no JSON", "[]"]
    lose(*events[:5], *others, *events[5:])
    code, out, _ = invoke("redrive", "--json")
    found = json.loads(out)
    assert code == 0
    assert sorted(found["requests"]) == sorted(f"requests/{number}.json" for number in range(23))
    assert found["left"] == 3
    assert visible(requests) == sorted(events)
    assert visible(DEAD_LETTERS) == sorted(others)


def test_an_empty_queue_is_no_error(invoke: Invoke, requests: str) -> None:
    assert invoke("redrive") == (0, "0 requests sent back, 0 other messages left\n", "")
    lose(event(1))
    lines = "sent back requests/1.json\n1 requests sent back, 0 other messages left\n"
    assert invoke("redrive") == (0, lines, "")
    assert visible(requests) == [event(1)]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ReceiveMessage", event(1)),
        ("SendMessage", event(1)),
        ("DeleteMessage", event(1)),
        ("ChangeMessageVisibility", "no JSON"),
    ],
)
@pytest.mark.usefixtures("requests")
def test_a_missing_permission_is_named(
    invoke: Invoke, break_service: Break, operation: str, body: str
) -> None:
    lose(body)
    break_service("sqs", operation, "AccessDenied")
    code, _, err = invoke("redrive")
    assert code == ExitCode.BAD_INPUT
    assert f"these credentials need sqs:{operation}" in err.splitlines()[-1]


@pytest.mark.usefixtures("stack")
def test_a_stack_that_publishes_no_queue_is_refused(invoke: Invoke) -> None:
    code, _, err = invoke("redrive")
    assert code == ExitCode.BAD_INPUT
    assert "stack CloudBuster does not publish its queues; deploy the stack" in err
