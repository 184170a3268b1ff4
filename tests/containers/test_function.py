"""The image of the functions, invoked through the runtime interface of Lambda."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from tests.containers.conftest import BUCKET, stored
from tests.containers.podman import AWS, command, running
from tests.e2e.worlds import World
from tests.loopback import LoopbackHandler, serving_http
from tests.s3_server import S3Server

pytestmark = pytest.mark.containers

HEADERS = {
    "Lambda-Runtime-Aws-Request-Id": "one",
    "Lambda-Runtime-Deadline-Ms": "4102444800000",
    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-west-2:123456789012:function:query",
}


class Runtime:
    """The runtime interface of Lambda with one event and its answers.

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
    """Serve on the loopback; yield host and port."""

    class Handler(LoopbackHandler):
        def do_GET(self) -> None:
            runtime.asked += 1
            if runtime.asked > 1:  # Lambda freezes a function that waits for its next event.
                runtime.ended.wait()
            self.send(200, json.dumps(runtime.event).encode(), HEADERS)

        def do_POST(self) -> None:
            runtime.answer(self.path, self._whole_body())
            self.send(202, b"{}", HEADERS)

        def _whole_body(self) -> bytes:
            if self.headers["Content-Length"] is not None:
                return self.body()
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

    with serving_http(Handler) as address:
        try:
            yield address
        finally:
            runtime.ended.set()


def test_query_runs_under_the_runtime_client(
    lambda_image: str, world: World, s3: S3Server, scratch: Path
) -> None:
    settings = StackSettings(root=f"s3://{BUCKET}")
    runtime = Runtime({"request": world.in_s3(), "execution": "by-hand"})
    with serving(runtime) as address:
        words = command(
            lambda_image,
            ["lambdas.query.handler"],
            writable={"/tmp": scratch},  # noqa: S108 -- the only writable folder of a function
            environment={
                **AWS,
                SETTINGS_VARIABLE: settings.model_dump_json(),
                "AWS_ENDPOINT_URL": s3.behind,
                "AWS_LAMBDA_RUNTIME_API": address,
                "NUMBA_CACHE_DIR": "/tmp/numba",  # noqa: S108 -- as above
            },
            # The catalog is a folder, the only one of this machine in the container.
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
