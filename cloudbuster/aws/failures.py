"""Why a run on the stack failed, from the reports of Step Functions and Batch."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cloudbuster import errors
from cloudbuster.errors import (
    CloudBusterError,
    ExitCode,
    JobsFailedError,
    JobsTryAgainError,
    NothingUsableError,
)

# Exit codes of failures that the request causes: people are notified of them. Any other failure is
# the stack's own and raises an alarm.
REQUEST_FAILURES = frozenset(
    {ExitCode.NOTHING_USABLE, ExitCode.NOT_COVERED, ExitCode.BAD_INPUT, ExitCode.OVER_BUDGET}
)
JOB_ERROR = "JobFailed"
"""Error of a job that died, or that failed with an exit code of no known meaning."""
RootError = Callable[[str, str], str | None]
"""Function of the URI of a task and the id of its job that describes the job's own error."""
TIMED_OUT_ERROR = "JobTimedOut"
"""Error of a job that waited and ran for longer than its state allows."""
# Name of a job's failure by the meaning of its exit code: JobTRY_AGAIN.
_JOB_ERROR_OF_CODE = re.compile(r"^Job([A-Z_]+)$")
FINISH_ERROR = "FinishError"
"""Error of an execution that failed and whose last state failed as well."""
# Errors of a state that took too long; the same request may succeed later.
TIMEOUTS = frozenset({TIMED_OUT_ERROR, "States.Timeout", "States.HeartbeatTimeout"})
# Errors of Step Functions itself; a Fail state may not use these names.
RESERVED_ERROR = re.compile(r"^States\.")


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes
    ----------
    error : str
        Name of the error, never one that Step Functions reserves for itself.
    message : str
        Description of what happened.
    exit_code : ExitCode
        Exit code of ``cloudbuster run`` for the same failure.
    """

    error: str
    message: str
    exit_code: ExitCode

    @property
    def is_infrastructure(self) -> bool:
        """Whether the stack failed, and not the request."""
        return self.exit_code not in REQUEST_FAILURES


def check_success(
    run: str,
    *,
    failed: Mapping[int, str],
    selected: int,
    least: float,
    reasons: Mapping[int, str] | None = None,
) -> None:
    """Raise an error if a smaller share than ``least`` of the scenes was gathered.

    Parameters
    ----------
    run : str
        Id of the run.
    failed : mapping of int to str
        Status of the job of each scene that was not gathered, by the number of its task:
        ``EXIT_<code>``, or ``FAILED`` for a job that never started.
    selected : int
        Number of selected scenes.
    least : float
        Share of them that must be gathered, 0 to 1.
    reasons : mapping of int to str, optional
        Errors that jobs kept, by the numbers of their tasks.

    Raises
    ------
    JobsTryAgainError
        If enough would have been gathered without failures of the disk or of remote services.
    JobsFailedError
        If enough would have been gathered had every job run to its end: the stack failed.
    NothingUsableError
        Otherwise.
    """
    gathered = selected - len(failed)
    if gathered and gathered >= least * selected:
        return
    what = f"{gathered} of {selected} scenes of {run} were gathered, at least {least:.0%} must be"
    raise _jobs_error(run, what, failed, reasons, lambda more: gathered + more >= least * selected)


def check_area(
    run: str,
    *,
    failed: Mapping[int, str],
    observed: float,
    least: float,
    reasons: Mapping[int, str] | None = None,
) -> None:
    """Raise an error if jobs failed, and less than ``least`` of the area was observed.

    Parameters
    ----------
    run, failed, reasons
        As for `check_success`.
    observed, least : float
        Share of the area that the gathered scenes observe, and the least that they must, 0 to 1.

    Raises
    ------
    JobsTryAgainError, JobsFailedError, NothingUsableError
        By the reason of the failures, as `check_success`.
    """
    if not failed or observed >= least:
        return
    what = (
        f"the gathered scenes of {run} observe {observed:.0%} of the area, at least {least:.0%} "
        "must be"
    )
    raise _jobs_error(run, what, failed, reasons, bool)


def _jobs_error(
    run: str,
    what: str,
    failed: Mapping[int, str],
    reasons: Mapping[int, str] | None,
    is_enough: Callable[[int], bool],
) -> CloudBusterError:
    """Make the error of failed jobs.

    ``is_enough`` says whether so many more scenes would have been enough.
    """
    codes = {number: exit_code_of(status) for number, status in failed.items()}
    passing = [number for number, code in codes.items() if code is ExitCode.TRY_AGAIN]
    # An exit code that is not this package's is that of a killed job.
    died = [
        number
        for number, code in codes.items()
        if code is not ExitCode.TRY_AGAIN and code not in REQUEST_FAILURES
    ]
    error: type[CloudBusterError] = NothingUsableError
    first, remedy = next((number for number in failed if number not in passing + died), 1), ""
    if passing and is_enough(len(passing)):
        error, first, remedy = JobsTryAgainError, passing[0], "submit it again; "
    elif died and is_enough(len(passing + died)):
        error, first = JobsFailedError, died[0]
        remedy = "jobs died, or never started (FAILED): cloudbuster doctor examines the stack; "
    counts = Counter(failed.values()).most_common()
    ends = ", ".join(f"{count} {status}" for status, count in counts) or "none selected"
    own = (reasons or {}).get(first)
    shown = f"scene {first}: {own}; " if own else ""
    return error(
        f"{what}; others: {ends}; {shown}{remedy}cloudbuster logs {run} --scene {first} prints "
        "the log of one"
    )


def failure_of(error: Mapping[str, Any], *, root: RootError | None = None) -> Failure:
    """Make the failure for an error that a state caught.

    Parameters
    ----------
    error : mapping
        ``Error`` and ``Cause`` as Step Functions report them: of a function, of a Batch job (its
        whole description), or of a service.
    root : callable, optional
        Finds the error that a job kept, from the URI of its task and its id.
    """
    name, cause = str(error.get("Error", "Unknown")), str(error.get("Cause", ""))
    detail = _json_object(cause)
    known = getattr(errors, name, None)
    if isinstance(known, type) and issubclass(known, CloudBusterError):
        return Failure(name, str(detail.get("errorMessage", cause)), known.exit_code)
    if "JobName" in detail:
        return _job_failure(detail, root)
    code = ExitCode.TRY_AGAIN if name in TIMEOUTS else None
    message = str(detail.get("errorMessage", cause)) or "no cause was given"
    return Failure(
        RESERVED_ERROR.sub("Workflow", name), message, ExitCode.BUG if code is None else code
    )


def failure_of_execution(found: Mapping[str, Any]) -> Failure:
    """Make the failure for an execution that did not succeed.

    Parameters
    ----------
    found : mapping
        ``status``, ``error`` and ``cause`` of a description by Step Functions or of an event of
        EventBridge.
    """
    error, cause = found.get("error"), found.get("cause")
    if found["status"] == "ABORTED":
        given = ": ".join(str(word) for word in (error, cause) if word)
        message = f"somebody stopped it ({given})" if given else "somebody stopped it"
        return Failure("Aborted", f"{message}; submit it again", ExitCode.TERMINATED)
    if found["status"] == "TIMED_OUT":
        return Failure("TimedOut", "it took over two days; see its history", ExitCode.TRY_AGAIN)
    failure = failure_of({"Error": error or "Unknown", "Cause": cause or ""})
    job = _JOB_ERROR_OF_CODE.match(failure.error)
    if job and job[1] in ExitCode.__members__:
        return Failure(failure.error, failure.message, ExitCode[job[1]])
    return failure


def exit_code_of(status: str) -> ExitCode | None:
    """Exit code in the status of a job (``EXIT_3``); None if it contains none of this package."""
    number = status.removeprefix("EXIT_")
    known = {str(int(code)): code for code in ExitCode}
    return known.get(number)


def _job_failure(job: Mapping[str, Any], root: RootError | None) -> Failure:
    """Make the failure for a Batch job from its description; its own error comes first."""
    container = job.get("Container") or {}
    number = container.get("ExitCode")
    code = exit_code_of(f"EXIT_{number}") or ExitCode.BUG
    stream = container.get("LogStreamName")
    log = f"log stream {stream}" if stream else None
    reasons = [container.get("Reason"), job.get("StatusReason"), log]
    reported = "; ".join(str(reason) for reason in reasons if reason)
    message = f"job {job['JobName']} exited with {number}: {reported}"
    task = (job.get("Parameters") or {}).get("task_uri")
    own = root(str(task), str(job.get("JobId"))) if root and task else None
    if own:
        message = f"{own}; {message}"
    return Failure(JOB_ERROR if code is ExitCode.BUG else f"Job{code.name}", message, code)


def _json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; an empty one if ``text`` is none."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
