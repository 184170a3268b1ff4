"""A run's folder: one run at a time works in it, and what a killed one left is swept away."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudbuster.errors import TryAgainError
from cloudbuster.storage.uri import output_error

LOCK_NAME = ".lock"
# Names of what is not finished: `replacing` in `io.uri`, `scratch_folder` in `io.cog`.
UNFINISHED = (".*.partial", ".*.scratch")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make ``folder`` if need be and hold it for this run alone until the body ends.

    The lock is the kernel's: it goes with the process, however that ends. Where a file system knows
    no locks the run goes on without one, and sweeps nothing.

    Raises
    ------
    OutputError
        Where the folder cannot be made or written.
    TryAgainError
        Where another run is at work in it, or the disk is full.
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
        _sweep(folder)
        yield


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed had not finished, in the folder and those right in it."""
    for pattern in UNFINISHED:
        for path in (*folder.glob(pattern), *folder.glob(f"*/{pattern}")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
