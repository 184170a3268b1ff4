"""Requests over HTTP in which every server, redirect, byte and second is checked.

A server is checked when it is connected to, by the address that its name has at that moment. A
redirect is followed here and not by a library, so that it is checked as the first address was. An
answer has a bound in bytes, before and after decompression, and the whole exchange one in seconds.
"""

import functools
import logging
import os
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from cloudbuster.errors import TooLargeError, UntrustedAddressError
from cloudbuster.storage.hosts import reach_of, resolved_addresses
from cloudbuster.storage.trust import DEFAULT_PORTS, Trust, admitted, host_of, port_of, scheme_of

logger = logging.getLogger(__name__)

# Seconds to connect and to wait between bytes: ten times what a slow object store needs.
TIMEOUT_S = (10.0, 60.0)
DEADLINE_S = 300.0
"""Seconds that an exchange may take in all: 64 MiB at 2 Mbit/s."""
MAX_REDIRECTS = 5
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
# Statuses of failures that may pass.
BUSY_STATUSES = (429, 500, 502, 503, 504)
# Exceptions of requests for an address that is no URL.
MALFORMED = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)
# Bytes that are read at a time.
CHUNK_BYTES = 64 * 1024
# Connections that are kept open to one server; more threads than these open further ones.
POOL_SIZE = 16
# Headers that are sent on to another server after a redirect; others may hold secrets.
HARMLESS_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "Range", "User-Agent")


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


@dataclass(frozen=True)
class Limits:
    """Bounds of one exchange.

    Attributes
    ----------
    max_bytes : int
        Greatest size of the body, as sent and decompressed.
    deadline_s : float
        Greatest duration in seconds, redirects included and retries not.
    """

    max_bytes: int
    deadline_s: float = DEADLINE_S


@dataclass(frozen=True)
class Retries:
    """Attempts after failures that may pass: no answer, or a status in `BUSY_STATUSES`.

    Attributes
    ----------
    count : int
        Greatest number of further attempts.
    backoff_s : float
        Pause before the first of them, seconds; it doubles with each further one.
    """

    count: int = 0
    backoff_s: float = 1.0


