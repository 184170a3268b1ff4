"""Objects in S3: documents as a whole, files as uploads and downloads.

Credentials, region and endpoint come from the environment as boto3 reads it;
``AWS_ENDPOINT_URL_S3`` names another S3.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloudbuster.errors import BadInputError, NotFoundError, TooLargeError
from cloudbuster.storage.boto import aws_client, translate_boto_errors

HINT = "check the address"
DOCUMENT_BYTES = 64 * 2**20
"""Greatest size of a document: a thousand candidates with their twins have a third of it."""


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Split an ``s3://`` URI into its bucket and its key.

    Raises
    ------
    BadInputError
        If the URI names no bucket.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        msg = f"{uri} is no S3 address; give s3://bucket/key"
        raise BadInputError(msg)
    # A key may hold ? and #, which have a meaning of their own in a URL.
    key = uri.split("://", 1)[1].partition("/")[2]
    return parts.netloc, key


def read_object(uri: str, *, max_bytes: int = DOCUMENT_BYTES) -> bytes:
    """Read a whole object of at most ``max_bytes``.

    Raises
    ------
    TooLargeError
        If it is larger.
    NotFoundError
        If the object or its bucket does not exist.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If S3 is throttled, broken or out of reach.
    """
    bucket, key = parse_s3_uri(uri)
    with translate_boto_errors(f"read {uri}", hint=HINT, permission="s3:GetObject"):
        answer = aws_client("s3").get_object(Bucket=bucket, Key=key)
        return read_body(answer, uri, max_bytes)


def read_body(answer: Mapping[str, Any], uri: str, max_bytes: int) -> bytes:
    """Read the body of an answer of ``get_object``; raise TooLargeError over ``max_bytes``."""
    size = int(answer.get("ContentLength", 0))
    content: bytes = b"" if size > max_bytes else answer["Body"].read(max_bytes + 1)
    if max(size, len(content)) > max_bytes:
        msg = f"{uri} is over {max_bytes / 2**20:g} MiB, the most that is read of such an object"
        raise TooLargeError(msg)
    return content


def write_object(uri: str, content: bytes) -> None:
    """Write a whole object; readers see the old content or the new one, nothing between.

    Raises
    ------
    NotFoundError
        If the bucket does not exist.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If S3 is throttled, broken or out of reach.
    """
    bucket, key = parse_s3_uri(uri)
    with translate_boto_errors(f"write {uri}", hint=HINT, permission="s3:PutObject"):
        aws_client("s3").put_object(Bucket=bucket, Key=key, Body=content)


def object_exists(uri: str) -> bool:
    """Whether an object of this very key exists; other errors are raised as by `read_object`."""
    bucket, key = parse_s3_uri(uri)
    try:
        with translate_boto_errors(f"find {uri}", hint=HINT, permission="s3:GetObject"):
            aws_client("s3").head_object(Bucket=bucket, Key=key)
    except NotFoundError:
        return False
    return True


def object_names(prefix_uri: str) -> list[str]:
    """List the names of the objects directly under a prefix, sorted.

    Parameters
    ----------
    prefix_uri : str
        With or without a slash at its end. Objects below a further slash are left out.
    """
    bucket, prefix = parse_s3_uri(prefix_uri.rstrip("/") + "/")
    names: list[str] = []
    with translate_boto_errors(f"list {prefix_uri}", hint=HINT, permission="s3:ListBucket"):
        pages = aws_client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            names.extend(entry["Key"].removeprefix(prefix) for entry in page.get("Contents", ()))
    return sorted(name for name in names if name)


def download_object(uri: str, path: Path) -> None:
    """Copy an object to a file, in parts; errors are those of `read_object`."""
    bucket, key = parse_s3_uri(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with translate_boto_errors(f"read {uri}", hint=HINT, permission="s3:GetObject"):
        aws_client("s3").download_file(bucket, key, str(path))


def upload_object(path: Path, uri: str) -> None:
    """Copy a file to an object, in parts; it appears once all of them are there.

    Errors are those of `write_object`.
    """
    bucket, key = parse_s3_uri(uri)
    with translate_boto_errors(f"write {uri}", hint=HINT, permission="s3:PutObject"):
        aws_client("s3").upload_file(str(path), bucket, key)
