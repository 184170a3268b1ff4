"""A raster wherever it lies, open for reading with the settings of its place."""

import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from cloudbuster.errors import CloudBusterError, RasterError, TryAgainError
from cloudbuster.storage.access import Access, access_of, reason_of, refusal_error
from cloudbuster.storage.gdal_env import RASTER_ERRORS
from cloudbuster.storage.sas import SIGNED_HOSTS
from cloudbuster.storage.uri import MISSING_STATUSES, is_remote

# S3 answers 400 for an expired token, Azure 409 for public access to a private account.
REFUSED_STATUSES = frozenset({400, 401, 403, 407, 409})
STATUS = re.compile(r"HTTP response code: (\d{3})")
# Words of GDAL's messages when it finds no credentials, and when a file is no raster.
NO_CREDENTIALS = re.compile(r"AWS_SECRET_ACCESS_KEY|AWS_ACCESS_KEY_ID")
NO_RASTER = re.compile(r"not recognized as being in a supported file format|not a supported")


class RasterFile:
    """A raster wherever it lies, open for reading with the settings of its place.

    Use it as a context manager, which closes the file. A signature that expires while the file is
    open is renewed, and a read that fails because of the network is repeated once on a file opened
    anew.

    Parameters
    ----------
    href : str
        Address as `access_of` takes it.

    Attributes
    ----------
    dataset : rasterio dataset
        The open file; its size, grid and bands are attributes of this object too.

    Raises
    ------
    RasterError
        If there is no such file, or it is no raster.
    CredentialsError, AccessError
        If it may not be read; names the bucket and the permission.
    TryAgainError
        If its place fails in a way that may pass.
    """

    def __init__(self, href: str) -> None:
        self.href = href
        self._access = access_of(href)
        self.dataset: Any = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Return an attribute of the dataset: ``count``, ``crs``, ``transform``, ..."""
        return getattr(self.dataset, name)

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()

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

    def _repeated(self, method: str, band: int | list[int], how: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Call a method of the dataset; after a failure of the network, once more."""
        if self._renewed():
            self._reopen()
        try:
            return self._read(method, band, how)
        except RASTER_ERRORS as error:
            if not is_remote(self.href):
                raise RasterError(_broken(self._access, error)) from error
            forget(self._access)
        # GDAL does not say why a read failed; opening the file again does.
        self._reopen()
        try:
            return self._read(method, band, how)
        except RASTER_ERRORS as error:
            msg = f"{self.href}: {reason_of(self._access, error)}; try again"
            raise TryAgainError(msg) from error

    def _opened(self) -> Any:  # noqa: ANN401 -- rasterio has no types
        try:
            # A file without georeference is no fault here: its item may say where it lies.
            with self._access.settings(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                return rasterio.open(self._access.path)
        except RASTER_ERRORS as error:
            raise open_error(self._access, error) from error

    def _reopen(self) -> None:
        with suppress(*RASTER_ERRORS):
            self.close()
        self._access = access_of(self.href)
        self.dataset = self._opened()

    def _renewed(self) -> bool:
        """Whether the file must now be opened with another signature."""
        parts = urlsplit(self.href)
        if parts.netloc not in SIGNED_HOSTS:
            return False
        return access_of(self.href).path != self._access.path

    def _read(self, method: str, band: int | list[int], how: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- rasterio has no types
        with self._access.settings():
            return getattr(self.dataset, method)(band, **how)


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
    if not is_remote(access.href):
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
    """Make GDAL forget a remote file that it failed to open, and return the HTTP status.

    GDAL remembers a failed opening for the life of the process, so that an outage of a second would
    make a file missing for good (rasterio#2119). For S3 it reports the HTTP status only of an
    opening that it does not remember.

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
            rasterio.open(access.path),
        ):
            return None
    except RASTER_ERRORS as error:
        match = STATUS.search(str(error))
        return int(match[1]) if match else None


def _broken(access: Access, error: Exception) -> str:
    return f"{access.href}: {reason_of(access, error)}; fetch the file again or drop the scene"
