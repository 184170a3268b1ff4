"""RasterFoundry, the catalog of the original: scenes within a shape, with a refresh token.

The client follows the published specification of the API (raster-foundry-api-spec 1.18.0) and its
source of 2022. The service could not be reached to test it.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import requests
from pydantic import SecretStr
from requests.auth import AuthBase

from cloudbuster.catalogs.search import Found, Period, SceneSearch, sift
from cloudbuster.core.areas.aoi import geometry_document
from cloudbuster.core.texts.json_text import JsonError, parsed_json
from cloudbuster.errors import (
    CatalogError,
    CredentialsError,
    RequestError,
    TryAgainError,
    UntrustedAddressError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import Dropped, Item
from cloudbuster.original.documents import item_from_record
from cloudbuster.redaction import keep_secret
from cloudbuster.storage.addresses.trust import PROGRAM, server_of
from cloudbuster.storage.remote.answers import Answer, NoAnswerError
from cloudbuster.storage.remote.boto import make_aws_client, translate_boto_errors
from cloudbuster.storage.remote.http import Limits, Retries, http_client

logger = logging.getLogger(__name__)

URL = "https://app.rasterfoundry.com/api"
URL_VARIABLE = "CLOUDBUSTER_RF_URL"
TOKEN_VARIABLE = "CLOUDBUSTER_RF_REFRESH_TOKEN"  # noqa: S105 -- a variable's name
SECRET_PREFIX = "secretsmanager:"  # noqa: S105 -- a prefix of a secret's name
# Member of a secret that is a JSON object; any other secret is the token itself.
SECRET_MEMBER = "refresh_token"  # noqa: S105 -- a member's name
# Id of the Sentinel-2 data source of RasterFoundry (its application.conf).
SENTINEL_2_DATASOURCE = "4a50cb75-815d-4fe5-8bc1-144729ce5b42"
PAGE_SIZE = 100
# Greatest number of pages of a period: 20 000 scenes.
MAX_PAGES = 200
RETRIES = 5
RETRY_BACKOFF_S = 1.0
# Greatest answer: a page of 100 scenes has 2 MB.
LIMITS = Limits(32 * 2**20, deadline_s=180.0)
# The service sends 503 and 504 for slow queries.
RETRY_STATUSES = (429, 500, 502, 503, 504)
UNPROVEN = (
    "rasterfoundry could not be reached when this was built; its client follows the published "
    "specification and was tested against that alone"
)


def read_refresh_token(given: str | None) -> SecretStr:
    """Read the refresh token from the argument, the environment, or AWS Secrets Manager.

    Parameters
    ----------
    given : str or None
        Token or ``secretsmanager:NAME``; None reads it from the variable `TOKEN_VARIABLE`.

    Returns
    -------
    SecretStr
        The token, hidden from prints and logs.

    Raises
    ------
    CredentialsError
        If there is no token, or there are no credentials of AWS to read the secret with.
    NotFoundError, AccessError
        If the secret does not exist, or may not be read.
    MissingExtraError
        If the token is in a secret and boto3 is not installed.
    TryAgainError
        If AWS cannot be reached.
    """
    token = (given or os.environ.get(TOKEN_VARIABLE) or "").strip()
    if not token:
        raise _without_token()
    if token.startswith(SECRET_PREFIX):
        token = _read_secret(token.removeprefix(SECRET_PREFIX))
    return SecretStr(token)


def _without_token() -> CredentialsError:
    """Make the error for a search without refresh token."""
    return CredentialsError(
        f"rasterfoundry needs a refresh token: give --refresh-token, or set {TOKEN_VARIABLE} "
        f"(the token, or {SECRET_PREFIX}NAME)"
    )


def _read_secret(name: str) -> str:
    """Read the token from a secret of AWS Secrets Manager."""
    client = make_aws_client("secretsmanager", own_session=True)
    with translate_boto_errors(
        f"read secret {name}",
        hint="check its name and the region",
        permission="secretsmanager:GetSecretValue",
    ):
        answer = client.get_secret_value(SecretId=name)
    return _parse_secret(name, str(answer.get("SecretString") or "").strip())


def _parse_secret(name: str, text: str) -> str:
    """Find the token in the text of a secret: the text itself, or a member of a JSON object."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    token = str(document.get(SECRET_MEMBER) or "") if isinstance(document, dict) else text
    if not token:
        msg = (
            f"secret {name} holds no token; it must be the token itself, or a JSON object with "
            f"{SECRET_MEMBER}"
        )
        raise CredentialsError(msg)
    return token


