"""A run on the stack: its id, its places in S3, what may start, and how it ended. Pure."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import orjson
from pydantic import ValidationError

from cloudbuster import errors
from cloudbuster.areas import check_crs, request_area
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import (
    BadInputError,
    CloudBusterError,
    ExitCode,
    JobsFailedError,
    JobsTryAgainError,
    NothingUsableError,
    RequestError,
)
from cloudbuster.io.documents import parse_json, validation_message
from cloudbuster.io.uri import join
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Geometry, MosaicRequest

# Objects that are requests.
REQUEST_PREFIX = "requests/"
REQUEST_SUFFIX = ".json"
# An execution's name has at most 80 characters and a job's 128, of letters, digits, - and _ both:
# 48 of the mosaic's name, a dash, 16 of the hash, and room for -a99 or -f and 8 of an event.
SLUG_LENGTH = 48
HASH_LENGTH = 16
# Outcomes that a person is told of; any other failure is the stack's, and raises an alarm.
TOLD_NOT_ALARMED = frozenset(
    {ExitCode.NOTHING_USABLE, ExitCode.NOT_COVERED, ExitCode.BAD_INPUT, ExitCode.OVER_BUDGET}
)
# What the states Filter and Assess keep of their functions' answers.
PLAN = (
    "task_count",
    "todo_count",
    "indices",
    "indices_key",
    "image",
    "estimate_usd",
    "budget_usd",
    "within_budget",
)
ASSESS = (
    "more_rounds",
    "scenes",
    "merge_task_uri",
    "survey_task_uri",
    "part_count",
    "parts",
)
# What the map answers of a scene that was gathered.
GATHERED = "SUCCEEDED"
# What a bare GeoJSON may be (RFC 7946).
GEOJSON_TYPES = frozenset({"Feature", "FeatureCollection", "Polygon", "MultiPolygon"})
# Name of an execution: the run's id, then which attempt it is, or which forced one.
EXECUTION_NAME = re.compile(r"^(?P<run>.+?)(-a\d+|-f[0-9a-f]{8})?$")
# A job's failure, as the last state names it: JobTRY_AGAIN.
JOB_ERROR = re.compile(r"^Job([A-Z_]+)$")
# Error of a run that failed and could not tell it: of its last state, which has no other.
UNHEARD = "FinishError"
# Step Functions' names of errors of its own; a Fail state may not use them.
RESERVED_ERROR = re.compile(r"^States\.")

# Step Functions take at most 256 KiB of input, and hand on as much (service quotas). A request that
# is refused goes to the last state with its error and its cause, which have 32 KiB.
MAX_INPUT_BYTES = 220_000


@dataclass(frozen=True)
class RunPlaces:
    """Where a run keeps what it makes; the ``run`` of the state machine's state.

    Attributes
    ----------
    id : str
        ``<slug of the name>-<hash of the canonical request>``.
    documents, scenes, tasks, products : str
        Prefixes without a final slash.
    """

    id: str
    documents: str
    scenes: str
    tasks: str
    products: str

    @classmethod
    def of(cls, request: MosaicRequest, root: str, *, execution: str = "") -> "RunPlaces":
        """Make the places of ``request`` in the bucket ``root``.

        With ``force`` the scenes are those of the ``execution`` alone: the catalog may answer
        otherwise than before, and what an earlier selection left must not be merged.
        """
        run = run_id(request)
        scratch = f"{run}-{event_suffix([execution])}" if request.force else run
        return cls(
            id=run,
            documents=join(root, "runs", run),
            scenes=join(root, "scratch", scratch, "scenes"),
            tasks=join(root, "scratch", scratch, "tasks"),
            products=(request.output or join(root, "mosaics", run)).rstrip("/"),
        )

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "RunPlaces":
        """Read the places from the state."""
        return cls(**{name: str(state[name]) for name in cls.__dataclass_fields__})

    def state(self) -> dict[str, Any]:
        """Places as the state carries them, in the first round."""
        return {**asdict(self), "round": 1}

    def document(self, name: str) -> str:
        """URI of one of the run's documents."""
        return join(self.documents, name)


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


def run_id(request: MosaicRequest) -> str:
    """Identity of a request on the stack: ``force`` does not count, ``output`` does."""
    canonical = request.model_copy(update={"force": False}).fingerprint()
    return f"{slug(request.name)}-{canonical[:HASH_LENGTH]}"


def run_of(execution: str) -> str:
    """Id of the run that an execution is of, by its name or ARN."""
    found = EXECUTION_NAME.match(execution.rsplit(":", 1)[-1])
    return found["run"] if found else execution


