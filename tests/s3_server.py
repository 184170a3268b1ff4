"""S3 on the loopback, in front of moto: it refuses as AWS does, fails on command, and remembers.

moto itself asks nobody to pay and believes every signature.
"""

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from multiprocessing.connection import Connection

import requests
from moto.server import ThreadedMotoServer

from tests.loopback import LoopbackHandler, address_of, loopback_server

ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
PASSED_ON = ("Range", "Authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-request-payer")
CONTROL = "/_manners"
ANSWERED = ("Content-Range", "Accept-Ranges", "ETag", "Last-Modified", "Content-Type")


@dataclass(frozen=True)
class Asked:
    """One request: the bucket, and what its headers say."""

    bucket: str
    payer: str | None
    authorization: str

    @property
    def region(self) -> str | None:
        """Region that it was signed for; None where it was not signed."""
        parts = self.authorization.split("/")
        return parts[2] if len(parts) > 2 else None

    @property
    def key(self) -> str | None:
        """Access key that it was signed with."""
        return self.authorization.partition("Credential=")[2].partition("/")[0] or None


@dataclass
class Manners:
    """How the server treats requests.

    Attributes
    ----------
    requester_pays : list of str
        Buckets that refuse requests without the header, and those without a signature.
    private : list of str
        Buckets that refuse requests without a signature.
    unsigned_only : list of str
        Buckets that refuse signed requests, as AWS does where it does not know the key.
    outages : list of int
        Statuses of the coming requests, until none is left.
    outage_after : int
        How many requests are answered before the outages begin.
    """

    requester_pays: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    unsigned_only: list[str] = field(default_factory=list)
    outages: list[int] = field(default_factory=list)
    outage_after: int = 0

    def refusal(self, asked: Asked) -> tuple[int, str, str] | None:
        """Status, code and message of a refusal or an outage; None where the request passes."""
        if self.outages and self.outage_after <= 0:
            return self.outages.pop(0), "SlowDown", "Please reduce your request rate."
        self.outage_after -= 1
        signed = bool(asked.authorization)
        if asked.bucket in self.requester_pays and not (signed and asked.payer == "requester"):
            return 403, "AccessDenied", "Access Denied"
        if asked.bucket in self.private and not signed:
            return 403, "AccessDenied", "Access Denied"
        if asked.bucket in self.unsigned_only and signed:
            return 403, "InvalidAccessKeyId", "The AWS Access Key Id does not exist in our records."
        return None


@dataclass(frozen=True)
class S3Server:
    """The server, as a test sees it; it runs in a process of its own.

    GDAL holds locks of its own while it waits for an answer, and threads that wait for these may
    hold Python's: a server in the same process could then not answer at all.
    """

    url: str
    behind: str

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object, past every rule."""
        requests.put(f"{self.behind}/{bucket}", timeout=10)
        address, public = f"{self.behind}/{bucket}/{key}", {"x-amz-acl": "public-read"}
        requests.put(address, data=content, headers=public, timeout=10).raise_for_status()

    def behave(self, **manners: object) -> None:
        """Change how requests are treated from now on; what is not named stays."""
        requests.post(f"{self.url}{CONTROL}", json=manners, timeout=10).raise_for_status()

    def forget(self) -> None:
        """Forget what was asked."""
        requests.delete(f"{self.url}{CONTROL}", timeout=10).raise_for_status()

    @property
    def asked(self) -> list[Asked]:
        """Every request since the last `forget`."""
        known = requests.get(f"{self.url}{CONTROL}", timeout=10).json()
        return [Asked(**entry) for entry in known]


@contextmanager
def serving_s3() -> Iterator[S3Server]:
    """Run the server before a fresh moto on free ports of the loopback."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield S3Server(*ours.recv())
    finally:
        process.terminate()
        process.join()


def _serve(connection: Connection) -> None:
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    behind = "http://{}:{}".format(*moto.get_host_and_port())
    server = loopback_server(_handler(behind))
    connection.send((f"http://{address_of(server)}", behind))
    server.serve_forever()


def _passed_on(handler: BaseHTTPRequestHandler, behind: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of what moto answers."""
    headers = {name: handler.headers[name] for name in PASSED_ON if name in handler.headers}
    address = f"{behind}{handler.path}"
    answer = requests.request(handler.command, address, headers=headers, timeout=10)
    kept = {name: answer.headers[name] for name in ANSWERED if name in answer.headers}
    return answer.status_code, answer.content, kept


def _asked(handler: BaseHTTPRequestHandler) -> Asked:
    payer = handler.headers.get("x-amz-request-payer")
    return Asked(handler.path.split("/")[1], payer, handler.headers.get("Authorization", ""))


def _error(refusal: tuple[int, str, str]) -> tuple[int, bytes, dict[str, str]]:
    status, code, message = refusal
    return status, ERROR.format(code=code, message=message).encode(), {}


def _handler(behind: str) -> type[BaseHTTPRequestHandler]:
    manners = Manners()
    known: list[Asked] = []

    class Handler(LoopbackHandler):
        def do_GET(self) -> None:
            if self.path == CONTROL:
                self.send(200, json.dumps([asdict(asked) for asked in known]).encode())
                return
            asked = _asked(self)
            known.append(asked)
            refusal = manners.refusal(asked)
            self.send(*(_error(refusal) if refusal else _passed_on(self, behind)))

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = json.loads(self.body())
            for name, value in body.items():
                setattr(manners, name, value)
            self.send(200, b"")

        def do_DELETE(self) -> None:
            known.clear()
            self.send(200, b"")

    return Handler
