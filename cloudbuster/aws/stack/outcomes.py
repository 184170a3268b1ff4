"""How a run ended: its ``status.json``, what people are told, what the state machine answers.

A run tells of its end in its last state. Of one that never gets there (somebody stopped it, it took
too long, the telling itself failed) EventBridge tells. A mosaic that is made is no failure because
nobody could be told of it: then the function's own errors raise the alarm.
"""

import functools
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from cloudbuster.aws.executions import run_of
from cloudbuster.aws.failures import (
    RESERVED_ERROR,
    UNHEARD,
    Failure,
    failure_of,
    failure_of_execution,
)
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.calls import call
from cloudbuster.aws.stack.state import layout_of
from cloudbuster.errors import BadInputError, ExitCode, TryAgainError
from cloudbuster.models import Assessment, Document, MergeResult, MosaicRequest, RunStatus
from cloudbuster.storage.documents import read_document, write_document
from cloudbuster.storage.run_layout import RunLayout, request_fingerprint, run_id
from cloudbuster.storage.uri import exists, join

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)
Tell = Callable[[str, str], object]
# A topic that does not answer is told of before the function's two minutes are over.
CONNECT_S, READ_S, TRIES = 5, 10, 3
# What each state leaves, in their order: the first that is missing names the stage that ended it.
LEFT_BY = {"query": "run", "filter": "plan", "gather": "gathered", "assess": "assess"}


@dataclass(frozen=True)
class Ending:
    """A run at its end.

    Attributes
    ----------
    execution : str
        Name of the execution.
    state : mapping
        What the state machine holds; ``error`` where a state failed.
    started, ended : str
        ISO 8601.
    """

    execution: str
    state: Mapping[str, Any]
    started: str
    ended: str

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "Ending":
        """Read the payload of the last state."""
        return cls(event["execution"], event["state"], event["started"], event["ended"])

    @property
    def failure(self) -> Failure | None:
        """Why it failed, where it did."""
        error = self.state.get("error")
        return failure_of(error) if error else None

    @property
    def places(self) -> RunLayout | None:
        """Where the run lies; None where its request was refused: only Query says it."""
        run = self.state.get("run")
        return layout_of(run) if run else None

    @property
    def must_be_heard(self) -> bool:
        """Whether it may fail for the telling: not where the state before it has."""
        return "untold" not in self.state

    @property
    def stage(self) -> str:
        """Where it ended."""
        left = (stage for stage, key in LEFT_BY.items() if key not in self.state)
        return next(left, "merge")


@dataclass(frozen=True)
class Stopped:
    """An execution that has ended otherwise than by its last state.

    Attributes
    ----------
    execution : str
        Name of the execution.
    status : str
        ``ABORTED``, ``TIMED_OUT`` or ``FAILED``.
    request : MosaicRequest or None
        What it was started with; None where that is no request, or too large for an event.
    error : str or None
        Name of the error, as Step Functions have it.
    failure : Failure
        Why it ended.
    duration_s : float
        How long it took.
    """

    execution: str
    status: str
    request: MosaicRequest | None
    error: str | None
    failure: Failure
    duration_s: float

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "Stopped":
        """Read a `Step Functions Execution Status Change` event of EventBridge.

        https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html: times are
        milliseconds, and an input that is too large for the event is null.
        """
        detail = event["detail"]
        return cls(
            execution=detail["name"],
            status=detail["status"],
            request=_request(detail.get("input")),
            error=detail.get("error"),
            failure=failure_of_execution(detail),
            duration_s=round((detail["stopDate"] - detail["startDate"]) / 1000, 1),
        )

    @property
    def run_id(self) -> str:
        """Id of the run; whoever starts one names its execution after it, people may not."""
        return run_id(self.request) if self.request else run_of(self.execution)

    @property
    def has_told_itself(self) -> bool:
        """Whether its last state has told of it: that fails with no error of Step Functions'."""
        if self.status != "FAILED" or self.error == UNHEARD:
            return False
        return not RESERVED_ERROR.match(self.error or "")

    def failure_by(self, status: RunStatus | None) -> Failure:
        """Why it ended: what its last state wrote before it failed to tell it, where it did."""
        if status is None or status.state != "failed" or status.exit_code is None:
            return self.failure
        error, _, message = (status.error or self.failure.error).partition(": ")
        return Failure(error, message, ExitCode(status.exit_code))

    def outcome(self, status_uri: str, status: RunStatus | None) -> dict[str, Any]:
        """Make what is told of it, as of `conclude`."""
        failure = self.failure_by(status)
        return {
            "run_id": self.run_id,
            "execution": self.execution,
            "state": "failed",
            "stage": status.stage if status else None,
            "exit_code": int(failure.exit_code),
            "covered": False,
            "products": None,
            "status_uri": status_uri if status else None,
            "scenes": None,
            "estimate_usd": None,
            "duration_s": self.duration_s,
            "error": failure.error,
            "cause": failure.message[:4096],
        }


