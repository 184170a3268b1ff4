"""The lock on a run's folder, its distance from other runs, and what a killed run left in it.

Nothing here follows a symbolic link out of the folder: it may have been written by somebody else.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from cloudbuster.errors import OutputError, TryAgainError
from cloudbuster.storage.files.uri import output_error

LOCK_NAME = ".lock"
# Temporary files of `storage.files.uri.replacing` and temporary folders of
# `products.cog.scratch_folder`.
UNFINISHED = (".*.partial", ".*.scratch")
# Documents that every run has from its start.
RUN_DOCUMENTS = ("request.json", "status.json")
# Levels below a new run's folder in which another run is looked for: a run has one level of its own
# (scenes/, tasks/), and parts by UTM zone lie one level deeper.
LEVELS_BELOW = 3
# A lock is written to by nobody. Without waiting, so that a pipe in its place does not block.
LOCK_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock ``folder`` for one run until the body ends; the folder is made if need be.

    The kernel releases the lock when the process ends, however it ends. On a file system without
    locks the body runs without one, and nothing is removed.

    Raises
    ------
    OutputError
        If the folder cannot be made or written, or its lock is no regular file.
    TryAgainError
        If another run holds the folder, or the disk is full.
    """
    path = folder / LOCK_NAME
    lock = _open_lock(path)
    with os.fdopen(lock, "w"):
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            raise _no_lock(path)
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


def _open_lock(path: Path) -> int:
    """Open the file of a lock, which is made with its folder if need be; return its descriptor."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, LOCK_FLAGS, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_lock(path) from error
        raise output_error(path, error) from error


def _no_lock(path: Path) -> OutputError:
    return OutputError(f"{path} is no regular file; remove it, or choose another output")


def check_apart(folder: Path) -> None:
    """Check that a run's folder neither lies in the folder of another run nor contains one.

    Parameters
    ----------
    folder : Path
        Absolute path. A folder that is a run's already is not searched for others in it.

    Raises
    ------
    OutputError
        If it does; names the other folder.
    """
    # Unlike `Path.resolve`, it also returns a path for links in a circle.
    place = Path(os.path.realpath(folder))
    above = next((parent for parent in place.parents if _is_run(parent)), None)
    if above is not None:
        msg = f"{folder} lies in {above}, the folder of another run; choose another output"
        raise OutputError(msg)
    below = None if _is_run(place) else next(_runs_below(place, LEVELS_BELOW), None)
    if below is not None:
        msg = f"{folder} contains {below}, the folder of another run; choose another output"
        raise OutputError(msg)


def _is_run(folder: Path) -> bool:
    try:
        return all(stat.S_ISREG((folder / name).stat().st_mode) for name in RUN_DOCUMENTS)
    except OSError:
        return False


def _runs_below(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the folders of runs in a folder, down to a number of levels."""
    try:
        with os.scandir(folder) as entries:
            inner = [Path(each.path) for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        # Nobody can write where nobody can look.
        return
    for path in inner:
        if _is_run(path):
            yield path
        elif levels > 1:
            yield from _runs_below(path, levels - 1)


def _remove_unfinished(folder: Path) -> None:
    """Remove unfinished files of a killed run from the folder and from the folders in it."""
    with suppress(OSError):
        # The folder itself may be a link, which its user has made.
        place = Path(os.path.realpath(folder))
        for name in _remove_from(place):
            with suppress(OSError):
                _remove_from(place / name)


def _remove_from(folder: Path) -> list[str]:
    """Remove unfinished files from one folder; return the names of the other folders in it.

    The folder is opened once, and names count from it: if somebody replaces it by a link meanwhile,
    files elsewhere are not touched.
    """
    opened = os.open(folder, FOLDER_FLAGS)
    try:
        with os.scandir(opened) as entries:
            found = [(each.name, each.is_dir(follow_symlinks=False)) for each in entries]
        for name, is_folder in found:
            if any(fnmatch(name, pattern) for pattern in UNFINISHED):
                _remove(name, opened, is_folder=is_folder)
    finally:
        os.close(opened)
    return [name for name, is_folder in found if is_folder]


def _remove(name: str, folder: int, *, is_folder: bool) -> None:
    """Remove an entry of an open folder; what cannot be removed stays."""
    if is_folder:
        # It does not follow links either (shutil.rmtree.avoids_symlink_attacks).
        shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
        return
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
