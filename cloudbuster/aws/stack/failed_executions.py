"""Executions that ended without their last state: aborted, timed out, or failed in that state."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from cloudbuster.aws.executions import run_of
from cloudbuster.aws.failures import (
    FINISH_ERROR,
    RESERVED_ERROR,
    Failure,
    failure_of_execution,
)
from cloudbuster.aws.stack.outcomes import Publish, make_outcome, outcome_message
from cloudbuster.errors import ExitCode
from cloudbuster.models import MosaicRequest, RunStatus
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import run_id
from cloudbuster.storage.files.uri import join

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailedExecution:
    """An execution that EventBridge reports as aborted, timed out or failed.

    Attributes
    ----------
    execution : str
        Name of the execution.
    status : str
        ``ABORTED``, ``TIMED_OUT`` or ``FAILED``.
    request : MosaicRequest or None
        Input of the execution; None if that is no request, or too large for an event.
    error : str or None
        Name of the error that Step Functions report.
    failure : Failure
        Why the execution failed.
    duration_s : float
        Duration of the execution, seconds.
    """

    execution: str
    status: str
    request: MosaicRequest | None
    error: str | None
    failure: Failure
    duration_s: float

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "FailedExecution":
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
        """Id of the run; a person may have given the execution another name."""
        return run_id(self.request) if self.request else run_of(self.execution)

    @property
    def was_published(self) -> bool:
        """Whether the last state published the outcome: it fails with no error of its own then."""
        if self.status != "FAILED" or self.error == FINISH_ERROR:
            return False
        return not RESERVED_ERROR.match(self.error or "")

    def failure_by(self, status: RunStatus | None) -> Failure:
        """Return the failure that the last state wrote to ``status.json``, or else its own."""
        if status is None or status.state != "failed" or status.exit_code is None:
            return self.failure
        error, _, message = (status.error or self.failure.error).partition(": ")
        return Failure(error, message, ExitCode(status.exit_code))


def report_failed_execution(
    event: Mapping[str, Any], root: str, publish: Publish
) -> dict[str, Any] | None:
    """Publish the outcome of an execution that could not do so itself, and write its status.

    An event may be delivered twice, and late. An outcome that the execution published itself is not
    published again, and the status of a later attempt of the same run is not changed. If the last
    state wrote the status and could not publish it, that status is published; twice, if that event
    is delivered twice.

    Parameters
    ----------
    event : mapping
        Event of EventBridge on the end of an execution.
    root : str
        URI of the stack's bucket.
    publish : callable
        Publishes a subject and a text.

    Returns
    -------
    dict or None
        The outcome, as of `make_outcome`; None if it was published before.
    """
    failed = FailedExecution.of_event(event)
    uri = join(root, "runs", failed.run_id, "status.json")
    status = read_earlier(uri, RunStatus)
    if status is not None and status.execution != failed.execution:
        status = None
    if _was_published(failed, status):
        return None
    failure = failed.failure_by(status)
    outcome = make_outcome(
        run_id=failed.run_id,
        execution=failed.execution,
        stage=status.stage if status else None,
        failure=failure,
        duration_s=failed.duration_s,
        status_uri=uri if status else None,
    )
    publish(*outcome_message(outcome))
    # Last, so that an event that is delivered again after an error finds the work undone.
    if status is not None and status.state != "failed":
        error = f"{outcome['error']}: {outcome['cause']}"
        ended = {"state": "failed", "exit_code": outcome["exit_code"], "error": error}
        write_document(uri, status.model_copy(update=ended))
    details = {key: outcome[key] for key in ("run_id", "error", "cause")}
    if failed.status == "FAILED":
        logger.error("run_failed", extra={**details, "infrastructure": failure.is_infrastructure})
    else:
        logger.warning("run_stopped", extra=details)
    return outcome


def _was_published(failed: FailedExecution, status: RunStatus | None) -> bool:
    if status is None:
        # A run that was refused before it had a status was published by its last state.
        return failed.was_published
    if status.state == "running":
        return False
    # Published by an earlier delivery of this event, or by the last state.
    return failed.error != FINISH_ERROR or (status.error or "").startswith(FINISH_ERROR)


def _request(content: str | None) -> MosaicRequest | None:
    """Read the input of an execution, if it is a request."""
    try:
        return MosaicRequest.model_validate(orjson.loads(content or ""))
    except (orjson.JSONDecodeError, ValidationError):
        return None
