"""Start a run on the deployed stack, wait for it, and report how it ended."""

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
    admit,
    check_size,
    is_bare_area,
    parse_request,
    stored_aoi,
)
from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.status import describe_execution
from cloudbuster.aws.costs import HOMES, OTHER_HOMES, transfer_usd
from cloudbuster.aws.executions import execution_arn
from cloudbuster.aws.failures import Failure, failure_of_execution
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.starting import RunStarter
from cloudbuster.catalogs import CATALOGS
from cloudbuster.core.scenes.asset_mirror import parse_mirror
from cloudbuster.errors import CloudBusterError, ExitCode, NotCoveredError, RequestError
from cloudbuster.inputs.areas import load_aoi
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Geometry, MosaicRequest
from cloudbuster.storage.files.documents import parse_unique_json
from cloudbuster.storage.files.run_layout import RunLayout, run_id
from cloudbuster.storage.files.uri import is_remote, local_path, read_bytes, resolve, write_bytes

logger = logging.getLogger(__name__)

# Seconds between two looks at a run, which takes minutes to hours.
POLL_S = 10


class RunFailedError(CloudBusterError):
    """A run on the stack failed; ``exit_code`` is that of ``cloudbuster run`` for the failure."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class SubmittedRun:
    """The run of a submitted request.

    Attributes
    ----------
    execution : str
        ARN of the execution.
    run_id : str
        Identity of the request on the stack.
    state : str
        ``started`` by this submission; ``running`` or ``succeeded`` by an earlier one.
    status_uri : str
        URI of the run's ``status.json``.
    """

    execution: str
    run_id: str
    state: str
    status_uri: str


@dataclass(frozen=True)
class ExecutionResult:
    """How an execution ended.

    Attributes
    ----------
    outcome : dict
        Output of the execution; for a failed one its ``error``, ``cause`` and ``exit_code``.
    error : CloudBusterError or None
        Error to exit with; None for a run that succeeded and covers the area.
    """

    outcome: dict[str, Any]
    error: CloudBusterError | None


def submit_request(
    uri: str, stack: DeployedStack, *, on_warning: Callable[[str], None] | None = None
) -> SubmittedRun:
    """Start the run of a request, unless it is running or has succeeded.

    Parameters
    ----------
    uri : str
        URI of a request, or of a bare GeoJSON that the stack's defaults complete. An area in a
        file goes into the request, or above 64 kB into the stack's bucket.
    stack : DeployedStack
        Stack to run it on.
    on_warning : callable, optional
        Called with one line if scenes lie in another region than the stack.

    Raises
    ------
    RequestError
        If the request breaks the contract, may not run on this stack, or names a relative path.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If AWS is throttled, broken or out of reach.
    """
    settings = stack.settings()
    request, area = admitted_request(uri, settings)
    _check_paths(request)
    check_size(request, uri)
    warning = transfer_warning(request, stack.region)
    if warning and on_warning:
        on_warning(warning)
    if area is not None:
        write_bytes(str(request.aoi["uri"]), area)
    # Each submission of a request with `force` is a run of its own.
    version = (secrets.token_hex(8),)
    started = RunStarter(stack.machine_arn).start(request, version=version)
    layout = RunLayout.in_bucket(request, settings.root)
    return SubmittedRun(
        execution=execution_arn(stack.machine_arn, started.execution or run_id(request)),
        run_id=layout.id,
        state=started.state,
        status_uri=layout.document("status.json"),
    )


def transfer_warning(request: MosaicRequest, region: str) -> str | None:
    """Describe the cost of reading scenes from another region; None if it is none or unknown.

    Parameters
    ----------
    request : MosaicRequest
        The request. With an `asset_mirror` its scenes may lie anywhere.
    region : str
        Region of the stack.
    """
    query = request.query
    homes = OTHER_HOMES.get(query.catalog, HOMES)
    read = {query.kind, "L1C"} if request.needs_twins else {query.kind}
    away = [kind for kind, home in homes.items() if kind in read and home != region]
    if not away or query.asset_mirror:
        return None
    regions = " and ".join(f"{kind} scenes lie in {homes[kind]}" for kind in away)
    usd = sum(transfer_usd(kind) for kind in away)
    return (
        f"{regions}, the stack in {region}: reading them adds up to {usd:.3f} USD a scene, and time"
    )


def wait_for(execution: str) -> ExecutionResult:
    """Wait until an execution has ended.

    Parameters
    ----------
    execution : str
        ARN of the execution.

    Raises
    ------
    TryAgainError
        If Step Functions is throttled, broken or out of reach; the run goes on.
    """
    while True:
        found = describe_execution(execution)
        if found["status"] != "RUNNING":
            return result_of(found)
        time.sleep(POLL_S)


def result_of(found: dict[str, Any]) -> ExecutionResult:
    """Read how an execution ended from its description by Step Functions."""
    if found["status"] == "SUCCEEDED":
        outcome: dict[str, Any] = json.loads(found.get("output") or "{}")
        code = int(outcome.get("exit_code", ExitCode.DONE))
        if code == ExitCode.DONE:
            return ExecutionResult(outcome, None)
        msg = (
            f"{found['name']} made its mosaic, and the area is not covered as asked: see "
            f"assessment.json beside {outcome.get('status_uri')}"
        )
        return ExecutionResult(outcome, NotCoveredError(msg))
    failure = failure_of_execution(found)
    outcome = {
        "execution": found["name"],
        "state": str(found["status"]).lower(),
        "exit_code": int(failure.exit_code),
        "error": failure.error,
        "cause": failure.message,
    }
    return ExecutionResult(outcome, _error_of(failure, found["name"]))


def _error_of(failure: Failure, name: str) -> CloudBusterError:
    """Make the error of a failed run: the one that a stage raised, if it is one of this package."""
    known = getattr(errors, failure.error, None)
    if isinstance(known, type) and issubclass(known, CloudBusterError):
        return known(f"{name}: {failure.message}")
    return RunFailedError(f"{name}: {failure.error}: {failure.message}", failure.exit_code)


def admitted_request(uri: str, settings: StackSettings) -> tuple[MosaicRequest, bytes | None]:
    """Read a request that may run on the stack, and the area to upload for it.

    Raises
    ------
    RequestError
        If the request breaks the contract, or may not run on this stack.
    """
    content = read_bytes(uri)
    document = parse_unique_json(content, source=uri)
    if is_bare_area(document):
        request = parse_request(content, source=uri, settings=settings)
        stored = request.aoi == {"uri": stored_aoi(content, settings.root)}
        return request, content if stored else None
    area = None
    aoi = document.get("aoi") if isinstance(document, dict) else None
    if isinstance(aoi, str):
        aoi = {"uri": aoi}
    if isinstance(aoi, dict):
        folder = str(local_path(uri).absolute().parent) if not is_remote(uri) else _parent(uri)
        aoi, area = _portable_aoi(aoi, folder, settings.root)
        document = {**document, "aoi": aoi}
    return admit(document, source=uri, settings=settings), area


def _portable_aoi(aoi: Geometry, folder: str, root: str) -> tuple[Geometry, bytes | None]:
    """Make an area that the stack can read, and the content to upload for it."""
    if "uri" in aoi:
        source = resolve(str(aoi["uri"]), folder)
        if is_remote(source):
            return {**aoi, "uri": source}, None
        aoi = load_aoi({**aoi, "uri": source})
    packed = orjson.dumps(aoi)
    if len(packed) <= MAX_INLINE_AOI_BYTES:
        return aoi, None
    return {"uri": stored_aoi(packed, root)}, packed


def _parent(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{PurePosixPath(rest).parent}"


def _check_paths(request: MosaicRequest) -> None:
    """Refuse relative paths; log absolute ones, which must exist in the stack's image."""
    detector = request.gather.detector
    paths = {
        "query.catalog": None if request.query.catalog in CATALOGS else request.query.catalog,
        "gather.detector.architecture": detector.architecture,
        "gather.detector.weights": detector.weights,
        "gather.detector.donor_mask": detector.donor_mask,
    }
    for number, text in enumerate(request.query.asset_mirror):
        paths[f"query.asset_mirror.{number}"] = parse_mirror(text)[1]
    for field, path in paths.items():
        if path is None or "://" in path:
            continue
        if not path.startswith("/"):
            msg = f"{field}: {path} lies on this machine; give an s3:// or https:// address"
            raise RequestError(msg)
        logger.warning(
            "path_of_the_image", extra={"field": field, "path": path, "searched": "on the stack"}
        )
