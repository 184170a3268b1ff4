"""The installed release of the library."""

from functools import cache
from importlib import metadata


@cache
def installed_version() -> str:
    """Return the version of the library; its metadata are read from disk once."""
    return metadata.version("cloudbuster")
