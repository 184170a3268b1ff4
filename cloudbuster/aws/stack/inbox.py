"""Requests dropped in S3: each starts its run, is rejected with a reason, or waits for room."""

import json
import logging
from collections.abc import Mapping, Sequence
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
from cloudbuster.errors import BadInputError, CloudBusterError, NotFoundError, RequestError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.boto import aws_client, translate_boto_errors
from cloudbuster.storage.run_layout import run_id
from cloudbuster.storage.uri import join, read_bytes, write_bytes

logger = logging.getLogger(__name__)

# Seconds that a request waits before it looks for room again: SQS allows up to 900.
WAIT_S = 60
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
    def of_event(cls, event: Mapping[str, Any]) -> "RequestObject":
        """Read an `Object Created` event of EventBridge.

        Raises
        ------
        RequestError
            If it is no such event.
        """
        try:
            detail = event["detail"]
            entry = detail["object"]
            version = tuple(
                str(entry.get(name, "")) for name in ("sequencer", "version-id", "etag")
            )
            return cls(detail["bucket"]["name"], entry["key"], version)
        except (KeyError, TypeError) as error:
            msg = f"not an event of S3: {json.dumps(event)[:200]}"
            raise RequestError(msg) from error

    @property
    def identity(self) -> tuple[str, ...]:
        """Identity of this creation, which stays the same if the event is delivered again."""
        return (self.bucket, self.key, *self.version)


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

    def handle_messages(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Handle messages of the queue; return the ids of those to be delivered again."""
        failed = []
        for record in records:
            try:
                self.handle_event(json.loads(record["body"]))
            except (CloudBusterError, json.JSONDecodeError) as error:
                logger.exception("request_not_handled", extra={"error": str(error)})
                failed.append(str(record["messageId"]))
        return failed

    def handle_event(self, event: Mapping[str, Any]) -> RequestOutcome:
        """Start the run of the object that an event reports.

        A request that cannot run is answered by an object in ``rejected/`` with the reason, and by
        a notification.

        Raises
        ------
        CloudBusterError
            If a service fails or refuses; the event must be delivered again.
        """
        found = RequestObject.of_event(event)
        if not (found.key.startswith(REQUEST_PREFIX) and found.key.endswith(REQUEST_SUFFIX)):
            return RequestOutcome("ignored")
        try:
            request, content = self._read(found)
        except BadInputError as error:
            self._reject(found, error)
            return RequestOutcome("rejected")
        # A run that exists is answered at once. Only a start takes its turn, so that no two
        # functions find the same room.
        if self._runs.is_answered(request, found.identity):
            return self._start(found, request, content)
        with turn(join(self._settings.root, TURN_KEY)) as is_ours:
            if not is_ours or not self._has_room(run_id(request)):
                self._put_off(event)
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
            return parse_request(content, source=source, settings=self._settings), content
        raise missing

    def _start(
        self, found: RequestObject, request: MosaicRequest, content: bytes
    ) -> RequestOutcome:
        if request.aoi == {"uri": stored_aoi(content, self._settings.root)}:
            write_bytes(str(request.aoi["uri"]), content)
        outcome = self._runs.start(request, version=found.identity)
        logger.info("request_taken", extra={"key": found.key, **vars(outcome)})
        return outcome

    def _has_room(self, run: str) -> bool:
        """Whether one more execution may run, and none of this run does."""
        running = self._runs.running()
        limit = self._settings.max_running_executions
        return len(running) < limit and not self._runs.at_work_on(run, running)

    def _put_off(self, event: Mapping[str, Any]) -> None:
        """Send the event to the end of the queue as a new message.

        A message that went back to the queue would count as a failed delivery.
        """
        with translate_boto_errors(f"send a message to {self._settings.queue_url}"):
            aws_client("sqs").send_message(
                QueueUrl=self._settings.queue_url,
                MessageBody=json.dumps(event),
                DelaySeconds=WAIT_S,
            )

    def _reject(self, found: RequestObject, error: BadInputError) -> None:
        answer = {"request": found.key, "error": type(error).__name__, "message": str(error)}
        content = json.dumps(answer, indent=2, ensure_ascii=False).encode()
        target = f"rejected/{found.key.removeprefix(REQUEST_PREFIX)}.error.json"
        write_bytes(join(self._settings.root, target), content)
        logger.warning("request_rejected", extra={"key": found.key, "reason": str(error)})
        if self._settings.topic_arn:
            with translate_boto_errors(f"publish to {self._settings.topic_arn}"):
                aws_client("sns").publish(
                    TopicArn=self._settings.topic_arn,
                    Subject="cloudbuster rejected a request",
                    Message=content.decode(),
                )
