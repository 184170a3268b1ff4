"""Files on this machine, told from what they were before by size and modification time."""

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cloudbuster.storage.uri import local_path, scheme_of

Stamps = tuple[str | None, ...]
"""Of each href in order ``size-time`` (bytes, nanoseconds); None where no such file is here."""


def file_stamps(hrefs: Iterable[str], before: Sequence[str | None] | None = None) -> Stamps | None:
    """Identify the files that some hrefs name, as they are now, wherever they lie.

    Parameters
    ----------
    hrefs : iterable of str
        URIs or paths. Remote ones are passed over: a product does not change under its address,
        and nobody could tell without asking for each. Of a folder the TIFFs in it count together.
    before : sequence of str or None, optional
        The stamps of the same hrefs at an earlier time. A file that is gone keeps its own: what
        was made of it is not worse for that.

    Returns
    -------
    tuple of str or None, or None
        Stamps; None where no file is on this machine, now or before.
    """
    now = [_stamp(href) if scheme_of(href) == "file" else None for href in hrefs]
    if before is not None and len(before) == len(now):
        now = [new or old for new, old in zip(now, before, strict=True)]
    return tuple(now) if any(now) else None


def _stamp(href: str) -> str | None:
    try:
        path = local_path(href)
        if path.is_dir():
            stamps = [_stamp(str(entry)) for entry in _masks(path)]
            return " ".join(stamp for stamp in stamps if stamp) or None
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a path that no file can have
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return f"{status.st_size}-{status.st_mtime_ns}"


def _masks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tif"))
