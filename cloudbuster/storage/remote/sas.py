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

from cloudbuster.core.texts.json_text import parsed_json
from cloudbuster.errors import AccessError, TryAgainError
from cloudbuster.redaction import keep_secret
from cloudbuster.storage.addresses.trust import PROGRAM
from cloudbuster.storage.remote.answers import Answer, NoAnswerError
from cloudbuster.storage.remote.http import BUSY_STATUSES, Limits, Retries, http_client

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
# A token has a few hundred bytes.
MAX_ANSWER_BYTES = 64 * 1024
# Names of containers (Azure, "Naming and referencing containers"); they become a part of a URL.
_CONTAINER = re.compile(r"[a-z0-9$][a-z0-9-]{0,62}")


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
        account, container = parts.netloc.partition(".")[0], _container(href)
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
        try:
            answer = http_client(PROGRAM).request(
                "GET",
                url,
                headers=headers,
                limits=Limits(MAX_ANSWER_BYTES),
                retries=Retries(RETRIES, self._backoff_s),
            )
        except NoAnswerError as error:
            msg = f"{url}: {error}; got no signature, try again"
            raise TryAgainError(msg) from error
        if answer.status in BUSY_STATUSES:
            msg = f"{url}: HTTP status {answer.status}; got no signature, try again"
            raise TryAgainError(msg)
        if not answer.ok:
            msg = (
                f"{url}: refused a signature (HTTP status {answer.status}); check "
                f"{SUBSCRIPTION_VARIABLE}, which is optional"
            )
            raise AccessError(msg)
        return _parsed(url, answer, self._now())


def _parsed(url: str, answer: Answer, now_s: float) -> SasToken:
    try:
        document = parsed_json(answer.content)
        expires_s = datetime.fromisoformat(document["msft:expiry"]).timestamp()
        # A token may have little time left when it is issued; then half of that time is used.
        renew_s = max(expires_s - RENEW_BEFORE_S, (now_s + expires_s) / 2)
        token = str(document["token"])
        keep_secret(token)
        return SasToken(token, renew_s)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        msg = f"{url}: sent no token ({type(error).__name__}); try again"
        raise TryAgainError(msg) from error


@cache
def _shared(url: str, key: str | None) -> SasTokens:
    return SasTokens(url, subscription_key=key)


def sas_tokens() -> SasTokens:
    """Tokens of this process, from the service that the environment names."""
    url = os.environ.get(TOKEN_URL_VARIABLE) or TOKEN_URL
    return _shared(url, os.environ.get(SUBSCRIPTION_VARIABLE) or None)


def signed(href: str) -> str:
    """Address with a signature if its host is in `SIGNED_HOSTS` and it has none; else unchanged."""
    parts = urlsplit(href)
    if parts.netloc not in SIGNED_HOSTS or SIGNED_QUERY.search(parts.query):
        return href
    return sas_tokens().sign(href) if _CONTAINER.fullmatch(_container(href)) else href


def _container(href: str) -> str:
    """Name of the container of a blob."""
    return urlsplit(href).path.lstrip("/").partition("/")[0]
