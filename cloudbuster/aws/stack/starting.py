"""Start runs of requests that lie in S3: once for each request, again after a failure."""

import functools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_plus

from cloudbuster.aws.admission import (
    REQUEST_PREFIX,
    REQUEST_SUFFIX,
    parse_request,
    stored_aoi,
)
from cloudbuster.aws.executions import attempt_name, execution_arn, forced_name, run_of
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.calls import MakeClient, NameTakenError, NoSuchThingError, call
from cloudbuster.aws.stack.turns import turn
from cloudbuster.errors import BadInputError, CloudBusterError, RequestError, TryAgainError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.run_layout import run_id
from cloudbuster.storage.uri import join, read_bytes, write_bytes

logger = logging.getLogger(__name__)

# Starting the same request again this often means that something else is wrong with it.
MAX_ATTEMPTS = 99
# Seconds that a request waits before it asks again whether there is room: SQS allows up to 900.
WAIT_S = 60
# Object that says who may count the running executions and start one more.
TURN_KEY = "turns/start-run"
# How often and how fast a start is looked for in the list of executions, which lags behind.
LIST_TRIES = 10
LIST_PAUSE_S = 0.5
# What one call lists at most (API reference); no stack runs that many at a time.
MAX_LISTED = 1000

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

    def __init__(self, settings: StackSettings, client: MakeClient) -> None:
        self._settings = settings
        self._call = functools.partial(call, functools.cache(client))
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
        # What runs or has run is answered at once: only a start has to wait its turn, so that no
        # two find the same room.
        if self._is_answered(request, _version(found)):
            return self._take(found, request, content)
        with turn(self._call, join(self._settings.root, TURN_KEY)) as is_ours:
            if not is_ours or not self._has_room(run_id(request)):
                self._wait(event)
                return Started("waiting")
            started = self._take(found, request, content)
            self._await_listed(started)
        return started

    def _take(self, found: RequestObject, request: MosaicRequest, content: bytes) -> Started:
        if request.aoi == {"uri": stored_aoi(content, self._settings.root)}:
            write_bytes(str(request.aoi["uri"]), content)
        started = self.start(request, version=_version(found))
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

        Raises
        ------
        TryAgainError
            Where another execution of the same run is at work: both would write its documents.
        """
        run = run_id(request)
        other = _at_work(self._running(), run)
        if request.force:
            name = forced_name(request, version)
            known = self._known(name)
            if known is None and other is not None:
                msg = f"{run} is at work as {other}; wait for its end, or stop it, and try again"
                raise TryAgainError(msg)
            return known or self._start(name, request) or Started("running", name)
        if other is not None:
            return Started("running", other)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            name = attempt_name(run, attempt)
            known = self._known(name)
            if known is not None and known.state in ("running", "succeeded"):
                return known
            started = None if known else self._start(name, request)
            if started is not None:
                return started
        msg = f"{run} failed {MAX_ATTEMPTS} times; change the request, or set force"
        raise RequestError(msg)

    def _is_answered(self, request: MosaicRequest, version: tuple[str, ...]) -> bool:
        if request.force:
            return self._known(forced_name(request, version)) is not None
        run = run_id(request)
        if _at_work(self._running(), run):
            return True
        for attempt in range(1, MAX_ATTEMPTS + 1):
            known = self._known(attempt_name(run, attempt))
            if known is None or known.state != "failed":
                return known is not None
        return False

    def _running(self) -> list[str]:
        """Names of the executions that are at work."""
        listed = self._call(
            "stepfunctions",
            "list_executions",
            stateMachineArn=self._machine,
            statusFilter="RUNNING",
            maxResults=MAX_LISTED,
        )
        return [str(each["name"]) for each in listed["executions"]]

    def _known(self, name: str) -> Started | None:
        """Find an execution by its name; None where there is none."""
        arn = execution_arn(self._machine, name)
        try:
            execution = self._call("stepfunctions", "describe_execution", executionArn=arn)
        except NoSuchThingError:
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
        except NameTakenError:
            known = self._known(name)
            return known if known and known.state != "failed" else None
        return Started("started", name)

    def _has_room(self, run: str) -> bool:
        running = self._running()
        return len(running) < self._settings.max_running_executions and not _at_work(running, run)

    def _await_listed(self, started: Started) -> None:
        """Wait until the list, by which others count, shows what was started."""
        for _ in range(LIST_TRIES):
            listed = self._call(
                "stepfunctions", "list_executions", stateMachineArn=self._machine, maxResults=100
            )
            if started.execution in {each["name"] for each in listed["executions"]}:
                return
            time.sleep(LIST_PAUSE_S)
        logger.warning("execution_not_listed", extra={"execution": started.execution})

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


def _version(found: RequestObject) -> tuple[str, ...]:
    return (found.bucket, found.key, *found.version)


def _at_work(names: Sequence[str], run: str) -> str | None:
    """Find the execution, forced or not, that is at work on a run."""
    return next((name for name in names if run_of(name) == run), None)
