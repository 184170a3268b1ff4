"""Objects in S3: documents as a whole, files as uploads and downloads.

Credentials, region and endpoint come from the environment as boto3 reads it;
``AWS_ENDPOINT_URL_S3`` names another S3.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudbuster.errors import BadInputError, ConflictError, NotFoundError, TooLargeError
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

HINT = "check the address"
DOCUMENT_BYTES = 64 * 2**20
"""Greatest size of a document: a thousand candidates with their twins have a third of it."""


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Split an ``s3://`` URI into its bucket and its key.

    Raises
    ------
    BadInputError
        If the URI names no bucket, or its key has a part ``.`` or ``..``.
    """
    # A key may hold ? and #, which have a meaning of their own in a URL.
    scheme, _, place = uri.partition("://")
    bucket, _, key = place.partition("/")
    if scheme.lower() != "s3" or not bucket:
        msg = f"{uri} is no S3 address; give s3://bucket/key"
        raise BadInputError(msg)
    if {".", ".."} & set(key.split("/")):
        # Clients of HTTP resolve them: the object would be another one than its address says.
        msg = f"{uri} has a part . or ..; give the address without it"
        raise BadInputError(msg)
    return bucket, key


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


def write_object_if(uri: str, content: bytes, **condition: str) -> bool:
    """Write a whole object if a condition holds; return whether it was written.

    Parameters
    ----------
    uri, content : str, bytes
        As for `write_object`.
    **condition
        ``IfNoneMatch="*"`` for no object, or ``IfMatch`` with the ETag of a known one
        (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).

    Raises
    ------
    CloudBusterError
        As `write_object`.
    """
    bucket, key = parse_s3_uri(uri)
    try:
        with translate_boto_errors(f"write {uri}", hint=HINT, permission="s3:PutObject"):
            aws_client("s3").put_object(Bucket=bucket, Key=key, Body=content, **condition)
    except ConflictError:
        return False
    except NotFoundError:
        # With IfMatch the object was deleted meanwhile; otherwise the bucket does not exist.
        if "IfMatch" not in condition:
            raise
        return False
    return True


def object_etag(uri: str) -> str | None:
    """ETag of an object; None if there is none. Errors are raised as by `read_object`."""
    bucket, key = parse_s3_uri(uri)
    try:
        with translate_boto_errors(f"find {uri}", hint=HINT, permission="s3:GetObject"):
            return str(aws_client("s3").head_object(Bucket=bucket, Key=key)["ETag"])
    except NotFoundError:
        return None


def object_exists(uri: str) -> bool:
    """Whether an object of this very key exists; other errors are raised as by `read_object`."""
    return object_etag(uri) is not None


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


def keys_below(prefix_uri: str, *, limit: int) -> list[str]:
    """List the keys of objects below a prefix, at any depth, relative to it.

    Parameters
    ----------
    prefix_uri : str
        With or without a slash at its end.
    limit : int
        Greatest number of keys to list.
    """
    bucket, prefix = parse_s3_uri(prefix_uri.rstrip("/") + "/")
    with translate_boto_errors(f"list {prefix_uri}", hint=HINT, permission="s3:ListBucket"):
        pages = aws_client("s3").get_paginator("list_objects_v2")
        listed = pages.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": limit})
        keys = [entry["Key"] for page in listed for entry in page.get("Contents", ())]
    return [str(key).removeprefix(prefix) for key in keys]


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
