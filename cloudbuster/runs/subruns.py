"""Several mosaics of one request: one for each UTM zone, or one for each feature of the area."""

import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pydantic import ValidationError
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.aoi import each_feature, geometry_document
from cloudbuster.core.grids.mosaic_grid import EACH_ZONE, utm_parts
from cloudbuster.errors import (
    AoiError,
    CloudBusterError,
    ExitCode,
    GridError,
    NotCoveredError,
    RequestError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.inputs.areas import load_aoi, request_area
from cloudbuster.models import (
    MAX_INLINE_AOI_BYTES,
    Geometry,
    MosaicRequest,
    RunResult,
    SubRunResult,
)
from cloudbuster.runs.pipeline import run
from cloudbuster.storage.files.documents import validation_message
from cloudbuster.storage.files.uri import join, resolve, write_bytes

logger = logging.getLogger(__name__)

# Exit codes from the worst to the least; a code that is not listed is worse than all of them.
SEVERITY = (
    ExitCode.BAD_INPUT,
    ExitCode.TRY_AGAIN,
    ExitCode.VERIFY_DISAGREES,
    ExitCode.OVER_BUDGET,
    ExitCode.NOTHING_USABLE,
    ExitCode.NOT_COVERED,
)


@dataclass(frozen=True)
class SubRun:
    """Result of one part of a run.

    Attributes
    ----------
    request : MosaicRequest
        Request of the part.
    result : RunResult or None
        Result of the part; None if it failed.
    error : CloudBusterError or None
        Why it failed, or what is not covered.
    """

    request: MosaicRequest
    result: RunResult | None
    error: CloudBusterError | None

    def document(self) -> SubRunResult:
        """Make the document of this result."""
        error = self.error
        return SubRunResult(
            name=self.request.name,
            crs=self.request.gather.crs,
            exit_code=int(ExitCode.DONE if error is None else error.exit_code),
            error=None if error is None else f"{type(error).__name__}: {error}",
            result=self.result,
        )


def wants_each_zone(request: MosaicRequest) -> bool:
    """Return whether a request asks for one mosaic per UTM zone."""
    return request.gather.crs.strip().lower() == EACH_ZONE


def zone_requests(request: MosaicRequest) -> tuple[MosaicRequest, ...]:
    """Cut a request by UTM zone and hemisphere.

    Parameters
    ----------
    request : MosaicRequest
        Relative paths in it are relative to the working directory.

    Returns
    -------
    tuple of MosaicRequest
        One for each part of the area, from west to east, the north before the south. A part is
        named ``{name}-{zone}{n|s}`` and written to a folder of that name in the request's folder.
        An area in one zone gives one part.

    Raises
    ------
    AoiError
        If the area cannot be read or used.
    GridError
        If the area reaches beyond UTM.
    RequestError
        If the name with the zone is too long.
    """
    area = request_area(request.aoi, request.query)
    try:
        parts = utm_parts(area)
    except ValueError as error:
        raise GridError(str(error)) from error
    return tuple(_zone_request(request, crs, part) for crs, part in parts)


def _zone_request(request: MosaicRequest, crs: str, part: BaseGeometry) -> MosaicRequest:
    """Make the request of one part; a large area is written to the part's folder."""
    # The whole area was scaled already.
    query = request.query.model_copy(update={"scale": None, "original_shape": False})
    gather = request.gather.model_copy(update={"crs": crs})
    document = geometry_document(part)
    return _sub_request(request, zone_name(crs), document, query=query, gather=gather)


def _sub_request(
    request: MosaicRequest, suffix: str, area: Geometry, **changes: object
) -> MosaicRequest:
    """Make the request of one part, in a folder of its own within that of the request."""
    name = f"{request.name}-{suffix}"
    output = join(resolve(request.output or request.name, "."), name)
    own = {"name": name, "aoi": _part_aoi(area, output), "output": output}
    try:
        return MosaicRequest(**(dict(request) | own | changes))
    except ValidationError as error:
        msg = f"part {name}: {validation_message(error)}"
        raise RequestError(msg) from error


def zone_name(crs: str) -> str:
    """Return a short name of a UTM zone: ``EPSG:32613`` is ``13n``, ``EPSG:32701`` is ``01s``."""
    return f"{crs[-2:]}{'n' if crs[-3] == '6' else 's'}"


def feature_requests(request: MosaicRequest, name_property: str) -> tuple[MosaicRequest, ...]:
    """Make one request of each feature of a request's area.

    Parameters
    ----------
    request : MosaicRequest
        Relative paths in it are relative to the working directory.
    name_property : str
        Property whose values name the features; each must have another value.

    Returns
    -------
    tuple of MosaicRequest
        In the order of the features. A part is named ``{name}-{value}``, with a hyphen for
        characters that file names should not have, and written to a folder of that name in the
        request's folder. Features in several UTM zones give one part for each zone if the request
        asks for it.

    Raises
    ------
    AoiError
        If the area cannot be read, or a feature cannot be used or named.
    GridError
        If a feature reaches beyond UTM.
    RequestError
        If the name of a part is too long.
    """
    area = load_aoi(request.aoi)
    try:
        features = each_feature(area, name_property)
    except ValueError as error:
        msg = f"aoi: {error}"
        raise AoiError(msg) from error
    names = [_file_name(value) for value, _ in features]
    counts = Counter(name.lower() for name in names)
    for name, (value, _) in zip(names, features, strict=True):
        if not name or counts[name.lower()] > 1:
            problem = f"{counts[name.lower()]} features" if name else "no feature"
            msg = f"aoi: {name_property} {value!r} names {problem}; give a property of other values"
            raise AoiError(msg)
    requests = [
        _sub_request(request, name, feature)
        for name, (_, feature) in zip(names, features, strict=True)
    ]
    for part in requests:
        request_area(part.aoi, part.query)
    if wants_each_zone(request):
        return tuple(zone for part in requests for zone in zone_requests(part))
    return tuple(requests)


def _file_name(value: str) -> str:
    """Make a part of a file name of any text: ASCII letters, digits, ``.``, ``_`` and ``-``."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")


def run_zones(
    request: MosaicRequest, *, workers: int = 1, on_event: OnEvent | None = None
) -> tuple[SubRun, ...]:
    """Make one mosaic per UTM zone; a part that fails does not stop the others.

    Each part is a run of its own: it has its own query, documents and folder, and resumes alone.

    Parameters
    ----------
    request, workers, on_event
        As for `cloudbuster.runs.pipeline.run`.

    Returns
    -------
    tuple of SubRun
        In the order of `zone_requests`.

    Raises
    ------
    AoiError, GridError, RequestError
        As `zone_requests`.
    """
    return run_parts(zone_requests(request), stage="zone", workers=workers, on_event=on_event)


def run_parts(
    requests: Sequence[MosaicRequest],
    *,
    stage: str,
    workers: int = 1,
    on_event: OnEvent | None = None,
) -> tuple[SubRun, ...]:
    """Run several requests one after the other; one that fails does not stop the others.

    Parameters
    ----------
    requests : sequence of MosaicRequest
        As from `zone_requests` or `feature_requests`.
    stage : str
        Stage of the event before each part: ``zone`` or ``feature``.
    workers, on_event
        As for `cloudbuster.runs.pipeline.run`.

    Returns
    -------
    tuple of SubRun
        In the order of ``requests``.
    """
    runs = []
    for number, part in enumerate(requests, start=1):
        emit(on_event, Event(stage, number, len(requests), f"{part.name} ({part.gather.crs})"))
        runs.append(_run_part(part, workers, on_event))
    return tuple(runs)


def _run_part(part: MosaicRequest, workers: int, on_event: OnEvent | None) -> SubRun:
    """Run one part; an error becomes part of its result."""
    try:
        result = run(part, workers=workers, on_event=on_event)
    except CloudBusterError as error:
        logger.warning("part_failed", extra={"part": part.name, "error": str(error)})
        return SubRun(part, None, error)
    reasons = "; ".join(result.assessment.reasons)
    return SubRun(part, result, None if result.assessment.covered else NotCoveredError(reasons))


def worst_error(runs: Sequence[SubRun]) -> CloudBusterError | None:
    """Combine the errors of the parts of a request.

    Parameters
    ----------
    runs : sequence of SubRun
        All parts of a request.

    Returns
    -------
    CloudBusterError or None
        An error of the worst error's class, with the messages of all parts; None if every part was
        made and is covered.
    """
    failed = [(entry.request.name, entry.error) for entry in runs if entry.error is not None]
    if not failed:
        return None
    rank = {code: number for number, code in enumerate(SEVERITY)}
    worst = min((error for _, error in failed), key=lambda error: rank.get(error.exit_code, -1))
    errors = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failed)
    return type(worst)(f"{len(failed)} of {len(runs)} parts: {errors}")


def _part_aoi(document: Geometry, folder: str) -> Geometry:
    """Return the area of a part for its request: a file in its folder if it is large.

    The file is named by its content, so that another area is another request.
    """
    content = orjson.dumps(document)
    if len(content) <= MAX_INLINE_AOI_BYTES:
        return document
    uri = join(folder, f"aoi-{hashlib.sha256(content).hexdigest()[:12]}.geojson")
    write_bytes(uri, content)
    return {"uri": uri}
