"""How a run on the stack failed, by what Step Functions and Batch report of it."""

import re
from collections import Counter
from collections.abc import Mapping
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

# Outcomes that a person is told of; any other failure is the stack's, and raises an alarm.
TOLD_NOT_ALARMED = frozenset(
    {ExitCode.NOTHING_USABLE, ExitCode.NOT_COVERED, ExitCode.BAD_INPUT, ExitCode.OVER_BUDGET}
)
# A job's failure, as the last state names it: JobTRY_AGAIN.
JOB_ERROR = re.compile(r"^Job([A-Z_]+)$")
# Error of a run that failed and could not tell it: of its last state, which has no other.
UNHEARD = "FinishError"
# Step Functions' names of errors of its own; a Fail state may not use them.
RESERVED_ERROR = re.compile(r"^States\.")


@dataclass(frozen=True)
class Failure:
    """How a run failed.

    Attributes
    ----------
    error : str
        Name of the error, never one that Step Functions keeps for itself.
    message : str
        What happened, in words.
    exit_code : ExitCode
        What ``cloudbuster run`` would have exited with.
    """

    error: str
    message: str
    exit_code: ExitCode

    @property
    def is_infrastructure(self) -> bool:
        """Whether the stack failed, and not the request."""
        return self.exit_code not in TOLD_NOT_ALARMED


def check_success(run: str, *, failed: Mapping[int, str], selected: int, least: float) -> None:
    """Raise where fewer than the share ``least`` of the scenes was gathered.

    Parameters
    ----------
    run : str
        Id of the run.
    failed : mapping of int to str
        By its number, how the job of each scene ended that was not gathered: ``EXIT_<code>``, or
        ``FAILED`` of one that never started.
    selected : int
        How many scenes there are.
    least : float
        Share of them that must be gathered.

    Raises
    ------
    JobsTryAgainError
        Where enough would have been, had not the disk or a remote service failed.
    JobsFailedError
        Where enough would have been, had every job been run to its end: the stack failed.
    NothingUsableError
        Else.
    """
    gathered = selected - len(failed)
    if gathered and gathered >= least * selected:
        return
    codes = {number: exit_code_of(status) for number, status in failed.items()}
    passing = [number for number, code in codes.items() if code is ExitCode.TRY_AGAIN]
    # A code that this package does not know is that of whoever killed the job.
    died = [
        number
        for number, code in codes.items()
        if code is not ExitCode.TRY_AGAIN and code not in TOLD_NOT_ALARMED
    ]
    error: type[CloudBusterError] = NothingUsableError
    first, remedy = next((number for number in failed if number not in passing + died), 1), ""
    if passing and gathered + len(passing) >= least * selected:
        error, first, remedy = JobsTryAgainError, passing[0], "submit it again; "
    elif died and gathered + len(passing + died) >= least * selected:
        error, first = JobsFailedError, died[0]
        remedy = "jobs died, or never started (FAILED): cloudbuster doctor looks at the stack; "
    counts = Counter(failed.values()).most_common()
    ends = ", ".join(f"{count} {status}" for status, count in counts) or "none selected"
    msg = (
        f"{gathered} of {selected} scenes of {run} were gathered, at least {least:.0%} must be; "
        f"others: {ends}; {remedy}cloudbuster logs {run} --scene {first} prints what one has said"
    )
    raise error(msg)


def failure_of(error: Mapping[str, Any]) -> Failure:
    """Understand what a Catch of the state machine caught.

    Parameters
    ----------
    error : mapping
        ``Error`` and ``Cause`` as Step Functions give them: of a function, of a Batch job (its
        whole description), or of a service.
    """
    name, cause = str(error.get("Error", "Unknown")), str(error.get("Cause", ""))
    detail = _object(cause)
    known = getattr(errors, name, None)
    if isinstance(known, type) and issubclass(known, CloudBusterError):
        return Failure(name, str(detail.get("errorMessage", cause)), known.exit_code)
    if "JobName" in detail:
        return _job_failure(detail)
    code = ExitCode.TRY_AGAIN if name in ("States.Timeout", "States.HeartbeatTimeout") else None
    message = str(detail.get("errorMessage", cause)) or "no cause was given"
    return Failure(
        RESERVED_ERROR.sub("Workflow", name), message, ExitCode.BUG if code is None else code
    )


def failure_of_execution(found: Mapping[str, Any]) -> Failure:
    """Understand why an execution did not succeed.

    Parameters
    ----------
    found : mapping
        ``status``, ``error`` and ``cause``, as Step Functions describe an execution and as
        EventBridge tells of its end.
    """
    error, cause = found.get("error"), found.get("cause")
    if found["status"] == "ABORTED":
        given = ": ".join(str(word) for word in (error, cause) if word)
        told = f"somebody stopped it ({given})" if given else "somebody stopped it"
        return Failure("Aborted", f"{told}; submit it again", ExitCode.TERMINATED)
    if found["status"] == "TIMED_OUT":
        return Failure("TimedOut", "it took over two days; see its history", ExitCode.TRY_AGAIN)
    failure = failure_of({"Error": error or "Unknown", "Cause": cause or ""})
    job = JOB_ERROR.match(failure.error)
    if job and job[1] in ExitCode.__members__:
        return Failure(failure.error, failure.message, ExitCode[job[1]])
    return failure


def exit_code_of(status: str) -> ExitCode | None:
    """Exit code in the status of a gathered item (``EXIT_3``), where it holds one."""
    number = status.removeprefix("EXIT_")
    known = {str(int(code)): code for code in ExitCode}
    return known.get(number)


def _job_failure(job: Mapping[str, Any]) -> Failure:
    """Tell why a Batch job failed, from its description."""
    container = job.get("Container") or {}
    number = container.get("ExitCode")
    code = exit_code_of(f"EXIT_{number}") or ExitCode.BUG
    reasons = [container.get("Reason"), job.get("StatusReason"), _log(container)]
    told = "; ".join(str(reason) for reason in reasons if reason)
    message = f"job {job['JobName']} exited with {number}: {told}"
    return Failure("JobFailed" if code is ExitCode.BUG else f"Job{code.name}", message, code)


def _log(container: Mapping[str, Any]) -> str | None:
    stream = container.get("LogStreamName")
    return f"log stream {stream}" if stream else None


def _object(text: str) -> dict[str, Any]:
    """Parse a JSON object; an empty one where ``text`` is none."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
