"""The outcome of a run: its ``status.json``, the notification, and the output of the execution.

The last state of an execution reports the outcome of its run. If an execution ends without it
(somebody stops it, it takes too long, or the last state fails), EventBridge invokes the same
function, see `failed_executions`. A finished mosaic stays a success even if the notification cannot
be published; then the errors of the function raise an alarm.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from cloudbuster.aws.failures import Failure, failure_of
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.item_publisher import PublishItem
from cloudbuster.aws.stack.run_status import make_status
from cloudbuster.aws.stack.state import NOT_NOTIFIED, layout_of
from cloudbuster.errors import BadInputError, CloudBusterError, ExitCode
from cloudbuster.models import Assessment, Document, MergeResult, MosaicRequest, RunStatus
from cloudbuster.runs.task_jobs import job_error
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import exists
from cloudbuster.storage.remote.boto import make_aws_client, translate_boto_errors

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)
Publish = Callable[[str, str], object]
"""Publishes a subject and a text; raises an error of this package if that fails."""
# With these the attempts to reach the topic end before the function's timeout of two minutes.
CONNECT_S, READ_S, TRIES = 5, 10, 3
# Entry of the state that each stage adds, in their order: the first missing one names the stage
# in which the run ended.
ADDED_BY = {"query": "run", "filter": "plan", "gather": "gathered", "assess": "assess"}
MAX_SUBJECT = 100
"""Characters of the subject of a notification, a limit of SNS."""
# Characters of a failure's cause in an outcome; the state machine has 32 KiB for it.
MAX_CAUSE = 4096


@dataclass(frozen=True)
class FinalState:
    """What the last state of an execution passes to its function.

    Attributes
    ----------
    execution : str
        Name of the execution.
    state : mapping
        State of the state machine, with the entry ``error`` if a state failed.
    started, ended : str
        Times of the execution, ISO 8601.
    """

    execution: str
    state: Mapping[str, Any]
    started: str
    ended: str

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "FinalState":
        """Read the payload of the last state."""
        return cls(event["execution"], event["state"], event["started"], event["ended"])

    @cached_property
    def failure(self) -> Failure | None:
        """Why the run failed, with the own error of a job; None if it succeeded."""
        error = self.state.get("error")
        return failure_of(error, root=_root_error) if error else None

    @property
    def layout(self) -> RunLayout | None:
        """Layout of the run; None if Query, which makes it, refused the request."""
        run = self.state.get("run")
        return layout_of(run) if run else None

    @property
    def must_notify(self) -> bool:
        """Whether the function must fail if the notification does.

        It must not once the state machine has given up on the notification and only wants the
        output of the execution.
        """
        return NOT_NOTIFIED not in self.state

    @property
    def stage(self) -> str:
        """Stage in which the run ended."""
        layout = self.layout
        if layout is not None and self.state.get("assess", {}).get("more_rounds"):
            # The entries are those of the round before: the functions noted where this one is.
            status = read_earlier(layout.document("status.json"), RunStatus)
            if status is not None:
                return status.stage
        missing = (stage for stage, key in ADDED_BY.items() if key not in self.state)
        return next(missing, "merge")

    @property
    def duration_s(self) -> float:
        """Duration of the execution, seconds."""
        times = (datetime.fromisoformat(self.ended), datetime.fromisoformat(self.started))
        return round((times[0] - times[1]).total_seconds(), 1)


def _root_error(task_uri: str, job_id: str) -> str | None:
    """Describe the error that a job kept; if that cannot be read, the failure has no root."""
    try:
        return job_error(task_uri, job_id=job_id)
    except CloudBusterError as error:
        logger.warning("job_error_unreadable", extra={"task": task_uri, "error": str(error)})
        return None


def topic_publisher(settings: StackSettings) -> Publish:
    """Return a function that publishes to the stack's topic."""
    retries = {"mode": "standard", "total_max_attempts": TRIES}
    config = {"connect_timeout": CONNECT_S, "read_timeout": READ_S, "retries": retries}
    client = make_aws_client("sns", config=config)

    def publish(subject: str, message: str) -> None:
        """Publish a subject and a text to the topic."""
        with translate_boto_errors(f"publish to {settings.topic_arn}"):
            client.publish(TopicArn=settings.topic_arn, Subject=subject, Message=message)

    return publish


