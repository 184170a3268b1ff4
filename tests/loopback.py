"""HTTP servers on the loopback, each for one test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackHandler(BaseHTTPRequestHandler):
    """Requests of one connection, which stays open; nothing is logged."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement

    def handle(self) -> None:
        """Answer until either side hangs up: a client does so on what it refuses."""
        with suppress(ConnectionError):
            super().handle()

    def body(self) -> bytes:
        """Body of the request, by the length that it tells."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON, unless ``headers`` say otherwise; a HEAD gets no body."""
        known = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.send_response(status)
        for name, value in (known | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


def loopback_server(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """Make a server on a free port; connections that stay open do not hold the test up."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


def address_of(server: ThreadingHTTPServer) -> str:
    """``host:port`` of a server."""
    return f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def serving_http(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve in a thread while the body runs; yield ``host:port``."""
    server = loopback_server(handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield address_of(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
