"""Places in buckets: which addresses of a request lie in a prefix that the stack allows."""

from collections.abc import Iterable


def lies_below(uri: str, root: str) -> bool:
    """Whether an address lies below a prefix, and is not the prefix itself.

    Parameters
    ----------
    uri : str
        Address, as a request gives it. One with an empty part, with ``.`` or with ``..`` lies
        nowhere, because clients of S3 and of HTTP may resolve these.
    root : str
        Prefix, with or without a slash at its end.
    """
    folder = f"{root.rstrip('/')}/"
    rest = uri.removeprefix(folder).rstrip("/")
    return uri.startswith(folder) and not {"", ".", ".."} & set(rest.split("/"))


def lies_in_any(uri: str, roots: Iterable[str]) -> bool:
    """Whether an address lies below one of several prefixes."""
    return any(lies_below(uri, root) for root in roots)
