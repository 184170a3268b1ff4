"""Check for the optional packages of detectors."""

from importlib.util import find_spec

from cloudbuster.errors import MissingExtraError


def require_package(package: str, *, detector: str, extra: str | None = None) -> None:
    """Raise MissingExtraError if the package of a detector is missing, without importing it.

    Without an ``extra`` the package is one that every installation has.
    """
    if find_spec(package) is None:
        wanted = f"'cloudbuster[{extra}]'" if extra else package.replace("_", "-")
        msg = f"detector {detector} needs a package: pip install {wanted}"
        raise MissingExtraError(msg)
