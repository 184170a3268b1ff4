"""Files in buckets as GDAL opens them: their paths, and the settings that each bucket needs.

The settings (region, signature, requester pays, endpoint) hold for one file, around its opening and
each of its reads, because one scene may mix buckets. For a file in a bucket every setting that any
bucket needs is set, so that settings of other files in other threads have no effect on it.
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
from rasterio.env import hasenv, setenv
from rasterio.session import DummySession

from cloudbuster.errors import AccessError, CredentialsError
from cloudbuster.redaction import redacted
from cloudbuster.storage.addresses.archives import zip_member
from cloudbuster.storage.addresses.trust import PROGRAM, Trust, admitted, file_path, scheme_of
from cloudbuster.storage.files.uri import DOCUMENT_BYTES, read_bytes
from cloudbuster.storage.remote.boto import make_aws_client, translate_boto_errors
from cloudbuster.storage.remote.s3 import parse_s3_uri, read_body

CDSE_KEY_VARIABLES = ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY")
"""Environment variables of the keys for the Copernicus Data Space."""
CDSE_ENDPOINT_VARIABLE = "CDSE_S3_ENDPOINT"
CDSE_ENDPOINT = "https://eodata.dataspace.copernicus.eu"
# Endpoint of S3 as boto3 reads it; GDAL itself reads only AWS_S3_ENDPOINT.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# Where GDAL and boto3 look for credentials, apart from the role of an EC2 host.
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


@dataclass(frozen=True)
class Bucket:
    """Known properties of a bucket.

    Attributes
    ----------
    region : str or None
        Region of the bucket; None leaves it to GDAL.
    requester_pays : bool
        Whether it answers only requests whose sender agrees to pay for them and for the transfer.
    public : bool
        Whether it answers requests without a signature.
    endpoint : str or None
        URL of the store; None for AWS.
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
    # No longer requester pays (awslabs/open-data-registry 762749f7), so requests do not offer to
    # pay.
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
        The address as the caller gave it; messages show this one.
    path : str
        The path that GDAL opens.
    options : mapping of str to str
        Configuration options around its opening and its reads; they may contain keys.
    bucket : str or None
        Name of the bucket that holds the file; None for a file elsewhere.
    """

    href: str
    path: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    bucket: str | None = None

    @contextmanager
    def settings(self, **more: str) -> Iterator[None]:
        """Set the options, and ``more`` of them, in the body and only there."""
        if not self.options and not more and hasenv():
            yield
            return
        # With a session, rasterio does not look for credentials. GDAL does that itself and renews
        # those of a role while a file is open; credentials from boto3 would stay as they were.
        with rasterio.Env(session=DummySession()):
            setenv(**self.options, **more)
            yield


def access_of(href: str) -> Access:
    """Find out how GDAL opens a file on this machine or in a bucket; keys are those of this moment.

    Parameters
    ----------
    href : str
        Path, ``file:``, ``s3://``, member of a zip, or HTTPS address of a requester-pays bucket, as
        `cloudbuster.storage.addresses.trust.admitted` returns it.

    Returns
    -------
    Access
        With the settings of its bucket in `BUCKETS`.

    Raises
    ------
    CredentialsError
        If the keys that a store needs are not in the environment.
    """
    located = bucket_of(href)
    if located is not None:
        name, key = located
        return Access(href, f"/vsis3/{name}/{key}", _s3_options(name), name)
    member = zip_member(href)
    return Access(href, str(file_path(href)) if member is None else member.gdal_path)


def bucket_of(href: str) -> tuple[str, str] | None:
    """Bucket and key of an address that is read as S3; None for others.

    HTTPS addresses of a requester-pays bucket are read as S3 too, since they are always refused
    without a signature.
    """
    parts = urlsplit(href)
    if scheme_of(href) == "s3":
        return parse_s3_uri(href)
    match = _S3_HOST.fullmatch(parts.netloc) if scheme_of(href) == "https" else None
    if match is None:
        return None
    path = parts.path.lstrip("/")
    name, key = (match["bucket"], path) if match["bucket"] else path.partition("/")[::2]
    return (name, key) if BUCKETS.get(name, UNKNOWN_BUCKET).requester_pays else None


def has_aws_credentials() -> bool:
    """Whether credentials of AWS are configured: environment, shared file, container, web identity.

    The role of an EC2 host is not looked for, because that takes a request; GDAL makes it.
    """
    shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    return (
        any(os.environ.get(name) for name in CREDENTIAL_VARIABLES)
        or Path(shared).expanduser().is_file()
    )


def _s3_options(name: str) -> dict[str, str]:
    """GDAL's settings for a bucket, with a neutral value for each that the bucket does not need."""
    bucket = BUCKETS.get(name, UNKNOWN_BUCKET)
    environment = os.environ
    unsigned = bucket.public and not has_aws_credentials()
    options = {
        "AWS_NO_SIGN_REQUEST": "YES" if unsigned else environment.get("AWS_NO_SIGN_REQUEST", "NO"),
        **_endpoint_options(bucket),
        **_key_options(name, bucket),
    }
    # For a bucket that is not in the table, the user's own setting of GDAL holds.
    known = name in BUCKETS
    payer = "" if known else environment.get("AWS_REQUEST_PAYER", "")
    options["AWS_REQUEST_PAYER"] = "requester" if bucket.requester_pays else payer
    if bucket.requester_pays:
        options["AWS_NO_SIGN_REQUEST"] = "NO"  # AWS bills the signer.
    if bucket.region is not None:
        options["AWS_REGION"] = bucket.region
    return options


