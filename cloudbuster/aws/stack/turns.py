"""Turns: of several functions that run at a time, one does what follows while the others wait.

Whose turn it is says an object in S3, which is written only where there is none
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cloudbuster.aws.stack.calls import Call, NameTakenError, NoSuchThingError
from cloudbuster.storage.s3 import split

# Longer than the function may run (its timeout is a minute): whoever has not given the turn back
# by then was killed.
LEASE_S = 90
# How often and how fast somebody waits for the turn: whoever has it needs a second or two.
TRIES = 20
PAUSE_S = 0.5


@contextmanager
def turn(call: Call, uri: str) -> Iterator[bool]:
    """Take the turn for the body, and give it back.

    Parameters
    ----------
    call : callable
        Calls an operation of a service.
    uri : str
        Of the object.

    Yields
    ------
    bool
        Whether it is ours; False where it was somebody else's all the time.

    Raises
    ------
    TryAgainError
        Where S3 did not answer.
    """
    bucket, key = split(uri)
    is_ours = _taken(call, bucket, key)
    try:
        yield is_ours
    finally:
        if is_ours:
            call("s3", "delete_object", Bucket=bucket, Key=key)


def _taken(call: Call, bucket: str, key: str) -> bool:
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        if _written(call, bucket, key, IfNoneMatch="*"):
            return True
        left = _left_behind(call, bucket, key)
        if left is not None and _written(call, bucket, key, IfMatch=left):
            return True
    return False


def _written(call: Call, bucket: str, key: str, **condition: str) -> bool:
    # The content makes the object's ETag another one each time: of two that take over what was
    # left behind, the second finds it changed.
    content = secrets.token_hex().encode()
    try:
        call("s3", "put_object", Bucket=bucket, Key=key, Body=content, **condition)
    except (NameTakenError, NoSuchThingError):
        return False
    return True


def _left_behind(call: Call, bucket: str, key: str) -> str | None:
    """ETag of an object that nobody will remove; None where somebody will, or has."""
    try:
        found = call("s3", "head_object", Bucket=bucket, Key=key)
    except NoSuchThingError:
        return None
    age_s = (datetime.now(UTC) - found["LastModified"]).total_seconds()
    return str(found["ETag"]) if age_s > LEASE_S else None
