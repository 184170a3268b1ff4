"""RasterFoundry, the catalog of the original: a refresh token, a shape, and pages of scenes.

Written after the API's published specification (raster-foundry-api-spec 1.18.0) and its source of
2022; the service could not be reached when this was built.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from cloudbuster.catalogs.search import Found, Period, SceneSearch, sift
from cloudbuster.core.aoi import geometry_document
from cloudbuster.errors import (
    CatalogError,
    CredentialsError,
    RequestError,
    TryAgainError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import Dropped, Item
from cloudbuster.original.documents import item_of_record
from cloudbuster.storage.boto import make_aws_client, translate_boto_errors
from cloudbuster.storage.uri import HTTP_TIMEOUT_S

logger = logging.getLogger(__name__)

URL = "https://app.rasterfoundry.com/api"
URL_VARIABLE = "CLOUDBUSTER_RF_URL"
TOKEN_VARIABLE = "CLOUDBUSTER_RF_REFRESH_TOKEN"  # noqa: S105 -- a variable's name
SECRET_PREFIX = "secretsmanager:"  # noqa: S105 -- a prefix of a secret's name
# Member of a secret that is a JSON object; a secret that is no object is the token itself.
SECRET_MEMBER = "refresh_token"  # noqa: S105 -- a member's name
# Sentinel-2 among RasterFoundry's sources of data (its application.conf).
SENTINEL_2_DATASOURCE = "4a50cb75-815d-4fe5-8bc1-144729ce5b42"
PAGE_SIZE = 100
RETRIES = 5
RETRY_BACKOFF_S = 1.0
# The service answers slow queries with 503 and 504.
RETRY_STATUSES = (429, 500, 502, 503, 504)
UNPROVEN = (
    "rasterfoundry could not be reached when this was built; its client follows the published "
    "specification and was tested against that alone"
)


def refresh_token_of(given: str | None) -> SecretStr:
    """Find the refresh token: the one given, else the environment's; fetched where it is a secret.

    Parameters
    ----------
    given : str or None
        The token, or ``secretsmanager:NAME`` of a secret of AWS that holds it.

    Returns
    -------
    SecretStr
        Shows itself to nobody who prints or logs it.

    Raises
    ------
    CredentialsError
        If there is none, or no credentials of AWS to read the secret with.
    NotFoundError, AccessError
        If the secret does not exist, or may not be read.
    MissingExtraError
        If it is a secret and boto3 is not installed.
    TryAgainError
        If AWS is out of reach.
    """
    token = (given or os.environ.get(TOKEN_VARIABLE) or "").strip()
    if not token:
        msg = (
            f"rasterfoundry needs a refresh token: give --refresh-token, or set {TOKEN_VARIABLE} "
            f"(the token, or {SECRET_PREFIX}NAME)"
        )
        raise CredentialsError(msg)
    if token.startswith(SECRET_PREFIX):
        token = _secret(token.removeprefix(SECRET_PREFIX))
    return SecretStr(token)


def _secret(name: str) -> str:
    """Read a secret of AWS: the token itself, or a JSON object that holds it."""
    client = make_aws_client("secretsmanager", own_session=True)
    with translate_boto_errors(
        f"read secret {name}",
        hint="check its name and the region",
        permission="secretsmanager:GetSecretValue",
    ):
        answer = client.get_secret_value(SecretId=name)
    text = str(answer.get("SecretString") or "").strip()
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    token = str(document.get(SECRET_MEMBER) or "") if isinstance(document, dict) else text
    if not token:
        msg = f"secret {name} holds no token: make it the token, or JSON with {SECRET_MEMBER}"
        raise CredentialsError(msg)
    return token


@dataclass(frozen=True)
class RasterFoundryCatalog:
    """RasterFoundry, by the refresh token of one of its users.

    Attributes
    ----------
    refresh_token : SecretStr
        Exchanged for an id token when a search begins, and again when that has run out.
    url : str
        Of its API.
    backoff_s : float
        Pause before the second retry, doubled with each further one.
    """

    refresh_token: SecretStr
    url: str = field(default_factory=lambda: os.environ.get(URL_VARIABLE) or URL)
    backoff_s: float = RETRY_BACKOFF_S

    @property
    def name(self) -> str:
        """What was given to open it."""
        return "rasterfoundry"

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the scenes that ``search`` wants, as STAC items.

        Parameters
        ----------
        search : SceneSearch
            What is wanted; the level decides which bucket's files an item lists.
        on_event : callable or None
            Told after each page.

        Returns
        -------
        Found
            Each scene once; ``held`` is the number that the service sent.

        Raises
        ------
        CredentialsError
            Where the token is refused.
        CatalogError
            Where the service refuses the search, or answers in another form.
        TryAgainError
            Where it fails, throttles, or repeats a page.
        """
        logger.warning("catalog_unproven", extra={"catalog": self.name, "note": UNPROVEN})
        items: dict[str, Item] = {}
        unreadable: list[Dropped] = []
        with _Connection(self) as connection:
            shape = connection.shape(search)
            for period in search.periods:
                for record in _records(connection, search, period, shape):
                    try:
                        item = item_of_record(_completed(record), kind=search.kind)
                    except RequestError as error:
                        unreadable.append(Dropped(item_id=_name(record), reason=str(error)))
                        continue
                    items.setdefault(item["id"], item)
                    emit(on_event, Event("query", len(items), 0, "scenes received"))
        kept, removed = sift(items.values(), search)
        logger.info("catalog_searched", extra={"catalog": self.url, "item_count": len(items)})
        return Found(tuple(kept), len(items), removed, tuple(unreadable))


