"""HTTP server of the files of a folder, which answers ranges, waits, and counts what is asked.

It runs in a process of its own: GDAL holds locks while it waits for an answer, and threads that
wait for these may hold Python's.
"""

import json
import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from multiprocessing.connection import Connection
from pathlib import Path

import requests

from tests.loopback import LoopbackHandler, address_of, loopback_server

CONTROL = "/_asked"
# Names under which every file of the folder can be asked for: /17/scl.tif is scl.tif.
ALIAS = re.compile(r"^/\d+/")


@dataclass(frozen=True)
class RangeServer:
    """The server, as a test sees it.

    Attributes
    ----------
    url : str
        URL without a slash at its end. Files are below ``/<any number>/``, so that one file can
        serve as many.
    """

    url: str

    @property
    def asked(self) -> list[tuple[str, str, int]]:
        """Method, path and bytes of the answer of every request since the last `forget`."""
        known = requests.get(f"{self.url}{CONTROL}", timeout=10).json()
        return [(method, path, size) for method, path, size in known]

    def forget(self) -> None:
        """Forget what was asked."""
        requests.delete(f"{self.url}{CONTROL}", timeout=10).raise_for_status()


@contextmanager
def serving_ranges(folder: Path, *, latency_s: float = 0) -> Iterator[RangeServer]:
    """Serve a folder on a free port of the loopback; every answer comes ``latency_s`` late."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, folder, latency_s), daemon=True)
    process.start()
    try:
        yield RangeServer(ours.recv())
    finally:
        process.terminate()
        process.join()


def _serve(connection: Connection, folder: Path, latency_s: float) -> None:
    server = loopback_server(_handler(folder, latency_s))
    connection.send(f"http://{address_of(server)}")
    server.serve_forever()


def _handler(folder: Path, latency_s: float) -> type[BaseHTTPRequestHandler]:
    asked: list[tuple[str, str, int]] = []

    class Handler(LoopbackHandler):
        def do_GET(self) -> None:
            if self.path == CONTROL:
                self.send(200, json.dumps(asked).encode())
                return
            time.sleep(latency_s)
            path = folder / ALIAS.sub("", self.path)
            status, content, headers = _answer(path, self.headers.get("Range"))
            sent = len(content) if self.command == "GET" else 0
            asked.append((self.command, self.path, sent))
            self.send(status, content, headers)

        do_HEAD = do_GET

        def do_DELETE(self) -> None:
            asked.clear()
            self.send(200, b"")

    return Handler


def _answer(path: Path, wanted: str | None) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of the answer to a request for a range or a whole file."""
    if not path.is_file():
        return 404, b"", {}
    content = path.read_bytes()
    headers = {"Accept-Ranges": "bytes", "Content-Type": "image/tiff"}
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "")
    if match is None:
        return 200, content, headers
    first, last = int(match[1]), min(int(match[2]), len(content) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return 206, content[first : last + 1], headers
