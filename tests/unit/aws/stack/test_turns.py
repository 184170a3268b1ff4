"""Whose turn it is, by an object in S3 as moto keeps it."""

import functools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cloudbuster.aws.stack import turns
from cloudbuster.aws.stack.calls import Call, call
from cloudbuster.aws.stack.turns import LEASE_S, turn
from cloudbuster.errors import TryAgainError

TURN = "s3://store/turns/start-run"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, its client, and no pauses."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with mock_aws():
        client = boto3.client("s3", "us-east-1")
        client.create_bucket(Bucket="store")
        yield client


@pytest.fixture
def ask(s3: Any) -> Call:
    """Call an operation."""
    return functools.partial(call, lambda _service: s3)


def keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="store").get("Contents", [])]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(turns, "datetime", Later)


def test_one_has_the_turn_and_gives_it_back(s3: Any, ask: Call) -> None:
    with turn(ask, TURN) as first:
        assert first
        assert keys(s3) == ["turns/start-run"]
        with turn(ask, TURN) as second:
            assert not second
        # Who did not have it has not given it back either.
        assert keys(s3) == ["turns/start-run"]
    assert keys(s3) == []
    with turn(ask, TURN) as third:
        assert third


def test_the_turn_is_given_back_by_who_fails(s3: Any, ask: Call) -> None:
    with pytest.raises(KeyError), turn(ask, TURN):
        raise KeyError
    assert keys(s3) == []


def test_the_turn_of_who_was_killed_is_taken_over_by_one(
    s3: Any, ask: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket="store", Key="turns/start-run", Body=b"killed")
    with turn(ask, TURN) as early:
        assert not early
    later(monkeypatch, LEASE_S + 1)
    seen = s3.head_object(Bucket="store", Key="turns/start-run")["ETag"]
    with turn(ask, TURN) as is_ours:
        assert is_ours
        # Another one that has seen the same object finds it changed.
        assert not turns._written(ask, "store", "turns/start-run", IfMatch=seen)


def test_a_turn_that_was_given_back_while_it_was_taken_over_is_not_ours(
    s3: Any, ask: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers a write under If-Match with NoSuchKey where the object is gone."""
    s3.put_object(Bucket="store", Key="turns/start-run", Body=b"killed")
    later(monkeypatch, LEASE_S + 1)
    tried: list[str] = []
    put = s3.put_object

    def gone(**asked: Any) -> Any:
        if "IfMatch" not in asked or tried:
            return put(**asked)
        tried.append(asked["IfMatch"])
        s3.delete_object(Bucket="store", Key="turns/start-run")
        raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "PutObject")

    monkeypatch.setattr(s3, "put_object", gone)
    with turn(ask, TURN) as is_ours:
        assert is_ours
    assert len(tried) == 1
    assert keys(s3) == []


def test_s3_that_does_not_answer_is_worth_another_try(ask: Call) -> None:
    with pytest.raises(TryAgainError, match="put_object"), turn(ask, "s3://nowhere/turn"):
        pass
