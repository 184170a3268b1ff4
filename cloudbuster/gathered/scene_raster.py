"""Layout and reader of the raster of a gathered scene.

The raster covers a window of the mosaic's grid. Its bands are the requested reflectance bands
(described ``B02``, ...), then ``pixel_class``, ``cloud_distance_m``, ``confidence`` and
``scene_index``; all are uint16, and 0 is nodata. Rasters of the original (reflectance bands, then
the index) can be read too; all their pixels count as clear.
"""

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.errors import RasterError
from cloudbuster.storage.files.uri import is_remote
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.rasters.tiled_raster import (
    NODATA,
    check_length,
    raster_crs,
    rasterio_window,
)

CLASS_BAND = "pixel_class"
CLOUD_DISTANCE_BAND = "cloud_distance_m"
CONFIDENCE_BAND = "confidence"
SCENE_INDEX_BAND = "scene_index"

# Rasters open at a time: well below 1024, the usual limit of open files of a process.
MAX_OPEN_SCENES = 128

BACKSTOP_PREFIX = "backstop-"
MASK_PREFIX = "mask-"


def scene_stem(name: str, index: int, *, prefix: str = "") -> str:
    """File name, without suffix, of scene ``index`` of mosaic ``name``."""
    return f"{prefix}{name}-{index:02d}"


