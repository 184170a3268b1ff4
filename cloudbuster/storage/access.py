"""How a file is opened, wherever it lies: its path for GDAL, and the settings its place asks for.

The settings (region, signature, requester pays, endpoint) hold for one file, around its opening and
each of its reads: a scene may mix buckets. Every setting that any place needs is set for each file
of a bucket, so that what another file in another thread has set decides nothing here.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio.env import setenv
from rasterio.session import DummySession

from cloudbuster.errors import (
    AccessError,
    CloudBusterError,
    CredentialsError,
    MissingExtraError,
    RasterError,
    TryAgainError,
)
from cloudbuster.storage.s3 import split
from cloudbuster.storage.sas import SIGNED_HOSTS, SIGNED_QUERY, sas_tokens
from cloudbuster.storage.uri import read_bytes, scheme_of

CDSE_KEY_VARIABLES = ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY")
"""Environment variables of the keys of the Copernicus Data Space."""
CDSE_ENDPOINT_VARIABLE = "CDSE_S3_ENDPOINT"
CDSE_ENDPOINT = "https://eodata.dataspace.copernicus.eu"
# Endpoint of S3 as boto3 reads it; GDAL itself reads only AWS_S3_ENDPOINT.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# Where the chain of GDAL and of boto3 finds credentials, beside the role of an EC2 host.
CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
# GDAL's own defaults (its /vsis3/ documentation).
GDAL_ENDPOINT = "s3.amazonaws.com"
# https://BUCKET.s3.REGION.amazonaws.com/KEY and https://s3.REGION.amazonaws.com/BUCKET/KEY.
_S3_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com")
_SECRET = re.compile(r"(?i)([?&](?:sig|X-Amz-Signature|X-Amz-Security-Token)=)[^&\s'\"]+")
# S3 answers 400 for expired tokens, Azure 409 for public access to a private account.
REFUSALS = frozenset({400, 401, 403, 407, 409})
MISSING = frozenset({404, 410})


@dataclass(frozen=True)
class Bucket:
    """What is known of a bucket.

    Attributes
    ----------
    region : str or None
        Where it lies; None leaves it to GDAL.
    requester_pays : bool
        Whether it answers only to who agrees to pay for requests and transfer.
    public : bool
        Whether it answers requests without a signature.
    endpoint : str or None
        URL of its store; None for AWS.
    endpoint_variable : str or None
        Environment variable that overrides ``endpoint``.
    key_variables : tuple of (str, str)
        Environment variables of the access key and of the secret key.
    """

    region: str | None = None
    requester_pays: bool = False
    public: bool = False
    endpoint: str | None = None
    endpoint_variable: str | None = None
    key_variables: tuple[str, str] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


BUCKETS: dict[str, Bucket] = {
    "sentinel-s2-l1c": Bucket("eu-central-1", requester_pays=True),
    # No longer requester pays (awslabs/open-data-registry 762749f7), so nobody agrees to pay here.
    "sentinel-s2-l2a": Bucket("eu-central-1", public=True),
    "sentinel-cogs": Bucket("us-west-2", public=True),
    "e84-earth-search-sentinel-data": Bucket("us-west-2", public=True),
    "eodata": Bucket(
        "default",
        endpoint=CDSE_ENDPOINT,
        endpoint_variable=CDSE_ENDPOINT_VARIABLE,
        key_variables=CDSE_KEY_VARIABLES,
    ),
}
UNKNOWN_BUCKET = Bucket()


@dataclass(frozen=True)
class Access:
    """How GDAL opens one file.

    Attributes
    ----------
    href : str
        What was asked for; this is what messages show.
    path : str
        What GDAL opens; may hold a signature.
    options : mapping of str to str
        Configuration options around its opening and its reads; may hold keys.
    bucket : str or None
        Name of its bucket, where it lies in one.
    """

    href: str
    path: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    bucket: str | None = None

    @contextmanager
    def settings(self, **more: str) -> Iterator[None]:
        """Let the options hold in the body, and only there."""
        if not self.options and not more:
            yield
            return
        # Given a session, rasterio looks for no credentials of its own: GDAL's chain renews those
        # of a role while a file is open, and boto3's would stay as they were when it was opened.
        with rasterio.Env(session=DummySession()):
            setenv(**self.options, **more)
            yield


def access_of(href: str) -> Access:
    """Tell how an href is opened, as of now: signatures and keys are those of this moment.

    Parameters
    ----------
    href : str
        Path, ``file://``, ``http(s)://``, ``s3://``, or anything that GDAL reads.

    Returns
    -------
    Access
        A bucket of `BUCKETS` as it asks for; hosts of `SIGNED_HOSTS` signed; others untouched.

    Raises
    ------
    CredentialsError
        Where the keys that a store asks for are not in the environment.
    AccessError, TryAgainError
        Where a signature is refused, or its service could not be reached.
    """
    located = bucket_of(href)
    if located is not None:
        name, key = located
        return Access(href, f"/vsis3/{name}/{key}", _s3_options(name), name)
    if scheme_of(href) not in ("http", "https"):
        return Access(href, href)
    parts = urlsplit(href)
    signed = parts.netloc in SIGNED_HOSTS and not SIGNED_QUERY.search(parts.query)
    # The prefix keeps rasterio from making a boto3 session for each host of amazonaws.com.
    return Access(href, f"/vsicurl/{sas_tokens().sign(href) if signed else href}")


def bucket_of(href: str) -> tuple[str, str] | None:
    """Bucket and key of an href that is read as S3; None for others.

    HTTPS addresses of a requester-pays bucket are read as S3 too: without a signature they are
    always refused.
    """
    parts = urlsplit(href)
    if scheme_of(href) == "s3":
        return split(href)
    match = _S3_HOST.fullmatch(parts.netloc) if scheme_of(href) == "https" else None
    if match is None:
        return None
    path = parts.path.lstrip("/")
    name, key = (match["bucket"], path) if match["bucket"] else path.partition("/")[::2]
    return (name, key) if BUCKETS.get(name, UNKNOWN_BUCKET).requester_pays else None


def has_aws_credentials() -> bool:
    """Whether credentials of AWS are in sight: environment, shared file, container, web identity.

    The role of an EC2 host is not looked for: that takes a request, and GDAL makes it.
    """
    shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    return (
        any(os.environ.get(name) for name in CREDENTIAL_VARIABLES)
        or Path(shared).expanduser().is_file()
    )


def _s3_options(name: str) -> dict[str, str]:
    """All settings of GDAL's S3 that a bucket needs, those that it does not need made neutral."""
    bucket = BUCKETS.get(name, UNKNOWN_BUCKET)
    environment = os.environ
    unsigned = bucket.public and not has_aws_credentials()
    options = {
        "AWS_NO_SIGN_REQUEST": "YES" if unsigned else environment.get("AWS_NO_SIGN_REQUEST", "NO"),
        **_endpoint_options(bucket),
        **_key_options(name, bucket),
    }
    # A bucket that nobody knows here keeps what the user has set for GDAL.
    known = name in BUCKETS
    payer = "" if known else environment.get("AWS_REQUEST_PAYER", "")
    options["AWS_REQUEST_PAYER"] = "requester" if bucket.requester_pays else payer
    if bucket.requester_pays:
        options["AWS_NO_SIGN_REQUEST"] = "NO"  # who pays must be known
    if bucket.region is not None:
        options["AWS_REGION"] = bucket.region
    return options


