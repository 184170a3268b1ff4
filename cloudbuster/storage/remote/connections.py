"""Connections to HTTP servers whose addresses are checked, and which end at a deadline."""

import functools
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from cloudbuster.storage.addresses.hosts import reach_of, resolved_addresses
from cloudbuster.storage.addresses.trust import (
    Trust,
    host_of,
    port_of,
)

# Connections that are kept open to one server; more threads than these open further ones.
POOL_SIZE = 16


class Deadline:
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
def deadline_after(seconds: float) -> Iterator[Deadline]:
    """Bound the exchange of this thread in the body."""
    deadline = Deadline(seconds)
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
    deadline: Deadline | None = getattr(_current, "deadline", None)
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
    return _connected_to_one(connection, addresses)


def _connected_to_one(connection: HTTPConnection, addresses: Sequence[object]) -> socket.socket:
    """Connect to the first address that answers."""
    failure: OSError | None = None
    for address in addresses:
        try:
            made = create_connection(
                (str(address), int(connection.port or 0)),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
            continue
        deadline: Deadline | None = getattr(_current, "deadline", None)
        if deadline is not None:
            deadline.watch(made)
        return made
    msg = f"cannot connect to {connection.host}: {failure}"
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


class CheckedAdapter(HTTPAdapter):
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
