"""Mirrors of assets: hrefs rewritten by their prefix, to a copy that is nearer."""

from collections.abc import Sequence

Mirror = tuple[str, str]
"""Prefix of an href, and what stands in its place."""


def parse_mirror(text: str) -> Mirror:
    """Read ``FROM=TO``.

    Parameters
    ----------
    text : str
        As ``s3://eodata=/eodata``; the first ``=`` divides.

    Returns
    -------
    tuple of (str, str)
        Both without spaces around them.

    Raises
    ------
    ValueError
        Where there is no ``=``, or one side is empty.
    """
    source, divider, target = (part.strip() for part in text.partition("="))
    if not (divider and source and target):
        msg = f"asset mirror {text!r} is not FROM=TO, as s3://eodata=/eodata"
        raise ValueError(msg)
    return source, target


def mirrored_href(href: str, mirrors: Sequence[Mirror]) -> str:
    """Rewrite an href.

    Parameters
    ----------
    href : str
        Absolute URI or path.
    mirrors : sequence of (str, str)
        Prefixes and what stands in their place; the longest one that fits is taken. A prefix ends
        at a slash: ``s3://a`` is none of ``s3://ab/c``.

    Returns
    -------
    str
        ``href`` as it is where no prefix fits.
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
    rest = href.removeprefix(prefix)
    return href.startswith(prefix) and (prefix.endswith("/") or rest == "" or rest.startswith("/"))
