"""Requests over HTTP: servers, redirects, bytes and seconds are checked."""

import gzip
import json
import time
import zlib
from ipaddress import ip_address
from threading import Event
from urllib.parse import urlsplit

import pytest

from cloudbuster.errors import TooLargeError, UntrustedAddressError
from cloudbuster.storage.addresses.trust import PROGRAM, Trust, catalog_trust, server_trust
from cloudbuster.storage.remote import connections
from cloudbuster.storage.remote.answers import NoAnswerError
from cloudbuster.storage.remote.http import HttpClient, Limits, Retries
from tests.loopback import LoopbackHandler, serving_http

LIMITS = Limits(1000, deadline_s=5)
BOMB = gzip.compress(bytes(1_000_000))


class Handler(LoopbackHandler):
    """Answers by path; ``target`` is where redirects lead to."""

    target = ""
    beside = b""
    failures = 0
    released = Event()

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/")
        if name.isdecimal():
            self.send(int(name), self.beside, {"Location": self.target})
        elif name == "headers":
            self.send(200, json.dumps(dict(self.headers)).encode())
        elif name == "fails":
            type(self).failures -= 1
            self.send(503 if self.failures >= 0 else 200, b"there")
        else:
            getattr(self, f"send_{name}")()

    def do_POST(self) -> None:
        self.body()
        self.do_GET()

    def send_large(self) -> None:
        self.send(200, bytes(2000))

    def send_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"400\r\n" + bytes(1024) + b"\r\n")

    def send_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        for _ in range(200):
            self.wfile.write(bytes(1024))

    def send_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            if self.released.wait(0.05):
                return

    def send_short(self) -> None:
        self.send(200, b"abc", {"Content-Length": "90"})
        self.close_connection = True

    def send_gzip(self) -> None:
        self.send(200, gzip.compress(b"plain"), {"Content-Encoding": "gzip"})

    def send_members(self) -> None:
        content = gzip.compress(b"pl") + gzip.compress(b"ain")
        self.send(200, content, {"Content-Encoding": "gzip"})

    def send_deflate(self) -> None:
        self.send(200, zlib.compress(b"plain"), {"Content-Encoding": "deflate"})

    def send_bomb(self) -> None:
        self.send(200, BOMB[: LIMITS.max_bytes * 2], {"Content-Encoding": "gzip"})

    def send_cut(self) -> None:
        self.send(200, gzip.compress(b"plain")[:-9], {"Content-Encoding": "gzip"})

    def send_broken(self) -> None:
        self.send(200, b"not gzip", {"Content-Encoding": "gzip"})

    def send_brotli(self) -> None:
        self.send(200, b"?", {"Content-Encoding": "br"})


@pytest.fixture(scope="module")
def url():
    with serving_http(Handler) as address:
        yield f"http://{address}"
        Handler.released.set()


@pytest.fixture
def client(url):
    made = HttpClient(catalog_trust(f"{url}/stac"))
    yield made
    made.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://169.254.169.254/latest/meta-data/", "no server for data"),
        ("http://[::ffff:a9fe:a9fe]/", "no server for data"),
        ("http://127.0.0.2:8080/", "may not name such a server"),
        ("http://2130706433:9/", "may not name such a server"),
        ("//10.0.0.5/x", "may not name such a server"),
        ("file:///etc/passwd", "to something else than HTTP"),
        ("s3://bucket/key", "to something else than HTTP"),
        ("ftp://h/x", "to something else than HTTP"),
    ],
)
def test_a_redirect_is_checked_as_the_first_address_was(url, status, target, said, monkeypatch):
    monkeypatch.setattr(Handler, "target", target)
    # Redirects are not trusted either if the first address may lie anywhere.
    for trust in (catalog_trust(url), PROGRAM):
        with pytest.raises(UntrustedAddressError, match=said):
            HttpClient(trust).request("GET", f"{url}/{status}", limits=LIMITS)


def test_a_redirect_to_the_same_server_is_followed(url, client, monkeypatch):
    monkeypatch.setattr(Handler, "target", "/gzip")
    answer = client.request("GET", f"{url}/302", limits=LIMITS)
    assert (answer.content, answer.url) == (b"plain", f"{url}/gzip")


@pytest.mark.parametrize(("target", "said"), [("/302", "5 redirects"), ("http://[x", "no URL")])
def test_redirects_without_an_end_are_no_answer(url, client, target, said, monkeypatch):
    monkeypatch.setattr(Handler, "target", target)
    with pytest.raises(NoAnswerError, match=said):
        client.request("GET", f"{url}/302", limits=LIMITS)


def test_secrets_in_headers_stay_with_the_server_they_are_for(url, monkeypatch):
    with serving_http(Handler) as other:
        monkeypatch.setattr(Handler, "target", f"http://{other}/headers")
        trust = catalog_trust(url).with_places(f"http://{other}")
        monkeypatch.setattr(Trust, "after_redirect", lambda _self, _url: trust)
        headers = {"Authorization": "Bearer secret", "X-Api-Key": "secret", "Accept": "text/plain"}
        answer = HttpClient(trust).request("GET", f"{url}/302", headers=headers, limits=LIMITS)
    sent = json.loads(answer.content)
    assert "secret" not in str(sent)
    assert sent["Accept"] == "text/plain"


