"""The image of the functions, invoked as Lambda invokes it: through the runtime's interface."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from tests.containers.conftest import BUCKET, stored
from tests.containers.podman import AWS, command, running
from tests.e2e.worlds import World
from tests.s3_server import S3Server

pytestmark = pytest.mark.containers

ARN = "arn:aws:lambda:us-west-2:123456789012:function:query"


class Runtime:
    """The interface that Lambda has for what it runs: one event, and what came of it.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event
        self.asked = 0
        self.answers: dict[str, Any] = {}
        self.answered, self.ended = threading.Event(), threading.Event()

    def answer(self, path: str, body: bytes) -> None:
        self.answers[path.rsplit("/", 1)[-1]] = json.loads(body)
        self.answered.set()


@contextmanager
def serving(runtime: Runtime) -> Iterator[str]:
    """Serve on the loopback; yields host and port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            runtime.asked += 1
            if runtime.asked > 1:  # Lambda freezes a function that waits for its next event.
                runtime.ended.wait()
            self._send(200, json.dumps(runtime.event).encode())

        def do_POST(self) -> None:
            runtime.answer(self.path, self._body())
            self._send(202, b"{}")

        def _body(self) -> bytes:
            if self.headers["Content-Length"] is not None:
                return self.rfile.read(int(self.headers["Content-Length"]))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Lambda-Runtime-Aws-Request-Id", "one")
            self.send_header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", ARN)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        runtime.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_query_runs_under_the_runtime_client(
    lambda_image: str, world: World, s3: S3Server, scratch: Path
) -> None:
    settings = StackSettings(root=f"s3://{BUCKET}")
    runtime = Runtime({"request": world.in_s3(), "execution": "by-hand"})
    with serving(runtime) as address:
        words = command(
            lambda_image,
            ["lambdas.query.handler"],
            writable={"/tmp": scratch},  # noqa: S108 -- all that a function can write
            environment={
                **AWS,
                SETTINGS_VARIABLE: settings.model_dump_json(),
                "AWS_ENDPOINT_URL": s3.behind,
                "AWS_LAMBDA_RUNTIME_API": address,
                "NUMBA_CACHE_DIR": "/tmp/numba",  # noqa: S108 -- as above
            },
            # The catalog is a folder; nothing else of this machine is in reach.
            options=[f"--volume={world.folder}:{world.folder}:ro"],
        )
        with running(words) as log:
            runtime.answered.wait(timeout=60)
    assert set(runtime.answers) == {"response"}, (runtime.answers, log.read_text())
    answer = runtime.answers["response"]
    assert answer["candidate_count"] == 3
    folder = answer["documents"].removeprefix(f"s3://{BUCKET}/")
    found = json.loads(stored(s3, f"{folder}/candidates.json"))
    assert len(found["features"]) == 3
