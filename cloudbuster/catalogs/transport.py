"""Requests to a STAC API, retried a limited number of times after temporary failures.

An answer is usable if its status is a success, it is a JSON object, and it meets the caller's
expectations. Retries of urllib3 are not used: they wait as long as ``Retry-After`` demands.
"""

import json
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pystac_client.stac_api_io import StacApiIO

from cloudbuster.core.texts.json_text import JsonError, parsed_json
from cloudbuster.errors import CatalogError, TooLargeError, TryAgainError
from cloudbuster.storage.addresses.trust import Trust
from cloudbuster.storage.remote.answers import Answer, NoAnswerError
from cloudbuster.storage.remote.http import Limits, http_client

logger = logging.getLogger(__name__)

# Five retries after about 1, 2, 4, 8 and 16 seconds: they bridge an outage of half a minute.
RETRIES = 5
RETRY_BACKOFF_S = 1.0
# Longest delay between two attempts: a `Retry-After` of hours is an outage, and raises an error.
MAX_WAIT_S = 60.0
# 408 and 425 ask for another attempt; load balancers send 413 if an answer exceeds their limit.
RETRY_SECONDS = re.compile("[0-9]{1,9}")
RETRY_STATUSES = (408, 413, 425, 429)
# Bytes of the text of a refusal that are looked at.
MAX_SHOWN_BYTES = 4096
# Server errors that never pass; after any other, a smaller page may succeed.
LASTING_STATUSES = (501, 505)
# Greatest answer and duration of a request: Earth Search sends at most 6 MB for a page.
LIMITS = Limits(32 * 2**20, deadline_s=180.0)
MAX_SEARCH_BYTES = 512 * 2**20
"""Greatest size of all answers of a search: 10 000 items of Earth Search have 400 MB."""


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes
    ----------
    url : str
        Absolute URL.
    method : str
        ``GET`` or ``POST``.
    body : dict or None
        JSON body of a ``POST`` request.
    headers : dict of str to str
        Headers in addition to those of the session.
    """

    url: str
    method: str = "GET"
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def with_limit(self, limit: int) -> "Call":
        """Copy of the request for at most ``limit`` items."""
        if self.method == "POST":
            return Call(self.url, self.method, {**(self.body or {}), "limit": limit}, self.headers)
        parts = urlsplit(self.url)
        known = [(key, value) for key, value in parse_qsl(parts.query) if key != "limit"]
        query = urlencode([*known, ("limit", str(limit))])
        return Call(urlunsplit(parts._replace(query=query)), self.method, None, self.headers)

    @property
    def identity(self) -> str:
        """Text that is equal for requests that differ only in the number of items."""
        call = self.with_limit(0)
        return json.dumps([call.url, call.method, call.body], sort_keys=True)


class UnusableAnswerError(Exception):
    """An answer that may be better at the next attempt; the message says what is wrong with it."""

    def __init__(self, message: str, *, too_large: bool = False, wait_s: float = 0.0) -> None:
        """Keep whether a smaller page may help, and the delay that the server asks for."""
        super().__init__(message)
        self.too_large = too_large
        self.wait_s = wait_s


class RetryingIO(StacApiIO):
    """Transport for pystac-client and for the pages of a search.

    Parameters
    ----------
    label : str
        Name of the catalog in error messages.
    trust : Trust
        What the addresses of the catalog, and those of further pages in its answers, may refer to.
    backoff_s : float
        Delay before the first retry, seconds; it doubles with each retry.
    sleep : callable
        Function that waits for a number of seconds.
    """

    def __init__(
        self,
        label: str,
        trust: Trust,
        *,
        backoff_s: float = RETRY_BACKOFF_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep the settings; pystac-client's own session is not used."""
        super().__init__(max_retries=None)
        self.label = label
        self._client = http_client(trust)
        self._received = 0
        self._backoff_s = backoff_s
        self._sleep = sleep

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Send a request of pystac-client and return the answer as text; see `ask`."""
        call = Call(href, (method or "GET").upper(), parameters, headers or {})
        if call.method == "GET" and parameters:
            join = "&" if urlsplit(href).query else "?"
            call = Call(f"{href}{join}{urlencode(parameters)}", "GET", None, call.headers)
        return json.dumps(self.ask(call))

    def ask(self, call: Call) -> dict[str, Any]:
        """Send a request, with retries after temporary failures, and return the JSON object.

        Raises
        ------
        CatalogError
            If the server refuses the request or does not send JSON objects.
        TryAgainError
            If the request still fails after `RETRIES` retries.
        """
        failures = 0
        while True:
            try:
                return self.once(call)
            except UnusableAnswerError as error:
                self.wait(failures, error)
                failures += 1

    def once(self, call: Call) -> dict[str, Any]:
        """Send a request once and return the JSON object.

        Raises
        ------
        UnusableAnswerError
            If it fails temporarily, or the page is larger than is read.
        CatalogError
            If the server refuses the request, does not send JSON objects, or has sent more than
            `MAX_SEARCH_BYTES` by now.
        UntrustedAddressError
            If the server, or that of a redirect or of a further page, may not be contacted.
        """
        try:
            answer = self._client.request(
                call.method,
                call.url,
                json=call.body if call.method == "POST" else None,
                headers=call.headers,
                limits=LIMITS,
            )
        except NoAnswerError as error:
            msg = f"{error}; check the network"
            raise UnusableAnswerError(msg) from error
        except TooLargeError as error:
            raise UnusableAnswerError(str(error), too_large=True) from error
        self._count(answer)
        self._check_status(answer)
        return self._document(answer)

    def wait(self, failures: int, error: UnusableAnswerError) -> None:
        """Wait before the next attempt.

        Parameters
        ----------
        failures : int
            Number of retries of the same request so far.
        error : UnusableAnswerError
            Reason for the next one.

        Raises
        ------
        TryAgainError
            If ``failures`` has reached `RETRIES`.
        """
        if failures >= RETRIES:
            msg = f"{self.label}: {error}; try again later ({failures + 1} attempts failed)"
            raise TryAgainError(msg) from error
        # Jitter: a random share of the delay, so that clients that failed together spread out.
        share = random.uniform(0.5, 1)  # noqa: S311 -- a wait, not a secret
        wait_s = min(max(self._backoff_s * 2**failures * share, error.wait_s), MAX_WAIT_S)
        logger.info("request_retried", extra={"reason": str(error), "wait_s": round(wait_s, 2)})
        self._sleep(wait_s)

    def _count(self, answer: Answer) -> None:
        """Count the bytes of a search; raise CatalogError if they are too many."""
        self._received += len(answer.content)
        if self._received > MAX_SEARCH_BYTES:
            msg = (
                f"{self.label}: sent over {MAX_SEARCH_BYTES / 2**20:g} MiB for one search; make "
                "the area or the period smaller"
            )
            raise CatalogError(msg)

    def _check_status(self, answer: Answer) -> None:
        """Raise UnusableAnswerError for a temporary failure, CatalogError for a refusal."""
        status = answer.status
        passes = status >= 500 and status not in LASTING_STATUSES
        if status in RETRY_STATUSES or passes:
            raise UnusableAnswerError(
                f"HTTP status {status}",
                too_large=passes or status == 413,
                wait_s=_retry_after_s(answer.headers.get("Retry-After", "")),
            )
        if not answer.ok:
            text = answer.content[:MAX_SHOWN_BYTES].decode(errors="replace")
            msg = f"{self.label}: HTTP status {status}: {_first_line(text)}"
            raise CatalogError(msg)

    def _document(self, answer: Answer) -> dict[str, Any]:
        """Parse the JSON object of an answer."""
        if "html" in answer.headers.get("Content-Type", ""):
            msg = f"{self.label}: not a STAC API (sent a web page); check the URL"
            raise CatalogError(msg)
        try:
            document = parsed_json(answer.content)
        except JsonError as error:
            msg = f"the answer is {_first_line(error)}"
            raise UnusableAnswerError(msg) from error
        if not isinstance(document, dict):
            msg = (
                f"{self.label}: not a STAC API (sent a JSON {type(document).__name__}); "
                "check the URL"
            )
            raise CatalogError(msg)
        return document


def _retry_after_s(value: str) -> float:
    """Delay that a ``Retry-After`` header asks for (a number or a date), seconds; 0 without one."""
    if RETRY_SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _first_line(error: object) -> str:
    """First line of an error or of the text of an answer, shortened to 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
