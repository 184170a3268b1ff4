"""Check for the optional packages of detectors."""

from importlib.util import find_spec

from cloudbuster.errors import MissingExtraError


def require_package(package: str, *, detector: str, extra: str) -> None:
    """Raise MissingExtraError if the package of a detector is missing, without importing it."""
    if find_spec(package) is None:
        msg = f"detector {detector} needs a package: pip install 'cloudbuster[{extra}]'"
        raise MissingExtraError(msg)
