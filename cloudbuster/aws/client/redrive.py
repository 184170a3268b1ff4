"""Send the requests in the dead-letter queue of the deployed stack back to be handled again."""

from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.client.deployed import REDEPLOY, DeployedStack
from cloudbuster.aws.outputs import Output
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# Messages that one call of ReceiveMessage returns at most (its API reference).
BATCH = 10
# Seconds that a call waits for messages: without a wait it asks some of the servers only.
WAIT_S = 2
# Seconds that received messages stay hidden from other receivers.
HIDDEN_S = 300


@dataclass(frozen=True)
class Redriven:
    """What became of the messages of a dead-letter queue.

    Attributes
    ----------
    requests : list of str
        Keys of the requests that were sent back.
    left : int
        Number of messages that are no requests, and were left in the queue.
    """

    requests: list[str]
    left: int


def redrive_requests(stack: DeployedStack) -> Redriven:
    """Send each request in the dead-letter queue to the queue of requests, then delete it there.

    A message that is sent and cannot be deleted stays; a request that is handled twice starts once.

    Raises
    ------
    BadInputError
        If the stack does not publish its queues.
    CredentialsError, AccessError, TryAgainError
        If there are no credentials, they do not allow it, or SQS fails for now.
    """
    source, target = stack.outputs.get(Output.DEAD_LETTERS), stack.settings().queue_url
    if not (source and target):
        msg = f"stack {stack.name} does not publish its queues; {REDEPLOY}"
        raise BadInputError(msg)
    requests: list[str] = []
    left: dict[str, str] = {}
    try:
        while messages := _receive(source):
            for message in messages:
                key = _request_key(message["Body"])
                if key is None:
                    left[message["MessageId"]] = message["ReceiptHandle"]
                    continue
                _send_back(message, source, target)
                requests.append(key)
    finally:
        _show_again(source, list(left.values()))
    return Redriven(requests, len(left))


def _receive(queue: str) -> list[dict[str, Any]]:
    with translate_boto_errors(f"receive from {queue}", permission="sqs:ReceiveMessage"):
        answer = aws_client("sqs").receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=WAIT_S,
            VisibilityTimeout=HIDDEN_S,
        )
    return list(answer.get("Messages", ()))


def _request_key(body: str) -> str | None:
    """Key of the object that an event of S3 reports; None for another message."""
    try:
        value = parse_json(body.encode(errors="replace"), source="message")
        for name in ("detail", "object", "key"):
            value = value.get(name) if isinstance(value, dict) else None
    except RequestError:
        return None
    return value if isinstance(value, str) else None


def _send_back(message: dict[str, Any], source: str, target: str) -> None:
    with translate_boto_errors(f"send to {target}", permission="sqs:SendMessage"):
        aws_client("sqs").send_message(QueueUrl=target, MessageBody=message["Body"])
    with translate_boto_errors(f"remove a message of {source}", permission="sqs:DeleteMessage"):
        aws_client("sqs").delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])


def _show_again(queue: str, handles: list[str]) -> None:
    """Let others receive the messages that were left, at once."""
    permission = "sqs:ChangeMessageVisibility"
    for handle in handles:
        with translate_boto_errors(f"leave a message in {queue}", permission=permission):
            aws_client("sqs").change_message_visibility(
                QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0
            )
