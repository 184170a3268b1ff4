"""One mosaic per UTM zone: an area that no zone holds, run part by part."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from cloudbuster.areas import request_area
from cloudbuster.core.aoi import geometry_document
from cloudbuster.core.mosaic_grid import EACH_ZONE, utm_parts
from cloudbuster.errors import CloudBusterError, ExitCode, GridError, NotCoveredError, RequestError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import (
    MAX_INLINE_AOI_BYTES,
    Geometry,
    MosaicRequest,
    RunResult,
    ZoneResult,
)
from cloudbuster.pipeline import run
from cloudbuster.storage.documents import validation_message
from cloudbuster.storage.uri import join, resolve, write_bytes

logger = logging.getLogger(__name__)

# How parts of a run may end, the worst first; what is not named here comes before all of it.
SEVERITY = (
    ExitCode.BAD_INPUT,
    ExitCode.TRY_AGAIN,
    ExitCode.VERIFY_DISAGREES,
    ExitCode.OVER_BUDGET,
    ExitCode.NOTHING_USABLE,
    ExitCode.NOT_COVERED,
)


@dataclass(frozen=True)
class ZoneRun:
    """How one part of a run ended.

    Attributes
    ----------
    request : MosaicRequest
        Of the part.
    result : RunResult or None
        What was made; None where the run failed.
    error : CloudBusterError or None
        Why it failed, or what is not covered.
    """

    request: MosaicRequest
    result: RunResult | None
    error: CloudBusterError | None

    def document(self) -> ZoneResult:
        """Make the document of it."""
        error = self.error
        return ZoneResult(
            name=self.request.name,
            crs=self.request.gather.crs,
            exit_code=int(ExitCode.DONE if error is None else error.exit_code),
            error=None if error is None else f"{type(error).__name__}: {error}",
            result=self.result,
        )


def wants_each_zone(request: MosaicRequest) -> bool:
    """Whether a request asks for one mosaic per UTM zone."""
    return request.gather.crs.strip().lower() == EACH_ZONE


def zone_requests(request: MosaicRequest) -> tuple[MosaicRequest, ...]:
    """Cut a request by UTM zone and hemisphere.

    Parameters
    ----------
    request : MosaicRequest
        Relative paths in it count from the working directory.

    Returns
    -------
    tuple of MosaicRequest
        One for each part of the area, from west to east, the north before the south: named
        ``{name}-{zone}{n|s}``, in the folder of that name below the request's own, in the CRS of
        its zone. An area of one zone gives one. A part that is too large to stand in a request is
        written to its folder.

    Raises
    ------
    AoiError
        Where the area cannot be read or used.
    GridError
        Where it reaches beyond UTM.
    RequestError
        Where the name has no room for that of the zone.
    """
    area = request_area(request.aoi, request.query)
    try:
        parts = utm_parts(area)
    except ValueError as error:
        raise GridError(str(error)) from error
    # The parts are as the area was scaled; they are not scaled again.
    query = request.query.model_copy(update={"scale": None, "original_shape": False})
    output = resolve(request.output or request.name, ".")
    requests = []
    for crs, part in parts:
        name = f"{request.name}-{zone_name(crs)}"
        changes = {
            "name": name,
            "aoi": _part_aoi(geometry_document(part), join(output, name)),
            "query": query,
            "gather": request.gather.model_copy(update={"crs": crs}),
            "output": join(output, name),
        }
        try:
            requests.append(MosaicRequest(**(dict(request) | changes)))
        except ValidationError as error:
            msg = f"part {name}: {validation_message(error)}"
            raise RequestError(msg) from error
    return tuple(requests)


def zone_name(crs: str) -> str:
    """Short name of a UTM zone: ``EPSG:32613`` is ``13n``, ``EPSG:32701`` is ``01s``."""
    return f"{crs[-2:]}{'n' if crs[-3] == '6' else 's'}"


def run_zones(
    request: MosaicRequest, *, workers: int = 1, on_event: OnEvent | None = None
) -> tuple[ZoneRun, ...]:
    """Make one mosaic per UTM zone; a part that fails does not stop the others.

    Parameters
    ----------
    request : MosaicRequest
        As for `cloudbuster.pipeline.run`.
    workers : int
        Processes to gather with.
    on_event : callable, optional
        Told of every step of every part.

    Returns
    -------
    tuple of ZoneRun
        By part, in the order of `zone_requests`. Each part is a run of its own: it queries for
        itself, resumes by itself, and has its own documents.

    Raises
    ------
    AoiError, GridError, RequestError
        As `zone_requests`.
    """
    requests = zone_requests(request)
    runs = []
    for number, part in enumerate(requests, start=1):
        emit(on_event, Event("zone", number, len(requests), f"{part.name} ({part.gather.crs})"))
        result: RunResult | None = None
        failure: CloudBusterError | None = None
        try:
            result = run(part, workers=workers, on_event=on_event)
        except CloudBusterError as error:
            logger.warning("zone_failed", extra={"part": part.name, "error": str(error)})
            failure = error
        if result is not None and not result.assessment.covered:
            failure = NotCoveredError("; ".join(result.assessment.reasons))
        runs.append(ZoneRun(part, result, failure))
    return tuple(runs)


def worst_error(runs: Sequence[ZoneRun]) -> CloudBusterError | None:
    """Make one error of those of the parts: of the worst one's class, naming every part.

    Parameters
    ----------
    runs : sequence of ZoneRun
        Of one request.

    Returns
    -------
    CloudBusterError or None
        None where every part was made and is covered.
    """
    failed = [(entry.request.name, entry.error) for entry in runs if entry.error is not None]
    if not failed:
        return None
    rank = {code: number for number, code in enumerate(SEVERITY)}
    worst = min((error for _, error in failed), key=lambda error: rank.get(error.exit_code, -1))
    told = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failed)
    return type(worst)(f"{len(failed)} of {len(runs)} parts: {told}")


def _part_aoi(document: Geometry, folder: str) -> Geometry:
    """Area of a part as a request holds it: above the limit a file, named by its content."""
    content = orjson.dumps(document)
    if len(content) <= MAX_INLINE_AOI_BYTES:
        return document
    uri = join(folder, f"aoi-{hashlib.sha256(content).hexdigest()[:12]}.geojson")
    write_bytes(uri, content)
    return {"uri": uri}
