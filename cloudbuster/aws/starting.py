"""Start runs of requests that lie in S3: once for each request, again after a failure."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_plus

from cloudbuster.aws.runs import (
    REQUEST_PREFIX,
    REQUEST_SUFFIX,
    event_suffix,
    parse_request,
    run_id,
    stored_aoi,
)
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import BadInputError, CloudBusterError, RequestError, TryAgainError
from cloudbuster.io.uri import join, read_bytes, write_bytes
from cloudbuster.models import MosaicRequest

logger = logging.getLogger(__name__)

# Starting the same request again this often means that something else is wrong with it.
MAX_ATTEMPTS = 99
# Seconds that a request waits before it asks again whether there is room: SQS allows up to 900.
WAIT_S = 60

State = Literal["started", "running", "succeeded", "failed", "waiting", "rejected", "ignored"]


@dataclass(frozen=True)
class Started:
    """What became of a request.

    Attributes
    ----------
    state : str
        ``started`` now; ``running``, ``succeeded`` or ``failed`` since before; ``waiting`` for
        room; ``rejected``; or ``ignored``, where the object is no request.
    execution : str or None
        Name of the execution.
    result : dict or None
        Output of the execution that succeeded before.
    """

    state: State
    execution: str | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class RequestObject:
    """An object in S3 that an event tells of."""

    bucket: str
    key: str
    version: tuple[str, ...]

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "RequestObject":
        """Read an `Object Created` event of EventBridge.

        Raises
        ------
        RequestError
            Where it is none.
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


class Starter:
    """Starts executions of one stack.

    Parameters
    ----------
    settings : StackSettings
        Of the stack.
    client : callable
        Makes a boto3 client of a service by its name.
    """

    def __init__(self, settings: StackSettings, client: Any) -> None:  # noqa: ANN401 -- boto3
        self._settings = settings
        self._client = client
        self._machine = settings.state_machine_arn or ""

    def start_messages(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Start the run of each message of the queue; the ids of those to be delivered again."""
        failed = []
        for record in records:
            try:
                self.start_object(json.loads(record["body"]))
            except (CloudBusterError, json.JSONDecodeError) as error:
                logger.exception("request_not_handled", extra={"error": str(error)})
                failed.append(str(record["messageId"]))
        return failed

    def start_object(self, event: Mapping[str, Any]) -> Started:
        """Start the run of the object that an event tells of.

        A request that cannot run is written to ``rejected/`` with the reason, and told.

        Raises
        ------
        TryAgainError
            Where a service failed; the event must be delivered again.
        """
        found = RequestObject.of_event(event)
        if not (found.key.startswith(REQUEST_PREFIX) and found.key.endswith(REQUEST_SUFFIX)):
            return Started("ignored")
        try:
            request, content = self._request(found)
        except BadInputError as error:
            self._reject(found, error)
            return Started("rejected")
        # What runs or has run is answered at once: only a start has to wait its turn.
        if not self._is_answered(request) and self._is_full():
            self._wait(event)
            return Started("waiting")
        if request.aoi == {"uri": stored_aoi(content, self._settings.root)}:
            write_bytes(str(request.aoi["uri"]), content)
        started = self.start(request, version=(found.bucket, found.key, *found.version))
        logger.info("request_taken", extra={"key": found.key, **vars(started)})
        return started

    def start(self, request: MosaicRequest, *, version: tuple[str, ...] = ()) -> Started:
        """Start a request, unless it runs or has succeeded.

        Parameters
        ----------
        request : MosaicRequest
            Admitted to this stack. With ``force`` it starts whatever ran before, once for each
            ``version``.
        version : tuple of str
            Identity of the event that asks for it.
        """
        run = run_id(request)
        if request.force:
            name = f"{run}-f{event_suffix(version)}"
            return self._known(name) or self._start(name, request) or Started("running", name)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            name = run if attempt == 1 else f"{run}-a{attempt}"
            known = self._known(name)
            if known is not None and known.state in ("running", "succeeded"):
                return known
            started = None if known else self._start(name, request)
            if started is not None:
                return started
        msg = f"{run} failed {MAX_ATTEMPTS} times; change the request, or set force"
        raise RequestError(msg)

    def _is_answered(self, request: MosaicRequest) -> bool:
        if request.force:
            return False
        run = run_id(request)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            known = self._known(run if attempt == 1 else f"{run}-a{attempt}")
            if known is None or known.state != "failed":
                return known is not None
        return False

    def _known(self, name: str) -> Started | None:
        """Find an execution by its name; None where there is none."""
        arn = f"{self._machine.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            execution = self._call("stepfunctions", "describe_execution", executionArn=arn)
        except _NoSuchThingError:
            return None
        if execution["status"] == "RUNNING":
            return Started("running", name)
        if execution["status"] == "SUCCEEDED":
            return Started("succeeded", name, json.loads(execution.get("output") or "{}"))
        return Started("failed", name)

    def _start(self, name: str, request: MosaicRequest) -> Started | None:
        """Start; None where somebody else has just taken the name."""
        content = request.model_dump_json(by_alias=True)
        try:
            self._call(
                "stepfunctions",
                "start_execution",
                stateMachineArn=self._machine,
                name=name,
                input=content,
            )
        except _NameTakenError:
            known = self._known(name)
            return known if known and known.state != "failed" else None
        return Started("started", name)

    def _is_full(self) -> bool:
        most = self._settings.max_running_executions
        listed = self._call(
            "stepfunctions",
            "list_executions",
            stateMachineArn=self._machine,
            statusFilter="RUNNING",
            maxResults=most,
        )
        return len(listed["executions"]) >= most

    def _wait(self, event: Mapping[str, Any]) -> None:
        """Send the event to the end of the queue: waiting must not count as failing to receive."""
        self._call(
            "sqs",
            "send_message",
            QueueUrl=self._settings.queue_url,
            MessageBody=json.dumps(event),
            DelaySeconds=WAIT_S,
        )

    def _request(self, found: RequestObject) -> tuple[MosaicRequest, bytes]:
        root = f"s3://{found.bucket}"
        # EventBridge gives keys as they are; S3's own notifications quote them, and so may a test.
        for key in dict.fromkeys((found.key, unquote_plus(found.key))):
            source = join(root, key)
            try:
                content = read_bytes(source)
            except BadInputError as error:
                missing = error
                continue
            return parse_request(content, source=source, settings=self._settings), content
        raise missing

    def _reject(self, found: RequestObject, error: BadInputError) -> None:
        told = {"request": found.key, "error": type(error).__name__, "message": str(error)}
        content = json.dumps(told, indent=2, ensure_ascii=False).encode()
        target = f"rejected/{found.key.removeprefix(REQUEST_PREFIX)}.error.json"
        write_bytes(join(self._settings.root, target), content)
        logger.warning("request_rejected", extra={"key": found.key, "reason": str(error)})
        if self._settings.topic_arn:
            self._call(
                "sns",
                "publish",
                TopicArn=self._settings.topic_arn,
                Subject="cloudbuster rejected a request",
                Message=content.decode(),
            )

    def _call(self, service: str, operation: str, **parameters: object) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**parameters)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            known = _ERRORS.get(code, TryAgainError)
            msg = f"{service} {operation}: {error}"
            raise known(msg) from error
        return answer


class _NoSuchThingError(TryAgainError):
    """What was asked for does not exist."""


class _NameTakenError(TryAgainError):
    """An execution of that name exists."""


_ERRORS: dict[str, type[TryAgainError]] = {
    "ExecutionDoesNotExist": _NoSuchThingError,
    "ExecutionAlreadyExists": _NameTakenError,
}
