"""Answers of HTTP servers: their bodies within bounds, and why there is none."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import requests

from cloudbuster.errors import TooLargeError, UntrustedAddressError

# Bytes that are read at a time.
CHUNK_BYTES = 64 * 1024


class NoAnswerError(Exception):
    """A request that got no complete answer; the message says why, without the address."""


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes
    ----------
    status : int
        HTTP status; never a redirect.
    headers : mapping of str to str
        Headers by name, in any case.
    content : bytes
        Decompressed body.
    url : str
        Address that answered, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    url: str

    @property
    def ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300


def read_body(response: requests.Response, max_bytes: int) -> bytes:
    """Read a body within its bound, and decompress it within the same bound."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(response, max_bytes)
    parts: list[bytes] = []
    size = 0
    # Undecoded: the size after decompression must be known before the memory is taken.
    for part in response.raw.stream(CHUNK_BYTES, decode_content=False):
        size += len(part)
        if size > max_bytes:
            raise _too_large(response, max_bytes)
        parts.append(part)
    content = b"".join(parts)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity") or not content:
        return content
    if encoding not in ("gzip", "x-gzip", "deflate"):
        msg = f"the body is encoded as {encoding[:40]}, which was not asked for"
        raise NoAnswerError(msg)
    return _decompressed(response, content, max_bytes)


def _decompressed(response: requests.Response, content: bytes, max_bytes: int) -> bytes:
    """Decompress a body of gzip or zlib, in one or more members."""
    parts: list[bytes] = []
    size = 0
    try:
        while content:
            # 32 more than the window size: zlib recognises gzip by its header.
            decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
            part = decoder.decompress(content, max_bytes + 1 - size)
            size += len(part)
            if size > max_bytes or decoder.unconsumed_tail:
                raise _too_large(response, max_bytes)
            if not decoder.eof:
                msg = "the compressed body ends too early"
                raise NoAnswerError(msg)
            parts.append(part)
            content = decoder.unused_data
    except zlib.error as error:
        msg = f"the compressed body is broken ({error})"
        raise NoAnswerError(msg) from error
    return b"".join(parts)


def _too_large(response: requests.Response, max_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"{response.url}: the answer is over {max_bytes / 2**20:g} MiB, the most that is read of it"
    )


def no_answer_reason(error: Exception) -> str:
    """Say in a few words why there is no answer; messages of libraries repeat the address."""
    causes: list[BaseException] = [error]
    while len(causes) < 8:
        inner = causes[-1]
        # urllib3 wraps the error of a connection as `reason`, requests as the first argument.
        reason = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        following = reason if isinstance(reason, BaseException) else inner.__cause__
        if following is None:
            break
        causes.append(following)
    root = causes[-1]
    if isinstance(root, OSError) and root.strerror:
        return f"{type(error).__name__}: {root.strerror}"
    return f"{type(error).__name__}"


def refusal_in(error: BaseException) -> UntrustedAddressError | None:
    """Find the refusal of a server among the causes of an error, since libraries wrap it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        if isinstance(current, UntrustedAddressError):
            return current
        seen.add(id(current))
        inner = [getattr(current, "reason", None), *current.args]
        waiting += [current.__cause__, current.__context__]
        waiting += [entry for entry in inner if isinstance(entry, BaseException)]
    return None
