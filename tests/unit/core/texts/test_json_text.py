"""JSON from others is bounded before it is parsed."""

import time

import pytest

from cloudbuster.core.texts import json_text
from cloudbuster.core.texts.json_text import MAX_DEPTH, JsonError, parsed_json


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'[{"a":' * 40 + b"1" + b"}]" * 40,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'["\\"",' + b"[" * 65 + b"]" * 65 + b"]",
        b'["]","[",' + b"[" * 65 + b"]" * 65 + b"]",
        ("\ufeff" + "[" * 65 + "]" * 65).encode("utf-16-le"),
    ],
    ids=["lists", "objects", "both", "open", "deep", "escaped", "brackets in texts", "UTF-16"],
)
def test_deep_nesting_is_refused(text):
    with pytest.raises(JsonError, match=r"nested over 64 levels|not JSON"):
        parsed_json(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"[" + b"[]," * 5000 + b"[]]",
        b'["' + b"[{" * 500 + b'"]',
        b'{"' + b"[" * 100 + b'": "' + b"{" * 100 + b'\\"" }',
        b'\xef\xbb\xbf{"a": 1}',
        '\ufeff{"a": 1}'.encode("utf-16-le"),
        '\ufeff{"a": 1}'.encode("utf-16-be"),
    ],
    ids=[
        "at the bound",
        "wide",
        "brackets in a text",
        "brackets in names",
        "UTF-8 mark",
        "UTF-16-LE mark",
        "UTF-16-BE mark",
    ],
)
def test_what_is_not_deep_is_parsed(text):
    assert parsed_json(text)


def test_many_members_are_refused_before_they_take_memory(monkeypatch):
    monkeypatch.setattr(json_text, "MAX_CONTAINERS", 1000)
    with pytest.raises(JsonError, match="1002 objects and lists"):
        parsed_json(b"[" + b"[]," * 1000 + b"[]]")


@pytest.mark.parametrize("text", [b'"\\' * 500_000, b'"[' * 400_000, b"[{" * 900_000])
def test_text_that_is_not_json_is_refused_in_time(text):
    started = time.process_time()
    with pytest.raises(JsonError, match=r"not JSON|nested|too large"):
        parsed_json(text)
    assert time.process_time() - started < 2


def test_the_place_of_a_mistake_is_named():
    with pytest.raises(JsonError, match="not JSON at line 1, column 8"):
        parsed_json(b'{"a": 1,\n}')
