"""Turns by an object in S3, as moto keeps it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from cloudbuster.aws.stack import turns
from cloudbuster.aws.stack.turns import LEASE_S, turn, write_if
from cloudbuster.errors import NotFoundError, TryAgainError
from cloudbuster.storage.remote import s3
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.conftest import Break

TURN = "s3://store/turns/start-run"
NAME = "start-run"

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


def taken() -> list[str]:
    return s3.object_names("s3://store/turns")


def move_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(turns, "datetime", Later)


def test_one_function_has_the_turn_and_gives_it_back() -> None:
    with turn(TURN) as first:
        assert first
        assert taken() == [NAME]
        with turn(TURN) as second:
            assert not second
        # A function that did not have the turn does not give it back either.
        assert taken() == [NAME]
    assert taken() == []
    with turn(TURN) as third:
        assert third


def test_a_function_that_fails_gives_the_turn_back() -> None:
    with pytest.raises(KeyError), turn(TURN):
        raise KeyError
    assert taken() == []


def test_the_turn_of_a_killed_function_is_taken_over_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3.write_object(TURN, b"killed")
    with turn(TURN) as early:
        assert not early
    move_the_clock(monkeypatch, LEASE_S + 1)
    seen = aws_client("s3").head_object(Bucket="store", Key=f"turns/{NAME}")["ETag"]
    with turn(TURN) as is_ours:
        assert is_ours
        # Another function that has seen the same object finds it changed.
        assert not write_if(TURN, IfMatch=seen)


@pytest.fixture
def given_back_meanwhile() -> Iterator[list[str]]:
    """Remove the object when it is about to be taken over; ETags of the attempts to do so."""
    client, event = aws_client("s3"), "before-parameter-build.s3.PutObject"
    tried: list[str] = []

    def remove(params: dict[str, Any], **_call: Any) -> None:
        if "IfMatch" in params and not tried:
            tried.append(params["IfMatch"])
            client.delete_object(Bucket="store", Key=f"turns/{NAME}")

    client.meta.events.register(event, remove)
    yield tried
    client.meta.events.unregister(event, remove)


def test_a_turn_that_is_given_back_while_it_is_taken_over_is_taken_anew(
    monkeypatch: pytest.MonkeyPatch, given_back_meanwhile: list[str]
) -> None:
    s3.write_object(TURN, b"killed")
    move_the_clock(monkeypatch, LEASE_S + 1)
    with turn(TURN) as is_ours:
        assert is_ours
    assert len(given_back_meanwhile) == 1
    assert taken() == []


@pytest.mark.parametrize(
    ("uri", "code", "error"),
    [
        ("s3://nowhere/turn", "", NotFoundError),
        (TURN, "SlowDown", TryAgainError),
        (TURN, None, TryAgainError),
    ],
)
def test_a_failure_of_s3_is_raised(
    break_service: Break, uri: str, code: str | None, error: type[Exception]
) -> None:
    if code != "":
        break_service("s3", "PutObject", code)
    with pytest.raises(error, match=f"cannot write {uri}"), turn(uri):
        pass
