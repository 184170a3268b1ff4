"""Folders by URI: a local one is used where it lies, one in S3 through a copy on this machine.

Rasters are read and written in blocks, which S3 does not take; the machines that gather and merge
have large disks for this.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudbuster.errors import BadInputError
from cloudbuster.storage import s3
from cloudbuster.storage.uri import join, local_path, scheme_of


def names_in(uri: str) -> list[str]:
    """Names of the files right in a folder or under an ``s3://`` prefix; none where it is not."""
    if scheme_of(uri) == "s3":
        return s3.list_names(uri)
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
        Says of a file name whether it is needed; the others are not fetched from S3.

    Yields
    ------
    Path
        The folder itself, or a copy that is removed afterwards.
    """
    if scheme_of(uri) != "s3":
        yield local_path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="cloudbuster-") as scratch:
        for name in s3.list_names(uri):
            if wanted(name):
                s3.download(join(uri, name), Path(scratch, name))
        yield Path(scratch)


@contextmanager
def output_folder(uri: str) -> Iterator[Path]:
    """Yield a local folder whose files are in ``uri`` once the body succeeds.

    In S3 the documents (``.json``) come after the rasters that they tell of, so that whoever finds
    a document finds what it names.
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
            s3.upload(path, join(uri, path.name))
