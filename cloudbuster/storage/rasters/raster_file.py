"""A raster wherever it lies, open for reading: GeoTIFF or JPEG 2000, and within bounds.

GDAL would open much more: virtual rasters and descriptions of services, which read other files and
make requests. Only the drivers of these two formats are tried here, and a file that refers to other
files is refused. What lies beside a file of this machine is checked first; see
`storage.rasters.sidecars`.
"""

import os
import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any, Self

import numpy as np
from rasterio.enums import Interleaving
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from cloudbuster.errors import (
    BadInputError,
    CloudBusterError,
    RasterError,
    TooLargeError,
    TryAgainError,
)
from cloudbuster.storage.addresses.archives import member_head, zip_member
from cloudbuster.storage.addresses.regular_files import open_regular
from cloudbuster.storage.addresses.trust import PROGRAM, Trust, admitted, file_path, scheme_of
from cloudbuster.storage.files.uri import MISSING_STATUSES, REFUSED_STATUSES
from cloudbuster.storage.rasters.access import Access, access_of, reason_of, refusal_error
from cloudbuster.storage.rasters.decoded_tiles import DecodedTiles
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS
from cloudbuster.storage.rasters.gdal_files import gdal_file
from cloudbuster.storage.rasters.range_file import RangeFile
from cloudbuster.storage.rasters.sidecars import sidecar_options, sidecar_rasters

