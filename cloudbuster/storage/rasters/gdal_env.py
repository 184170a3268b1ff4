"""GDAL's settings for every raster that this package opens, and its errors when writing."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from cloudbuster.storage.files.uri import output_error

# rasterio wraps most of GDAL's errors in its own and passes some on unchanged. A message of GDAL
# that quotes a broken file may be no UTF-8, and is then raised as UnicodeDecodeError.
RASTER_ERRORS: tuple[type[Exception], ...] = (RasterioError, CPLE_BaseError, UnicodeDecodeError)
# GDAL does not say why a write failed. With less free space than this, in bytes, the disk counts as
# full: a few tiles, or the copy of a directory, may not have fitted.
FULL_DISK_BYTES = 16 * 2**20

# In bytes: `rasterio.Env` passes the number on unchanged, and GDAL reads numbers above 100 000 as
# bytes. A value of 256 would mean 256 bytes, and every read would decode its tiles again.
CACHE_BYTES = 256 * 2**20

_OPTIONS: dict[str, str | int] = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # Without this GDAL lists the folder or bucket of every raster to look for files beside it.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # Neither write nor read `.aux.xml` files: a raster carries its own metadata.
    "GDAL_PAM_ENABLED": "NO",
    # Overviews of a scratch file keep the holes of its base.
    "SPARSE_OK_OVERVIEW": "YES",
    # Remote reads with the settings of S2Mosaic; a tile of a COG is one range, and several ranges
    # are requested at a time.
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
    """Set this package's GDAL options in the body.

    They hold in the calling thread only; each worker thread enters its own environment.

    Parameters
    ----------
    **options : str or int
        Further GDAL configuration options, which override this package's.
    """
    with rasterio.Env(**{**_OPTIONS, **options}):
        yield


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raise GDAL's errors in the body as errors of this package.

    Parameters
    ----------
    target : Path
        The file that is being written, or that its temporary file will be renamed to.

    Raises
    ------
    OutputError
        If it cannot be written.
    TryAgainError
        If the disk is full.
    """
    try:
        yield
    except RASTER_ERRORS as error:
        raise output_error(target, OSError(_errno(target), str(error))) from error


def _errno(target: Path) -> int:
    free = shutil.disk_usage(target.parent).free
    return errno.ENOSPC if free < FULL_DISK_BYTES else errno.EIO
