"""Files on this machine, told from what they were before by size and modification time."""

import hashlib
import stat
from collections.abc import Iterable

import orjson

from cloudbuster.io.uri import local_path, scheme_of


def files_fingerprint(hrefs: Iterable[str]) -> str | None:
    """Identify the files that some hrefs name, as they are now.

    Parameters
    ----------
    hrefs : iterable of str
        URIs or paths. Remote ones are passed over: a product does not change under its address,
        and nobody could tell without asking for each. So are folders.

    Returns
    -------
    str or None
        SHA-256, hexadecimal, of each file's size and modification time (nanoseconds) in the order
        given, wherever they lie; None where none of them is on this machine.
    """
    known = [_size_and_time(href) for href in hrefs if scheme_of(href) == "file"]
    if not any(known):
        return None
    return hashlib.sha256(orjson.dumps(known)).hexdigest()


def _size_and_time(href: str) -> tuple[int, int] | None:
    try:
        status = local_path(href).stat()
    except (OSError, ValueError):  # ValueError: a path that no file can have
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
