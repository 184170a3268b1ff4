"""Transformers between coordinate reference systems, cached."""

from functools import lru_cache

import pyproj

LONLAT = "OGC:CRS84"
"""Longitude and latitude, WGS 84, degrees."""


@lru_cache(maxsize=128)
def transformer(source: str | pyproj.CRS, target: str | pyproj.CRS) -> pyproj.Transformer:
    """Return the transformer from one CRS to another, with x before y in both.

    PROJ takes milliseconds to choose an operation, so transformers are kept, as pyproj's
    documentation advises ("Advanced Examples"). Threads may share them (since pyproj 3.1).

    Parameters
    ----------
    source, target : str or pyproj.CRS
        Any text that pyproj reads, or what it made of one.

    Returns
    -------
    pyproj.Transformer
        The same object for the same arguments.

    Raises
    ------
    pyproj.exceptions.CRSError
        If one of them is not a coordinate reference system.
    """
    return pyproj.Transformer.from_crs(source, target, always_xy=True)
