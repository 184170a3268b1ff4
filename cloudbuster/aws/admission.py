"""Admission of requests: what a stack runs, decided from the request and the stack's settings."""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any

import orjson
from pydantic import ValidationError

from cloudbuster.areas import check_crs, request_area
from cloudbuster.aws.places import check_models, check_places, lies_in
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Geometry, MosaicRequest
from cloudbuster.storage.documents import parse_json, validation_message
from cloudbuster.storage.run_layout import HASH_LENGTH
from cloudbuster.storage.uri import join

# Prefix and suffix of the objects in the stack's bucket that are requests.
REQUEST_PREFIX = "requests/"
REQUEST_SUFFIX = ".json"
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
    document = parse_json(content, source=source)
    if isinstance(document, dict) and document.get("type") in GEOJSON_TYPES:
        document = _completed(document, content, source, settings)
    return admit(document, source=source, settings=settings)


def admit(document: object, *, source: str, settings: StackSettings) -> MosaicRequest:
    """Validate a request, and check that this stack may run it.

    Raises
    ------
    RequestError
        If it breaks the contract, its output or an input lies elsewhere, or it needs something
        that is not deployed.
    AoiError, GridError
        If its area cannot be used, or its CRS cannot hold the area. An area in a file is checked
        by the Query function, which may read it.
    """
    if not isinstance(document, dict):
        kind = "null" if document is None else type(document).__name__
        msg = f"{source}: {kind} is no request: give a JSON object with name, aoi and query"
        raise RequestError(msg)
    try:
        request = MosaicRequest.model_validate(document)
    except ValidationError as error:
        msg = f"{source}: {validation_message(error)}"
        raise RequestError(msg) from error
    roots = (join(settings.root, "mosaics"), *settings.output_roots)
    if request.output is not None and not any(lies_in(request.output, root) for root in roots):
        msg = (
            f"{source}: output {request.output} lies outside of {', '.join(roots)}; "
            "choose one of these, leave it out, or deploy with its bucket in output_buckets"
        )
        raise RequestError(msg)
    check_places(request, source=source, settings=settings)
    if request.gather.detector.type == "pytorch" and not settings.torch:
        msg = f"{source}: detector pytorch needs a stack with torch_image on; choose another"
        raise RequestError(msg)
    check_models(request, source=source, settings=settings)
    check_size(request, source)
    _check_area(request, source)
    return request


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
