"""Texts of others on a terminal and in logs."""

import unicodedata

# Characters by category of Unicode that a reader cannot see: controls, formats (marks of direction
# among them), surrogates, private and unassigned ones, ends of lines.
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_invisible(mark: str) -> bool:
    """Whether a character cannot be seen; a space can."""
    return unicodedata.category(mark) in INVISIBLE_CATEGORIES


def visible(text: str) -> str:
    r"""Return a text for a terminal: characters that cannot be seen are written as ``\uXXXX``.

    They move the cursor, change colours, or turn the direction of what follows. Tabs and line
    breaks stay.
    """
    if text.isprintable():
        return text
    return "".join(
        f"\\u{ord(mark):04x}" if is_invisible(mark) and mark not in "\t\n" else mark
        for mark in text
    )