class HttpClient:
    """Client for servers that one source of addresses may refer to.

    Safe for threads. Proxies, certificates and `.netrc` are those of the environment, as requests
    reads them.

    Parameters
    ----------
    trust : Trust
        What the addresses may refer to.
    sleep : callable
        Function that waits for a number of seconds.
    """

    def __init__(self, trust: Trust, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Make the session; nothing is contacted yet."""
        self.trust = trust
        self._sleep = sleep
        self._session = _session(trust)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        limits: Limits,
        retries: Retries | None = None,
        **content: Any,  # noqa: ANN401 -- arguments of `requests.Request`
    ) -> Answer:
        """Send a request and read the whole answer.

        Parameters
        ----------
        method, url : str
            Method and absolute URL.
        limits : Limits
            Bounds of each attempt.
        retries : Retries, optional
            Further attempts after failures that may pass; None for none.
        **content
            ``headers``, ``json``, ``params`` and ``auth`` of `requests.Request`.

        Returns
        -------
        Answer
            Of any status but a redirect.

        Raises
        ------
        UntrustedAddressError
            If the server, or that of a redirect, may not be contacted.
        TooLargeError
            If the body is over its bound.
        NoAnswerError
            If there is no complete answer: no connection, a timeout, a broken body.
        """
        attempts = retries or Retries()
        for attempt in range(attempts.count):
            try:
                answer = self._followed(method, url, limits, content)
                if answer.status not in BUSY_STATUSES:
                    return answer
                reason = f"HTTP status {answer.status}"
            except NoAnswerError as error:
                reason = str(error)
            # Jitter spreads out clients that failed together.
            share = random.uniform(0.5, 1)  # noqa: S311 -- a wait, not a secret
            wait_s = attempts.backoff_s * 2**attempt * share
            logger.info("request_retried", extra={"reason": reason, "wait_s": round(wait_s, 2)})
            self._sleep(wait_s)
        return self._followed(method, url, limits, content)

    def _followed(
        self, method: str, url: str, limits: Limits, content: Mapping[str, Any]
    ) -> Answer:
        """Send a request, and follow its redirects within the same bounds."""
        trust = self.trust
        request = requests.Request(method, url, **content)
        with _deadline(limits.deadline_s) as deadline:
            for _ in range(MAX_REDIRECTS + 1):
                address = admitted(request.url, trust)
                if scheme_of(address) not in DEFAULT_PORTS:
                    msg = f"{url} is no URL; give https://host/path"
                    raise UntrustedAddressError(msg)
                answer = self._sent(request, trust, limits, deadline)
                target = answer.headers.get("Location")
                if answer.status not in REDIRECT_STATUSES or not target:
                    return answer
                trust = trust.after_redirect(address)
                request = _redirected(request, answer, target)
        msg = f"more than {MAX_REDIRECTS} redirects"
        raise NoAnswerError(msg)

    def _sent(
        self, request: requests.Request, trust: Trust, limits: Limits, deadline: "_Deadline"
    ) -> Answer:
        """Send a request once, and read its answer."""
        session = self._session if trust is self.trust else _redirect_session(trust)
        try:
            prepared = session.prepare_request(request)
            url = str(prepared.url)
            settings = session.merge_environment_settings(url, {}, None, None, None)
            # Not by the session, which reads the whole body of a redirect and parses its target.
            response = session.get_adapter(url).send(
                prepared,
                stream=True,
                timeout=TIMEOUT_S,
                proxies=settings["proxies"],
                verify=settings["verify"] if settings["verify"] is not None else True,
                cert=settings["cert"],
            )
            with response:
                content = _body(response, limits.max_bytes)
        except MALFORMED as error:
            msg = f"{request.url} is no URL ({type(error).__name__}); check it"
            raise UntrustedAddressError(msg) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            refusal = _refusal_in(error)
            if refusal is not None:
                raise refusal from error
            if deadline.is_over:
                raise NoAnswerError(deadline.reason) from error
            raise NoAnswerError(_reason(error)) from error
        if deadline.is_over:
            raise NoAnswerError(deadline.reason)
        return Answer(response.status_code, response.headers, content, url)


def _redirected(request: requests.Request, answer: Answer, target: str) -> requests.Request:
    """Make the request that a redirect asks for (RFC 9110, section 15.4)."""
    try:
        url = urljoin(answer.url, target.strip())
    except ValueError as error:
        msg = "a redirect to something that is no URL"
        raise NoAnswerError(msg) from error
    if scheme_of(answer.url) == "https" and scheme_of(url) == "http":
        msg = f"{url}: a redirect of {host_of(answer.url)} from https to http; refused"
        raise UntrustedAddressError(msg)
    if scheme_of(url) not in DEFAULT_PORTS:
        msg = f"{url}: a redirect of {host_of(answer.url)} to something else than HTTP"
        raise UntrustedAddressError(msg)
    becomes_get = answer.status == 303 or (answer.status in (301, 302) and request.method == "POST")
    method = "GET" if becomes_get and request.method != "HEAD" else request.method
    is_same = urlsplit(url)[:2] == urlsplit(answer.url)[:2]
    headers = {
        name: value
        for name, value in CaseInsensitiveDict(request.headers or {}).items()
        if is_same or name.title() in HARMLESS_HEADERS
    }
    return requests.Request(
        method,
        url,
        headers=headers,
        json=None if becomes_get else request.json,
        auth=request.auth if is_same else None,
    )


# Reading of an answer -----------------------------------------------------------------------------


def _body(response: requests.Response, max_bytes: int) -> bytes:
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


def _reason(error: Exception) -> str:
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


def _refusal_in(error: BaseException) -> UntrustedAddressError | None:
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


# Time ---------------------------------------------------------------------------------------------


class _Deadline:
    """End of an exchange: closes the connections that it uses.

    A timeout of a socket counts from byte to byte, so that a server that sends a byte now and then
    would never be cut off by it.
    """

    def __init__(self, seconds: float) -> None:
        self.reason = f"no complete answer within {seconds:g} s"
        self.is_over = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def watch(self, connection: socket.socket) -> None:
        """Shut down a connection at the end."""
        with self._lock:
            # A copy of the descriptor, since TLS takes the socket itself away.
            self._sockets.append(socket.socket(fileno=os.dup(connection.fileno())))
            if self.is_over:
                _shut_down(self._sockets[-1])

    def end(self) -> None:
        """Shut down all connections."""
        with self._lock:
            self.is_over = True
            for connection in self._sockets:
                _shut_down(connection)

    def close(self) -> None:
        """Release the copies; the connections themselves stay as they are."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It is closed already.


_current = threading.local()


@contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    """Bound the exchange of this thread in the body."""
    deadline = _Deadline(seconds)
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    _current.deadline = deadline
    try:
        yield deadline
    finally:
        _current.deadline = None
        timer.cancel()
        deadline.close()


# Connections --------------------------------------------------------------------------------------


class _CheckedConnection(HTTPConnection):
    """Connection to a server whose address is checked; no proxy is in between."""

    def __init__(self, *arguments: Any, trust: Trust, **options: Any) -> None:  # noqa: ANN401 -- urllib3's own
        self._trust = trust
        super().__init__(*arguments, **options)

    def _new_conn(self) -> socket.socket:
        """Connect to an address that was checked, and to no other."""
        return _connected(self, self._trust)

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 -- urllib3's own
        """Send a request within the deadline of this thread."""
        _watch(self)
        super().request(*arguments, **options)


class _CheckedTlsConnection(_CheckedConnection, HTTPSConnection):
    """The same with TLS; the certificate is checked against the name, as always."""


def _watch(connection: HTTPConnection) -> None:
    """Let the deadline of this thread end a connection that is open already."""
    deadline: _Deadline | None = getattr(_current, "deadline", None)
    if deadline is not None and connection.sock is not None:
        deadline.watch(connection.sock)


def _connected(connection: HTTPConnection, trust: Trust) -> socket.socket:
    """Resolve the name of a server, check all its addresses, and connect to the first that answers.

    Raises
    ------
    UntrustedAddressError
        If one of them may not be contacted: a name that means public and private servers at once
        is a trap.
    """
    host, port = connection.host, int(connection.port or 0)
    try:
        addresses = resolved_addresses(host, port)
    except OSError as error:
        raise NameResolutionError(host, connection, socket.gaierror(*error.args)) from error
    # Public ones first: a name that has one is not that of a private server.
    for address in sorted(addresses, key=lambda each: reach_of(each) != "public"):
        trust.check_host(host, port, address)
    failure: OSError | None = None
    for address in addresses:
        try:
            made = create_connection(
                (str(address), port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
            continue
        deadline: _Deadline | None = getattr(_current, "deadline", None)
        if deadline is not None:
            deadline.watch(made)
        return made
    msg = f"cannot connect to {host}: {failure}"
    raise NewConnectionError(connection, msg) from failure


class _CheckedPools(PoolManager):
    """Pools of checked connections."""

    def __init__(self, trust: Trust, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 -- urllib3's own
        self._trust = trust
        super().__init__(*arguments, **options)

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        """Make a pool whose connections know the trust."""
        pool = super()._new_pool(scheme, host, port, request_context)
        kind = _CheckedTlsConnection if scheme == "https" else _CheckedConnection
        pool.ConnectionCls = functools.partial(kind, trust=self._trust)  # type: ignore[assignment]
        return pool


class _CheckedAdapter(HTTPAdapter):
    """Adapter of requests whose connections are checked."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        super().__init__(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE, max_retries=0)

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,
        **options: Any,  # noqa: ANN401 -- urllib3's own
    ) -> None:
        """Make the pools; requests calls this."""
        self.poolmanager = _CheckedPools(
            self._trust, num_pools=connections, maxsize=maxsize, block=block, **options
        )

    def send(
        self,
        request: requests.PreparedRequest,
        *arguments: Any,  # noqa: ANN401 -- requests' own
        **options: Any,  # noqa: ANN401 -- requests' own
    ) -> requests.Response:
        """Send a request; that of a proxy is checked by its name, since the proxy resolves it."""
        url = str(request.url)
        if select_proxy(url, options.get("proxies")):
            self._trust.check_host(host_of(url) or "", port_of(url) or 0, None)
        return super().send(request, *arguments, **options)


def _session(trust: Trust) -> requests.Session:
    session = requests.Session()
    session.headers["Accept-Encoding"] = "gzip"
    session.mount("http://", _CheckedAdapter(trust))
    session.mount("https://", _CheckedAdapter(trust))
    return session


@functools.lru_cache(maxsize=64)
def _redirect_session(trust: Trust) -> requests.Session:
    """Session for what a redirect may refer to."""
    return _session(trust)


@functools.lru_cache(maxsize=64)
def http_client(trust: Trust) -> HttpClient:
    """Client of this process for a source of addresses; its connections are kept open."""
    return HttpClient(trust)
