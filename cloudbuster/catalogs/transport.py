"""Requests to a STAC API: what fails in a way that may pass is tried again, so many times.

An answer counts when it is whole: a status of success, a JSON object, and whatever else the caller
expects of it. Nothing is left to urllib3, which waits as long as a server's ``Retry-After`` asks.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
import requests
from pystac_client.stac_api_io import StacApiIO

from cloudbuster.errors import CatalogError, TryAgainError
from cloudbuster.storage.uri import HTTP_TIMEOUT_S

logger = logging.getLogger(__name__)

# Five retries with about 1, 2, 4, 8 and 16 seconds between them: half a minute of trouble passes.
RETRIES = 5
RETRY_BACKOFF_S = 1.0
# Longest wait between two attempts, whatever the server asks for: a `Retry-After` of hours is an
# outage, which the caller should hear of.
MAX_WAIT_S = 60.0
# 408 and 425 ask for another attempt; 413 is how load balancers call an answer over their limit.
RETRY_STATUSES = (408, 413, 425, 429)
# A page that a server cannot make, which a smaller one may mend; 501 and 505 never pass.
LASTING_STATUSES = (501, 505)


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes
    ----------
    url : str
        Absolute.
    method : str
        ``GET`` or ``POST``.
    body : dict or None
        Sent as JSON with ``POST``.
    headers : dict of str to str
        Sent beside those of the session.
    """

    url: str
    method: str = "GET"
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def with_limit(self, limit: int) -> "Call":
        """Ask for at most ``limit`` items."""
        if self.method == "POST":
            return Call(self.url, self.method, {**(self.body or {}), "limit": limit}, self.headers)
        parts = urlsplit(self.url)
        known = [(key, value) for key, value in parse_qsl(parts.query) if key != "limit"]
        query = urlencode([*known, ("limit", str(limit))])
        return Call(urlunsplit(parts._replace(query=query)), self.method, None, self.headers)

    @property
    def identity(self) -> str:
        """What tells two requests apart, but for the number of items asked for."""
        call = self.with_limit(0)
        return json.dumps([call.url, call.method, call.body], sort_keys=True)


class UnusableAnswerError(Exception):
    """An answer that may be better the next time; the message says what is wrong with it."""

    def __init__(self, message: str, *, too_large: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.too_large = too_large
        self.wait_s = wait_s


class RetryingIO(StacApiIO):
    """Transport of pystac-client, and of the pages of a search.

    Parameters
    ----------
    label : str
        How errors call the catalog.
    backoff_s : float
        Wait before the first retry, seconds; each later one waits twice as long.
    sleep : callable
        Waits so many seconds.
    """

    def __init__(
        self,
        label: str,
        *,
        backoff_s: float = RETRY_BACKOFF_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(timeout=HTTP_TIMEOUT_S, max_retries=None)
        self.label = label
        self._backoff_s = backoff_s
        self._sleep = sleep

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Answer of one request as text, for pystac-client; see `ask`."""
        call = Call(href, (method or "GET").upper(), parameters, headers or {})
        if call.method == "GET" and parameters:
            join = "&" if urlsplit(href).query else "?"
            call = Call(f"{href}{join}{urlencode(parameters)}", "GET", None, call.headers)
        return json.dumps(self.ask(call))

    def ask(self, call: Call) -> dict[str, Any]:
        """Answer of one request, tried again where it fails in a way that may pass.

        Raises
        ------
        CatalogError
            Where the server refuses it, or is none of JSON.
        TryAgainError
            Where it still fails after `RETRIES` retries.
        """
        failures = 0
        while True:
            try:
                return self.once(call)
            except UnusableAnswerError as error:
                self.wait(failures, error)
                failures += 1

    def once(self, call: Call) -> dict[str, Any]:
        """Answer of one request that is made once.

        Raises
        ------
        UnusableAnswerError
            Where it failed in a way that may pass.
        CatalogError
            Where the server refuses it, or is none of JSON.
        """
        try:
            response = self.session.request(
                call.method,
                call.url,
                json=call.body if call.method == "POST" else None,
                headers=call.headers,
                timeout=HTTP_TIMEOUT_S,
            )
        except requests.exceptions.InvalidURL as error:
            msg = f"{self.label}: {error}; check the URL"
            raise CatalogError(msg) from error
        except requests.RequestException as error:
            msg = f"{_first_line(error)}; check the network"
            raise UnusableAnswerError(msg) from error
        self._check_status(response)
        return self._document(response)

    def wait(self, failures: int, error: UnusableAnswerError) -> None:
        """Wait before another attempt.

        Parameters
        ----------
        failures : int
            Retries made before, of the same request.
        error : UnusableAnswerError
            What is wrong this time.

        Raises
        ------
        TryAgainError
            Where ``failures`` are `RETRIES` or more.
        """
        if failures >= RETRIES:
            msg = f"{self.label}: {error}; try again later ({failures + 1} attempts failed)"
            raise TryAgainError(msg) from error
        # Between half and all of it, so that clients that failed together do not return together.
        share = random.uniform(0.5, 1)  # noqa: S311 -- a wait, not a secret
        wait_s = min(max(self._backoff_s * 2**failures * share, error.wait_s), MAX_WAIT_S)
        logger.info("request_retried", extra={"reason": str(error), "wait_s": round(wait_s, 2)})
        self._sleep(wait_s)

    def _check_status(self, response: requests.Response) -> None:
        status = response.status_code
        passes = status >= 500 and status not in LASTING_STATUSES
        if status in RETRY_STATUSES or passes:
            raise UnusableAnswerError(
                f"HTTP status {status}",
                too_large=passes or status == 413,
                wait_s=_retry_after_s(response.headers.get("Retry-After", "")),
            )
        if not response.ok:
            msg = f"{self.label}: HTTP status {status}: {_first_line(response.text)}"
            raise CatalogError(msg)

    def _document(self, response: requests.Response) -> dict[str, Any]:
        if "html" in response.headers.get("Content-Type", ""):
            msg = f"{self.label}: no STAC API (sent a web page); check the URL"
            raise CatalogError(msg)
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            msg = f"sent no JSON ({_first_line(error)})"
            raise UnusableAnswerError(msg) from error
        if not isinstance(document, dict):
            msg = (
                f"{self.label}: no STAC API (sent a JSON {type(document).__name__}); check the URL"
            )
            raise CatalogError(msg)
        return document


def _retry_after_s(value: str) -> float:
    """Seconds that a ``Retry-After`` header asks for, a number or a date; 0 where it has none."""
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _first_line(told: object) -> str:
    """First line of an error, shortened: servers answer with whole pages."""
    lines = str(told).strip().splitlines()
    return lines[0][:200] if lines else type(told).__name__