def _endpoint_options(bucket: Bucket) -> dict[str, str]:
    """Host, scheme and addressing of a bucket; stores other than AWS are addressed by path."""
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
    """Keys from the environment; empty ones let GDAL look for credentials elsewhere."""
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
    """Name the environment variables that are not set but needed for ``what``."""
    missing = [variable for variable in variables if not os.environ.get(variable)]
    return f"{what} needs {' and '.join(missing)} in the environment; set them and try again"


def read_file(href: str, *, trust: Trust = PROGRAM, max_bytes: int = DOCUMENT_BYTES) -> bytes:
    """Read a whole small file that is no raster, with the settings of its bucket.

    Parameters
    ----------
    href, trust, max_bytes
        As of `cloudbuster.storage.files.uri.read_bytes`.

    Raises
    ------
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it; names bucket and permission.
    MissingExtraError
        If it lies in S3 and boto3 is not installed.
    CloudBusterError
        As `cloudbuster.storage.files.uri.read_bytes`.
    """
    located = bucket_of(admitted(href, trust))
    if located is None:
        return read_bytes(href, trust=trust, max_bytes=max_bytes)
    return _read_object(href, *located, max_bytes)


def _read_object(href: str, name: str, key: str, max_bytes: int) -> bytes:
    """Read an object of S3 with the settings of its bucket."""
    options = _s3_options(name)
    payer = {"RequestPayer": "requester"} if options["AWS_REQUEST_PAYER"] else {}
    try:
        with translate_boto_errors(f"read {href}", hint="check the address"):
            client = _s3_client(BUCKETS.get(name, UNKNOWN_BUCKET), options)
            answer = client.get_object(Bucket=name, Key=key, **payer)
            content = read_body(answer, href, max_bytes)
    except (AccessError, CredentialsError) as error:
        msg = f"{error}; {_remedy(name, options)}"
        raise type(error)(msg) from error
    return content


def _s3_client(bucket: Bucket, options: Mapping[str, str]) -> Any:  # noqa: ANN401 -- boto3 has no types
    """Make a client that reads as GDAL does with these options."""
    from botocore import UNSIGNED

    host = options["AWS_S3_ENDPOINT"]
    scheme = "https" if options["AWS_HTTPS"] == "YES" else "http"
    return make_aws_client(
        "s3",
        own_session=True,
        region_name=bucket.region,
        endpoint_url=None if host == GDAL_ENDPOINT else f"{scheme}://{host}",
        aws_access_key_id=options["AWS_ACCESS_KEY_ID"] or None,
        aws_secret_access_key=options["AWS_SECRET_ACCESS_KEY"] or None,
        aws_session_token=options["AWS_SESSION_TOKEN"] or None,
        config={
            "signature_version": UNSIGNED if options["AWS_NO_SIGN_REQUEST"] == "YES" else None,
            "s3": {"addressing_style": "auto" if host == GDAL_ENDPOINT else "path"},
        },
    )


def refusal_error(
    access: Access, status: int | None, reason: str
) -> AccessError | CredentialsError:
    """Make the error for a file that GDAL was not allowed to read.

    Parameters
    ----------
    access : Access
        How the file was opened.
    status : int or None
        HTTP status; None if GDAL found no credentials and sent no request.
    reason : str
        The answer.

    Returns
    -------
    CredentialsError or AccessError
        Without a status, and with one; the message names the bucket and the permission.
    """
    answer = f"HTTP status {status}, {reason}" if status else reason
    if access.bucket is None:
        return refused_error(access.href, answer)
    remedy = _remedy(access.bucket, access.options)
    if status is None:
        msg = f"{access.href}: no credentials for bucket {access.bucket}; {remedy}"
        return CredentialsError(msg)
    return AccessError(f"{access.href}: bucket {access.bucket} refused ({answer}); {remedy}")


def refused_error(href: str, answer: str) -> AccessError:
    """Make the error for a file that its server does not give out."""
    return AccessError(f"{href}: refused ({answer}); check the address and who may read it")


def _remedy(name: str, options: Mapping[str, str]) -> str:
    """Say which keys or permission reading from a bucket needs."""
    bucket = BUCKETS.get(name, UNKNOWN_BUCKET)
    if bucket.endpoint is not None:
        return f"check {' and '.join(bucket.key_variables)}, and the quota of the account"
    permission = f"s3:GetObject on arn:aws:s3:::{name}/*"
    if bucket.requester_pays:
        return (
            f"{name} is requester pays: use credentials of AWS that are allowed {permission}; "
            "their account pays for requests and transfer"
        )
    if bucket.public and options.get("AWS_NO_SIGN_REQUEST") != "YES":
        return (
            f"{name} is public: allow {permission}, or set AWS_NO_SIGN_REQUEST=YES to read it "
            "without credentials"
        )
    return (
        f"use credentials of AWS that are allowed {permission}, with AWS_REQUEST_PAYER=requester "
        "if it is requester pays; S3 also refuses a key that does not exist, unless s3:ListBucket "
        "is allowed"
    )


def reason_of(access: Access, error: Exception) -> str:
    """First line of GDAL's message, with the address for the path and without signatures."""
    text = str(error).replace(access.path, access.href)
    lines = redacted(text).strip().splitlines()
    # The message that this becomes a part of names the file itself.
    return lines[0].removeprefix(f"{access.href}: ")[:200] if lines else type(error).__name__
