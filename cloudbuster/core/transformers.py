"""Transformations between coordinate reference systems, each of which PROJ prepares once."""

from functools import lru_cache

import pyproj

LONLAT = "OGC:CRS84"
"""Longitude and latitude, WGS 84, degrees."""


@lru_cache(maxsize=128)
def transformer(source: str, target: str) -> pyproj.Transformer:
    """Make the transformer from one CRS to another; x comes before y in both.

    PROJ takes milliseconds to choose an operation, which is why pyproj's documentation advises to
    keep transformers ("Advanced Examples", "Caching pyproj objects").

    Parameters
    ----------
    source, target : str
        Any text that pyproj reads.

    Raises
    ------
    pyproj.exceptions.CRSError
        If one of them names no coordinate reference system.
    """
    return pyproj.Transformer.from_crs(source, target, always_xy=True)