@dataclass(frozen=True)
class _Bearer(AuthBase):
    """Signs a request; given as ``auth``, so that no .netrc puts other credentials in its place."""

    token: SecretStr

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to ``request``."""
        request.headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        return request


class _Connection:
    """Requests to the service: signed with an id token, repeated where that may help."""

    def __init__(self, catalog: RasterFoundryCatalog) -> None:
        self._refresh_token = catalog.refresh_token
        self._url = catalog.url.rstrip("/")
        self.label = f"catalog {catalog.name} ({urlsplit(catalog.url).netloc.rpartition('@')[2]})"
        self._id_token: SecretStr | None = None
        retry = Retry(
            total=RETRIES,
            backoff_factor=catalog.backoff_s,
            status_forcelist=RETRY_STATUSES,
            allowed_methods=None,  # a shape made twice does no harm
            raise_on_status=False,
            respect_retry_after_header=False,  # it may ask for hours
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def shape(self, search: SceneSearch) -> str:
        """Leave the area with the service; its id there."""
        feature = {
            "type": "Feature",
            "geometry": geometry_document(search.aoi),
            "properties": {"name": "cloudbuster"},
        }
        document = {"type": "FeatureCollection", "features": [feature]}
        answer = self.call("POST", "/shapes/", json=document)
        try:
            return str(answer[0]["id"])
        except (LookupError, TypeError) as error:
            msg = f"{self.label}: gave no shape for the area; the service may have changed"
            raise CatalogError(msg) from error

    def call(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 -- JSON
        """Ask with the id token; once more with a new one where that has run out."""
        fresh = self._id_token is None
        response = self._signed(method, path, content)
        if response.status_code == 401 and not fresh:
            self._id_token = None
            response = self._signed(method, path, content)
        return self._document(response, path)

    def _signed(self, method: str, path: str, content: dict[str, Any]) -> requests.Response:
        if self._id_token is None:
            self._id_token = self._exchanged()
        return self._sent(method, path, {**content, "auth": _Bearer(self._id_token)})

    def _exchanged(self) -> SecretStr:
        """Exchange the refresh token for an id token."""
        body = {"refresh_token": self._refresh_token.get_secret_value()}
        response = self._sent("POST", "/tokens/", {"json": body})
        if response.status_code in (400, 401, 403):
            msg = (
                f"{self.label}: refused the refresh token (HTTP status {response.status_code}); "
                f"make a new one, give it as --refresh-token or in {TOKEN_VARIABLE}"
            )
            raise CredentialsError(msg)
        document = self._document(response, "/tokens/")
        token = document.get("id_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            msg = f"{self.label}: gave no id_token for the refresh token"
            raise CatalogError(msg)
        return SecretStr(token)

    def _sent(self, method: str, path: str, content: dict[str, Any]) -> requests.Response:
        try:
            return self._session.request(
                method, f"{self._url}{path}", timeout=HTTP_TIMEOUT_S, **content
            )
        except (
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidURL,
        ) as error:
            msg = f"{self.label}: {URL_VARIABLE} is no URL; give it as {URL}"
            raise CatalogError(msg) from error
        except requests.RequestException as error:
            msg = f"{self.label}: {path}: {type(error).__name__}; check the network, try again"
            raise TryAgainError(msg) from error

    def _document(self, response: requests.Response, path: str) -> Any:  # noqa: ANN401 -- JSON
        """Read an answer; what its status means else."""
        # The body of a refusal is not shown: a service may repeat what it was sent.
        status = response.status_code
        if status in RETRY_STATUSES or status > 500:
            msg = f"{self.label}: {path}: HTTP status {status}; try again later"
            raise TryAgainError(msg)
        if status in (401, 403):
            msg = f"{self.label}: {path}: HTTP status {status}; the token's user may not do this"
            raise CredentialsError(msg)
        if not response.ok:
            msg = f"{self.label}: {path}: HTTP status {status}; the service may have changed"
            raise CatalogError(msg)
        try:
            return response.json()
        except ValueError as error:
            msg = f"{self.label}: {path}: sent no JSON; try again"
            raise TryAgainError(msg) from error


def _records(
    connection: _Connection, search: SceneSearch, period: Period, shape: str
) -> Iterator[Any]:
    """Yield the records of every page."""
    first, last = period
    wanted = {
        "datasource": SENTINEL_2_DATASOURCE,
        "shape": shape,
        "minCloudCover": search.minclouds,
        "maxCloudCover": search.maxclouds,
        "minAcquisitionDatetime": f"{first}T00:00:00Z",
        # The end is the next midnight; what lies beyond the day is sifted out.
        "maxAcquisitionDatetime": f"{last + timedelta(days=1)}T00:00:00Z",
        "sort": "acquisitionDatetime,desc",
        "pageSize": PAGE_SIZE,
    }
    seen: set[str] = set()
    page = 0
    while True:
        document = connection.call("GET", "/scenes/", params={**wanted, "page": page})
        records = document.get("results") if isinstance(document, dict) else None
        if not isinstance(records, list):
            msg = f"{connection.label}: sent a page without results; the service may have changed"
            raise CatalogError(msg)
        names = {_name(record) for record in records}
        if names and names <= seen:
            msg = f"{connection.label}: sent a page for the second time; try again"
            raise TryAgainError(msg)
        seen |= names
        yield from records
        if not document.get("hasNext"):
            return
        if not records:
            msg = f"{connection.label}: page {page} is empty and not the last; try again"
            raise TryAgainError(msg)
        page += 1


def _name(record: object) -> str:
    known = record if isinstance(record, dict) else {}
    return str(known.get("id") or known.get("name") or "(without id)")


def _completed(record: object) -> object:
    """Fill in what later importers left out of the metadata: it is told elsewhere in the record."""
    if not isinstance(record, dict):
        return record
    metadata, filters = record.get("sceneMetadata"), record.get("filterFields")
    if not isinstance(metadata, dict) or not isinstance(filters, dict):
        return record
    told = {
        "cloudyPixelPercentage": filters.get("cloudCover"),
        "timestamp": filters.get("acquisitionDate"),
    }
    missing = {key: value for key, value in told.items() if metadata.get(key) is None}
    footprint = record.get("dataFootprint") or record.get("tileFootprint")
    return {**record, "sceneMetadata": {**metadata, **missing}, "dataFootprint": footprint}
