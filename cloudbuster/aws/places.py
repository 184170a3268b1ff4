"""Buckets that a request may read from: the stack's roles can read no others.

S3 would refuse a file elsewhere in the middle of a run, with a bare 403. So each address of a
request, and of a scene, is checked before any job is submitted. Addresses over HTTPS need no role.
"""

from collections.abc import Iterator

from cloudbuster.aws.settings import StackSettings
from cloudbuster.core.asset_mirror import parse_mirror
from cloudbuster.errors import RequestError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.s3 import parse_s3_uri
from cloudbuster.storage.uri import scheme_of

# Prefixes of the stack's own bucket that may be read, by what lies there: the roles of Query (area,
# catalog), and of Filter and jobs (files of scenes) allow just these.
OWN_PREFIXES = {
    "aoi": ("aois/", "requests/", "runs/"),
    "catalog": ("aois/", "requests/", "runs/"),
    "asset_mirror": ("runs/", "scratch/"),
    "donor_mask": ("runs/", "scratch/", "aois/"),
    "asset": ("runs/", "scratch/"),
}


def check_places(request: MosaicRequest, *, source: str, settings: StackSettings) -> None:
    """Check that the stack may read what a request names in S3.

    Models have their own prefixes (``model_roots``), and outputs theirs.

    Raises
    ------
    RequestError
        If it may not; names the field, the address and its bucket.
    """
    for what, uri in _named(request):
        if not is_readable(what, uri, settings):
            msg = f"{source}: {what} {refusal(uri, settings)}"
            raise RequestError(msg)


def check_models(request: MosaicRequest, *, source: str, settings: StackSettings) -> None:
    """Check that the code and the weights of a model lie where the stack runs models from.

    Both are programs, which would run with the permissions of the jobs.

    Raises
    ------
    RequestError
        If one lies elsewhere; names the field and the address.
    """
    detector = request.gather.detector
    for what, uri in (("architecture", detector.architecture), ("weights", detector.weights)):
        if uri is None or any(lies_in(uri, root) for root in settings.model_roots):
            continue
        roots = ", ".join(settings.model_roots) or "none"
        msg = (
            f"{source}: {what} {uri} lies in no prefix of models of this stack ({roots}): copy it "
            "there, or deploy with its prefix in model_prefixes"
        )
        raise RequestError(msg)


def lies_in(uri: str, root: str) -> bool:
    """Whether an address lies in a folder, or is that folder."""
    folder = f"{root.rstrip('/')}/"
    return f"{uri.rstrip('/')}/".startswith(folder) and ".." not in uri.split("/")


def _named(request: MosaicRequest) -> Iterator[tuple[str, str]]:
    """Yield the fields of a request that hold an address to read, with the address."""
    yield "aoi", str(request.aoi.get("uri", ""))
    yield "catalog", request.query.catalog
    for text in request.query.asset_mirror:
        yield "asset_mirror", parse_mirror(text)[1]
    yield "donor_mask", request.gather.detector.donor_mask or ""


def is_readable(what: str, uri: str, settings: StackSettings) -> bool:
    """Whether the roles may read an address, or do not matter for it.

    Parameters
    ----------
    what : str
        Key of `OWN_PREFIXES`.
    uri : str
        The address.
    settings : StackSettings
        Settings of the stack.
    """
    if scheme_of(uri) != "s3":
        return True
    name, key = parse_s3_uri(uri)
    if settings.root == f"s3://{name}":
        return ".." not in key.split("/") and f"{key}/".startswith(OWN_PREFIXES[what])
    if f"s3://{name}" in (*settings.input_roots, *settings.output_roots):
        return True
    # Loads rasterio, which a request that names other buckets alone does not need.
    from cloudbuster.storage.access import BUCKETS

    return name in BUCKETS


def refusal(uri: str, settings: StackSettings) -> str:
    """Say why the roles may not read an address, and what to do."""
    name, _ = parse_s3_uri(uri)
    readable = ", ".join((*settings.input_roots, *settings.output_roots)) or "none"
    if settings.root == f"s3://{name}":
        return f"{uri} lies in a part of the stack's bucket that runs do not read"
    return (
        f"{uri} lies in the bucket {name}, which this stack may not read (other buckets: "
        f"{readable}): copy it, or deploy with {name} in input_buckets"
    )