DRIVERS = ("GTiff", "JP2OpenJPEG")
"""GDAL's drivers of the formats that are opened."""
MAX_PIXELS = 16_384**2
"""Greatest size of a raster: more than twice a tile of Sentinel-2 at 10 m (10 980 by 10 980)."""
MAX_BANDS = 256
MAX_BLOCK_BYTES = 128 * 2**20
"""Greatest size of a block (tile or strip), which is decoded as a whole: 8192 by 8192 of uint16."""
# Bytes at the beginning of a file that show what it is.
HEAD_BYTES = 512
# First bytes of a file: TIFF, BigTIFF, JPEG 2000 in a box and bare (ISO/IEC 15444-1, annexes A, I).
MAGIC_NUMBERS = (
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"\x00\x00\x00\x0cjP  ",
    b"\xff\x4f\xff\x51",
)
# What a file looks like that is neither, by its first bytes.
OTHER_CONTENT = (
    (re.compile(rb"\s*<VRTDataset", re.IGNORECASE), "a virtual raster (VRT)"),
    (re.compile(rb"\s*<(?:!doctype\s+)?html", re.IGNORECASE), "a web page"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<"), "XML"),
    (re.compile(rb"\s*[\[{]"), "JSON"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8"), "a picture"),
    (re.compile(rb"\x89HDF|CDF"), "HDF5 or netCDF"),
    (re.compile(rb"PK"), "an archive"),
)
# Options with which GDAL looks for nothing beside a raster, as in a zip.
ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
# Domains of metadata by which a raster names other files to GDAL, which opens them with any driver.
REFERRING_DOMAINS = frozenset({"overviews", "proxyoverviewrequest"})

STATUS = re.compile(r"HTTP response code: (\d{3})")
# Words of GDAL's messages when it finds no credentials, and when a file is no raster.
NO_CREDENTIALS = re.compile(r"AWS_SECRET_ACCESS_KEY|AWS_ACCESS_KEY_ID")
NO_RASTER = re.compile(r"not recognized as being in a supported file format|not a supported")


class RasterFile:
    """A raster wherever it lies, open for reading with the settings of its place.

    Use it as a context manager, which closes the file. A read that fails because of the network is
    repeated; a signature that expires while the file is open is renewed.

    Parameters
    ----------
    href : str
        Path, ``file:``, ``http(s)://``, ``s3://``, or that of a member of a zip.
    trust : Trust
        What its giver may refer to; by default the address is one of this program.
    tiles : DecodedTiles, optional
        Counts what is decoded of the file.

    Attributes
    ----------
    dataset : rasterio dataset
        The open file; its size, grid and bands are attributes of this object too.

    Raises
    ------
    UntrustedAddressError
        If its giver may not have it opened.
    RasterError
        If there is no such file, it is neither GeoTIFF nor JPEG 2000, or it refers to other files.
    TooLargeError
        If it has more pixels, bands or bytes in a block than are read.
    CredentialsError, AccessError
        If it may not be read; names the bucket and the permission.
    TryAgainError
        If its place fails in a way that may pass.
    """

    def __init__(
        self, href: str, trust: Trust = PROGRAM, *, tiles: DecodedTiles | None = None
    ) -> None:
        self.href = href
        self._tiles = tiles
        self._address = admitted(href, trust)
        self._trust = trust
        self._stack = ExitStack()
        self._ranges: RangeFile | None = None
        self._access = Access(href, "")
        self.dataset: Any = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Return an attribute of the dataset: ``count``, ``crs``, ``transform``, ...

        GDAL reads parts of the header only for some of them, such as the flags of a mask, and
        passes over a failure. It is raised here.
        """
        self._recover()
        with self._access.settings():
            found = getattr(self.dataset, name)
        self._raise_failure()
        return found

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def read(self, band: int | list[int], **how: Any) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Read one band, or several.

        Parameters
        ----------
        band : int or list of int
            1-based.
        **how
            Arguments of rasterio's ``read`` (``window``, ``out_shape``, ``resampling``).

        Returns
        -------
        ndarray, shape (y, x), or (band, y, x) for a list
            In the file's own dtype.

        Raises
        ------
        RasterError
            If the file is broken.
        CredentialsError, AccessError
            If it may no longer be read.
        TryAgainError
            If its place fails in a way that may pass.
        """
        return self._repeated("read", band, how)

    def read_mask(self, band: int, **how: Any) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Read the mask that GDAL finds for a band: uint8, shape (y, x), 0 where it has no value.

        Arguments and errors are those of `read`.
        """
        return self._repeated("read_masks", band, how)

    def expect(self, band: int | list[int], **how: Any) -> None:  # noqa: ANN401 -- rasterio has no types
        """Count what `read` decodes with these arguments, without reading it."""
        if self._tiles is not None:
            with self._access.settings():
                self._tiles.add(self.href, self.dataset, band, how)

    def _repeated(self, method: str, band: int | list[int], how: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Call a method of the dataset; after a failure of the network, once more."""
        self._recover()
        try:
            return self._read(method, band, how)
        except RASTER_ERRORS as error:
            self._raise_failure()
            if self._access.bucket is None:
                raise RasterError(_broken(self._access, error)) from error
            forget(self._access)
        # GDAL does not say why a read in a bucket failed; opening the file again does.
        self._reopen()
        try:
            return self._read(method, band, how)
        except RASTER_ERRORS as error:
            msg = f"{self.href}: {reason_of(self._access, error)}; try again"
            raise TryAgainError(msg) from error

    def _opened(self) -> DatasetReader:
        """Open the file, and refuse what it must not contain."""
        self._access = access_of(self._address)
        path = self._access.path
        try:
            if self._access.bucket is None:
                path = self._path_of_content()
            with self._access.settings():
                dataset = _reader(path)
        except RASTER_ERRORS as error:
            self._raise_failure()
            self.close()
            raise open_error(self._access, error) from error
        except CloudBusterError:
            self.close()
            raise
        self._stack.callback(_close, dataset)
        try:
            self._raise_failure()
            _check(dataset, self.href)
            self._raise_failure()
        except CloudBusterError:
            self.close()
            raise
        return dataset

    def _path_of_content(self) -> str:
        """Path for GDAL of a file that is not in a bucket; its first bytes are checked."""
        if scheme_of(self._address) in ("http", "https"):
            self._ranges = RangeFile(self._address, self._trust)
            self._stack.callback(self._ranges.close)
            _check_content(self.href, self._ranges.head)
            path = self._stack.enter_context(gdal_file(self._ranges))
            self._access = Access(self.href, path)
            return path
        _check_content(self.href, _head(self._address, self.href))
        path = self._access.path
        if zip_member(self._address) is not None:
            self._access = Access(self.href, path, ALONE)
            return path
        here = file_path(self._address)
        self._access = Access(self.href, path, sidecar_options(here, self._trust))
        for beside in sidecar_rasters(here):
            with self._access.settings(), _reader(str(beside)) as dataset:
                _check(dataset, str(beside))
        return path

    def _recover(self) -> None:
        """Open the file again after a failure: GDAL may have kept what it read in vain."""
        if self._ranges is not None and self._ranges.error is not None:
            self._reopen()

    def _raise_failure(self) -> None:
        """Raise the error of a range that could not be fetched, if there is one."""
        failure = None if self._ranges is None else self._ranges.error
        if failure is not None:
            raise failure

    def _reopen(self) -> None:
        with suppress(*RASTER_ERRORS):
            self.close()
        self._stack = ExitStack()
        self._ranges = None
        self.dataset = self._opened()

    def _read(self, method: str, band: int | list[int], how: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- rasterio has no types
        with self._access.settings():
            pixels = getattr(self.dataset, method)(band, **how)
        # GDAL passes over some reads in vain, for example of overviews.
        self._raise_failure()
        if method == "read":
            self.expect(band, **how)
        return pixels


def _reader(path: str) -> DatasetReader:
    """Open a raster of the two formats.

    One without georeference is no fault here: the item of its scene may say where it lies.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return DatasetReader(path, driver=list(DRIVERS))


def _close(dataset: DatasetReader) -> None:
    dataset.close()


def _head(address: str, href: str) -> bytes:
    """First bytes of a file of this machine, or in a zip; raise RasterError if it is none."""
    member = zip_member(address)
    try:
        if member is not None:
            return member_head(href, member, HEAD_BYTES)
        with open_regular(file_path(address), href) as descriptor:
            return os.pread(descriptor, HEAD_BYTES, 0)
    except OSError as error:
        msg = f"{href}: {error.strerror or error}; fetch the file again or drop the scene"
        raise RasterError(msg) from error
    except TooLargeError:
        raise
    except BadInputError as error:
        raise RasterError(str(error)) from error


def _check_content(href: str, head: bytes) -> None:
    """Raise RasterError unless the first bytes are those of a GeoTIFF or JPEG 2000."""
    if head.startswith(MAGIC_NUMBERS):
        return
    looks = next((name for pattern, name in OTHER_CONTENT if pattern.match(head)), None)
    found = f"its content is {looks}" if looks else "its first bytes are those of another format"
    msg = (
        f"{href} is neither GeoTIFF nor JPEG 2000: {found}; fetch the file again or drop the scene"
    )
    raise RasterError(msg)


def _check(dataset: DatasetReader, href: str) -> None:
    """Refuse a raster that refers to other files, or is over a bound; nothing is decoded yet."""
    domains = {domain.lower() for domain in dataset.tag_namespaces()}
    if not domains.isdisjoint(REFERRING_DOMAINS):
        msg = f"{href} names another file as its overviews, which is not opened; drop the scene"
        raise RasterError(msg)
    pixels = dataset.width * dataset.height
    if pixels > MAX_PIXELS or dataset.count > MAX_BANDS:
        msg = (
            f"{href} has {dataset.count} bands of {dataset.width} by {dataset.height} pixels; "
            f"{MAX_BANDS} bands of {MAX_PIXELS} pixels are the most that are read; drop the scene"
        )
        raise TooLargeError(msg)
    interleaved = dataset.count if dataset.interleaving == Interleaving.pixel else 1
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        size = height * width * np.dtype(dtype).itemsize * interleaved
        if size > MAX_BLOCK_BYTES:
            msg = (
                f"{href} has blocks of {height} by {width} pixels, {size / 2**20:.0f} MiB; "
                f"{MAX_BLOCK_BYTES / 2**20:.0f} MiB are the most that are decoded at a time: write "
                "it anew in tiles, or drop the scene"
            )
            raise TooLargeError(msg)


def open_error(access: Access, error: Exception) -> CloudBusterError:
    """Make the error for a file that GDAL could not open.

    Parameters
    ----------
    access : Access
        How the file was opened.
    error : Exception
        GDAL's error.

    Returns
    -------
    CredentialsError, AccessError, RasterError or TryAgainError
        For a file without credentials, refused, missing or broken, and for a failure that may
        pass. Messages hold no signatures and no keys.
    """
    if access.bucket is None:
        return RasterError(_broken(access, error))
    reason = reason_of(access, error)
    status = forget(access)
    if status in REFUSED_STATUSES or (status is None and NO_CREDENTIALS.search(reason)):
        return refusal_error(access, status, reason)
    if status in MISSING_STATUSES:
        return RasterError(f"{access.href}: there is no such file ({reason}); drop the scene")
    if status is None and NO_RASTER.search(reason):
        return RasterError(_broken(access, error))
    answer = f"HTTP status {status}, {reason}" if status else reason
    return TryAgainError(f"{access.href}: {answer}; try again")


def forget(access: Access) -> int | None:
    """Make GDAL forget a file in a bucket that it failed to open, and return the HTTP status.

    GDAL remembers a failed opening for the life of the process, so that an outage of a second would
    make a file missing for good (rasterio#2119). It reports the HTTP status only of an opening that
    it does not remember.

    Parameters
    ----------
    access : Access
        How the file was opened.

    Returns
    -------
    int or None
        HTTP status of the failure; None if the file opens now, or GDAL names no status.
    """
    try:
        with (
            access.settings(CPL_VSIL_CURL_NON_CACHED=access.path),
            _reader(access.path),
        ):
            return None
    except RASTER_ERRORS as error:
        match = STATUS.search(str(error))
        return int(match[1]) if match else None


def _broken(access: Access, error: Exception) -> str:
    return f"{access.href}: {reason_of(access, error)}; fetch the file again or drop the scene"