def finish(
    event: Mapping[str, Any], publish: Publish, publish_item: PublishItem | None = None
) -> dict[str, Any]:
    """Write the status of a run that reached its last state, and publish the outcome.

    Parameters
    ----------
    event : mapping
        Payload of the last state.
    publish : callable
        Publishes a subject and a text.
    publish_item : callable, optional
        Publishes the item of the mosaic, before the notification.

    Returns
    -------
    dict
        Output of the execution, as of `make_outcome`, with the URL of a published item in
        ``published``.

    Raises
    ------
    CloudBusterError
        If the item cannot be published, or the notification fails; ``status.json`` is right by
        then. The state machine tries again, and at last calls the function once more for the
        output of a run that succeeded; that call does not fail because of either.
    """
    final = FinalState.of_event(event)
    outcome = _conclude(final)
    if publish_item is not None and outcome["products"]:
        outcome["published"] = _published(final, outcome["products"]["item"], publish_item)
    try:
        publish(*outcome_message(outcome))
    except CloudBusterError as error:
        details = {"run_id": outcome["run_id"], "error": str(error)}
        logger.exception("outcome_not_published", extra=details)
        if final.must_notify:
            raise
    return outcome


def _published(final: FinalState, item: str, publish_item: PublishItem) -> str | None:
    """Publish an item; None if that fails once the state machine has given up on it."""
    try:
        return publish_item(item)
    except CloudBusterError as error:
        logger.exception("item_not_published", extra={"item": item, "error": str(error)})
        if final.must_notify:
            raise
        return None


def make_outcome(
    *,
    run_id: str,
    execution: str,
    stage: str | None,
    failure: Failure | None,
    duration_s: float,
    status_uri: str | None,
    **values: Any,  # noqa: ANN401 -- JSON values of the fields below
) -> dict[str, Any]:
    """Make the outcome of a run: the output of its execution, and the text of the notification.

    Parameters
    ----------
    run_id, execution : str
        Id of the run and name of the execution.
    stage : str or None
        Stage in which the run ended; None if it is not known.
    failure : Failure or None
        Why the run failed; None if it succeeded.
    duration_s : float
        Duration of the execution, seconds.
    status_uri : str or None
        URI of ``status.json``, if there is one.
    **values
        ``covered``, ``products``, ``scenes`` and ``estimate_usd`` of a run that got so far.

    Returns
    -------
    dict
        The parameters, and ``state`` and ``exit_code``; ``error`` and ``cause`` of a failure.
    """
    covered = bool(values.get("covered"))
    code = failure.exit_code if failure else ExitCode.DONE if covered else ExitCode.NOT_COVERED
    outcome: dict[str, Any] = {
        "run_id": run_id,
        "execution": execution,
        "state": "failed" if failure else "succeeded",
        "stage": stage,
        "exit_code": int(code),
        "covered": covered,
        "products": values.get("products"),
        "status_uri": status_uri,
        "scenes": values.get("scenes"),
        "estimate_usd": values.get("estimate_usd"),
        "duration_s": duration_s,
    }
    if failure:
        outcome |= {"error": failure.error, "cause": failure.message[:MAX_CAUSE]}
    return outcome


def outcome_message(outcome: Mapping[str, Any]) -> tuple[str, str]:
    """Subject (at most `MAX_SUBJECT` ASCII characters) and text of a notification."""
    subject = f"cloudbuster {outcome['state']}: {outcome['run_id']}"
    return subject.encode("ascii", "replace").decode()[:MAX_SUBJECT], json.dumps(outcome, indent=2)


def _conclude(final: FinalState) -> dict[str, Any]:
    """Write ``status.json`` and make the outcome of a run that reached its last state."""
    failure, layout = final.failure, final.layout
    assessment = None if failure else _document(layout, "assessment.json", Assessment)
    products = None if failure else _document(layout, "products.json", MergeResult)
    outcome = make_outcome(
        run_id=layout.id if layout else final.execution,
        execution=final.execution,
        stage=final.stage,
        failure=failure,
        duration_s=final.duration_s,
        status_uri=layout.document("status.json") if layout else None,
        covered=assessment is not None and assessment.covered,
        products=products.model_dump(mode="json") if products else None,
        scenes=final.state.get("assess", {}).get("scenes"),
        estimate_usd=final.state.get("plan", {}).get("estimate_usd"),
    )
    if layout:
        _write_status(layout, final, outcome["exit_code"], products)
    if failure:
        details = {"run_id": outcome["run_id"], "error": failure.error, "cause": failure.message}
        logger.error("run_failed", extra={**details, "infrastructure": failure.is_infrastructure})
    return outcome


def _document(layout: RunLayout | None, name: str, model: type[D]) -> D | None:
    """Read a document of the run; None if there is none."""
    if layout is None or not exists(layout.document(name)):
        return None
    return read_document(layout.document(name), model)


def _write_status(
    layout: RunLayout, final: FinalState, exit_code: int, products: MergeResult | None
) -> None:
    try:
        request = read_document(layout.document("request.json"), MosaicRequest)
    except BadInputError:
        logger.warning("request_unreadable", extra={"run_id": layout.id})
        return
    failure = final.failure
    status = make_status(
        request,
        state="failed" if failure else "succeeded",
        stage=final.stage,
        exit_code=exit_code,
        error=f"{failure.error}: {failure.message}" if failure else None,
        products=products,
        execution=final.execution,
    )
    write_document(layout.document("status.json"), status)
