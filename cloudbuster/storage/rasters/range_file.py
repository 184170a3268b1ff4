"""A file on an HTTP server, read in ranges: only what is asked for, several ranges at a time.

Bytes that were fetched are kept in a cache of this process, so that headers and neighbouring tiles
are not fetched twice. The first range also gives the size; there is no other request for it.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import count

from cloudbuster.errors import CloudBusterError, RasterError, TooLargeError, TryAgainError
from cloudbuster.storage.addresses.trust import Trust
from cloudbuster.storage.files.uri import MISSING_STATUSES, REFUSED_STATUSES
from cloudbuster.storage.rasters.access import refused_error
from cloudbuster.storage.remote.answers import Answer, NoAnswerError
from cloudbuster.storage.remote.http import Limits, Retries, http_client
from cloudbuster.storage.remote.sas import signed

PAGE_BYTES = 48 * 1024
"""Unit of the cache, and the first range: it holds the headers of a COG, and of a scene
classification usually its smallest overview too."""
CACHE_BYTES = 64 * 2**20
"""Size of the cache of a process."""
# Pages of a span that is looked for among those that are held: an overview lies near the header.
HELD_PAGES = 4
# A file that is read from its beginning to its end is fetched in ranges that double up to this.
MAX_AHEAD_BYTES = 4 * 2**20
# Ranges that are closer than this are fetched as one: a request takes as long as 100 kB and more.
MAX_GAP_BYTES = 16 * 1024
# Greatest read of a file, and greatest size of a file of a server that sends only whole files.
MAX_READ_BYTES = 256 * 2**20
MAX_WHOLE_BYTES = 64 * 2**20
# Ranges that are fetched at a time in a process.
PARALLEL_RANGES = 8
DEADLINE_S = 120.0
RETRIES = Retries(count=3)

# What ends a read: an error, Ctrl-C, or the handler of a signal.
ENDINGS = (CloudBusterError, KeyboardInterrupt, SystemExit)

_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+)")
_numbers = count()


class RangeFile:
    """A file on an HTTP server.

    Safe for threads. No method raises: an error is kept in ``error`` and ends every further read,
    since GDAL, which calls them, cannot pass an exception on.

    Parameters
    ----------
    href : str
        URL; a signature is added with each request where its host asks for one.
    trust : Trust
        What its giver may refer to.

    Attributes
    ----------
    size : int
        Bytes of the file.
    head : bytes
        Its first bytes.
    error : BaseException or None
        First error of a read, or what interrupted it.

    Raises
    ------
    RasterError
        If there is no such file, or it is empty.
    UntrustedAddressError, AccessError
        If the server may not be contacted, or refuses the file.
    TryAgainError
        If the server fails in a way that may pass.
    """

    def __init__(self, href: str, trust: Trust) -> None:
        """Fetch the first page, and with it the size."""
        self._href = href
        self._client = http_client(trust)
        self._key = next(_numbers)
        self._lock = threading.Lock()
        self._ahead = PAGE_BYTES
        self._expected = -1
        self.error: BaseException | None = None
        answer = self._answer(0, PAGE_BYTES - 1, MAX_WHOLE_BYTES)
        self._version = _version_of(answer)
        self._whole = None if answer.status == 206 else answer.content
        self.size = len(answer.content) if self._whole is not None else self._size_of(answer)
        self.head = answer.content[:PAGE_BYTES]
        if self.size == 0:
            msg = f"{href}: an empty file; drop the scene"
            raise RasterError(msg)
        _pages().put(self._key, 0, self.head)

    def read(self, start: int, length: int) -> bytes:
        """Read bytes; fewer at the end of the file, none after an error."""
        length = min(length, self.size - start)
        if length <= 0 or self.error is not None:
            return b""
        try:
            return self._read(start, length)
        except ENDINGS as error:
            self.error = error
            return b""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges at a time.

        Parameters
        ----------
        ranges : sequence of (int, int)
            First byte and length of each.

        Returns
        -------
        list of bytes
            One for each range, of its length; empty after an error.
        """
        if self.error is not None:
            return []
        try:
            return self._read_ranges(ranges)
        except ENDINGS as error:
            self.error = error
            return []

    def close(self) -> None:
        """Forget what was fetched."""
        _pages().drop(self._key)

    def _read(self, start: int, length: int) -> bytes:
        """Read bytes inside the file through the cache."""
        if self._whole is not None:
            return self._whole[start : start + length]
        self._check_length(length)
        first, last = start // PAGE_BYTES, (start + length - 1) // PAGE_BYTES
        known = {page: _pages().get(self._key, page) for page in range(first, last + 1)}
        missing = [page for page, content in known.items() if content is None]
        if missing:
            begin = missing[0] * PAGE_BYTES
            fetched = self._fetch(begin, self._end_of(begin, (missing[-1] + 1) * PAGE_BYTES))
            for offset in range(0, len(fetched), PAGE_BYTES):
                page = (begin + offset) // PAGE_BYTES
                known[page] = fetched[offset : offset + PAGE_BYTES]
                _pages().put(self._key, page, fetched[offset : offset + PAGE_BYTES])
        content = b"".join(known[page] or b"" for page in range(first, last + 1))
        skipped = start - first * PAGE_BYTES
        return content[skipped : skipped + length]

    def _end_of(self, begin: int, end: int) -> int:
        """End of the range to fetch: beyond ``end`` if the file is read from front to back."""
        with self._lock:
            is_next = begin == self._expected
            self._ahead = min(2 * self._ahead, MAX_AHEAD_BYTES) if is_next else PAGE_BYTES
            end = min(max(end, begin + self._ahead) if is_next else end, self.size)
            self._expected = end
        return end

    def _read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges: those that are near each other as one, all at a time."""
        if any(start < 0 or start + length > self.size for start, length in ranges):
            msg = (
                f"{self._href}: its header points beyond its end, {self.size} bytes; drop the scene"
            )
            raise RasterError(msg)
        self._check_length(sum(length for _, length in ranges))
        if self._whole is not None:
            return [self._whole[start : start + length] for start, length in ranges]
        spans = _merged(ranges)
        if len(spans) == 1:
            parts = [self._held_or_fetched(*spans[0])]
        else:
            parts = list(_pool().map(lambda span: self._held_or_fetched(*span), spans))
        found = dict(zip(spans, parts, strict=True))
        return [_cut(found, start, length) for start, length in ranges]

    def _held_or_fetched(self, begin: int, end: int) -> bytes:
        """Bytes of a span: of the pages that are held, if they hold all of it."""
        first, last = begin // PAGE_BYTES, (end - 1) // PAGE_BYTES
        if last - first < HELD_PAGES:
            held = [_pages().get(self._key, page) for page in range(first, last + 1)]
            if all(page is not None for page in held):
                skipped = begin - first * PAGE_BYTES
                return b"".join(page or b"" for page in held)[skipped : skipped + end - begin]
        return self._fetch(begin, end)

    def _check_length(self, length: int) -> None:
        if length > MAX_READ_BYTES:
            msg = (
                f"{self._href}: a block of {length / 2**20:.0f} MiB, over the "
                f"{MAX_READ_BYTES / 2**20:.0f} MiB that are read at a time; drop the scene"
            )
            raise TooLargeError(msg)

    def _fetch(self, begin: int, end: int) -> bytes:
        """Fetch the bytes from ``begin`` to before ``end``, which lie inside the file."""
        answer = self._answer(begin, end - 1, end - begin)
        if answer.status != 206 or _version_of(answer) != self._version:
            msg = f"{self._href}: it changed while it was read; try again"
            raise TryAgainError(msg)
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != begin or len(answer.content) != end - begin:
            msg = f"{self._href}: the server sent another range than asked for; try again"
            raise TryAgainError(msg)
        return answer.content

    def _size_of(self, answer: Answer) -> int:
        """Size of the file, from the answer with its first range."""
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != 0 or len(answer.content) != int(match[2]) + 1:
            msg = f"{self._href}: the server does not say what range it sent; try again"
            raise TryAgainError(msg)
        return int(match[3])

    def _answer(self, first: int, last: int, max_bytes: int) -> Answer:
        """Ask for a range, and raise the error that a refusal means."""
        headers = {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"}
        try:
            answer = self._client.request(
                "GET",
                signed(self._href),
                headers=headers,
                limits=Limits(max_bytes, DEADLINE_S),
                retries=RETRIES,
            )
        except NoAnswerError as error:
            msg = f"{self._href}: {error}; try again"
            raise TryAgainError(msg) from error
        except TooLargeError as error:
            msg = f"{self._href}: {error}; the server must answer requests for ranges"
            raise TooLargeError(msg) from error
        status = answer.status
        if answer.ok:
            return answer
        if status in REFUSED_STATUSES:
            raise refused_error(self._href, f"HTTP status {status}")
        if status in MISSING_STATUSES:
            msg = f"{self._href}: there is no such file (HTTP status {status}); drop the scene"
            raise RasterError(msg)
        if status == 416:
            msg = f"{self._href}: an empty file; drop the scene"
            raise RasterError(msg)
        msg = f"{self._href}: HTTP status {status}; try again"
        raise TryAgainError(msg)


def _version_of(answer: Answer) -> str:
    """Return what differs once a file has changed: its entity tag, or its modification time."""
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges of (first, length) that are near each other; return (begin, end) in order."""
    spans: list[tuple[int, int]] = []
    for start, length in sorted(ranges):
        end = start + length
        if spans and start <= spans[-1][1] + MAX_GAP_BYTES:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _cut(found: dict[tuple[int, int], bytes], start: int, length: int) -> bytes:
    """Cut a range out of the span that holds it."""
    for (begin, end), content in found.items():
        if begin <= start and start + length <= end:
            return content[start - begin : start - begin + length]
    return b""


@dataclass
class _Pages:
    """Pages of all files, the least recently used of which are dropped."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: int, page: int) -> bytes | None:
        """Content of a page; None if it is not there."""
        with self._lock:
            content = self._pages.get((key, page))
            if content is not None:
                self._pages.move_to_end((key, page))
            return content

    def put(self, key: int, page: int, content: bytes) -> None:
        """Keep a page."""
        with self._lock:
            before = self._pages.pop((key, page), b"")
            self._pages[key, page] = content
            self._bytes += len(content) - len(before)
            while self._bytes > CACHE_BYTES:
                self._bytes -= len(self._pages.popitem(last=False)[1])

    def drop(self, key: int) -> None:
        """Drop the pages of a file."""
        with self._lock:
            for place in [place for place in self._pages if place[0] == key]:
                self._bytes -= len(self._pages.pop(place))


@cache
def _pages() -> _Pages:
    return _Pages()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARALLEL_RANGES, thread_name_prefix="ranges")
