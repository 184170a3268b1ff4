"""Stamps of files on this machine, by which a replaced file is noticed."""

import stat
from collections.abc import Iterable, Sequence

from cloudbuster.errors import BadInputError
from cloudbuster.storage.addresses.archives import ZIP_SCHEME, zip_member
from cloudbuster.storage.files.uri import local_path, scheme_of
from cloudbuster.storage.rasters.sidecars import sidecar_files

Stamps = tuple[str | None, ...]
"""``size-time`` (bytes, nanoseconds) for each of several addresses; None for one that is no file on
this machine."""


def file_stamps(hrefs: Iterable[str], before: Sequence[str | None] | None = None) -> Stamps | None:
    """Return the stamps of the files that some addresses name.

    Parameters
    ----------
    hrefs : iterable of str
        URIs or paths. Remote ones get no stamp: a product does not change under its address, and
        finding out would take a request for each. A folder gets the stamps of the TIFFs in it, a
        raster also those of the files beside it that complete it.
    before : sequence of str or None, optional
        Earlier stamps of the same addresses. A file that is gone keeps its earlier stamp, since
        what was made from it is still valid.

    Returns
    -------
    tuple of str or None, or None
        Stamps in the order of ``hrefs``; None if no file is or was on this machine.
    """
    now = [_stamp(_file_of(href)) if _is_local(href) else None for href in hrefs]
    if before is not None and len(before) == len(now):
        now = [new or old for new, old in zip(now, before, strict=True)]
    return tuple(now) if any(now) else None


def _is_local(href: str) -> bool:
    """Whether an address is that of a file on this machine, or of a member of one."""
    return scheme_of(href) in ("file", ZIP_SCHEME)


def _file_of(href: str) -> str:
    """Address of the file that holds what an address names: of the zip for a member of it."""
    member = zip_member(href)
    return href if member is None else str(member.archive)


def _stamp(href: str) -> str | None:
    try:
        path = local_path(href)
        if path.is_dir():
            stamps = [_stamp(str(entry)) for entry in sorted(path.glob("*.tif"))]
            return " ".join(stamp for stamp in stamps if stamp) or None
        statuses = [each.stat() for each in (path, *sidecar_files(path))]
    except (OSError, ValueError, BadInputError):  # ValueError: a path that no file can have.
        return None
    if not stat.S_ISREG(statuses[0].st_mode):
        return None
    return " ".join(f"{each.st_size}-{each.st_mtime_ns}" for each in statuses)