def slug(text: str) -> str:
    """Letters, digits, ``-`` and ``_`` of ``text``, at most `SLUG_LENGTH`; ``mosaic`` for none."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")
    return kept[:SLUG_LENGTH].rstrip("-_") or "mosaic"


def parse_request(content: bytes, *, source: str, settings: StackSettings) -> MosaicRequest:
    """Make the request of an S3 object: a request, or a bare GeoJSON with the stack's defaults.

    Parameters
    ----------
    content : bytes
        Of the object.
    source : str
        Its URI; a bare GeoJSON is named after its file. One that is too large for the state is
        referred to by `stored_aoi`, where whoever starts the run must put it.
    settings : StackSettings
        Defaults, and where outputs may lie.

    Raises
    ------
    RequestError
        Where it is neither, breaks the contract, or may not run on this stack.
    """
    document = parse_json(content, source=source)
    if isinstance(document, dict) and document.get("type") in GEOJSON_TYPES:
        document = _completed(document, content, source, settings)
    return admit(document, source=source, settings=settings)


def admit(document: object, *, source: str, settings: StackSettings) -> MosaicRequest:
    """Validate a request, and that this stack may run it.

    Raises
    ------
    RequestError
        Where it breaks the contract, its output lies elsewhere, or it needs what is not deployed.
    AoiError, GridError
        Where its area cannot be used, or its CRS cannot hold that; one in a file is looked at by
        Query, which may read it.
    """
    if not isinstance(document, dict):
        kind = "null" if document is None else type(document).__name__
        msg = f"{source}: {kind}, no request: give a JSON object with name, aoi and query"
        raise RequestError(msg)
    try:
        request = MosaicRequest.model_validate(document)
    except ValidationError as error:
        msg = f"{source}: {validation_message(error)}"
        raise RequestError(msg) from error
    roots = (join(settings.root, "mosaics"), *settings.output_roots)
    if request.output is not None and not any(_lies_in(request.output, root) for root in roots):
        msg = (
            f"{source}: output {request.output} lies outside of {', '.join(roots)}; "
            "choose one of these, leave it out, or deploy with its bucket in output_buckets"
        )
        raise RequestError(msg)
    if request.gather.detector.type == "pytorch" and not settings.torch:
        msg = f"{source}: detector pytorch needs a stack with torch_image on; choose another"
        raise RequestError(msg)
    check_size(request, source)
    _check_area(request, source)
    return request


def _check_area(request: MosaicRequest, source: str) -> None:
    """Refuse an area that no run could make a mosaic of, where the request holds it."""
    if "uri" in request.aoi:
        return
    try:
        check_crs(request.gather, request_area(request.aoi, request.query))
    except BadInputError as error:
        msg = f"{source}: {error}"
        raise type(error)(msg) from error


def check_size(request: MosaicRequest, source: str) -> None:
    """Raise RequestError for a request that is too large to start an execution with."""
    if len(request.model_dump_json(by_alias=True).encode()) > MAX_INPUT_BYTES:
        msg = f"{source}: over {MAX_INPUT_BYTES} bytes, which an execution may be started with"
        raise RequestError(msg)


def needs_twins(request: MosaicRequest) -> bool:
    """Whether the clouds of L2A scenes are found in their L1C twins."""
    return request.query.kind == "L2A" and request.gather.detector.type == "s2cloudless"


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


def duration_s(started: str, now: str) -> float:
    """Seconds between two times of ISO 8601."""
    return round((datetime.fromisoformat(now) - datetime.fromisoformat(started)).total_seconds(), 1)


def outcome_message(outcome: Mapping[str, Any]) -> tuple[str, str]:
    """Subject (at most 100 ASCII characters, as SNS wants it) and text of a notification."""
    subject = f"cloudbuster {outcome['state']}: {outcome['run_id']}"
    return subject.encode("ascii", "replace").decode()[:100], json.dumps(outcome, indent=2)


def stored_aoi(content: bytes, root: str) -> str:
    """URI of an area that is kept by its content: another area is another run."""
    return join(root, "aois", f"{hashlib.sha256(content).hexdigest()[:HASH_LENGTH]}.geojson")


def event_suffix(parts: Sequence[str]) -> str:
    """Eight characters that are the same whenever the same event is delivered."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _completed(
    aoi: Geometry, content: bytes, source: str, settings: StackSettings
) -> dict[str, Any]:
    if settings.default_request is None:
        msg = f"{source}: a bare GeoJSON, and this stack has no default_request; give a request"
        raise RequestError(msg)
    stem = PurePosixPath(source).name.rsplit(".", 1)[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "mosaic"
    inline = len(orjson.dumps(aoi)) <= MAX_INLINE_AOI_BYTES
    area = aoi if inline else {"uri": stored_aoi(content, settings.root)}
    return {**settings.default_request, "name": name, "aoi": area}


def _lies_in(uri: str, root: str) -> bool:
    folder = f"{root.rstrip('/')}/"
    return f"{uri.rstrip('/')}/".startswith(folder) and ".." not in uri.split("/")


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
