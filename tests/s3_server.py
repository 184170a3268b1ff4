"""S3 on the loopback, in front of moto: it refuses as AWS does, fails on command, and remembers.

moto itself asks nobody to pay and believes every signature.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from moto.server import ThreadedMotoServer

ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
PASSED_ON = ("Range", "Authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-request-payer")
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
class S3Server:
    """The server's manners, and what it was asked.

    Attributes
    ----------
    requester_pays : set of str
        Buckets that refuse requests without the header, and those without a signature.
    private : set of str
        Buckets that refuse requests without a signature.
    unsigned_only : set of str
        Buckets that refuse signed requests, as AWS does where it does not know the key.
    outages : list of int
        Statuses of the coming requests, until none is left.
    outage_after : int
        How many requests are answered before the outages begin.
    asked : list of Asked
        Every request.
    """

    requester_pays: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    unsigned_only: set[str] = field(default_factory=set)
    outages: list[int] = field(default_factory=list)
    outage_after: int = 0
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    behind: str = ""

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object, past every rule."""
        requests.put(f"{self.behind}/{bucket}", timeout=10)
        address, public = f"{self.behind}/{bucket}/{key}", {"x-amz-acl": "public-read"}
        requests.put(address, data=content, headers=public, timeout=10).raise_for_status()

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


@contextmanager
def serving_s3(server: S3Server) -> Iterator[S3Server]:
    """Run ``server`` before a fresh moto on free ports of the loopback; its ``url`` is set."""
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    server.behind = "http://{}:{}".format(*moto.get_host_and_port())
    requests.post(f"{server.behind}/moto-api/reset", timeout=10)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = Asked(
                self.path.split("/")[1],
                self.headers.get("x-amz-request-payer"),
                self.headers.get("Authorization", ""),
            )
            server.asked.append(asked)
            refusal = server.refusal(asked)
            if refusal is not None:
                status, code, message = refusal
                self._send(status, ERROR.format(code=code, message=message).encode(), {})
                return
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            answer = requests.request(
                self.command, f"{server.behind}{self.path}", headers=headers, timeout=10
            )
            known = {name: answer.headers[name] for name in ANSWERED if name in answer.headers}
            self._send(answer.status_code, answer.content, known)

        do_HEAD = do_GET  # noqa: N815 -- the server looks for this name

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Stay silent."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        moto.stop()