def _endpoint_options(bucket: Bucket) -> dict[str, str]:
    """Host, scheme and addressing: a store other than AWS is addressed by path."""
    environment = os.environ
    if bucket.endpoint is not None:
        url: str | None = environment.get(bucket.endpoint_variable or "") or bucket.endpoint
    else:
        url = next((environment[key] for key in ENDPOINT_VARIABLES if environment.get(key)), None)
    if url is None:
        return {
            "AWS_S3_ENDPOINT": environment.get("AWS_S3_ENDPOINT", GDAL_ENDPOINT),
            "AWS_HTTPS": environment.get("AWS_HTTPS", "YES"),
            "AWS_VIRTUAL_HOSTING": environment.get("AWS_VIRTUAL_HOSTING", "TRUE"),
        }
    scheme, _, host = url.rpartition("://")
    return {
        "AWS_S3_ENDPOINT": host.rstrip("/"),
        "AWS_HTTPS": "NO" if scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


def _key_options(name: str, bucket: Bucket) -> dict[str, str]:
    """Keys from the environment; empty ones let GDAL look further along its chain."""
    access, secret = (os.environ.get(variable, "") for variable in bucket.key_variables)
    own_store = bucket.endpoint is not None
    if own_store and not (access and secret):
        raise CredentialsError(missing_keys_message(f"s3://{name}", bucket.key_variables))
    return {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": "" if own_store else os.environ.get("AWS_SESSION_TOKEN", ""),
    }


def missing_keys_message(what: str, variables: tuple[str, ...]) -> str:
    """Say which environment variables are missing."""
    missing = [variable for variable in variables if not os.environ.get(variable)]
    return f"{what} needs {' and '.join(missing)} in the environment; set them and try again"


def read_file(href: str) -> bytes:
    """Read a whole small file that is no raster, as `access_of` would open it.

    Parameters
    ----------
    href : str
        Path or URI; those of S3 need boto3.

    Raises
    ------
    BadInputError
        Where it does not exist; its subclass AccessError where it may not be read.
    MissingExtraError
        Where it lies in S3 and boto3 is not installed.
    TryAgainError
        Where its place fails in a way that may pass.
    """
    located = bucket_of(href)
    if located is None:
        return read_bytes(href)
    return _s3_object(href, *located)


def _s3_object(href: str, name: str, key: str) -> bytes:
    """Read an object as GDAL would read it: by the settings of its bucket."""
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        msg = f"{href} needs boto3: pip install 'cloudbuster[aws]'"
        raise MissingExtraError(msg) from error
    bucket = BUCKETS.get(name, UNKNOWN_BUCKET)
    options = _s3_options(name)
    unsigned = options["AWS_NO_SIGN_REQUEST"] == "YES"
    host = options["AWS_S3_ENDPOINT"]
    scheme = "https" if options["AWS_HTTPS"] == "YES" else "http"
    # A session of its own: the shared one keeps the credentials that it found first.
    client = boto3.Session().client(
        "s3",
        region_name=bucket.region,
        endpoint_url=None if host == GDAL_ENDPOINT else f"{scheme}://{host}",
        aws_access_key_id=options["AWS_ACCESS_KEY_ID"] or None,
        aws_secret_access_key=options["AWS_SECRET_ACCESS_KEY"] or None,
        aws_session_token=options["AWS_SESSION_TOKEN"] or None,
        config=Config(
            signature_version=UNSIGNED if unsigned else None,
            s3={"addressing_style": "auto" if host == GDAL_ENDPOINT else "path"},
        ),
    )
    payer = {"RequestPayer": "requester"} if options["AWS_REQUEST_PAYER"] else {}
    access = Access(href, href, options, name)
    try:
        content: bytes = client.get_object(Bucket=name, Key=key, **payer)["Body"].read()
    except ClientError as error:
        raise _client_error(access, error.response) from error
    except BotoCoreError as error:
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            raise AccessError(refusal(access, None, str(error))) from error
        msg = f"{href}: {type(error).__name__}; try again"
        raise TryAgainError(msg) from error
    return content


def _client_error(access: Access, response: Mapping[str, Any]) -> CloudBusterError:
    """Tell apart what S3 answered instead of an object."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    reason = str(response.get("Error", {}).get("Message") or response.get("Error", {}).get("Code"))
    if status in REFUSALS:
        return AccessError(refusal(access, status, reason))
    if status in MISSING:
        return RasterError(f"{access.href}: there is no such file ({reason}); drop the scene")
    return TryAgainError(f"{access.href}: HTTP status {status}, {reason}; try again")


def refusal(access: Access, status: int | None, reason: str) -> str:
    """Say who refused to give a file, and which permission to ask for.

    Parameters
    ----------
    access : Access
        How it was asked for.
    status : int or None
        HTTP status; None where it was not even asked, for want of credentials.
    reason : str
        What was answered.

    Returns
    -------
    str
        Message of an AccessError.
    """
    told = f"HTTP status {status}, {reason}" if status else "no credentials"
    if access.bucket is None:
        return f"{access.href}: refused ({told}); check the address and who may read it"
    bucket = BUCKETS.get(access.bucket, UNKNOWN_BUCKET)
    text = f"{access.href}: bucket {access.bucket} refused ({told})"
    if bucket.endpoint is not None:
        return f"{text}; check {' and '.join(bucket.key_variables)}, and the quota of the account"
    if bucket.requester_pays:
        return (
            f"{text}; it is requester pays: use credentials of AWS that are allowed s3:GetObject "
            f"on arn:aws:s3:::{access.bucket}/*; their account pays for requests and transfer"
        )
    if bucket.public and access.options.get("AWS_NO_SIGN_REQUEST") != "YES":
        return (
            f"{text}; it is public: allow s3:GetObject on arn:aws:s3:::{access.bucket}/*, or set "
            "AWS_NO_SIGN_REQUEST=YES to read it without credentials"
        )
    return (
        f"{text}; use credentials of AWS that are allowed s3:GetObject on "
        f"arn:aws:s3:::{access.bucket}/*, with AWS_REQUEST_PAYER=requester where it is requester "
        "pays; S3 also refuses a key that does not exist, unless s3:ListBucket is allowed"
    )


def reason_of(access: Access, error: Exception) -> str:
    """First line of what GDAL said, with the href for the path and without signatures."""
    text = str(error).replace(access.path, access.href)
    lines = _SECRET.sub(r"\1***", text).strip().splitlines()
    # The message that this goes into names the file itself.
    return lines[0].removeprefix(f"{access.href}: ")[:200] if lines else type(error).__name__
