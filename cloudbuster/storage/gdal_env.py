"""The settings of GDAL under which this package opens any raster, and what its errors mean."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from cloudbuster.storage.uri import output_error

# rasterio wraps most of GDAL's errors in its own, and lets some through as they are.
RASTER_ERRORS: tuple[type[Exception], ...] = (RasterioError, CPLE_BaseError)
# GDAL does not say why a write failed: with less than this left, bytes, the disk was full (a few
# tiles, or the copy of a directory, may not have fitted).
FULL_DISK_BYTES = 16 * 2**20

# Bytes: `rasterio.Env` hands the number on as it is, and GDAL reads numbers above 100 000 as bytes
# (256 given here would mean 256 bytes, and every tile would be decoded again for every read).
CACHE_BYTES = 256 * 2**20

_OPTIONS: dict[str, str | int] = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # Without it GDAL lists the folder or bucket of every raster, looking for files beside it.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # No `.aux.xml` is written or believed: a raster says everything itself.
    "GDAL_PAM_ENABLED": "NO",
    # Overviews of a scratch file keep the holes of its base.
    "SPARSE_OK_OVERVIEW": "YES",
    # Remote reading as S2Mosaic sets it; a tile of a COG is one range, several are asked at once.
    "GDAL_HTTP_VERSION": "2",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": 30,
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_000,
    "CPL_VSIL_CURL_CACHE_SIZE": 200 * 2**20,
}


@contextmanager
def gdal_env(**options: str | int) -> Iterator[None]:
    """Open rasters with this package's settings.

    The settings hold in the calling thread only; each worker thread enters its own.

    Parameters
    ----------
    **options : str or int
        Further GDAL configuration options; they win over the ones above.
    """
    with rasterio.Env(**{**_OPTIONS, **options}):
        yield


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn GDAL's errors in the body into this package's.

    Parameters
    ----------
    target : Path
        What is being written, or will be renamed to it.

    Raises
    ------
    OutputError
        Where it cannot be written.
    TryAgainError
        Where the disk is full.
    """
    try:
        yield
    except RASTER_ERRORS as error:
        raise output_error(target, OSError(_errno(target), str(error))) from error


def _errno(target: Path) -> int:
    free = shutil.disk_usage(target.parent).free
    return errno.ENOSPC if free < FULL_DISK_BYTES else errno.EIO
