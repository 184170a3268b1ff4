"""Places that a request may read from: the stack's roles can read no other buckets.

S3 would refuse a file elsewhere in the middle of a run, with a bare 403. So each address of a
request, and of a scene, is checked before any job is submitted. Addresses over HTTPS need no role;
who may name which server is decided by `storage.addresses.trust`. Donated masks are made by runs of
a stack, so that they lie in buckets alone.
"""

from collections.abc import Iterator

from cloudbuster.aws.prefixes import lies_in_any
from cloudbuster.aws.settings import StackSettings
from cloudbuster.core.scenes.asset_mirror import parse_mirror
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.models import DetectorOptions, MosaicRequest
from cloudbuster.storage.files.uri import scheme_of
from cloudbuster.storage.remote.s3 import parse_s3_uri

# Prefixes of the stack's own bucket that may be read, by what lies there: the roles of Query (area,
# catalog), and of Filter and jobs (files of scenes) allow just these.
OWN_PREFIXES = {
    "aoi": ("aois/", "requests/", "runs/"),
    "query.catalog": ("aois/", "requests/", "runs/"),
    "query.asset_mirror": ("runs/", "scratch/"),
    "gather.detector.donor_mask": ("runs/", "scratch/", "aois/"),
    "asset": ("runs/", "scratch/"),
}
# Fields whose addresses lie in S3 alone.
IN_BUCKETS = frozenset({"gather.detector.donor_mask"})


def check_places(request: MosaicRequest, *, source: str, settings: StackSettings) -> None:
    """Check that the stack may read what a request names.

    Models have their own prefixes (`check_models`), and outputs theirs.

    Raises
    ------
    RequestError
        If it may not; names the field, the address and its bucket.
    """
    for field, uri in _named(request):
        reason = refusal(field, uri, settings)
        if reason is not None:
            msg = f"{source}: {field} {reason}"
            raise RequestError(msg)


def check_models(detector: DetectorOptions, *, source: str, settings: StackSettings) -> None:
    """Check that the code and the weights of a model lie where the operator trusts models.

    Both are programs, which would run with the permissions of the jobs.

    Raises
    ------
    RequestError
        If one lies elsewhere; names the field and the address.
    """
    for field, uri in (("architecture", detector.architecture), ("weights", detector.weights)):
        if uri is not None and not lies_in_any(uri, settings.trusted_roots):
            roots = ", ".join(settings.trusted_roots) or "nothing"
            msg = (
                f"{source}: gather.detector.{field} {uri} lies outside of what this stack allows "
                f"({roots}): copy it there, or deploy with its prefix in model_prefixes"
            )
            raise RequestError(msg)


def _named(request: MosaicRequest) -> Iterator[tuple[str, str]]:
    """Yield the fields of a request that hold an address to read, with the address."""
    if "uri" in request.aoi:
        yield "aoi", str(request.aoi["uri"])
    yield "query.catalog", request.query.catalog
    for text in request.query.asset_mirror:
        yield "query.asset_mirror", parse_mirror(text)[1]
    if request.gather.detector.donor_mask is not None:
        yield "gather.detector.donor_mask", request.gather.detector.donor_mask


def refusal(field: str, uri: str, settings: StackSettings) -> str | None:
    """Say why the roles may not read an address, and what to do.

    Parameters
    ----------
    field : str
        Key of `OWN_PREFIXES`.
    uri : str
        The address.
    settings : StackSettings
        Settings of the stack.

    Returns
    -------
    str or None
        The address and the reason; None if the roles may read it, or do not matter for it.
    """
    if scheme_of(uri) != "s3":
        outside = f"{uri} lies outside of all buckets: copy it into one that this stack may read"
        return outside if field in IN_BUCKETS else None
    try:
        name, key = parse_s3_uri(uri)
    except BadInputError as error:
        return str(error)
    if settings.root == f"s3://{name}":
        if f"{key}/".startswith(OWN_PREFIXES[field]):
            return None
        return f"{uri} lies in a part of the stack's bucket that runs do not read"
    others = (*settings.input_roots, *settings.output_roots)
    if f"s3://{name}" in others or _is_public(name):
        return None
    return (
        f"{uri} lies in the bucket {name}, which this stack may not read (other buckets: "
        f"{', '.join(others) or 'none'}): copy it, or deploy with {name} in input_buckets"
    )


def _is_public(bucket: str) -> bool:
    """Whether a bucket is one of the public catalogs'."""
    # Loads rasterio, which a request that names other buckets alone does not need.
    from cloudbuster.storage.rasters.access import BUCKETS

    return bucket in BUCKETS
