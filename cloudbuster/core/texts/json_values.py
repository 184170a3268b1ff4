"""JSON values from elsewhere: whether they can be written again, and how deep they are nested."""

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

MAX_DEPTH = 64
"""Greatest number of levels of a document. STAC items have about ten, nested collections of areas
a few more."""
# Levels that orjson writes (its documentation, "serialize").
WRITTEN_DEPTH = 254
TOO_DEEP = "Recursion limit"


def is_json(value: object, *, levels: int = MAX_DEPTH) -> bool:
    """Whether a value can be written as JSON, as `check_json` has it."""
    try:
        check_json(value, levels=levels)
    except ValueError:
        return False
    return True


def check_json(value: T, *, levels: int = MAX_DEPTH) -> T:
    """Return ``value`` if it can be written as JSON.

    Parameters
    ----------
    value : JSON value
        As a reader of JSON returns it. Not modified.
    levels : int
        Greatest number of levels of lists and objects, at most `WRITTEN_DEPTH`.

    Raises
    ------
    ValueError
        If it is nested deeper, or holds what JSON as UTF-8 has not: an integer of over 64 bits, or
        half of a character.
    """
    # orjson counts the levels itself, many times as fast as Python could: the value is put under
    # as many lists as are too many.
    wrapped: object = value
    for _ in range(WRITTEN_DEPTH - levels):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)
    except orjson.JSONEncodeError as error:
        problem = f"it cannot be written as JSON ({error})"
        if str(error).startswith(TOO_DEEP):
            problem = f"it is nested deeper than {levels} levels"
        raise ValueError(problem) from error
    return value


def with_lists(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    """Replace tuples by lists at every depth, as a JSON reader returns them."""
    if isinstance(value, Mapping):
        return {key: with_lists(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [with_lists(member) for member in value]
    return value