@pytest.mark.parametrize("name", ["large", "chunks", "endless", "bomb"])
def test_an_answer_over_its_bound_is_refused(url, client, name):
    with pytest.raises(TooLargeError, match=r"over .* MiB"):
        client.request("GET", f"{url}/{name}", limits=LIMITS)


def test_the_body_of_a_redirect_has_the_same_bound(url, client, monkeypatch):
    monkeypatch.setattr(Handler, "target", "/gzip")
    monkeypatch.setattr(Handler, "beside", bytes(2000))
    with pytest.raises(TooLargeError):
        client.request("GET", f"{url}/302", limits=LIMITS)


@pytest.mark.parametrize("name", ["gzip", "members", "deflate"])
def test_compressed_answers_are_decompressed(url, client, name):
    assert client.request("GET", f"{url}/{name}", limits=LIMITS).content == b"plain"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("short", "ProtocolError"),
        ("cut", "ends too early"),
        ("broken", "is broken"),
        ("brotli", "encoded as br"),
    ],
)
def test_a_broken_answer_is_no_answer(url, client, name, said):
    with pytest.raises(NoAnswerError, match=said):
        client.request("GET", f"{url}/{name}", limits=LIMITS)


def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(url, client):
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"within 0\.2 s"):
        client.request("GET", f"{url}/drip", limits=Limits(1000, deadline_s=0.2))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "resolved", [["127.0.0.1"], ["10.0.0.5"], ["93.184.215.14", "127.0.0.1"], ["169.254.169.254"]]
)
def test_a_name_counts_by_the_addresses_that_it_has_when_it_is_connected_to(resolved, monkeypatch):
    monkeypatch.setattr(
        connections,
        "resolved_addresses",
        lambda _host, _port: [ip_address(text) for text in resolved],
    )
    with pytest.raises(UntrustedAddressError, match=r"evil\.example:80"):
        HttpClient(catalog_trust("https://stac.example.com")).request(
            "GET", "http://evil.example/x", limits=LIMITS
        )


@pytest.mark.parametrize("href", ["file:///etc/passwd", "/etc/passwd", "s3://b/k", "ftp://h/x"])
def test_only_http_is_asked(href):
    with pytest.raises(UntrustedAddressError):
        HttpClient(PROGRAM).request("GET", href, limits=LIMITS)


def test_failures_that_may_pass_are_retried(url, monkeypatch):
    waits: list[float] = []
    client = HttpClient(catalog_trust(url), sleep=waits.append)
    monkeypatch.setattr(Handler, "failures", 2)
    retries = Retries(3, backoff_s=8)
    answer = client.request("GET", f"{url}/fails", limits=LIMITS, retries=retries)
    assert answer.content == b"there"
    assert [4 <= waits[0] <= 8, 8 <= waits[1] <= 16, len(waits)] == [True, True, 2]


def test_a_post_becomes_a_get_after_see_other(url, client, monkeypatch):
    monkeypatch.setattr(Handler, "target", "/headers")
    answer = client.request("POST", f"{url}/303", json={"a": 1}, limits=LIMITS)
    assert "Content-Length" not in json.loads(answer.content)


def answering(monkeypatch, *answers):
    """Let each resolution of a name have another answer."""
    waiting = iter([[ip_address(text) for text in answer] for answer in answers])
    monkeypatch.setattr(connections, "resolved_addresses", lambda _host, _port: next(waiting))


@pytest.mark.parametrize("answers", [(["8.8.8.8", "127.0.0.1"],), (["127.0.0.1", "8.8.8.8"],)])
def test_a_catalog_that_its_user_names_is_not_public_and_private_at_once(answers, monkeypatch):
    answering(monkeypatch, *answers)
    client = HttpClient(server_trust("http://both.example/stac"))
    with pytest.raises(UntrustedAddressError, match=r"both\.example:80 \(127\.0\.0\.1\)"):
        client.request("GET", "http://both.example/stac", limits=LIMITS)


def test_a_public_name_that_becomes_private_is_refused(url, monkeypatch):
    port = urlsplit(url).port
    catalog = f"http://rebound.example:{port}/gzip"
    answering(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
    # A private catalog under a public name, as its user names it; its items need the variable.
    assert HttpClient(server_trust(catalog)).request("GET", catalog, limits=LIMITS).ok
    with pytest.raises(UntrustedAddressError, match="CLOUDBUSTER_ALLOW_HOSTS"):
        HttpClient(catalog_trust(catalog)).request("GET", catalog, limits=LIMITS)
    server_trust(catalog).check_host("rebound.example", port, ip_address("8.8.8.8"))
    answering(monkeypatch, ["127.0.0.1"])
    with pytest.raises(UntrustedAddressError, match="CLOUDBUSTER_ALLOW_HOSTS"):
        HttpClient(server_trust(catalog)).request("GET", catalog, limits=LIMITS)


def test_a_redirect_of_a_public_server_to_its_own_name_is_no_way_into_this_network():
    trust = PROGRAM.after_redirect("http://away.example/x")
    trust.check_host("away.example", 80, ip_address("8.8.8.8"))
    with pytest.raises(UntrustedAddressError):
        trust.check_host("away.example", 80, ip_address("127.0.0.1"))
