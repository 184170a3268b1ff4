"""Requests over HTTP in which every server, redirect, byte and second is checked.

A server is checked when it is connected to, by the address that its name has at that moment. A
redirect is followed here and not by a library, so that it is checked as the first address was. An
answer has a bound in bytes, before and after decompression, and the whole exchange one in seconds.
"""

import functools
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from cloudbuster.errors import UntrustedAddressError
from cloudbuster.storage.addresses.trust import (
    DEFAULT_PORTS,
    Trust,
    admitted,
    host_of,
    scheme_of,
)
from cloudbuster.storage.remote.answers import (
    Answer,
    NoAnswerError,
    no_answer_reason,
    read_body,
    refusal_in,
)
from cloudbuster.storage.remote.connections import CheckedAdapter, Deadline, deadline_after

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
# Headers that are sent on to another server after a redirect; others may hold secrets.
HARMLESS_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "Range", "User-Agent")


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
        with deadline_after(limits.deadline_s) as deadline:
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
        self, request: requests.Request, trust: Trust, limits: Limits, deadline: "Deadline"
    ) -> Answer:
        """Send a request once, and read its answer."""
        session = self._session if trust is self.trust else _redirect_session(trust)
        try:
            prepared = session.prepare_request(request)
            url = str(prepared.url)
            with _response(session, prepared, url) as response:
                content = read_body(response, limits.max_bytes)
        except MALFORMED as error:
            msg = f"{request.url} is no URL ({type(error).__name__}); check it"
            raise UntrustedAddressError(msg) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            refusal = refusal_in(error)
            if refusal is not None:
                raise refusal from error
            if deadline.is_over:
                raise NoAnswerError(deadline.reason) from error
            raise NoAnswerError(no_answer_reason(error)) from error
        if deadline.is_over:
            raise NoAnswerError(deadline.reason)
        return Answer(response.status_code, response.headers, content, url)


def _response(
    session: requests.Session, prepared: requests.PreparedRequest, url: str
) -> requests.Response:
    """Send a request with the settings of a session; the body is not read yet.

    Not by the session, which reads the whole body of a redirect and parses its target.
    """
    settings = session.merge_environment_settings(url, {}, None, None, None)
    return session.get_adapter(url).send(
        prepared,
        stream=True,
        timeout=TIMEOUT_S,
        proxies=settings["proxies"],
        verify=settings["verify"] if settings["verify"] is not None else True,
        cert=settings["cert"],
    )


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


def _session(trust: Trust) -> requests.Session:
    session = requests.Session()
    session.headers["Accept-Encoding"] = "gzip"
    session.mount("http://", CheckedAdapter(trust))
    session.mount("https://", CheckedAdapter(trust))
    return session


@functools.lru_cache(maxsize=64)
def _redirect_session(trust: Trust) -> requests.Session:
    """Session for what a redirect may refer to."""
    return _session(trust)


@functools.lru_cache(maxsize=64)
def http_client(trust: Trust) -> HttpClient:
    """Client of this process for a source of addresses; its connections are kept open."""
    return HttpClient(trust)
