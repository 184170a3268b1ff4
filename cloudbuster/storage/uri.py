"""Documents and files by URI: local paths, ``file://``, ``s3://``, and ``http(s)://`` to read.

Every local write goes to a temporary file beside its target, which is then renamed: a reader finds
the old content or the new one, nothing between.
"""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from cloudbuster.errors import BadInputError, NotFoundError, OutputError, TryAgainError
from cloudbuster.storage import s3
from cloudbuster.storage.archives import read_member, zip_member

# Seconds to connect and to wait between bytes: ten times what a slow object store needs.
HTTP_TIMEOUT_S = (10, 60)
REMOTE_SCHEMES = ("http", "https", "s3")
# Errors of the operating system for a disk, or a share of one, without room.
FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
MISSING_STATUSES = frozenset({404, 410})
# A file of this machine as a URI, with or without an authority (RFC 8089).
_FILE_URI = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)


def scheme_of(uri: str) -> str:
    """Scheme of ``uri`` in lower case; ``file`` for a plain path."""
    scheme = urlsplit(uri).scheme.lower()
    return scheme if "://" in uri and scheme else "file"


def is_remote(uri: str) -> bool:
    """Whether ``uri`` lies on another machine."""
    return scheme_of(uri) in REMOTE_SCHEMES


def is_file_uri(uri: str) -> bool:
    """Whether ``uri`` names a local file by the scheme ``file:``."""
    return _FILE_URI.fullmatch(uri) is not None


def local_path(uri: str) -> Path:
    """Path of a local ``uri``: a plain path, or ``file:`` with the escapes of a URI.

    Raises
    ------
    BadInputError
        If ``uri`` lies on another machine.
    """
    match = _FILE_URI.fullmatch(uri)
    host = (match["host"] or "").lower() if match else ""
    if is_remote(uri) or host not in ("", "localhost"):
        msg = f"{uri} is not on this machine; give a local path"
        raise BadInputError(msg)
    return Path("/" + unquote(match["path"]).lstrip("/")) if match else Path(uri)


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


def read_bytes(uri: str) -> bytes:
    """Read a whole document.

    Raises
    ------
    NotFoundError
        If it does not exist.
    BadInputError
        If it may not be read, or the address is wrong.
    TryAgainError
        If its place is throttled, broken or out of reach.
    """
    scheme = scheme_of(uri)
    if scheme in ("http", "https"):
        return _http_get(uri)
    if scheme == "s3":
        return s3.read_object(uri)
    member = zip_member(uri)
    if member is not None:
        return read_member(uri, member)
    try:
        return local_path(uri).read_bytes()
    except OSError as error:
        msg = f"{uri}: {error.strerror or error}; check the path"
        missing = isinstance(error, FileNotFoundError)
        raise (NotFoundError if missing else BadInputError)(msg) from error


def _http_get(uri: str) -> bytes:
    try:
        response = requests.get(uri, timeout=HTTP_TIMEOUT_S)
    except requests.RequestException as error:
        msg = f"{uri}: {type(error).__name__}; try again"
        raise TryAgainError(msg) from error
    status = response.status_code
    if status >= 500 or status == 429:
        msg = f"{uri}: HTTP status {status}; try again"
        raise TryAgainError(msg)
    if not response.ok:
        msg = f"{uri}: HTTP status {status}; check the address"
        raise (NotFoundError if status in MISSING_STATUSES else BadInputError)(msg)
    return response.content


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
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        # Removing the file may fail for the same reason as writing it; the first error is raised.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def output_error(target: Path, error: OSError) -> OutputError | TryAgainError:
    """Make the error for a write that failed: a full disk may pass, other reasons do not."""
    reason = error.strerror or str(error)
    if error.errno in FULL_DISK_ERRNOS:
        return TryAgainError(f"{target}: {reason}; free some space and try again")
    return OutputError(f"{target}: {reason}; choose a folder that can be written")


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole document, to a local path or to S3.

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
    with replacing(local_path(uri)) as partial:
        partial.write_bytes(content)
