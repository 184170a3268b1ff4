"""Regular expressions that users give, matched in linear time.

The engine is RE2 (https://github.com/google/re2/wiki/Syntax), because the time of Python's own can
grow exponentially with the text. A pattern must be valid for both, so that it means the same to
whoever knows Python's; RE2 has no look-around, no backreferences and no repetition over 1000.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any

import re2

from cloudbuster.core.texts.names import shown

MAX_PATTERN_CHARS = 1000
# A longer text matches no pattern: the id of an item and a time have a few dozen characters.
MAX_TEXT_CHARS = 256
# Memory for a compiled pattern, bytes. It bounds the steps for each character of a text: for 256
# characters, `(.?){1000}x` takes 15 ms.
MAX_PROGRAM_BYTES = 1 << 18


def _compiled(pattern: str) -> Any:  # noqa: ANN401 -- re2 is untyped
    """Compile a pattern by RE2; raise ValueError if it cannot."""
    options = re2.Options()
    options.max_mem = MAX_PROGRAM_BYTES
    # The error is raised; RE2 would also write it to stderr.
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        # The first argument is RE2's reason, as bytes.
        reason = bytes(error.args[0]).decode(errors="replace")
        msg = (
            f"{shown(reason)}: look-around, backreferences and repetitions over 1000 are not "
            "supported; simplify the pattern"
        )
        raise ValueError(msg) from error


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Compile a regular expression.

    Parameters
    ----------
    pattern : str
        In the syntax of RE2.

    Returns
    -------
    callable
        Returns whether a text contains a match, anywhere. A text of over `MAX_TEXT_CHARS` has none.

    Raises
    ------
    ValueError
        If it is too long or too complex, or no regular expression of RE2.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        msg = f"has {len(pattern)} characters, over {MAX_PATTERN_CHARS}: simplify it"
        raise ValueError(msg)
    _check_syntax(pattern)
    compiled = _compiled(pattern)

    def contains_match(text: str) -> bool:
        """Whether a text contains a match."""
        # UTF-8 has no halves of characters; they are replaced.
        known = text.encode(errors="replace")
        return len(text) <= MAX_TEXT_CHARS and compiled.search(known.decode()) is not None

    return contains_match


def _check_syntax(pattern: str) -> None:
    """Raise ValueError with the position of a mistake, which RE2 does not give."""
    try:
        # UTF-8, in which RE2 reads, has no halves of characters.
        pattern.encode()
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at position {error.pos}"
        msg = f"{shown(pattern)} is no regular expression: {error.msg}{where}; correct it there"
        raise ValueError(msg) from error
    except (OverflowError, RecursionError, UnicodeEncodeError) as error:
        msg = f"{len(pattern)} characters that are too complex to match: simplify it"
        raise ValueError(msg) from error