def scene_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Descriptions of all bands of the raster of a scene, in order."""
    return (*bands, CLASS_BAND, CLOUD_DISTANCE_BAND, CONFIDENCE_BAND, SCENE_INDEX_BAND)


class SceneRaster:
    """Raster of a gathered scene, open for reading.

    Windows are in cells of the mosaic's grid. Cells outside the scene read as 0.

    Parameters
    ----------
    path : Path or str
        Path of the raster, or ``s3://`` URI, of which only the blocks needed are read.
    mosaic : Grid or None
        Grid of the mosaic; None uses the scene's own grid.

    Attributes
    ----------
    path : Path or str
        Path or URI of the raster.
    grid : Grid
        Grid of the scene's own window.
    bands : tuple of str
        Reflectance bands.
    has_classes : bool
        Whether it has ``pixel_class``, ``cloud_distance_m`` and ``confidence``; rasters of the
        original do not.
    window : GridWindow
        Cells of the scene in the mosaic's grid; it may extend beyond that grid.

    Raises
    ------
    RasterError
        If the file is missing, truncated, of another layout, or not aligned to ``mosaic``.
    TryAgainError, AccessError
        If the storage fails or refuses access.
    """

    def __init__(self, path: Path | str, mosaic: Grid | None = None) -> None:
        """Open the raster and check its layout, length and alignment."""
        self.path = path
        self._dataset: Any = None
        dataset = self._open()
        try:
            self.grid = _scene_grid(path, dataset, mosaic)
            self.bands, self.has_classes = _reflectance_bands(path, dataset)
            self.window = _mosaic_window(path, self.grid, mosaic)
            check_length(path, dataset)
        except RasterError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the raster itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def read_classes(self, window: GridWindow) -> UInt8Raster:
        """Read codes of `PixelClass`, uint8, shape (y, x).

        In a raster of the original, pixels with a value are clear and others unobserved.

        Raises
        ------
        RasterError
            If the file is truncated or damaged.
        """
        if self.has_classes:
            return self._read_band(CLASS_BAND, window).astype(np.uint8)
        present = (self.read_reflectance(window) != NODATA).all(axis=0)
        return np.where(present, np.uint8(PixelClass.CLEAR), np.uint8(PixelClass.UNOBSERVED))

    def read_cloud_distance(self, window: GridWindow) -> UInt16Raster:
        """Read the distance to the nearest masked cloud, metres, uint16, shape (y, x).

        It is 0 where the scene was not observed, and everywhere in a raster of the original.

        Raises
        ------
        RasterError
            If the file is truncated or damaged.
        """
        if self.has_classes:
            return self._read_band(CLOUD_DISTANCE_BAND, window)
        return np.zeros((window.height, window.width), dtype=np.uint16)

    def read_confidence(self, window: GridWindow) -> UInt16Raster:
        """Read the agreement of the joined detectors, percent, uint16, shape (y, x).

        It is 100 for a single detector, and 0 where the scene was not observed and everywhere in a
        raster of the original.

        Raises
        ------
        RasterError
            If the file is truncated or damaged.
        """
        if self.has_classes:
            return self._read_band(CONFIDENCE_BAND, window)
        return np.zeros((window.height, window.width), dtype=np.uint16)

    def read_present(self, window: GridWindow) -> BoolRaster:
        """Read the mask of the cells that hold reflectance, bool, shape (y, x).

        Raises
        ------
        RasterError
            If the file is truncated or damaged.
        """
        if self.has_classes:
            return np.asarray(self._read_band(SCENE_INDEX_BAND, window) != NODATA)
        return np.asarray(self.read_classes(window) != PixelClass.UNOBSERVED)

    def read_reflectance(self, window: GridWindow) -> UInt16Raster:
        """Read harmonised DN, uint16, shape (band, y, x); 0 is nodata.

        Raises
        ------
        RasterError
            If the file is truncated or damaged.
        """
        return self._read(list(range(1, len(self.bands) + 1)), window)

    def read_bands(self, bands: Sequence[str], window: GridWindow) -> UInt16Raster:
        """Read some reflectance bands by name, as `read_reflectance`.

        Raises
        ------
        RasterError
            If the file is truncated or damaged.
        """
        return self._read([self.bands.index(band) + 1 for band in bands], window)

    def _read_band(self, band: str, window: GridWindow) -> UInt16Raster:
        """Read one band by its description, shape (y, x)."""
        number = scene_bands(self.bands).index(band) + 1
        return np.asarray(self._read([number], window)[0], dtype=np.uint16)

    def _read(self, numbers: list[int], window: GridWindow) -> UInt16Raster:
        """Read bands by their 1-based numbers, shape (band, y, x); 0 outside the scene."""
        pixels = np.zeros((len(numbers), window.height, window.width), dtype=np.uint16)
        inside = window.intersection(self.window)
        if inside.is_empty:
            return pixels
        rows, cols = inside.shifted(-window.row, -window.col).slices
        own = rasterio_window(inside.shifted(-self.window.row, -self.window.col))
        dataset = self._open()
        try:
            pixels[:, rows, cols] = dataset.read(numbers, window=own)
        except RASTER_ERRORS as error:
            msg = f"{self.path}: truncated or damaged ({error}); gather this scene again"
            raise RasterError(msg) from error
        return pixels

    def _open(self) -> Any:  # noqa: ANN401 -- rasterio is untyped
        """Open dataset; it is opened again if it was closed."""
        if self._dataset is None:
            try:
                self._dataset = (
                    RasterFile(str(self.path)) if is_remote(str(self.path)) else _opened(self.path)
                )
            except RASTER_ERRORS as error:
                msg = f"{self.path}: missing, truncated or not a GeoTIFF; gather this scene again"
                raise RasterError(msg) from error
        return self._dataset


def _opened(path: Path | str) -> Any:  # noqa: ANN401 -- rasterio is untyped
    """Open a raster on this machine; `_grid_of` refuses one without a georeference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver="GTiff")


