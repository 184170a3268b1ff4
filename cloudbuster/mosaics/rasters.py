"""Read the rasters of a finished mosaic, on this machine, in S3 or on a server."""

import warnings
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from cloudbuster.core.arrays import UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.errors import RasterError
from cloudbuster.mosaics import opened
from cloudbuster.mosaics.opened import FinishedMosaic
from cloudbuster.storage.files.uri import is_remote, local_path
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.rasters.tiled_raster import rasterio_window

# Bands of the quality raster without which a pixel cannot be explained or checked.
QUALITY = ("times_observed", "times_clear", "cloud_distance_m", "confidence", "state")


def open_raster(uri: str) -> Any:  # noqa: ANN401 -- rasterio is untyped
    """Open a raster of a mosaic; the caller closes it.

    Raises
    ------
    RasterError
        If it is missing or no GeoTIFF.
    TryAgainError, AccessError
        If the storage fails or refuses access.
    """
    if is_remote(uri):
        return RasterFile(uri)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(local_path(uri), driver="GTiff")
    except RASTER_ERRORS as error:
        msg = f"{uri}: missing, truncated or not a GeoTIFF; merge the mosaic again"
        raise RasterError(msg) from error


def raster_grid(dataset: Any, uri: str) -> Grid:  # noqa: ANN401 -- rasterio is untyped
    """Return the grid of a raster; raise RasterError if it has none."""
    crs = dataset.crs
    if crs is None:
        msg = f"{uri}: no coordinate reference system; merge the mosaic again"
        raise RasterError(msg)
    epsg = crs.to_epsg()
    text = f"EPSG:{epsg}" if epsg else crs.to_wkt()
    try:
        return Grid.from_transform(
            text, dataset.transform, width=dataset.width, height=dataset.height
        )
    except ValueError as error:
        msg = f"{uri}: {error}; merge the mosaic again"
        raise RasterError(msg) from error


class MosaicRasters:
    """The rasters of a mosaic, open for reading; a context manager, which closes them.

    Parameters
    ----------
    mosaic : FinishedMosaic
        The mosaic.

    Attributes
    ----------
    grid : Grid
        Grid of the mosaic.
    bands : tuple of str
        Reflectance bands.
    quality_bands : tuple of str
        Bands of the quality raster.

    Raises
    ------
    RasterError, NotFoundError
        If a raster is missing or damaged, or has no band of scene indices.
    TryAgainError, AccessError
        If the storage fails or refuses access.
    """

    def __init__(self, mosaic: FinishedMosaic) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            files = [(uri, stack.enter_context(open_raster(uri))) for uri in mosaic.cloudless]
            self._cloudless = files
            self._cloudy = self._opened(mosaic, opened.CLOUDY, stack)
            self._quality = self._opened(mosaic, opened.QUALITY, stack)
            self.grid = raster_grid(files[0][1], files[0][0])
            names = [name for _, each in files for name in each.descriptions]
            if len(names) < 2 or names[-1] != "scene_index" or not all(names):
                msg = f"{files[-1][0]}: its last band is not scene_index; merge the mosaic again"
                raise RasterError(msg)
            self.bands = tuple(str(name) for name in names[:-1])
            self.quality_bands = tuple(map(str, self._quality[1].descriptions))
            missing = [name for name in QUALITY if name not in self.quality_bands]
            if missing:
                msg = f"{self._quality[0]} has no band {missing[0]}; merge the mosaic again"
                raise RasterError(msg)
            self._stack = stack.pop_all()

    @staticmethod
    def _opened(mosaic: FinishedMosaic, key: str, stack: ExitStack) -> tuple[str, Any]:
        """Open a raster of all its bands, with its address."""
        uri = mosaic.raster(key)
        return uri, stack.enter_context(open_raster(uri))

    def __enter__(self) -> Self:
        """Return the rasters themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def cloudless(self, window: GridWindow) -> UInt16Raster:
        """Read the mosaic: its bands and ``scene_index``, uint16, shape (band, y, x)."""
        return np.concatenate([_read(uri, each, window) for uri, each in self._cloudless])

    def cloudy(self, window: GridWindow) -> UInt16Raster:
        """Read the backstop: its bands and ``scene_index``, uint16, shape (band, y, x)."""
        return _read(*self._cloudy, window)

    def quality(self, window: GridWindow) -> dict[str, UInt16Raster]:
        """Read the quality raster by band, uint16, shape (y, x)."""
        pixels = _read(*self._quality, window)
        return dict(zip(self.quality_bands, pixels, strict=True))


def _read(uri: str, dataset: Any, window: GridWindow) -> UInt16Raster:  # noqa: ANN401 -- rasterio is untyped
    """Read all bands of a raster in a window inside it; raise RasterError if it is damaged."""
    try:
        pixels = dataset.read(list(range(1, dataset.count + 1)), window=rasterio_window(window))
    except RASTER_ERRORS as error:
        msg = f"{uri}: truncated or damaged ({error}); merge the mosaic again"
        raise RasterError(msg) from error
    return np.asarray(pixels, dtype=np.uint16)
