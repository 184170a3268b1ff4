"""Documents and files by URI: local paths, ``file://``, ``s3://`` and ``http(s)://`` (to read).

Every write goes to a temporary file beside its target and is then renamed: a reader sees the whole
document or the one that was there before.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from cloudbuster.errors import BadInputError, OutputError, TryAgainError
from cloudbuster.storage import s3

# Seconds to connect and to wait between bytes: ten times what a slow object store needs.
HTTP_TIMEOUT_S = (10, 60)
REMOTE_SCHEMES = ("http", "https", "s3")


def scheme_of(uri: str) -> str:
    """Scheme of ``uri`` in lower case; ``file`` for a plain path."""
    scheme = urlsplit(uri).scheme.lower()
    return scheme if "://" in uri and scheme else "file"


def is_remote(uri: str) -> bool:
    """Whether ``uri`` lies on another machine."""
    return scheme_of(uri) in REMOTE_SCHEMES


def local_path(uri: str) -> Path:
    """Path of a local ``uri`` (a plain path or ``file://``)."""
    if uri.lower().startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    if is_remote(uri):
        msg = f"{uri} is not on this machine; give a local path"
        raise BadInputError(msg)
    return Path(uri)


def join(base: str, *parts: str) -> str:
    """Append ``parts`` to a folder or prefix."""
    return "/".join([base.rstrip("/") or "/", *parts]) if base else "/".join(parts)


def resolve(href: str, base_folder: str) -> str:
    """Make ``href`` absolute: relative ones lie in ``base_folder``."""
    if is_remote(href) or href.lower().startswith("file://") or href.startswith("/"):
        return href
    if is_remote(base_folder):
        return join(base_folder, href)
    return os.path.normpath(local_path(base_folder).absolute() / href)


def absolute_mirror(text: str, base_folder: str) -> str:
    """Make the TO of a mirror ``FROM=TO`` absolute; what is no mirror is left to its check."""
    source, divider, target = (part.strip() for part in text.partition("="))
    if not (source and target):
        return text
    absolute = target if scheme_of(target) != "file" else resolve(target, base_folder)
    return f"{source}{divider}{absolute}"


def read_bytes(uri: str) -> bytes:
    """Read a whole document.

    Raises
    ------
    BadInputError
        Where it does not exist or may not be read.
    TryAgainError
        Where a remote one could not be reached.
    """
    scheme = scheme_of(uri)
    if scheme in ("http", "https"):
        return _http_get(uri)
    if scheme == "s3":
        return s3.read_bytes(uri)
    try:
        return local_path(uri).read_bytes()
    except OSError as error:
        msg = f"{uri}: {error.strerror or error}; check the path"
        raise BadInputError(msg) from error


def _http_get(uri: str) -> bytes:
    try:
        response = requests.get(uri, timeout=HTTP_TIMEOUT_S)
    except requests.RequestException as error:
        msg = f"{uri}: {type(error).__name__}; try again"
        raise TryAgainError(msg) from error
    if response.status_code >= 500 or response.status_code == 429:
        msg = f"{uri}: HTTP status {response.status_code}; try again"
        raise TryAgainError(msg)
    if not response.ok:
        msg = f"{uri}: HTTP status {response.status_code}; check the address"
        raise BadInputError(msg)
    return response.content


def exists(uri: str) -> bool:
    """Whether a local file or folder, or an object in S3, exists."""
    if scheme_of(uri) == "s3":
        return s3.exists(uri)
    return local_path(uri).exists()


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it to ``target`` when the body succeeds.

    Raises
    ------
    OutputError
        Where the folder cannot be made or written.
    TryAgainError
        Where the disk is full.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        # What stopped the writing also stops this: the first error is the one to tell.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def output_error(target: Path, error: OSError) -> OutputError | TryAgainError:
    """Tell a full disk, which may pass, from a folder that cannot be written."""
    reason = error.strerror or str(error)
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return TryAgainError(f"{target}: {reason}; free some space and try again")
    return OutputError(f"{target}: {reason}; choose a folder that can be written")


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole document or nothing, to a local path or to S3."""
    if scheme_of(uri) == "s3":
        s3.write_bytes(uri, content)
        return
    with replacing(local_path(uri)) as partial:
        partial.write_bytes(content)
