"""Start a run on the deployed stack, wait for it, and say how it ended."""

import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import orjson

from cloudbuster import errors
from cloudbuster.aws.admission import (
    GEOJSON_TYPES,
    admit,
    check_size,
    parse_request,
    stored_aoi,
)
from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.session import client, told
from cloudbuster.aws.costs import HOMES, OTHER_HOMES, transfer_usd
from cloudbuster.aws.executions import execution_arn
from cloudbuster.aws.failures import Failure, failure_of_execution
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.starting import Starter
from cloudbuster.catalogs import CATALOGS
from cloudbuster.core.asset_mirror import parse_mirror
from cloudbuster.errors import CloudBusterError, ExitCode, NotCoveredError, RequestError
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Geometry, MosaicRequest
from cloudbuster.storage.documents import parse_json
from cloudbuster.storage.run_layout import RunLayout, run_id
from cloudbuster.storage.uri import is_remote, local_path, read_bytes, resolve, write_bytes

logger = logging.getLogger(__name__)

# Between two looks at a run, seconds: a run takes minutes to hours.
POLL_S = 10


class RunFailedError(CloudBusterError):
    """A run on the stack failed; its ``exit_code`` is what ``cloudbuster run`` would exit with."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Submitted:
    """A run of a request.

    Attributes
    ----------
    execution : str
        ARN of the execution.
    run_id : str
        Identity of the request on the stack.
    state : str
        ``started`` now, or ``running`` or ``succeeded`` since before.
    status_uri : str
        Of the run's ``status.json``.
    """

    execution: str
    run_id: str
    state: str
    status_uri: str


@dataclass(frozen=True)
class Ended:
    """How an execution ended.

    Attributes
    ----------
    outcome : dict
        Output of the execution; of one that failed its ``error``, ``cause`` and ``exit_code``.
    error : CloudBusterError or None
        What to exit with; None for a run that is done and covered.
    """

    outcome: dict[str, Any]
    error: CloudBusterError | None


def submit_request(
    uri: str, stack: DeployedStack, *, on_warning: Callable[[str], None] | None = None
) -> Submitted:
    """Start the run of a request, unless it runs or has succeeded.

    Parameters
    ----------
    uri : str
        Of a request, or of a bare GeoJSON that the stack's defaults complete. An area in a file is
        taken along: in the request, or above 64 kB in the stack's bucket.
    stack : DeployedStack
        Where to.
    on_warning : callable, optional
        Told, in one line, of scenes that lie in another region than the stack.

    Raises
    ------
    RequestError
        Where it breaks the contract, may not run on this stack, or names a relative path.
    CredentialsError, AccessError
        Where whoever submits may not.
    TryAgainError
        Where AWS did not answer.
    """
    settings = stack.settings()
    request, area = _admitted(uri, settings)
    _check_reach(request)
    check_size(request, uri)
    warning = transfer_warning(request, stack.region)
    if warning and on_warning:
        on_warning(warning)
    if area is not None:
        write_bytes(str(request.aoi["uri"]), area)
    with told(f"start a run on stack {stack.name}", hint="see whether the stack is whole"):
        # Each submission of a request with `force` is one run.
        started = Starter(settings, client).start(request, version=(secrets.token_hex(8),))
    layout = RunLayout.in_bucket(request, settings.root)
    return Submitted(
        execution=execution_arn(stack.machine_arn, started.execution or run_id(request)),
        run_id=layout.id,
        state=started.state,
        status_uri=layout.document("status.json"),
    )


def transfer_warning(request: MosaicRequest, region: str) -> str | None:
    """Say what reading from other regions adds to a run; None where it does not, or nobody knows.

    Parameters
    ----------
    request : MosaicRequest
        With an `asset_mirror` its scenes lie where that says.
    region : str
        Of the stack.
    """
    query = request.query
    homes = OTHER_HOMES.get(query.catalog, HOMES)
    read = {query.kind, "L1C"} if request.needs_twins else {query.kind}
    away = [kind for kind, place in homes.items() if kind in read and place != region]
    if not away or query.asset_mirror:
        return None
    places = " and ".join(f"{kind} scenes lie in {homes[kind]}" for kind in away)
    usd = sum(transfer_usd(kind) for kind in away)
    return (
        f"{places}, the stack in {region}: reading them adds up to {usd:.3f} USD a scene, and time"
    )


def wait_for(execution: str) -> Ended:
    """Wait until an execution has ended.

    Raises
    ------
    TryAgainError
        Where AWS did not answer; the run goes on.
    """
    while True:
        with told(f"look at {execution}", hint="check the execution's name"):
            found = client("stepfunctions").describe_execution(executionArn=execution)
        if found["status"] != "RUNNING":
            return _ended(found)
        time.sleep(POLL_S)


def _ended(found: dict[str, Any]) -> Ended:
    if found["status"] == "SUCCEEDED":
        outcome: dict[str, Any] = json.loads(found.get("output") or "{}")
        code = int(outcome.get("exit_code", ExitCode.DONE))
        if code == ExitCode.DONE:
            return Ended(outcome, None)
        msg = (
            f"{found['name']} made its mosaic, and the area is not covered as asked: see "
            f"assessment.json beside {outcome.get('status_uri')}"
        )
        return Ended(outcome, NotCoveredError(msg))
    failure = failure_of_execution(found)
    outcome = {
        "execution": found["name"],
        "state": str(found["status"]).lower(),
        "exit_code": int(failure.exit_code),
        "error": failure.error,
        "cause": failure.message,
    }
    return Ended(outcome, _error(failure, found["name"]))


def _error(failure: Failure, name: str) -> CloudBusterError:
    """Error of a failed run: the one that a stage raised, by its name, where it is of ours."""
    known = getattr(errors, failure.error, None)
    if isinstance(known, type) and issubclass(known, CloudBusterError):
        return known(f"{name}: {failure.message}")
    return RunFailedError(f"{name}: {failure.error}: {failure.message}", failure.exit_code)


def _admitted(uri: str, settings: StackSettings) -> tuple[MosaicRequest, bytes | None]:
    """Read a request that may run on the stack, and the area to upload for it."""
    content = read_bytes(uri)
    document = parse_json(content, source=uri)
    if isinstance(document, dict) and document.get("type") in GEOJSON_TYPES:
        request = parse_request(content, source=uri, settings=settings)
        stored = request.aoi == {"uri": stored_aoi(content, settings.root)}
        return request, content if stored else None
    area = None
    if isinstance(document, dict) and isinstance(document.get("aoi"), dict):
        folder = str(local_path(uri).absolute().parent) if not is_remote(uri) else _parent(uri)
        aoi, area = _taken_along(document["aoi"], folder, settings.root)
        document = {**document, "aoi": aoi}
    return admit(document, source=uri, settings=settings), area


def _taken_along(aoi: Geometry, folder: str, root: str) -> tuple[Geometry, bytes | None]:
    """Area as the stack can read it, and what must be put into its bucket for that."""
    content = None
    if set(aoi) == {"uri"}:
        source = resolve(str(aoi["uri"]), folder)
        if is_remote(source):
            return {"uri": source}, None
        content = read_bytes(source)
        aoi = parse_json(content, source=source)
    packed = orjson.dumps(aoi)
    if len(packed) <= MAX_INLINE_AOI_BYTES:
        return aoi, None
    content = content or packed
    return {"uri": stored_aoi(content, root)}, content


def _parent(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{PurePosixPath(rest).parent}"


def _check_reach(request: MosaicRequest) -> None:
    """Refuse paths that count from a folder of this machine; tell of those that may."""
    detector = request.gather.detector
    places = {
        "query.catalog": None if request.query.catalog in CATALOGS else request.query.catalog,
        "gather.detector.architecture": detector.architecture,
        "gather.detector.weights": detector.weights,
        "gather.detector.donor_mask": detector.donor_mask,
    }
    for number, text in enumerate(request.query.asset_mirror):
        places[f"query.asset_mirror.{number}"] = parse_mirror(text)[1]
    for field, place in places.items():
        if place is None or "://" in place:
            continue
        if not place.startswith("/"):
            msg = f"{field}: {place} lies on this machine; give an s3:// or https:// address"
            raise RequestError(msg)
        logger.warning(
            "path_of_the_image", extra={"field": field, "path": place, "searched": "on the stack"}
        )
