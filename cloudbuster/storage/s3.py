"""Objects in S3, by boto3: whole documents in and out, files up and down.

Credentials, region and endpoint come from the environment as boto3 reads it
(``AWS_ENDPOINT_URL_S3`` names another S3). boto3 is an extra: it is imported at the first use.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloudbuster.errors import BadInputError, MissingExtraError, TryAgainError

# Attempts of boto3's own retries, with backoff, before an error is told.
MAX_ATTEMPTS = 6
DENIED_CODES = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
MISSING_CODES = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; BadInputError where there is no bucket."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        msg = f"{uri} is no S3 address; give s3://bucket/key"
        raise BadInputError(msg)
    # A key may hold what a URL keeps for itself.
    key = uri.split("://", 1)[1].partition("/")[2]
    return parts.netloc, key


@functools.cache
def client() -> Any:  # noqa: ANN401 -- boto3 has no types
    """S3 client of this process."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        msg = "s3:// needs boto3: pip install 'cloudbuster[aws]'"
        raise MissingExtraError(msg) from error
    # Batch and Lambda set AWS_REGION, of which boto3 reads only AWS_DEFAULT_REGION.
    region = os.environ.get("AWS_REGION") or None
    retries = {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}
    return boto3.client("s3", region_name=region, config=Config(retries=retries))


@contextmanager
def _told(uri: str, action: str) -> Iterator[None]:
    """Turn boto3's errors into ours: missing, forbidden, or worth another try."""
    client()  # Without boto3 the next import would fail with less to say.
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in MISSING_CODES:
            msg = f"{uri}: no such object; check the address"
            raise BadInputError(msg) from error
        if code in DENIED_CODES:
            msg = f"{uri}: access denied ({code}); {action} needs permission for it"
            raise BadInputError(msg) from error
        msg = f"{uri}: {code}; try again"
        raise TryAgainError(msg) from error
    except NoCredentialsError as error:
        msg = f"{uri}: no AWS credentials were found; set them in the environment"
        raise BadInputError(msg) from error
    except BotoCoreError as error:
        msg = f"{uri}: {type(error).__name__}; try again"
        raise TryAgainError(msg) from error


def read_bytes(uri: str) -> bytes:
    """Read a whole object.

    Raises
    ------
    BadInputError
        Where it does not exist or may not be read.
    TryAgainError
        Where S3 did not answer.
    """
    bucket, key = split(uri)
    with _told(uri, "s3:GetObject"):
        content: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole object: S3 shows it whole or not at all."""
    bucket, key = split(uri)
    with _told(uri, "s3:PutObject"):
        client().put_object(Bucket=bucket, Key=key, Body=content)


def exists(uri: str) -> bool:
    """Whether an object of this very key exists."""
    bucket, key = split(uri)
    try:
        with _told(uri, "s3:GetObject"):
            client().head_object(Bucket=bucket, Key=key)
    except BadInputError as error:
        if "no such object" in str(error):
            return False
        raise
    return True


def list_names(prefix_uri: str) -> list[str]:
    """Names of the objects right under a prefix (not below it), sorted."""
    bucket, prefix = split(prefix_uri.rstrip("/") + "/")
    names: list[str] = []
    with _told(prefix_uri, "s3:ListBucket"):
        pages = client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            names.extend(entry["Key"].removeprefix(prefix) for entry in page.get("Contents", ()))
    return sorted(name for name in names if name)


def download(uri: str, path: Path) -> None:
    """Copy an object to a file, in parts."""
    bucket, key = split(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told(uri, "s3:GetObject"):
        client().download_file(bucket, key, str(path))


def upload(path: Path, uri: str) -> None:
    """Copy a file to an object, in parts; it appears when all of them are there."""
    bucket, key = split(uri)
    with _told(uri, "s3:PutObject"):
        client().upload_file(str(path), bucket, key)


def delete(uri: str) -> None:
    """Remove an object; nothing happens where there is none."""
    bucket, key = split(uri)
    with _told(uri, "s3:DeleteObject"):
        client().delete_object(Bucket=bucket, Key=key)