def teller(settings: StackSettings, client: Callable[..., Any]) -> Tell:
    """Make what publishes to the stack's topic; it raises TryAgainError where that fails.

    Parameters
    ----------
    settings : StackSettings
        Of the stack.
    client : callable
        Makes a boto3 client of a service by its name and a ``config``.
    """
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": TRIES}
    config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries=retries)

    publish = functools.partial(call, functools.partial(client, config=config), "sns", "publish")
    return lambda subject, message: publish(
        TopicArn=settings.topic_arn, Subject=subject, Message=message
    )


def finish(event: Mapping[str, Any], settings: StackSettings, tell: Tell) -> dict[str, Any] | None:
    """Write down how a run ended, and tell it.

    Parameters
    ----------
    event : mapping
        Payload of the last state, or an event of EventBridge on the end of an execution.
    settings : StackSettings
        Of the stack.
    tell : callable
        Publishes a subject and a text.

    Returns
    -------
    dict or None
        What the state machine answers; None where there was nothing left to tell.

    Raises
    ------
    TryAgainError
        Where nobody could be told; ``status.json`` is right by then. The state machine tries again,
        and at last asks once more for what a run that succeeded answers: that call does not fail
        for the telling.
    """
    if "detail" in event:
        return conclude_stopped(Stopped.of_event(event), settings.root, tell)
    ending = Ending.of_event(event)
    outcome = conclude(ending)
    try:
        tell(*outcome_message(outcome))
    except TryAgainError as error:
        told = {"run_id": outcome["run_id"], "error": str(error)}
        logger.exception("outcome_untold", extra=told)
        if ending.must_be_heard:
            raise
    return outcome


def conclude(ending: Ending) -> dict[str, Any]:
    """Write ``status.json`` and make what the state machine answers.

    Returns
    -------
    dict
        ``run_id``, ``state``, ``exit_code``, URIs, counts, estimate and duration; of a failure
        ``error`` and ``cause`` too.
    """
    failure, places = ending.failure, ending.places
    assessment = _left(places, "assessment.json", Assessment) if not failure else None
    products = _left(places, "products.json", MergeResult) if not failure else None
    covered = assessment is not None and assessment.covered
    code = failure.exit_code if failure else ExitCode.DONE if covered else ExitCode.NOT_COVERED
    outcome: dict[str, Any] = {
        "run_id": places.id if places else ending.execution,
        "execution": ending.execution,
        "state": "failed" if failure else "succeeded",
        "stage": ending.stage,
        "exit_code": int(code),
        "covered": covered,
        "products": products.model_dump(mode="json") if products else None,
        "status_uri": places.document("status.json") if places else None,
        "scenes": ending.state.get("assess", {}).get("scenes"),
        "estimate_usd": ending.state.get("plan", {}).get("estimate_usd"),
        "duration_s": _duration_s(ending.started, ending.ended),
    }
    if places:
        _write_status(places, ending, code, products)
    if failure:
        outcome |= {"error": failure.error, "cause": failure.message[:4096]}
        told = {"run_id": outcome["run_id"], "error": failure.error, "cause": failure.message}
        logger.error("run_failed", extra={**told, "infrastructure": failure.is_infrastructure})
    return outcome


