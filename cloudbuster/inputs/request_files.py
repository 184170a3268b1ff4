"""Requests from files and from the command line: what a file holds, changed by what was given."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cloudbuster.catalogs import CATALOGS
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.documents import parse_unique_json, validation_message
from cloudbuster.storage.files.uri import absolute_mirror, local_path, read_bytes, resolve

M = TypeVar("M", bound=BaseModel)
Changes = Mapping[str, Any]
"""Fields of a request to set, nested as the request is: ``{"query": {"maxclouds": 30}}``."""

# Fields of `DetectorOptions` that only some detectors read.
OWN_FIELDS = {
    "s2cloudless": ("threshold", "average_over", "dilation_size"),
    "pytorch": ("architecture", "weights", "trust_architecture", "cloud_classes"),
    "omnicloudmask": ("weights",),
    "donor": ("donor_mask", "donor_mask_name"),
}
# Fields of `DetectorOptions` that are addresses.
PLACES = ("architecture", "weights", "donor_mask")


def load_request(uri: str, changes: Changes | None = None) -> MosaicRequest:
    """Read a request, and set fields of it.

    Parameters
    ----------
    uri : str
        Path of a JSON file. Relative paths in it count from its folder, and so does its output
        where it names none.
    changes : mapping, optional
        Fields that replace those of the file. Relative paths in them count from the working
        directory. A detector of another type than the file's takes the place of what the file says
        of its own.

    Returns
    -------
    MosaicRequest
        With absolute paths.

    Raises
    ------
    RequestError
        If the file cannot be read, or it breaks the contract once it is changed.
    """
    folder = str(local_path(uri).absolute().parent)
    try:
        document = parse_unique_json(read_bytes(uri), source=uri)
    except BadInputError as error:
        raise RequestError(str(error)) from error
    if isinstance(document, dict):
        document = _merged(_absolute(document, folder), _absolute(changes or {}, "."))
    try:
        request = make_options(MosaicRequest, document)
    except RequestError as error:
        msg = f"{uri}{' with the options given' if changes else ''}: {error}"
        raise RequestError(msg) from error
    if request.output is None:
        request = request.model_copy(update={"output": resolve(request.name, folder)})
    return request


def make_request(changes: Changes) -> MosaicRequest:
    """Make a request of its fields alone; relative paths count from the working directory.

    Raises
    ------
    RequestError
        If they break the contract.
    """
    return make_options(MosaicRequest, _absolute(changes, "."))


def make_options(model: type[M], values: Mapping[str, object]) -> M:
    """Make a part of a request of the fields that were given; the others have their defaults.

    Raises
    ------
    RequestError
        If they break the contract.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestError(validation_message(error)) from error


def _merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Set fields of a request document; areas are replaced whole."""
    merged = dict(document)
    for key, value in changes.items():
        known = merged.get(key)
        if key == "detector" and isinstance(known, dict):
            known = _without_others(known, value.get("type"))
        if isinstance(value, dict) and isinstance(known, dict) and key != "aoi":
            value = _merged(known, value)
        merged[key] = value
    return merged


def _without_others(detector: dict[str, Any], chosen: str | None) -> dict[str, Any]:
    """Leave out what only detectors read that are not ``chosen``, if any are."""
    if chosen is None:
        return detector
    kinds = {kind.strip().lower() for kind in re.split("[+&]", chosen)}
    kept = {name for kind in kinds for name in OWN_FIELDS.get(kind, ())}
    own = {name for names in OWN_FIELDS.values() for name in names}
    return {name: value for name, value in detector.items() if name not in own - kept}


def _absolute(document: Changes, folder: str) -> dict[str, Any]:
    """Make the relative paths of a request document, which may not be valid, absolute."""
    result = dict(document)
    if _is_text(result.get("output")):
        result["output"] = resolve(result["output"], folder)
    aoi, query, gather = (result.get(name) for name in ("aoi", "query", "gather"))
    aoi = {"uri": aoi} if _is_text(aoi) else aoi
    if isinstance(aoi, dict) and _is_text(aoi.get("uri")):
        result["aoi"] = {**aoi, "uri": resolve(aoi["uri"], folder)}
    if isinstance(query, dict):
        result["query"] = _absolute_query(query, folder)
    if isinstance(gather, dict) and isinstance(gather.get("detector"), dict):
        detector = gather["detector"]
        places = {
            key: resolve(detector[key], folder) for key in PLACES if _is_text(detector.get(key))
        }
        result["gather"] = {**gather, "detector": {**detector, **places}}
    return result


def _absolute_query(query: dict[str, Any], folder: str) -> dict[str, Any]:
    result = dict(query)
    catalog, mirrors = query.get("catalog"), query.get("asset_mirror")
    if isinstance(catalog, str) and catalog.strip() and catalog not in CATALOGS:
        result["catalog"] = resolve(catalog, folder)
    if isinstance(mirrors, list | tuple):
        result["asset_mirror"] = [
            absolute_mirror(mirror, folder) if _is_text(mirror) else mirror for mirror in mirrors
        ]
    return result


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
