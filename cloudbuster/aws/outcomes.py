"""How a run ended: its ``status.json``, what people are told, what the state machine answers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudbuster.aws.runs import Failure, RunPlaces, duration_s, failure_of
from cloudbuster.errors import BadInputError, ExitCode
from cloudbuster.io.documents import read_document, write_document
from cloudbuster.io.uri import exists
from cloudbuster.models import Assessment, Document, MergeResult, MosaicRequest, RunStatus

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)
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
    def places(self) -> RunPlaces | None:
        """Where the run lies; None where its request was refused."""
        run = self.state.get("run")
        return RunPlaces.of_state(run) if run else None

    @property
    def stage(self) -> str:
        """Where it ended."""
        left = (stage for stage, key in LEFT_BY.items() if key not in self.state)
        return next(left, "merge")


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
        "duration_s": duration_s(ending.started, ending.ended),
    }
    if places:
        _write_status(places, ending, code, products)
    if failure:
        outcome |= {"error": failure.error, "cause": failure.message[:4096]}
        told = {"run_id": outcome["run_id"], "error": failure.error, "cause": failure.message}
        logger.error("run_failed", extra={**told, "infrastructure": failure.is_infrastructure})
    return outcome


def _left(places: RunPlaces | None, name: str, model: type[D]) -> D | None:
    """Read a document that the merge has left."""
    if places is None or not exists(places.document(name)):
        return None
    return read_document(places.document(name), model)


def _write_status(
    places: RunPlaces, ending: Ending, code: ExitCode, products: MergeResult | None
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
        ),
    )


def status(request: MosaicRequest, **values: Any) -> RunStatus:  # noqa: ANN401 -- of RunStatus
    """Make the status of a run of ``request``."""
    anywhere = request.model_copy(update={"output": None, "force": False})
    return RunStatus(name=request.name, request_fingerprint=anywhere.fingerprint(), **values)