@dataclass(frozen=True)
class RasterFoundryCatalog:
    """RasterFoundry, with the refresh token of one of its users.

    Attributes
    ----------
    refresh_token : SecretStr
        Token that is exchanged for an id token when a search begins, and when that has expired.
    url : str
        URL of the API.
    backoff_s : float
        Delay before the second retry, seconds; it doubles with each retry.
    """

    refresh_token: SecretStr
    url: str = field(default_factory=lambda: os.environ.get(URL_VARIABLE) or URL)
    backoff_s: float = RETRY_BACKOFF_S

    @property
    def name(self) -> str:
        """Name of the catalog."""
        return "rasterfoundry"

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the scenes of a search as STAC items; see `Catalog.search`.

        The items list the files of the public bucket of the level searched. ``held`` is the number
        of scenes that the service sent. There is one event for each scene.
        """
        logger.warning("catalog_unproven", extra={"catalog": self.name, "note": UNPROVEN})
        items: dict[str, Item] = {}
        unreadable: list[Dropped] = []
        connection = _Connection(self)
        shape = connection.create_shape(search)
        for period in search.periods:
            for record in _records(connection, search, period, shape):
                try:
                    item = item_from_record(_completed(record), kind=search.kind)
                except RequestError as error:
                    unreadable.append(Dropped(item_id=_record_id(record), reason=str(error)))
                    continue
                items.setdefault(item["id"], item)
                emit(on_event, Event("query", len(items), 0, "scenes received"))
        kept, removed = sift(items.values(), search)
        logger.info("catalog_searched", extra={"catalog": self.url, "item_count": len(items)})
        return Found(tuple(kept), len(items), removed, tuple(unreadable))


@dataclass(frozen=True)
class _Bearer(AuthBase):
    """Bearer authentication of a request; passed as ``auth``, it takes precedence over .netrc."""

    token: SecretStr

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to the headers of ``request``."""
        request.headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        return request