def conclude_stopped(stopped: Stopped, root: str, tell: Tell) -> dict[str, Any] | None:
    """Tell of a run that could not do so itself, and write its ``status.json``.

    An event may come twice, and late: what the execution has told itself is left alone, and so is
    the status of a later attempt at the same run. Where the last state wrote the status and could
    not tell it, what it wrote is told; twice, where that event comes twice.

    Parameters
    ----------
    stopped : Stopped
        The execution.
    root : str
        URI of the stack's bucket.
    tell : callable
        Publishes a subject and a text.

    Returns
    -------
    dict or None
        As of `conclude`; None where it has been told.
    """
    uri = join(root, "runs", stopped.run_id, "status.json")
    status = _status_at(uri)
    if status is not None and status.execution != stopped.execution:
        status = None
    if _is_told(stopped, status):
        return None
    outcome = stopped.outcome(uri, status)
    tell(*outcome_message(outcome))
    # Last, so that an event that is handled a second time finds what is left to do.
    if status is not None and status.state != "failed":
        error = f"{outcome['error']}: {outcome['cause']}"
        ended = {"state": "failed", "exit_code": outcome["exit_code"], "error": error}
        write_document(uri, status.model_copy(update=ended))
    told = {key: outcome[key] for key in ("run_id", "error", "cause")}
    if stopped.status == "FAILED":
        infrastructure = stopped.failure_by(status).is_infrastructure
        logger.error("run_failed", extra={**told, "infrastructure": infrastructure})
    else:
        logger.warning("run_stopped", extra=told)
    return outcome


def _is_told(stopped: Stopped, status: RunStatus | None) -> bool:
    if status is None:
        # A run that was refused before it had a status has been told by its last state.
        return stopped.has_told_itself
    if status.state == "running":
        return False
    # By an earlier delivery of this event, or by the last state.
    return stopped.error != UNHEARD or (status.error or "").startswith(UNHEARD)


def _status_at(uri: str) -> RunStatus | None:
    """Read a run's status, where there is one that can be read."""
    if not exists(uri):
        return None
    try:
        return read_document(uri, RunStatus)
    except BadInputError:
        logger.warning("document_unreadable", extra={"uri": uri})
        return None


def _request(content: str | None) -> MosaicRequest | None:
    """Read what an execution was started with, where it is a request."""
    try:
        return MosaicRequest.model_validate(orjson.loads(content or ""))
    except (orjson.JSONDecodeError, ValidationError):
        return None


def _left(places: RunLayout | None, name: str, model: type[D]) -> D | None:
    """Read a document that the merge has left."""
    if places is None or not exists(places.document(name)):
        return None
    return read_document(places.document(name), model)


def _write_status(
    places: RunLayout, ending: Ending, code: ExitCode, products: MergeResult | None
) -> None:
    try:
        request = read_document(places.document("request.json"), MosaicRequest)
    except BadInputError:
        logger.warning("request_unreadable", extra={"run_id": places.id})
        return
    failure = ending.failure
    write_document(
        places.document("status.json"),
        status(
            request,
            state="failed" if failure else "succeeded",
            stage=ending.stage,
            exit_code=int(code),
            error=f"{failure.error}: {failure.message}" if failure else None,
            products=products,
            execution=ending.execution,
        ),
    )


def enter(run: RunLayout, stage: str) -> None:
    """Say in ``status.json`` which stage a run has come to, unless it has ended."""
    uri = run.document("status.json")
    status = _status_at(uri)
    if status is not None and status.state == "running":
        write_document(uri, status.model_copy(update={"stage": stage}))


def status(request: MosaicRequest, **values: Any) -> RunStatus:  # noqa: ANN401 -- of RunStatus
    """Make the status of a run of ``request``."""
    return RunStatus(name=request.name, request_fingerprint=request_fingerprint(request), **values)


def _duration_s(started: str, now: str) -> float:
    """Seconds between two times of ISO 8601."""
    return round((datetime.fromisoformat(now) - datetime.fromisoformat(started)).total_seconds(), 1)


def outcome_message(outcome: Mapping[str, Any]) -> tuple[str, str]:
    """Subject (at most 100 ASCII characters, as SNS wants it) and text of a notification."""
    subject = f"cloudbuster {outcome['state']}: {outcome['run_id']}"
    return subject.encode("ascii", "replace").decode()[:100], json.dumps(outcome, indent=2)
