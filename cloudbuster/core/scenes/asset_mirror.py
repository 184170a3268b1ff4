"""Asset mirrors: rewrite the prefix of an href so that a nearer copy of the file is read."""

from collections.abc import Sequence

from cloudbuster.core.texts.names import shown

Mirror = tuple[str, str]
"""Prefix of an href, and its replacement."""


def parse_mirror(text: str) -> Mirror:
    """Parse ``FROM=TO``.

    Parameters
    ----------
    text : str
        For example ``s3://eodata=/eodata``; split at the first ``=``.

    Returns
    -------
    tuple of (str, str)
        Prefix and replacement, stripped of spaces.

    Raises
    ------
    ValueError
        If there is no ``=``, or one side is empty.
    """
    source, divider, target = (part.strip() for part in text.partition("="))
    if not (divider and source and target):
        msg = f"asset mirror {shown(text)} is not FROM=TO, for example s3://eodata=/eodata"
        raise ValueError(msg)
    return source, target


def mirrored_href(href: str, mirrors: Sequence[Mirror]) -> str:
    """Replace the prefix of an href.

    Parameters
    ----------
    href : str
        Absolute URI or path.
    mirrors : sequence of (str, str)
        Prefixes and their replacements; the longest prefix that matches is used. A prefix matches
        whole path segments: ``s3://a`` does not match ``s3://ab/c``.

    Returns
    -------
    str
        Unchanged if no prefix matches.
    """
    fitting = [mirror for mirror in mirrors if _starts_with(href, mirror[0])]
    if not fitting:
        return href
    source, target = max(fitting, key=lambda mirror: len(mirror[0]))
    rest = href[len(source) :]
    if source.endswith("/") and not target.endswith("/"):
        return f"{target}/{rest}"
    if rest.startswith("/"):
        return f"{target.rstrip('/')}{rest}"
    return target + rest


def _starts_with(href: str, prefix: str) -> bool:
    """Return whether ``href`` starts with the whole path segments of ``prefix``."""
    rest = href.removeprefix(prefix)
    return href.startswith(prefix) and (prefix.endswith("/") or rest == "" or rest.startswith("/"))
