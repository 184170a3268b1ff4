"""Admission of requests: what a stack runs, decided from the request and the stack's settings."""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any

import orjson
from pydantic import ValidationError

from cloudbuster.aws.places import check_models, check_places
from cloudbuster.aws.prefixes import lies_below
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.inputs.areas import check_crs, request_area
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Geometry, MosaicRequest
from cloudbuster.storage.files.documents import parse_unique_json, validation_message
from cloudbuster.storage.files.run_layout import HASH_LENGTH
from cloudbuster.storage.files.uri import join

# Prefix and suffix of the objects in the stack's bucket that are requests.
REQUEST_PREFIX = "requests/"
REQUEST_SUFFIX = ".json"
# Prefix of the products in the stack's bucket.
MOSAICS = "mosaics"
# Types of a bare GeoJSON that is an area (RFC 7946).
GEOJSON_TYPES = frozenset({"Feature", "FeatureCollection", "Polygon", "MultiPolygon"})
# Step Functions limits an input, and the state, to 256 KiB (its service quotas). A refused request
# reaches the last state together with its error and cause, which may take 32 KiB.
MAX_INPUT_BYTES = 220_000


def parse_request(content: bytes, *, source: str, settings: StackSettings) -> MosaicRequest:
    """Parse a request, or complete a bare GeoJSON with the stack's defaults, and admit it.

    Parameters
    ----------
    content : bytes
        JSON text.
    source : str
        URI of the text; a bare GeoJSON is named after its file. An area that is too large for the
        state becomes a reference to `stored_aoi`, where the caller must write it.
    settings : StackSettings
        Settings of the stack.

    Raises
    ------
    RequestError
        If it is neither, breaks the contract, or may not run on this stack.
    """
    document = parse_unique_json(content, source=source)
    if is_bare_area(document):
        document = _completed(document, content, source, settings)
    return admit(document, source=source, settings=settings)


def is_bare_area(document: object) -> bool:
    """Whether a document is the GeoJSON of an area, which the stack's defaults complete."""
    kind = document.get("type") if isinstance(document, dict) else None
    return isinstance(kind, str) and kind in GEOJSON_TYPES


def admit(document: object, *, source: str, settings: StackSettings) -> MosaicRequest:
    """Validate a request, and check that this stack may run it.

    Returns
    -------
    MosaicRequest
        With ``trust_architecture`` as the operator decided: a model in the stack's prefixes is
        trusted, and there is no other; what the request says about it has no effect.

    Raises
    ------
    RequestError
        If it breaks the contract, its output, a model or an input lies elsewhere, or it needs
        something that is not deployed.
    AoiError, GridError
        If its area cannot be used, or its CRS cannot hold the area. An area in a file is checked
        by the Query function, which may read it.
    """
    request = _validated(document, source)
    _check_output(request, source, settings)
    check_places(request, source=source, settings=settings)
    request = _with_trust(request, source, settings)
    check_size(request, source)
    _check_area(request, source)
    return request


def _validated(document: object, source: str) -> MosaicRequest:
    """Validate a request, which may be any JSON value."""
    if not isinstance(document, dict):
        kind = "null" if document is None else type(document).__name__
        msg = f"{source}: {kind} is no request: give a JSON object with name, aoi and query"
        raise RequestError(msg)
    try:
        return MosaicRequest.model_validate(document)
    except ValidationError as error:
        msg = f"{source}: {validation_message(error)}"
        raise RequestError(msg) from error


def output_root(output: str, settings: StackSettings) -> str | None:
    """Prefix of the stack that an output lies below; None if there is none.

    In the stack's own bucket that is the one of the products, even if the bucket is named as one
    that outputs may lie in.
    """
    own = join(settings.root, MOSAICS)
    roots = (own,) if lies_below(output, settings.root) else settings.output_roots
    return next((root for root in roots if lies_below(output, root)), None)


def _check_output(request: MosaicRequest, source: str, settings: StackSettings) -> None:
    """Refuse an output that the stack may not write to, or that belongs to all runs."""
    if request.output is None or output_root(request.output, settings) is not None:
        return
    roots = ", ".join((join(settings.root, MOSAICS), *settings.output_roots))
    msg = (
        f"{source}: output {request.output} lies outside of {roots}; choose a prefix below one of "
        "these, leave it out, or deploy with its bucket in output_buckets"
    )
    raise RequestError(msg)


def _with_trust(request: MosaicRequest, source: str, settings: StackSettings) -> MosaicRequest:
    """Return a request in which trust in a model is that of the operator.

    Raises
    ------
    RequestError
        If a model lies outside of the prefixes that the stack allows.
    """
    detector = request.gather.detector
    if "omnicloudmask" in detector.detectors.names:
        msg = f"{source}: no image of a stack holds detector omnicloudmask; choose another"
        raise RequestError(msg)
    if "pytorch" in detector.detectors.names and not settings.torch:
        msg = f"{source}: detector pytorch needs a stack with torch_image on; choose another"
        raise RequestError(msg)
    check_models(detector, source=source, settings=settings)
    has_model = detector.architecture is not None or detector.weights is not None
    trusted = detector.model_copy(update={"trust_architecture": has_model})
    gather = request.gather.model_copy(update={"detector": trusted})
    return request.model_copy(update={"gather": gather})


def check_size(request: MosaicRequest, source: str) -> None:
    """Raise RequestError for a request that is too large to start an execution with."""
    if len(request.model_dump_json(by_alias=True).encode()) > MAX_INPUT_BYTES:
        msg = f"{source}: over {MAX_INPUT_BYTES} bytes, the most that an execution can start with"
        raise RequestError(msg)


def stored_aoi(content: bytes, root: str) -> str:
    """URI in the stack's bucket for an area, named after its content."""
    return join(root, "aois", f"{hashlib.sha256(content).hexdigest()[:HASH_LENGTH]}.geojson")


def _check_area(request: MosaicRequest, source: str) -> None:
    """Refuse an inline area that no run could make a mosaic of."""
    if "uri" in request.aoi:
        return
    try:
        check_crs(request.gather, request_area(request.aoi, request.query))
    except BadInputError as error:
        msg = f"{source}: {error}"
        raise type(error)(msg) from error


def _completed(
    aoi: Geometry, content: bytes, source: str, settings: StackSettings
) -> dict[str, Any]:
    if settings.default_request is None:
        msg = f"{source}: a bare GeoJSON needs a stack with default_request; give a whole request"
        raise RequestError(msg)
    stem = PurePosixPath(source).name.rsplit(".", 1)[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "mosaic"
    inline = len(orjson.dumps(aoi)) <= MAX_INLINE_AOI_BYTES
    area = aoi if inline else {"uri": stored_aoi(content, settings.root)}
    return {**settings.default_request, "name": name, "aoi": area}
