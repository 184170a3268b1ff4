"""Files of this machine that are opened only if they are files, and read only within bounds."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudbuster.errors import BadInputError, TooLargeError

# What is opened like a file and is none, in words.
NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def open_regular(path: Path, uri: str) -> Iterator[int]:
    """Yield the descriptor of a file that is open for reading; refuse what is no file.

    Raises
    ------
    BadInputError
        If it is a folder, a pipe or a device. Opening it does not wait for anything.
    OSError
        If it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        what = next((name for is_one, name in NO_FILES if is_one(mode)), None)
        if what is not None:
            msg = f"{uri} is {what}, and no file; check the path"
            raise BadInputError(msg)
        yield descriptor
    finally:
        os.close(descriptor)


def too_large(uri: str, max_bytes: int) -> TooLargeError:
    """Make the error for a document that is over its bound."""
    return TooLargeError(
        f"{uri} is over {max_bytes / 2**20:g} MiB, the most that is read of such a file; "
        "check the address, or make it smaller"
    )