class _Connection:
    """Authenticated requests to the service, with retries after temporary failures."""

    def __init__(self, catalog: RasterFoundryCatalog) -> None:
        """Keep the settings; the id token is requested with the first call."""
        self._refresh_token = catalog.refresh_token
        self._url = catalog.url.rstrip("/")
        self.label = f"catalog {catalog.name} ({server_of(catalog.url)})"
        self._id_token: SecretStr | None = None
        # POST requests are repeated as well: creating a shape twice does no harm.
        self._retries = Retries(RETRIES, catalog.backoff_s)
        keep_secret(self._refresh_token.get_secret_value())

    def create_shape(self, search: SceneSearch) -> str:
        """Upload the area of a search as a shape, and return the id of the shape."""
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
            msg = f"{self.label}: sent no shape for the area; the service may have changed"
            raise CatalogError(msg) from error

    def call(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 -- JSON
        """Send a request with the id token, renewing an expired one, and return its JSON."""
        fresh = self._id_token is None
        answer = self._send_signed(method, path, content)
        if answer.status == 401 and not fresh:
            self._id_token = None
            answer = self._send_signed(method, path, content)
        return self._document(answer, path)

    def _send_signed(self, method: str, path: str, content: dict[str, Any]) -> Answer:
        """Send a request with the id token; request that token if there is none yet."""
        if self._id_token is None:
            self._id_token = self._request_id_token()
        return self._send(method, path, {**content, "auth": _Bearer(self._id_token)})

    def _request_id_token(self) -> SecretStr:
        """Exchange the refresh token for an id token."""
        body = {"refresh_token": self._refresh_token.get_secret_value()}
        answer = self._send("POST", "/tokens/", {"json": body})
        if answer.status in (400, 401, 403):
            msg = (
                f"{self.label}: refused the refresh token (HTTP status {answer.status}); "
                f"create a new one and pass it as --refresh-token or in {TOKEN_VARIABLE}"
            )
            raise CredentialsError(msg)
        document = self._document(answer, "/tokens/")
        token = document.get("id_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            msg = f"{self.label}: sent no id_token for the refresh token"
            raise CatalogError(msg)
        keep_secret(token)
        return SecretStr(token)

    def _send(self, method: str, path: str, content: dict[str, Any]) -> Answer:
        """Send one request; translate failures of the network and a malformed URL."""
        url = f"{self._url}{path}"
        try:
            return http_client(PROGRAM).request(
                method, url, limits=LIMITS, retries=self._retries, **content
            )
        except UntrustedAddressError as error:
            msg = f"{self.label}: {error}; {URL_VARIABLE} should look like {URL}"
            raise CatalogError(msg) from error
        except NoAnswerError as error:
            msg = f"{self.label}: {path}: {error}; check the network, try again"
            raise TryAgainError(msg) from error

    def _document(self, answer: Answer, path: str) -> Any:  # noqa: ANN401 -- JSON
        """Parse the JSON of an answer; raise the error that its status means."""
        # The body of a refusal is not shown, as it may repeat the token that was sent.
        status = answer.status
        if status in RETRY_STATUSES or status > 500:
            msg = f"{self.label}: {path}: HTTP status {status}; try again later"
            raise TryAgainError(msg)
        if status in (401, 403):
            msg = f"{self.label}: {path}: HTTP status {status}; the token's user may not do this"
            raise CredentialsError(msg)
        if not answer.ok:
            msg = f"{self.label}: {path}: HTTP status {status}; the service may have changed"
            raise CatalogError(msg)
        try:
            return parsed_json(answer.content)
        except JsonError as error:
            msg = f"{self.label}: {path}: the answer is {error}; try again"
            raise TryAgainError(msg) from error


def _records(
    connection: _Connection, search: SceneSearch, period: Period, shape: str
) -> Iterator[Any]:
    """Yield the records of all pages of scenes of a period within a shape."""
    parameters = _scene_parameters(search, period, shape)
    seen: set[str] = set()
    page = 0
    while True:
        document = connection.call("GET", "/scenes/", params={**parameters, "page": page})
        records = document.get("results") if isinstance(document, dict) else None
        if not isinstance(records, list):
            msg = f"{connection.label}: sent a page without results; the service may have changed"
            raise CatalogError(msg)
        ids = {_record_id(record) for record in records}
        if ids and ids <= seen:
            msg = f"{connection.label}: sent a page for the second time; try again"
            raise TryAgainError(msg)
        seen |= ids
        if page >= MAX_PAGES:
            msg = f"{connection.label}: over {MAX_PAGES} pages; make the area or the period smaller"
            raise CatalogError(msg)
        yield from records
        if not document.get("hasNext"):
            return
        if not records:
            msg = f"{connection.label}: page {page} is empty and not the last; try again"
            raise TryAgainError(msg)
        page += 1


def _scene_parameters(search: SceneSearch, period: Period, shape: str) -> dict[str, Any]:
    """Query parameters of the scenes of a period within a shape, without the page number."""
    first, last = period
    return {
        "datasource": SENTINEL_2_DATASOURCE,
        "shape": shape,
        "minCloudCover": search.minclouds,
        "maxCloudCover": search.maxclouds,
        "minAcquisitionDatetime": f"{first}T00:00:00Z",
        # The end is the next midnight; scenes of that day are filtered out later.
        "maxAcquisitionDatetime": f"{last + timedelta(days=1)}T00:00:00Z",
        "sort": "acquisitionDatetime,desc",
        "pageSize": PAGE_SIZE,
    }


def _record_id(record: object) -> str:
    """Id of a record, else its name."""
    fields = record if isinstance(record, dict) else {}
    return str(fields.get("id") or fields.get("name") or "(without id)")


def _completed(record: object) -> object:
    """Copy metadata that later importers left out from other fields of the record."""
    if not isinstance(record, dict):
        return record
    metadata, filters = record.get("sceneMetadata"), record.get("filterFields")
    if not isinstance(metadata, dict) or not isinstance(filters, dict):
        return record
    known = {
        "cloudyPixelPercentage": filters.get("cloudCover"),
        "timestamp": filters.get("acquisitionDate"),
    }
    missing = {key: value for key, value in known.items() if metadata.get(key) is None}
    footprint = record.get("dataFootprint") or record.get("tileFootprint")
    return {**record, "sceneMetadata": {**metadata, **missing}, "dataFootprint": footprint}
