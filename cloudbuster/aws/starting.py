"""Start the execution of a request: once per request, and again after a failure."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cloudbuster.aws.executions import attempt_name, execution_arn, forced_name, run_of
from cloudbuster.errors import ConflictError, NotFoundError, RequestError, TryAgainError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.run_layout import run_id
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# A request that failed this often has another problem than its runs.
MAX_ATTEMPTS = 99
# Executions that one call of ListExecutions returns at most (its API reference); no stack runs
# that many at a time.
MAX_LISTED = 1000
# Number and interval of the looks into the list of executions, which shows a start some time later.
LIST_TRIES = 10
LIST_PAUSE_S = 0.5

RequestState = Literal[
    "started", "running", "succeeded", "failed", "waiting", "rejected", "ignored"
]


@dataclass(frozen=True)
class RequestOutcome:
    """What happened to a request.

    Attributes
    ----------
    state : str
        ``started`` by this call; ``running``, ``succeeded`` or ``failed`` by an earlier one;
        ``waiting`` until the stack has room; ``rejected``; ``ignored`` for an object that is no
        request.
    execution : str or None
        Name of the execution.
    result : dict or None
        Output of the execution, if an earlier call started it and it succeeded.
    """

    state: RequestState
    execution: str | None = None
    result: dict[str, Any] | None = None


class RunStarter:
    """Starts executions of one state machine.

    Parameters
    ----------
    machine_arn : str
        ARN of the state machine.
    """

    def __init__(self, machine_arn: str) -> None:
        self._machine = machine_arn

    def start(self, request: MosaicRequest, *, version: tuple[str, ...] = ()) -> RequestOutcome:
        """Start a request, unless it is running or has succeeded.

        Parameters
        ----------
        request : MosaicRequest
            A request that the stack has admitted. With ``force`` or ``refresh`` it starts in any
            case, once for each ``version``.
        version : tuple of str
            Identity of the event or submission that asks for the run.

        Raises
        ------
        TryAgainError
            If another execution of the same run is at work, since both would write the same
            documents; or if Step Functions is throttled, broken or out of reach.
        RequestError
            If the run has failed `MAX_ATTEMPTS` times.
        """
        run = run_id(request)
        other = self.at_work_on(run)
        if request.starts_anew:
            return self._start_forced(request, version, other)
        if other is not None:
            return RequestOutcome("running", other)
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

    def _start_forced(
        self, request: MosaicRequest, version: tuple[str, ...], other: str | None
    ) -> RequestOutcome:
        name = forced_name(request, version)
        known = self._known(name)
        if known is None and other is not None:
            msg = (
                f"{run_id(request)} is at work as {other}; wait for its end, or stop it, and try "
                "again"
            )
            raise TryAgainError(msg)
        return known or self._start(name, request) or RequestOutcome("running", name)

    def is_answered(self, request: MosaicRequest, version: tuple[str, ...]) -> bool:
        """Whether `start` would start nothing: the run is at work, or it has succeeded."""
        if request.starts_anew:
            return self._known(forced_name(request, version)) is not None
        run = run_id(request)
        if self.at_work_on(run):
            return True
        for attempt in range(1, MAX_ATTEMPTS + 1):
            known = self._known(attempt_name(run, attempt))
            if known is None or known.state != "failed":
                return known is not None
        return False

    def running(self) -> list[str]:
        """Names of the executions that are running."""
        return self._listed(statusFilter="RUNNING", maxResults=MAX_LISTED)

    def at_work_on(self, run: str, running: Sequence[str] | None = None) -> str | None:
        """Name of the running execution of a run, forced or not; None if there is none.

        Parameters
        ----------
        run : str
            Id of the run.
        running : sequence of str, optional
            Names of the running executions, if they are known already.
        """
        names = self.running() if running is None else running
        return next((name for name in names if run_of(name) == run), None)

    def await_listed(self, name: str) -> bool:
        """Wait until the list of executions shows a start; False if it never does."""
        for _ in range(LIST_TRIES):
            if name in self._listed(maxResults=100):
                return True
            time.sleep(LIST_PAUSE_S)
        return False

    def _listed(self, **wanted: Any) -> list[str]:  # noqa: ANN401 -- as boto3 takes them
        with translate_boto_errors(f"list the executions of {self._machine}"):
            listed = aws_client("stepfunctions").list_executions(
                stateMachineArn=self._machine, **wanted
            )
        return [str(each["name"]) for each in listed["executions"]]

    def _known(self, name: str) -> RequestOutcome | None:
        """Find an execution by its name; None if there is none."""
        arn = execution_arn(self._machine, name)
        try:
            with translate_boto_errors(f"find execution {name}"):
                execution = aws_client("stepfunctions").describe_execution(executionArn=arn)
        except NotFoundError:
            return None
        if execution["status"] == "RUNNING":
            return RequestOutcome("running", name)
        if execution["status"] == "SUCCEEDED":
            result = json.loads(execution.get("output") or "{}")
            return RequestOutcome("succeeded", name, result)
        return RequestOutcome("failed", name)

    def _start(self, name: str, request: MosaicRequest) -> RequestOutcome | None:
        """Start an execution; None if one of that name was started meanwhile and has failed."""
        content = request.model_dump_json(by_alias=True)
        try:
            with translate_boto_errors(f"start execution {name}"):
                aws_client("stepfunctions").start_execution(
                    stateMachineArn=self._machine, name=name, input=content
                )
        except ConflictError:
            known = self._known(name)
            return known if known and known.state != "failed" else None
        return RequestOutcome("started", name)
