"""Which requests a stack runs: the request of an S3 object or of a submission, checked.

Pure: what is refused is refused from the request and the stack's settings alone.
"""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any

import orjson
from pydantic import ValidationError

from cloudbuster.areas import check_crs, request_area
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.models import MAX_INLINE_AOI_BYTES, Geometry, MosaicRequest
from cloudbuster.storage.documents import parse_json, validation_message
from cloudbuster.storage.run_layout import HASH_LENGTH
from cloudbuster.storage.uri import join

# Objects that are requests.
REQUEST_PREFIX = "requests/"
REQUEST_SUFFIX = ".json"
# What a bare GeoJSON may be (RFC 7946).
GEOJSON_TYPES = frozenset({"Feature", "FeatureCollection", "Polygon", "MultiPolygon"})
# Step Functions takes at most 256 KiB of input, and hands on as much (service quotas). A request
# that is refused goes to the last state with its error and its cause, which have 32 KiB.
MAX_INPUT_BYTES = 220_000


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


def check_size(request: MosaicRequest, source: str) -> None:
    """Raise RequestError for a request that is too large to start an execution with."""
    if len(request.model_dump_json(by_alias=True).encode()) > MAX_INPUT_BYTES:
        msg = f"{source}: over {MAX_INPUT_BYTES} bytes, which an execution may be started with"
        raise RequestError(msg)


def stored_aoi(content: bytes, root: str) -> str:
    """URI of an area that is kept by its content: another area is another run."""
    return join(root, "aois", f"{hashlib.sha256(content).hexdigest()[:HASH_LENGTH]}.geojson")


def _check_area(request: MosaicRequest, source: str) -> None:
    """Refuse an area that no run could make a mosaic of, where the request holds it."""
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
