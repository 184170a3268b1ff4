"""Documents and files by URI: local paths, ``file://``, ``s3://``, and ``http(s)://`` to read.

Every local write goes to a temporary file beside its target, which is then renamed: a reader finds
the old content or the new one, nothing between.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    NotFoundError,
    OutputError,
    TryAgainError,
)
from cloudbuster.storage.addresses.archives import read_member, zip_member
from cloudbuster.storage.addresses.regular_files import NO_FILES, open_regular, too_large
from cloudbuster.storage.addresses.trust import (
    PROGRAM,
    Trust,
    admitted,
    file_path,
    is_file_uri,
    names_another_machine,
    scheme_of,
)
from cloudbuster.storage.remote import s3
from cloudbuster.storage.remote.answers import NoAnswerError
from cloudbuster.storage.remote.http import BUSY_STATUSES, Limits, Retries, http_client
from cloudbuster.storage.remote.s3 import DOCUMENT_BYTES

__all__ = [
    "DOCUMENT_BYTES",
    "MISSING_STATUSES",
    "REFUSED_STATUSES",
    "absolute_mirror",
    "exists",
    "is_file_uri",
    "is_remote",
    "join",
    "local_path",
    "output_error",
    "read_bytes",
    "replacing",
    "resolve",
    "scheme_of",
    "write_bytes",
]

REMOTE_SCHEMES = ("http", "https", "s3")
# Errors of the operating system for a disk, or a share of one, without room.
FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
MISSING_STATUSES = frozenset({404, 410})
# S3 answers 400 for an expired token, Azure 409 for public access to a private account.
REFUSED_STATUSES = frozenset({400, 401, 403, 407, 409})
RETRIES = Retries(count=2, backoff_s=0.5)
# Modes of new files, before the umask: readable by others, and by their owner alone.
PUBLIC_MODE, PRIVATE_MODE = 0o666, 0o600


def is_remote(uri: str) -> bool:
    """Whether ``uri`` lies on another machine."""
    return scheme_of(uri) in REMOTE_SCHEMES


def local_path(uri: str) -> Path:
    """Path of a local ``uri``: a plain path, or ``file:`` with the escapes of a URI.

    Raises
    ------
    BadInputError
        If ``uri`` lies on another machine.
    """
    if is_remote(uri) or names_another_machine(uri):
        msg = f"{uri} is not on this machine; give a local path"
        raise BadInputError(msg)
    return file_path(uri) if is_file_uri(uri) else Path(uri)


def join(base: str, *parts: str) -> str:
    """Append ``parts`` to a folder or prefix."""
    return "/".join([base.rstrip("/") or "/", *parts]) if base else "/".join(parts)


def resolve(href: str, base_folder: str) -> str:
    """Make ``href`` absolute; a relative one counts from ``base_folder``."""
    if is_remote(href) or is_file_uri(href) or href.startswith("/"):
        return href
    if is_remote(base_folder):
        return join(base_folder, href)
    return os.path.normpath(local_path(base_folder).absolute() / href)


def absolute_mirror(text: str, base_folder: str) -> str:
    """Make the ``TO`` of a mirror ``FROM=TO`` absolute; other texts are returned unchanged."""
    source, divider, target = (part.strip() for part in text.partition("="))
    if not (source and target):
        return text
    absolute = target if scheme_of(target) != "file" else resolve(target, base_folder)
    return f"{source}{divider}{absolute}"


def read_bytes(uri: str, *, trust: Trust = PROGRAM, max_bytes: int = DOCUMENT_BYTES) -> bytes:
    """Read a whole document.

    Parameters
    ----------
    uri : str
        Path, ``file:``, ``http(s)://``, ``s3://``, or that of a member of a zip.
    trust : Trust
        What its giver may refer to; by default the address is one of this program.
    max_bytes : int
        Greatest size, bytes.

    Raises
    ------
    NotFoundError, TooLargeError
        If it does not exist, or is over ``max_bytes``.
    UntrustedAddressError, AccessError
        If its giver may not have it opened, or its place refuses it.
    BadInputError, TryAgainError
        If it is no file, may not be read or has a wrong address; or its place fails for now.
    """
    address = admitted(uri, trust)
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        return _http_get(address, trust, max_bytes)
    if scheme == "s3":
        return s3.read_object(address, max_bytes=max_bytes)
    if (member := zip_member(address)) is not None:
        return read_member(uri, member, max_bytes=max_bytes)
    return _read_file(uri, file_path(address), max_bytes)


def _read_file(uri: str, path: Path, max_bytes: int) -> bytes:
    """Read a file of this machine; errors name ``uri``."""
    try:
        with (
            open_regular(path, uri) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as file,
        ):
            content = file.read(max_bytes + 1)
    except OSError as error:
        msg = f"{uri}: {error.strerror or error}; check the path"
        missing = isinstance(error, FileNotFoundError)
        raise (NotFoundError if missing else BadInputError)(msg) from error
    if len(content) > max_bytes:
        raise too_large(uri, max_bytes)
    return content


def _http_get(uri: str, trust: Trust, max_bytes: int) -> bytes:
    try:
        answer = http_client(trust).request("GET", uri, limits=Limits(max_bytes), retries=RETRIES)
    except NoAnswerError as error:
        msg = f"{uri}: {error}; try again"
        raise TryAgainError(msg) from error
    if answer.ok:
        return answer.content
    msg = f"{uri}: HTTP status {answer.status}; "
    if answer.status in BUSY_STATUSES or answer.status > 500:
        raise TryAgainError(f"{msg}try again")
    if answer.status in MISSING_STATUSES:
        raise NotFoundError(f"{msg}check the address")
    refused = answer.status in REFUSED_STATUSES
    raise (AccessError if refused else BadInputError)(f"{msg}check the address")


def exists(uri: str) -> bool:
    """Whether a local file or folder, or an object in S3, exists."""
    if scheme_of(uri) == "s3":
        return s3.object_exists(uri)
    return local_path(uri).exists()


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it to ``target`` when the body succeeds.

    Raises
    ------
    OutputError
        If the folder cannot be made or written.
    TryAgainError
        If the disk is full.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        _refuse_devices(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        # Removing the file may fail for the same reason as writing it; the first error is raised.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _refuse_devices(target: Path) -> None:
    """Raise OutputError if a target is a device or a pipe, which a renamed file would replace."""
    with suppress(FileNotFoundError):
        mode = target.lstat().st_mode
        what = next((name for is_one, name in NO_FILES if is_one(mode)), None)
        if what is not None:
            msg = f"{target} is {what}, and no file; give another name"
            raise OutputError(msg)


def output_error(target: Path, error: OSError) -> OutputError | TryAgainError:
    """Make the error for a write that failed: a full disk may pass, other reasons do not."""
    reason = error.strerror or str(error)
    if error.errno in FULL_DISK_ERRNOS:
        return TryAgainError(f"{target}: {reason}; free some space and try again")
    return OutputError(f"{target}: {reason}; choose a folder that can be written")


def write_bytes(uri: str, content: bytes, *, private: bool = False) -> None:
    """Write a whole document, to a local path or to S3.

    Parameters
    ----------
    uri : str
        Path, ``file://`` or ``s3://``.
    content : bytes
        Content of the document.
    private : bool
        Whether only the owner of a local file may read it.

    Raises
    ------
    OutputError
        If a local folder cannot be made or written.
    BadInputError
        If S3 refuses it.
    TryAgainError
        If the disk is full, or S3 is throttled, broken or out of reach.
    """
    if scheme_of(uri) == "s3":
        s3.write_object(uri, content)
        return
    mode = PRIVATE_MODE if private else PUBLIC_MODE
    with replacing(local_path(uri)) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
