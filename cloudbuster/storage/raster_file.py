"""A raster of any place, open for reading under its place's settings; what its failures mean."""

import re
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import rasterio

from cloudbuster.errors import AccessError, CloudBusterError, RasterError, TryAgainError
from cloudbuster.storage.access import MISSING, REFUSALS, Access, access_of, reason_of, refusal
from cloudbuster.storage.gdal_env import RASTER_ERRORS
from cloudbuster.storage.sas import SIGNED_HOSTS
from cloudbuster.storage.uri import is_remote

STATUS = re.compile(r"HTTP response code: (\d{3})")
# What GDAL says where its whole chain of credentials is empty, and of what it cannot read.
NO_CREDENTIALS = re.compile(r"AWS_SECRET_ACCESS_KEY|AWS_ACCESS_KEY_ID")
NO_RASTER = re.compile(r"not recognized as being in a supported file format|not a supported")


class RasterFile:
    """A raster of any place, open for reading under its place's settings.

    Use it as a context manager: it closes the file. A signature that runs out while it is open is
    renewed, and a read that fails on the way is repeated once on a file opened anew.

    Parameters
    ----------
    href : str
        As `access_of` takes it.

    Attributes
    ----------
    dataset : rasterio dataset
        As it is open now; its size, grid and bands are attributes of the file too.

    Raises
    ------
    RasterError
        Where there is no such file, or it is no raster.
    AccessError, CredentialsError
        Where it may not be read; names the bucket and the permission.
    TryAgainError
        Where its place fails in a way that may pass.
    """

    def __init__(self, href: str) -> None:
        self.href = href
        self._access = access_of(href)
        self.dataset: Any = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Give what the dataset knows of itself: ``count``, ``crs``, ``transform``, ..."""
        return getattr(self.dataset, name)

    def close(self) -> None:
        """Let go of the file."""
        self.dataset.close()

    def read(self, band: int | list[int], **how: Any) -> Any:  # noqa: ANN401 -- rasterio has no types
        """Read one band, or several.

        Parameters
        ----------
        band : int or list of int
            1-based.
        **how
            As rasterio's ``read`` takes it (``window``, ``out_shape``, ``resampling``).

        Returns
        -------
        ndarray, shape (y, x), or (band, y, x) of several
            Of the file's own dtype.

        Raises
        ------
        RasterError
            Where the file is broken.
        AccessError, CredentialsError
            Where it may no longer be read.
        TryAgainError
            Where its place fails in a way that may pass.
        """
        if self._renewed():
            self._reopen()
        try:
            return self._read(band, how)
        except RASTER_ERRORS as error:
            if not is_remote(self.href):
                raise RasterError(_broken(self._access, error)) from error
            forget(self._access)
        # GDAL does not say why a read failed; opening the file again does.
        self._reopen()
        try:
            return self._read(band, how)
        except RASTER_ERRORS as error:
            msg = f"{self.href}: {reason_of(self._access, error)}; try again"
            raise TryAgainError(msg) from error

    def _opened(self) -> Any:  # noqa: ANN401 -- rasterio has no types
        try:
            with self._access.settings():
                return rasterio.open(self._access.path)
        except RASTER_ERRORS as error:
            raise open_error(self._access, error) from error

    def _reopen(self) -> None:
        with suppress(*RASTER_ERRORS):
            self.close()
        self._access = access_of(self.href)
        self.dataset = self._opened()

    def _renewed(self) -> bool:
        """Whether the place now wants the file opened with another signature."""
        parts = urlsplit(self.href)
        if parts.netloc not in SIGNED_HOSTS:
            return False
        return access_of(self.href).path != self._access.path

    def _read(self, band: int | list[int], how: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- rasterio has no types
        with self._access.settings():
            return self.dataset.read(band, **how)


def open_error(access: Access, error: Exception) -> CloudBusterError:
    """Tell apart: refused, missing, broken, and what may pass.

    Parameters
    ----------
    access : Access
        How the file was opened.
    error : Exception
        What GDAL said.

    Returns
    -------
    CloudBusterError
        AccessError, RasterError or TryAgainError; without signatures and keys.
    """
    if not is_remote(access.href):
        return RasterError(_broken(access, error))
    reason = reason_of(access, error)
    status = forget(access)
    if status in REFUSALS or (status is None and NO_CREDENTIALS.search(reason)):
        return AccessError(refusal(access, status, reason))
    if status in MISSING:
        return RasterError(f"{access.href}: there is no such file ({reason}); drop the scene")
    if status is None and NO_RASTER.search(reason):
        return RasterError(_broken(access, error))
    told = f"HTTP status {status}, {reason}" if status else reason
    return TryAgainError(f"{access.href}: {told}; try again")


def forget(access: Access) -> int | None:
    """Let GDAL forget what it remembers of a remote file, and say the status it remembered.

    GDAL keeps a failed opening for the life of the process, so that an outage of a second would
    make a file missing for good (rasterio#2119); and of S3 it tells the HTTP status only of what
    it keeps.

    Parameters
    ----------
    access : Access
        How the file was opened.

    Returns
    -------
    int or None
        HTTP status of the failure; None where it opens now, or none was had.
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
