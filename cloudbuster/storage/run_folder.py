"""The lock on a run's folder, and the removal of what a killed run left unfinished in it."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudbuster.errors import TryAgainError
from cloudbuster.storage.uri import output_error

LOCK_NAME = ".lock"
# Temporary files of `storage.uri.replacing` and temporary folders of `products.cog.scratch_folder`.
UNFINISHED = (".*.partial", ".*.scratch")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock ``folder`` for one run until the body ends; the folder is made if need be.

    The kernel releases the lock when the process ends, however it ends. On a file system without
    locks the body runs without one, and nothing is removed.

    Raises
    ------
    OutputError
        If the folder cannot be made or written.
    TryAgainError
        If another run holds the folder, or the disk is full.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise output_error(path, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another run is at work in {folder}; wait for it, or choose another output"
            raise TryAgainError(msg) from error
        except OSError:
            yield
            return
        _remove_unfinished(folder)
        yield


def _remove_unfinished(folder: Path) -> None:
    """Remove unfinished files of a killed run from the folder and from the folders in it."""
    for pattern in UNFINISHED:
        for path in (*folder.glob(pattern), *folder.glob(f"*/{pattern}")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
