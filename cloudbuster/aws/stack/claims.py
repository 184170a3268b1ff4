"""Claims: the place of a run's products in a bucket belongs to that run alone.

A document beside the products names the run. It is written only if there is none, and read back,
because stores that only resemble S3 may ignore the condition.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cloudbuster.aws.admission import MOSAICS, output_root
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import OutputError
from cloudbuster.models import Claim, MosaicRequest
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout, request_fingerprint
from cloudbuster.storage.files.uri import join
from cloudbuster.storage.remote.s3 import keys_below, object_etag, write_object_if

CLAIM = "claim.json"
# A run has ten products. A prefix with more objects than this holds something else, in which no
# claim can be looked for in time.
MAX_OBJECTS = 10_000
REMEDY = "choose another output"


def claim_place(run: RunLayout, request: MosaicRequest, settings: StackSettings) -> None:
    """Claim the place of a run's products, as a run on one machine claims its folder.

    Parameters
    ----------
    run, settings : RunLayout, StackSettings
        Layout of the run, and settings of the stack.
    request : MosaicRequest
        Admitted request. With ``force`` the place of another run is taken over.

    Raises
    ------
    OutputError
        If the place is another request's, lies in the place of another run, or contains one.
    TryAgainError
        If S3 is throttled, broken or out of reach.
    """
    claim = Claim(name=request.name, run=run.id, request_fingerprint=request_fingerprint(request))
    uri = join(run.products, CLAIM)
    etag = object_etag(uri)
    if etag is not None and _is_held(uri, claim, force=request.force):
        return
    root = output_root(run.products, settings) or join(settings.root, MOSAICS)
    _check_apart(run.products, root)
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    write_object_if(uri, claim.to_json(), **condition)
    # Whether it was written does not matter: the same request may have been started twice.
    _is_held(uri, claim, force=False)
    # Of two places of which one lies in the other, at least one run finds the other's claim.
    _check_apart(run.products, root)


def _is_held(uri: str, claim: Claim, *, force: bool) -> bool:
    """Whether a claim is that of the same request; raise OutputError for another's."""
    known = read_earlier(uri, Claim)
    if known is not None and known.request_fingerprint == claim.request_fingerprint:
        return True
    if force:
        return False
    whose = f"run {known.run} of another request ({known.name})" if known else "another program"
    msg = f"output {uri.removesuffix(CLAIM)} holds {whose}; {REMEDY}, or set force to replace it"
    raise OutputError(msg)


def _check_apart(place: str, root: str) -> None:
    """Raise OutputError if a place lies in that of another run, or contains one."""
    for folder in _folders_above(place, root):
        if object_etag(join(folder, CLAIM)) is not None:
            msg = f"output {place} lies in {folder}, which belongs to another run; {REMEDY}"
            raise OutputError(msg)
    keys = keys_below(place, limit=MAX_OBJECTS)
    inside = [key for key in keys if key.endswith(f"/{CLAIM}")]
    if inside:
        other = join(place, inside[0].removesuffix(f"/{CLAIM}"))
        msg = f"output {place} contains {other}, which belongs to another run; {REMEDY}"
        raise OutputError(msg)
    if len(keys) >= MAX_OBJECTS:
        msg = f"output {place} holds {MAX_OBJECTS} objects or more; choose an empty prefix"
        raise OutputError(msg)


def _folders_above(place: str, root: str) -> Iterator[str]:
    """Yield the prefixes between a place and the root that it lies below, without both."""
    rest = PurePosixPath(place.removeprefix(f"{root.rstrip('/')}/"))
    for parent in rest.parents:
        if parent.parts:
            yield join(root, parent.as_posix())