class OpenScenes:
    """Rasters of gathered scenes on one grid, with a limited number of open files.

    Use it as a context manager, which closes the files.

    Parameters
    ----------
    paths : sequence of Path or str
        Paths of the rasters; each is opened once at the start, to check it.
    mosaic : Grid
        Grid of the mosaic; windows are in its cells.
    max_open : int
        Maximum number of open files.

    Raises
    ------
    RasterError
        If a raster cannot be read; see `SceneRaster`.
    """

    def __init__(
        self, paths: Sequence[Path | str], mosaic: Grid, *, max_open: int = MAX_OPEN_SCENES
    ) -> None:
        """Open every raster once, and keep up to ``max_open`` of them open."""
        self._max_open = max_open
        self._open: OrderedDict[int, SceneRaster] = OrderedDict()
        self._rasters: list[SceneRaster] = []
        for position, path in enumerate(paths):
            self._rasters.append(SceneRaster(path, mosaic))
            self.open_raster(position)

    def __enter__(self) -> Self:
        """Return the rasters themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the open files."""
        for raster in self._open.values():
            raster.close()

    def open_raster(self, position: int) -> SceneRaster:
        """Raster at ``position``; the least recently used one is closed above the limit."""
        raster = self._open[position] = self._rasters[position]
        self._open.move_to_end(position)
        if len(self._open) > self._max_open:
            _, oldest = self._open.popitem(last=False)
            oldest.close()
        return raster

    def intersecting(self, window: GridWindow) -> list[int]:
        """Positions of the rasters that intersect ``window``."""
        return [
            position
            for position, raster in enumerate(self._rasters)
            if not raster.window.intersection(window).is_empty
        ]


def _mosaic_window(path: Path | str, grid: Grid, mosaic: Grid | None) -> GridWindow:
    """Window of a scene in the mosaic's grid; raise RasterError if it is not aligned."""
    if mosaic is None:
        return grid.window
    if not mosaic.is_aligned(grid):
        msg = (
            f"{path}: its grid ({grid.crs}, origin {grid.west:.10g} {grid.north:.10g}, "
            f"cell {grid.x_size:.10g}) is not aligned to the mosaic's ({mosaic.crs}, origin "
            f"{mosaic.west:.10g} {mosaic.north:.10g}, cell {mosaic.x_size:.10g}); "
            "gather this scene again"
        )
        raise RasterError(msg)
    return grid.window.shifted(*mosaic.offset_of(grid))


def _scene_grid(path: Path | str, dataset: Any, mosaic: Grid | None) -> Grid:  # noqa: ANN401 -- rasterio is untyped
    """Grid of a raster; its CRS is spelt as in ``mosaic`` if they are the same."""
    if dataset.crs is None:
        msg = f"{path}: no coordinate reference system; gather this scene again"
        raise RasterError(msg)
    if mosaic is not None and raster_crs(mosaic.crs) == dataset.crs:
        crs = mosaic.crs
    else:
        epsg = dataset.crs.to_epsg()
        crs = f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt()
    try:
        return Grid.from_transform(
            crs, dataset.transform, width=dataset.width, height=dataset.height
        )
    except ValueError as error:
        msg = f"{path}: {error}; gather this scene again"
        raise RasterError(msg) from error


def _reflectance_bands(path: Path | str, dataset: Any) -> tuple[tuple[str, ...], bool]:  # noqa: ANN401 -- rasterio is untyped
    """Reflectance bands of a raster, and whether it has the band of pixel classes."""
    described = tuple(dataset.descriptions)
    if set(dataset.dtypes) != {"uint16"} or dataset.count < 2:
        msg = f"{path}: {dataset.count} bands of {dataset.dtypes[0]}; a scene has uint16 bands"
        raise RasterError(msg)
    if described[-1] == SCENE_INDEX_BAND and all(described):
        has_classes = CLASS_BAND in described
        bands = described[: -len(scene_bands(())) if has_classes else -1]
        if bands and described == (
            scene_bands(bands) if has_classes else (*bands, SCENE_INDEX_BAND)
        ):
            return bands, has_classes
    if not any(described):
        return _bands_by_count(dataset.count - 1), False
    msg = f"{path}: bands {described}; a scene ends with {', '.join(scene_bands(()))}"
    raise RasterError(msg)


def _bands_by_count(count: int) -> tuple[str, ...]:
    """Names of the bands of a raster of the original, which has no descriptions."""
    # The original writes all bands of a level, in the order of `BANDS_BY_KIND`.
    for bands in BANDS_BY_KIND.values():
        if len(bands) == count:
            return bands
    return tuple(f"band_{number}" for number in range(1, count + 1))
