"""Requests dropped in S3: each starts its run, is rejected with a reason, or waits for room."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from cloudbuster.aws.admission import (
    REQUEST_PREFIX,
    REQUEST_SUFFIX,
    parse_request,
    stored_aoi,
)
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.turns import turn
from cloudbuster.aws.starting import RequestOutcome, RunStarter
from cloudbuster.core.texts.names import shown
from cloudbuster.errors import BadInputError, CloudBusterError, NotFoundError, RequestError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.files.run_layout import run_id, short_hash
from cloudbuster.storage.files.uri import join, read_bytes, write_bytes
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

logger = logging.getLogger(__name__)

# Seconds that a request waits before it looks for room again: SQS allows up to 900.
WAIT_S = 60
# S3's limit of a key, in UTF-8.
MAX_KEY_BYTES = 1024
# Members of an event that identify the version of its object.
VERSION = ("sequencer", "version-id", "etag")
# A notification holds 256 KiB, and somebody reads it.
MAX_MESSAGE_CHARS = 4096
REJECTED_PREFIX, ANSWER_SUFFIX = "rejected/", ".error.json"
# Object of the function whose turn it is to count the running executions and to start one more.
TURN_KEY = "turns/start-run"


@dataclass(frozen=True)
class RequestObject:
    """An object in S3 that was created, as EventBridge reports it.

    Attributes
    ----------
    bucket, key : str
        Where it lies.
    version : tuple of str
        Sequencer, version id and ETag: an object that is written again has another version.
    """

    bucket: str
    key: str
    version: tuple[str, ...]

    @classmethod
    def of_event(cls, event: object) -> "RequestObject":
        """Read an `Object Created` event of EventBridge.

        Raises
        ------
        RequestError
            If it is no such event.
        """
        detail = _member(event, "detail")
        entry = _member(detail, "object")
        bucket, key = _member(_member(detail, "bucket"), "name"), _member(entry, "key")
        if not (isinstance(bucket, str) and isinstance(key, str) and _is_key(key)):
            msg = f"not an event of S3: {shown(str(event), limit=200)}"
            raise RequestError(msg)
        version = (_member(entry, name) for name in VERSION)
        return cls(bucket, key, tuple(_short(value) for value in version))

    @property
    def event(self) -> dict[str, Any]:
        """The event of EventBridge, as far as `of_event` reads it."""
        entry = {name: value for name, value in zip(VERSION, self.version, strict=True) if value}
        return {"detail": {"bucket": {"name": self.bucket}, "object": {"key": self.key, **entry}}}

    @property
    def identity(self) -> tuple[str, ...]:
        """Identity of this creation, which stays the same if the event is delivered again."""
        return (self.bucket, self.key, *self.version)


def _member(value: object, name: str) -> object:
    """Member of a JSON object; None if it has none, or is no object."""
    return value.get(name) if isinstance(value, Mapping) else None


def _is_key(key: str) -> bool:
    """Whether S3 can have an object of this key, of up to 1024 bytes of UTF-8."""
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def _short(value: object) -> str:
    """Return a text that identifies a version, as UTF-8 has it; empty for another value."""
    text = value if isinstance(value, str) else ""
    return text[:MAX_KEY_BYTES].encode(errors="replace").decode()


class Inbox:
    """Handles the objects that are dropped under ``requests/`` of one stack's bucket.

    Parameters
    ----------
    settings : StackSettings
        Settings of the stack.
    """

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._runs = RunStarter(settings.state_machine_arn or "")

    def handle_messages(self, records: object) -> list[str]:
        """Handle messages of the queue; return the ids of those to be delivered again.

        These are the messages that a service failed for. A message whose content is wrong is
        answered, or logged if there is nobody to answer: it would be no better the next time.
        """
        failed = []
        for record in records if isinstance(records, list) else ():
            try:
                self.handle_event(_event_in(_member(record, "body")))
            except RequestError as error:
                logger.error("event_refused", extra={"reason": str(error)})  # noqa: TRY400 -- no bug
            except CloudBusterError as error:
                logger.exception("request_not_handled", extra={"error": str(error)})
                failed.append(str(_member(record, "messageId")))
        return failed

    def handle_event(self, event: Mapping[str, Any]) -> RequestOutcome:
        """Start the run of the object that an event reports.

        A request that cannot run is answered by an object in ``rejected/`` with the reason, and by
        a notification.

        Raises
        ------
        RequestError
            If it is no event of an object in the stack's bucket.
        CloudBusterError
            If a service fails or refuses; the event must be delivered again.
        """
        found = RequestObject.of_event(event)
        if f"s3://{found.bucket}" != self._settings.root:
            msg = f"an event of bucket {shown(found.bucket)}, which is not the stack's"
            raise RequestError(msg)
        if not (found.key.startswith(REQUEST_PREFIX) and found.key.endswith(REQUEST_SUFFIX)):
            return RequestOutcome("ignored")
        try:
            request, content = self._read(found)
        except BadInputError as error:
            return self._reject(found, error)
        # A run that exists is answered at once. Only a start takes its turn, so that no two
        # functions find the same room.
        if self._runs.is_answered(request, found.identity):
            return self._start(found, request, content)
        with turn(join(self._settings.root, TURN_KEY)) as is_ours:
            if not is_ours or not self._has_room(run_id(request)):
                self._put_off(found)
                return RequestOutcome("waiting")
            outcome = self._start(found, request, content)
            # The next function counts by the list of executions.
            if outcome.execution and not self._runs.await_listed(outcome.execution):
                logger.warning("execution_not_listed", extra={"execution": outcome.execution})
        return outcome

    def _read(self, found: RequestObject) -> tuple[MosaicRequest, bytes]:
        """Read the request, and its bytes."""
        root = f"s3://{found.bucket}"
        # EventBridge reports keys unquoted; S3's own notifications, and tests by hand, quote them.
        for key in dict.fromkeys((found.key, unquote_plus(found.key))):
            source = join(root, key)
            try:
                content = read_bytes(source)
            except NotFoundError as error:
                missing = error
                continue
            return _parsed(content, source, self._settings), content
        raise missing

    def _start(
        self, found: RequestObject, request: MosaicRequest, content: bytes
    ) -> RequestOutcome:
        if request.aoi == {"uri": stored_aoi(content, self._settings.root)}:
            write_bytes(str(request.aoi["uri"]), content)
        try:
            outcome = self._runs.start(request, version=found.identity)
        except RequestError as error:
            return self._reject(found, error)
        logger.info("request_taken", extra={"key": found.key, **vars(outcome)})
        return outcome

    def _has_room(self, run: str) -> bool:
        """Whether one more execution may run, and none of this run does."""
        running = self._runs.running()
        limit = self._settings.max_running_executions
        return len(running) < limit and not self._runs.at_work_on(run, running)

    def _put_off(self, found: RequestObject) -> None:
        """Send the event to the end of the queue as a new message.

        A message that went back to the queue would count as a failed delivery.
        """
        with translate_boto_errors(f"send a message to {self._settings.queue_url}"):
            aws_client("sqs").send_message(
                QueueUrl=self._settings.queue_url,
                MessageBody=json.dumps(found.event),
                DelaySeconds=WAIT_S,
            )

    def _reject(self, found: RequestObject, error: BadInputError) -> RequestOutcome:
        """Answer a request that cannot run, in ``rejected/`` and by a notification."""
        message = str(error)[:MAX_MESSAGE_CHARS].encode(errors="replace").decode()
        answer = {"request": found.key, "error": type(error).__name__, "message": message}
        content = json.dumps(answer, indent=2, ensure_ascii=False).encode()
        write_bytes(join(self._settings.root, _answer_key(found.key)), content)
        logger.warning("request_rejected", extra={"key": found.key, "reason": message})
        if self._settings.topic_arn:
            with translate_boto_errors(f"publish to {self._settings.topic_arn}"):
                aws_client("sns").publish(
                    TopicArn=self._settings.topic_arn,
                    Subject="cloudbuster rejected a request",
                    Message=content.decode(),
                )
        return RequestOutcome("rejected")


def _event_in(body: object) -> Mapping[str, Any]:
    """Read the event in the body of a message; raise RequestError if it is none."""
    document = parse_json(str(body).encode(errors="replace"), source="message")
    if not isinstance(document, dict):
        msg = f"message: {type(document).__name__} is no event of S3"
        raise RequestError(msg)
    return document


def _parsed(content: bytes, source: str, settings: StackSettings) -> MosaicRequest:
    """Read and admit a request; raise BadInputError, whatever its content."""
    try:
        return parse_request(content, source=source, settings=settings)
    except CloudBusterError:
        raise
    # A fault of this package that a content shows: the next delivery would show it again.
    except Exception as error:
        logger.exception("request_not_parsed", extra={"source": source})
        msg = f"{source}: a fault of cloudbuster ({type(error).__name__}); report it with this file"
        raise RequestError(msg) from error


def _answer_key(key: str) -> str:
    """Key of the answer to a request.

    It has the name of the request, unless S3 or a client of HTTP would not keep it: a key that is
    too long, or with an empty part, ``.`` or ``..``.
    """
    name = f"{key.removeprefix(REQUEST_PREFIX)}{ANSWER_SUFFIX}"
    plain = f"{REJECTED_PREFIX}{name}"
    fits = len(plain.encode()) <= MAX_KEY_BYTES and not {"", ".", ".."} & set(name.split("/"))
    return plain if fits else f"{REJECTED_PREFIX}{short_hash([key])}{ANSWER_SUFFIX}"
