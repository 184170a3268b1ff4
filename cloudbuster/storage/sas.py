"""Shared access signatures of the Planetary Computer: one token per container, renewed in time."""

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cloudbuster.errors import AccessError, TryAgainError
from cloudbuster.storage.uri import HTTP_TIMEOUT_S

SIGNED_HOSTS = frozenset({"sentinel2l2a01.blob.core.windows.net"})
"""Hosts of the Planetary Computer that hold Sentinel-2 and answer only to signed requests."""
SIGNED_QUERY = re.compile(r"(?:^|&)sig=")
TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105 -- an address
TOKEN_URL_VARIABLE = "CLOUDBUSTER_PC_TOKEN_URL"  # noqa: S105 -- a variable's name
# The name that the package `planetary-computer` uses; without a key tokens are fewer and shorter.
SUBSCRIPTION_VARIABLE = "PC_SDK_SUBSCRIPTION_KEY"
# A token is renewed this long before it expires, so that a read that begins now can finish: GDAL
# allows a request 120 s and a second try. Tokens last 45 minutes and more (PlanetaryComputer#418).
RENEW_BEFORE_S = 300.0
RETRIES = 5
RETRY_STATUSES = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class SasToken:
    """A token, and the time of its renewal in seconds since 1970."""

    query: str = field(repr=False)
    renew_s: float


class SasTokens:
    """Tokens by storage account and container.

    Parameters
    ----------
    url : str
        URL of the service; account and container are appended.
    subscription_key : str or None
        Optional key of the Planetary Computer.
    backoff_s : float
        Pause before the second retry, doubled with each further one.
    now : callable
        Returns the time in seconds since 1970.
    """

    def __init__(
        self,
        url: str = TOKEN_URL,
        *,
        subscription_key: str | None = None,
        backoff_s: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.rstrip("/")
        self._key = subscription_key
        self._backoff_s = backoff_s
        self._now = now
        self._tokens: dict[tuple[str, str], SasToken] = {}
        self._lock = threading.Lock()

    def sign(self, href: str) -> str:
        """Append the token of its container to an address.

        Raises
        ------
        AccessError
            If the service refuses.
        TryAgainError
            If the service is throttled, broken or out of reach.
        """
        parts = urlsplit(href)
        account, container = parts.netloc.partition(".")[0], parts.path.split("/")[1]
        joint = "&" if parts.query else "?"
        return f"{href}{joint}{self._token(account, container).query}"

    def _token(self, account: str, container: str) -> SasToken:
        with self._lock:
            known = self._tokens.get((account, container))
            if known is None or self._now() > known.renew_s:
                known = self._fetch(account, container)
                self._tokens[account, container] = known
            return known

    def _fetch(self, account: str, container: str) -> SasToken:
        """Ask the service for a token of a container."""
        url = f"{self._url}/{account}/{container}"
        headers = {"Ocp-Apim-Subscription-Key": self._key} if self._key else {}
        retry = Retry(
            total=RETRIES,
            backoff_factor=self._backoff_s,
            status_forcelist=RETRY_STATUSES,
            raise_on_status=False,
            respect_retry_after_header=False,  # The header may ask for hours.
        )
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            session.mount("https://", HTTPAdapter(max_retries=retry))
            try:
                response = session.get(url, headers=headers, timeout=HTTP_TIMEOUT_S)
            except requests.RequestException as error:
                msg = f"{url}: {type(error).__name__}; got no signature, try again"
                raise TryAgainError(msg) from error
        if response.status_code in RETRY_STATUSES:
            msg = f"{url}: HTTP status {response.status_code}; got no signature, try again"
            raise TryAgainError(msg)
        if not response.ok:
            msg = (
                f"{url}: refused a signature (HTTP status {response.status_code}); check "
                f"{SUBSCRIPTION_VARIABLE}, which is optional"
            )
            raise AccessError(msg)
        return _parsed(url, response, self._now())


def _parsed(url: str, response: requests.Response, now_s: float) -> SasToken:
    try:
        document = response.json()
        expires_s = datetime.fromisoformat(document["msft:expiry"]).timestamp()
        # A token may have little time left when it is issued; then half of that time is used.
        renew_s = max(expires_s - RENEW_BEFORE_S, (now_s + expires_s) / 2)
        return SasToken(str(document["token"]), renew_s)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{url}: sent no token ({type(error).__name__}); try again"
        raise TryAgainError(msg) from error


@cache
def _shared(url: str, key: str | None) -> SasTokens:
    return SasTokens(url, subscription_key=key)


def sas_tokens() -> SasTokens:
    """Tokens of this process, from the service that the environment names."""
    url = os.environ.get(TOKEN_URL_VARIABLE) or TOKEN_URL
    return _shared(url, os.environ.get(SUBSCRIPTION_VARIABLE) or None)
