"""Folders by URI: a local one is used in place, one in S3 through a copy on this machine.

Rasters are read and written in blocks, which S3 does not support; the machines that gather and
merge have large disks for these copies.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudbuster.errors import BadInputError
from cloudbuster.storage.files.uri import join, local_path, output_error, scheme_of
from cloudbuster.storage.remote import s3


def names_in(uri: str) -> list[str]:
    """List the names of what lies directly in a folder or under an ``s3://`` prefix, sorted.

    A folder that does not exist has none.
    """
    if scheme_of(uri) == "s3":
        return s3.object_names(uri)
    folder = local_path(uri)
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@contextmanager
def input_folder(uri: str, wanted: Callable[[str], bool]) -> Iterator[Path]:
    """Yield a local folder that holds the files of ``uri``.

    Parameters
    ----------
    uri : str
        A folder or an ``s3://`` prefix.
    wanted : callable
        Returns True for the name of a file that is needed; the others are not fetched from S3.

    Yields
    ------
    Path
        The folder itself, or a copy that is removed afterwards.

    Raises
    ------
    TryAgainError
        If the disk cannot hold the copy, or S3 is throttled, broken or out of reach.
    """
    if scheme_of(uri) != "s3":
        yield local_path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="cloudbuster-") as scratch:
        for name in s3.object_names(uri):
            if wanted(name):
                _download(join(uri, name), Path(scratch, name))
        yield Path(scratch)


def _download(uri: str, path: Path) -> None:
    try:
        s3.download_object(uri, path)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def output_folder(uri: str) -> Iterator[Path]:
    """Yield a local folder whose files are in ``uri`` once the body succeeds.

    In S3 the documents (``.json``) are written after the rasters that they describe, so that a
    reader who finds a document also finds its raster.

    Raises
    ------
    BadInputError
        If ``uri`` is neither a local path nor in S3, or S3 refuses the files.
    TryAgainError
        If S3 is throttled, broken or out of reach.
    """
    scheme = scheme_of(uri)
    if scheme == "file":
        yield local_path(uri)
        return
    if scheme != "s3":
        msg = f"{uri}: nothing can be written by {scheme}://; give a folder or an s3:// prefix"
        raise BadInputError(msg)
    with tempfile.TemporaryDirectory(prefix="cloudbuster-") as scratch:
        yield Path(scratch)
        files = [path for path in Path(scratch).iterdir() if path.is_file()]
        for path in sorted(files, key=lambda path: (path.suffix == ".json", path.name)):
            s3.upload_object(path, join(uri, path.name))
