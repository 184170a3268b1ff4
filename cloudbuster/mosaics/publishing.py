"""Publish the item of a mosaic in a collection of a STAC API, by its transactions extension.

https://github.com/stac-api-extensions/transaction, version 1.0.0. Publishing the same item again
replaces it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    CredentialsError,
    TooLargeError,
    TryAgainError,
)
from cloudbuster.storage.addresses.trust import Trust
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.files.uri import is_remote, local_path, read_bytes, resolve
from cloudbuster.storage.remote.answers import Answer, NoAnswerError
from cloudbuster.storage.remote.http import HttpClient, Limits, Retries

logger = logging.getLogger(__name__)

TOKEN_VARIABLE = "CLOUDBUSTER_PUBLISH_TOKEN"  # noqa: S105 -- the name of a variable
"""Environment variable with the token that the API expects (``Authorization: Bearer``)."""
RETRIES = Retries(count=4)
MAX_ANSWER_BYTES = 4 * 2**20
MAX_REASON = 300
# Statuses of an API without the extension, or without it for this collection.
NOT_ALLOWED = (405, 501)


@dataclass(frozen=True)
class StacTarget:
    """Where items are published.

    Attributes
    ----------
    api : str
        URL of the STAC API.
    collection : str
        Id of the collection, which exists already.
    trust : Trust
        What the URL may refer to.
    token : str or None
        Token of the API.
    retries : Retries
        Further attempts of each request; by default after 1, 2, 4 and 8 seconds.
    deadline_s : float
        Greatest duration of each attempt, seconds.
    """

    api: str
    collection: str
    trust: Trust
    token: str | None = field(default=None, repr=False)
    retries: Retries = RETRIES
    deadline_s: float = 60.0

    @property
    def collection_url(self) -> str:
        """URL of the collection."""
        return f"{self.api.rstrip('/')}/collections/{quote(self.collection, safe='')}"

    @property
    def items_url(self) -> str:
        """URL of the items of the collection."""
        return f"{self.collection_url}/items"


def publish_item(
    uri: str, target: StacTarget, *, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Publish the item of a mosaic, or replace it if the collection has it.

    Parameters
    ----------
    uri : str
        Path or URI of the item; hrefs in it that are relative become absolute.
    target : StacTarget
        Where to publish it.
    sleep : callable
        Function that waits for a number of seconds.

    Returns
    -------
    str
        URL of the item in the API.

    Raises
    ------
    BadInputError
        If the item cannot be read or the API refuses it.
    CredentialsError, AccessError
        If the API wants a token, or refuses that of the target.
    UntrustedAddressError
        If the server may not be contacted.
    TryAgainError
        If the server is broken or out of reach; the same call later makes no second item.
    """
    item = _absolute_item(parse_json(read_bytes(uri), source=uri), uri)
    item["collection"] = target.collection
    url = f"{target.items_url}/{quote(str(item.get('id')), safe='')}"
    client = HttpClient(target.trust, sleep=sleep)
    try:
        # pgstac answers 500 for an item of a collection that it does not have.
        answer = _ask(client, target, "GET", target.collection_url)
        if answer.status == 404:
            msg = f"{target.collection_url}: there is no such collection; create it first"
            raise BadInputError(msg)
        _check(answer, target)
        answer = _ask(client, target, "GET", url)
        if answer.status == 404:
            # An attempt whose answer was lost may have made the item: 409 says so.
            answer = _ask(client, target, "POST", target.items_url, item)
            if answer.status == 409:
                answer = _ask(client, target, "PUT", url, item)
        elif answer.ok:
            answer = _ask(client, target, "PUT", url, item)
        _check(answer, target)
    finally:
        client.close()
    logger.info("item_published", extra={"item": item.get("id"), "url": url})
    return url


def _absolute_item(item: Any, uri: str) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    """Return an item whose links and assets are absolute, without links to itself.

    Raises BadInputError if it is no item.
    """
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        msg = f"{uri} is no STAC item; merge the scenes again"
        raise BadInputError(msg)
    folder = uri.rpartition("/")[0] if is_remote(uri) else str(local_path(uri).absolute().parent)
    assets = {
        name: {**asset, "href": resolve(str(asset["href"]), folder)}
        for name, asset in item.get("assets", {}).items()
    }
    links = [
        {**link, "href": resolve(str(link["href"]), folder)}
        for link in item.get("links", ())
        # The API makes its own.
        if link.get("rel") not in ("self", "root", "parent", "collection")
    ]
    return {**item, "assets": assets, "links": links}


def _ask(
    client: HttpClient,
    target: StacTarget,
    method: str,
    url: str,
    item: dict[str, Any] | None = None,
) -> Answer:
    """Send a request, again after failures that may pass; raise TryAgainError after the last."""
    headers = {"Accept": "application/json"}
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    content: dict[str, Any] = {"headers": headers, **({} if item is None else {"json": item})}
    try:
        limits = Limits(MAX_ANSWER_BYTES, target.deadline_s)
        answer = client.request(method, url, limits=limits, retries=target.retries, **content)
    except (NoAnswerError, TooLargeError) as error:
        msg = f"cannot publish to {target.items_url}: {error}; try again"
        raise TryAgainError(msg) from error
    if answer.status == 429 or (answer.status >= 500 and answer.status not in NOT_ALLOWED):
        msg = f"cannot publish to {target.items_url}: HTTP status {answer.status}; try again"
        raise TryAgainError(msg)
    if answer.status == 401:
        msg = f"{target.items_url} wants a token: set {TOKEN_VARIABLE}"
        raise CredentialsError(msg)
    if answer.status == 403:
        msg = f"{target.items_url} refuses the token of {TOKEN_VARIABLE}: it may not write items"
        raise AccessError(msg)
    return answer


def _check(answer: Answer, target: StacTarget) -> None:
    """Raise BadInputError for a refusal of the API."""
    if answer.ok:
        return
    reason = " ".join(answer.content[:MAX_REASON].decode("utf-8", "replace").split())
    if answer.status in NOT_ALLOWED:
        msg = (
            f"{target.items_url}: HTTP status {answer.status}; the API takes no items: it needs "
            "the transactions extension"
        )
    else:
        msg = f"{target.items_url}: HTTP status {answer.status}, {reason}"
    raise BadInputError(msg)
