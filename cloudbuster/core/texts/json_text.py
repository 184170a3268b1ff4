"""JSON from others: its nesting and the number of its members are bounded before it is parsed.

Text of a few bytes can take many times its size in memory, and nesting can exhaust the stack of
whatever walks through it later.
"""

import codecs
import re
from typing import Any

import orjson

MAX_DEPTH = 64
"""Greatest nesting: a candidate with its twin and their polygons has 14."""
MAX_CONTAINERS = 4_000_000
"""Greatest number of objects and lists: 64 MB of coordinates have 3 million positions."""
# Programs on Windows write a byte order mark before text, in UTF-8 or (PowerShell) in UTF-16. RFC
# 8259 lets a reader of JSON ignore it.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Strings that contain brackets, as few texts have many of.
MAX_BRACKETED_STRINGS = 1_000_000

_BRACKETS = b"[]{}"
_STRUCTURE = bytes(set(range(256)) - set(b'"' + _BRACKETS))
_EMPTY = re.compile(rb"\[\]|\{\}")
_STRING = re.compile(rb'"[^"]*"')


class JsonError(ValueError):
    """A text is not JSON, or over a bound; the message says where or how much."""


def parsed_json(content: bytes, *, levels: int | None = MAX_DEPTH) -> Any:  # noqa: ANN401 -- any JSON value
    """Parse JSON.

    Parameters
    ----------
    content : bytes
        UTF-8 text, or text that begins with a byte order mark of UTF-8 or UTF-16.
    levels : int or None
        `MAX_DEPTH`; None leaves the nesting to the parser, which has a bound of its own.

    Raises
    ------
    JsonError
        If it is not JSON, is nested over `MAX_DEPTH`, or has over `MAX_CONTAINERS` objects and
        lists.
    """
    text = utf8_text(content)
    count = text.count(b"[") + text.count(b"{")
    if count > MAX_CONTAINERS:
        msg = f"too large: {count} objects and lists; {MAX_CONTAINERS} are the most that are read"
        raise JsonError(msg)
    # Without as many brackets it cannot be nested as deeply.
    if levels is not None and count > levels:
        _check_depth(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        msg = f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise JsonError(msg) from error


def utf8_text(content: bytes) -> bytes:
    """Return JSON as UTF-8 without a byte order mark; wrong bytes of UTF-16 become U+FFFD."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            if encoding == "utf-8-sig":
                return content.removeprefix(mark)
            return content.decode(encoding, errors="replace").encode()
    return content


def _check_depth(text: bytes) -> None:
    """Raise JsonError if a text is nested over `MAX_DEPTH`.

    Everything but quotes and brackets is removed, then strings, then, `MAX_DEPTH` times, brackets
    that enclose nothing. These are operations on whole texts, which take little time; text that is
    not JSON is left to the parser.
    """
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    rest = unescaped.translate(None, _STRUCTURE).replace(b'""', b"")
    if rest.count(b'"') > 2 * MAX_BRACKETED_STRINGS:
        msg = f"too large: over {MAX_BRACKETED_STRINGS} of its texts contain brackets"
        raise JsonError(msg)
    rest = _STRING.sub(b"", rest)
    for _ in range(MAX_DEPTH):
        shorter = _EMPTY.sub(b"", rest)
        if len(shorter) == len(rest):
            return
        rest = shorter
    if b"[]" in rest or b"{}" in rest:
        msg = (
            f"nested over {MAX_DEPTH} levels, which no STAC document is; write it with fewer levels"
        )
        raise JsonError(msg)
