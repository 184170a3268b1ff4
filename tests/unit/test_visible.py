"""Texts of others on a terminal and in logs."""

import json
import logging

import pytest

from cloudbuster.processes import log
from cloudbuster.redaction import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 雪 text\n\tand a line", "plain é 雪 text\n\tand a line"),
        ("\x1b[2J\x1b]0;title\x07", r"\u001b[2J\u001b]0;title\u0007"),
        ("a\rb\x08\x7f\x9b", r"a\u000db\u0008\u007f\u009b"),
        ("\u202egpj.exe\u2066\u200f", r"\u202egpj.exe\u2066\u200f"),
        ("\u2028\u2029\ufeff", r"\u2028\u2029\ufeff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_characters_that_cannot_be_seen_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("value", ["a\nb\x1b[31m\u202e", "\ud800"])
def test_a_log_record_is_one_visible_line(value: str) -> None:
    record = logging.makeLogRecord({"msg": "event", "levelname": "INFO", "item": value})
    line = log.TextFormatter().format(record)
    assert "\n" not in line
    assert visible(line) == line
    assert json.loads(log.JsonFormatter().format(record))["item"] == value


def test_integers_of_any_size_are_logged() -> None:
    record = logging.makeLogRecord({"msg": "event", "count": 2**70})
    assert json.loads(log.JsonFormatter().format(record))["count"] == 2**70
