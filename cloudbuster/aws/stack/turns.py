"""Turns: of several functions that run at a time, one does a thing while the others wait.

An object in S3 belongs to the function whose turn it is. It is written only if it does not exist.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cloudbuster.errors import NotFoundError
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors
from cloudbuster.storage.remote.s3 import parse_s3_uri, write_object_if

# Longer than the function may run (its timeout is a minute): a function that still has its turn
# after this time was killed.
LEASE_S = 90
# Number and interval of the attempts to take the turn; whoever has it needs a second or two.
TRIES = 20
PAUSE_S = 0.5


@contextmanager
def turn(uri: str) -> Iterator[bool]:
    """Take the turn before the body, and give it back afterwards.

    Parameters
    ----------
    uri : str
        URI of the object that stands for the turn.

    Yields
    ------
    bool
        Whether the turn was taken; False if others had it all the time.

    Raises
    ------
    NotFoundError
        If the bucket does not exist.
    TryAgainError
        If S3 is throttled, broken or out of reach.
    """
    is_ours = _take(uri)
    try:
        yield is_ours
    finally:
        if is_ours:
            bucket, key = parse_s3_uri(uri)
            with translate_boto_errors(f"remove {uri}", permission="s3:DeleteObject"):
                aws_client("s3").delete_object(Bucket=bucket, Key=key)


def _take(uri: str) -> bool:
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        if write_if(uri, IfNoneMatch="*"):
            return True
        abandoned = _abandoned_etag(uri)
        if abandoned is not None and write_if(uri, IfMatch=abandoned):
            return True
    return False


def write_if(uri: str, **condition: str) -> bool:
    """Write the object of a turn if a condition holds; return whether it was written.

    Parameters
    ----------
    uri : str
        URI of the object.
    **condition
        As for `cloudbuster.storage.remote.s3.write_object_if`.
    """
    # Random content gives the object another ETag each time: of two functions that take over an
    # abandoned turn, the second finds the object changed.
    return write_object_if(uri, secrets.token_hex().encode(), **condition)


def _abandoned_etag(uri: str) -> str | None:
    """ETag of the object if its function was killed; None if it is at work or has finished."""
    bucket, key = parse_s3_uri(uri)
    try:
        with translate_boto_errors(f"find {uri}", permission="s3:GetObject"):
            found = aws_client("s3").head_object(Bucket=bucket, Key=key)
    except NotFoundError:
        return None
    age_s = (datetime.now(UTC) - found["LastModified"]).total_seconds()
    return str(found["ETag"]) if age_s > LEASE_S else None
