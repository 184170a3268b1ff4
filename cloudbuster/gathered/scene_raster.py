"""A gathered scene on disk: the layout of its raster, and its reader.

A scene's raster covers a window of the mosaic's grid and is aligned to it. Its bands are the
requested reflectance bands (described ``B02``, ...), then ``pixel_class``, ``cloud_distance_m``
and, last, ``scene_index``; all uint16, 0 is nodata. A raster of the original's layout (reflectance
bands, then the index) can be read as well: what it holds counts as clear.
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
from cloudbuster.core.bands import BANDS_BY_KIND
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.core.masks import PixelClass
from cloudbuster.errors import RasterError
from cloudbuster.storage.gdal_env import RASTER_ERRORS
from cloudbuster.storage.raster_file import RasterFile
from cloudbuster.storage.tiled_raster import NODATA, check_length, raster_crs, rasterio_window
from cloudbuster.storage.uri import is_remote

CLASS_BAND = "pixel_class"
CLOUD_DISTANCE_BAND = "cloud_distance_m"
SCENE_INDEX_BAND = "scene_index"
# Distances saturate here: FORCE's and WASP's cloud weights are flat from 3 km on.
MAX_CLOUD_DISTANCE_M = 3000

# Rasters open at once: far below the 1024 files that a process may usually hold.
MAX_OPEN_SCENES = 128

BACKSTOP_PREFIX = "backstop-"
MASK_PREFIX = "mask-"

UInt16Raster = UInt16Raster


def scene_stem(name: str, index: int, *, prefix: str = "") -> str:
    """File name, without its ending, of scene ``index`` of mosaic ``name``."""
    return f"{prefix}{name}-{index:02d}"


def scene_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Descriptions of all bands of a scene's raster, in order."""
    return (*bands, CLASS_BAND, CLOUD_DISTANCE_BAND, SCENE_INDEX_BAND)


class SceneRaster:
    """The raster of a gathered scene, open for reading.

    Windows count in the cells of the mosaic's grid. What lies outside of the scene reads as 0.

    Parameters
    ----------
    path : Path or str
        Of the raster; an ``s3://`` URI reads no more of it than is asked for.
    mosaic : Grid or None
        Grid of the mosaic, in whose cells windows count; None for the scene's own grid.

    Attributes
    ----------
    path : Path or str
        Of the raster.
    grid : Grid
        Of the scene's own window.
    bands : tuple of str
        Reflectance bands.
    has_classes : bool
        Whether it holds ``pixel_class`` and ``cloud_distance_m``; the original's layout does not.
    window : GridWindow
        The scene's cells in the mosaic's grid; may reach outside of it.

    Raises
    ------
    RasterError
        Where the file is missing, truncated, of another layout, or not aligned to ``mosaic``.
    TryAgainError, AccessError
        Where its place fails or refuses.
    """

    def __init__(self, path: Path | str, mosaic: Grid | None = None) -> None:
        self.path = path
        self._dataset: Any = None
        dataset = self._open()
        try:
            self.grid = _grid_of(path, dataset, mosaic)
            self.bands, self.has_classes = _bands_of(path, dataset)
            self.window = _window_of(path, self.grid, mosaic)
            check_length(path, dataset)
        except RasterError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; the next read opens it again."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def read_classes(self, window: GridWindow) -> UInt8Raster:
        """Read codes of `PixelClass`, uint8, shape (y, x).

        A file without them is clear where it has values.

        Raises
        ------
        RasterError
            Where the file is truncated or broken.
        """
        if self.has_classes:
            return self._read_band(CLASS_BAND, window).astype(np.uint8)
        present = (self.read_reflectance(window) != NODATA).all(axis=0)
        return np.where(present, np.uint8(PixelClass.CLEAR), np.uint8(PixelClass.UNOBSERVED))

    def read_cloud_distance(self, window: GridWindow) -> UInt16Raster:
        """Read metres to the nearest masked cloud, uint16, shape (y, x); 0 where nobody knows.

        Raises
        ------
        RasterError
            Where the file is truncated or broken.
        """
        if self.has_classes:
            return self._read_band(CLOUD_DISTANCE_BAND, window)
        return np.zeros((window.height, window.width), dtype=np.uint16)

    def read_present(self, window: GridWindow) -> BoolRaster:
        """Read where the scene holds reflectance, masked or not; bool, shape (y, x).

        Raises
        ------
        RasterError
            Where the file is truncated or broken.
        """
        if self.has_classes:
            return np.asarray(self._read_band(SCENE_INDEX_BAND, window) != NODATA)
        return np.asarray(self.read_classes(window) != PixelClass.UNOBSERVED)

    def read_reflectance(self, window: GridWindow) -> UInt16Raster:
        """Read harmonised digital numbers, uint16, shape (band, y, x); 0 is nodata.

        Raises
        ------
        RasterError
            Where the file is truncated or broken.
        """
        return self._read(list(range(1, len(self.bands) + 1)), window)

    def _read_band(self, band: str, window: GridWindow) -> UInt16Raster:
        number = scene_bands(self.bands).index(band) + 1
        return np.asarray(self._read([number], window)[0], dtype=np.uint16)

    def _read(self, numbers: list[int], window: GridWindow) -> UInt16Raster:
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
            msg = f"{self.path}: truncated or broken ({error}); gather this scene again"
            raise RasterError(msg) from error
        return pixels

    def _open(self) -> Any:  # noqa: ANN401 -- rasterio is untyped
        if self._dataset is None:
            try:
                self._dataset = (
                    RasterFile(str(self.path)) if is_remote(str(self.path)) else _opened(self.path)
                )
            except RASTER_ERRORS as error:
                msg = f"{self.path}: missing, truncated or no GeoTIFF; gather this scene again"
                raise RasterError(msg) from error
        return self._dataset


def _opened(path: Path | str) -> Any:  # noqa: ANN401 -- rasterio is untyped
    """Open a raster on this machine; `_grid_of` refuses one without a georeference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver="GTiff")


class OpenScenes:
    """Rasters of gathered scenes on one grid, of which only so many are open at a time.

    Use it as a context manager: it closes them.

    Parameters
    ----------
    paths : sequence of Path or str
        Of the rasters; each is opened once, and so checked.
    mosaic : Grid
        Grid of the mosaic, in whose cells windows count.
    max_open : int
        Greatest number of open files.

    Raises
    ------
    RasterError
        As `SceneRaster` does.
    """

    def __init__(
        self, paths: Sequence[Path | str], mosaic: Grid, *, max_open: int = MAX_OPEN_SCENES
    ) -> None:
        self._max_open = max_open
        self._open: OrderedDict[int, SceneRaster] = OrderedDict()
        self._rasters: list[SceneRaster] = []
        for position, path in enumerate(paths):
            self._rasters.append(SceneRaster(path, mosaic))
            self.use(position)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for raster in self._open.values():
            raster.close()

    def use(self, position: int) -> SceneRaster:
        """Scene at ``position``; the one unused for longest is closed when there are too many."""
        raster = self._open[position] = self._rasters[position]
        self._open.move_to_end(position)
        if len(self._open) > self._max_open:
            _, oldest = self._open.popitem(last=False)
            oldest.close()
        return raster

    def meeting(self, window: GridWindow) -> list[int]:
        """Positions of the scenes that hold any cell of ``window``."""
        return [
            position
            for position, raster in enumerate(self._rasters)
            if not raster.window.intersection(window).is_empty
        ]


def _window_of(path: Path | str, grid: Grid, mosaic: Grid | None) -> GridWindow:
    """Cells of a scene's grid in those of the mosaic."""
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


def _grid_of(path: Path | str, dataset: Any, mosaic: Grid | None) -> Grid:  # noqa: ANN401 -- rasterio is untyped
    if dataset.crs is None:
        msg = f"{path}: it has no coordinate reference system; gather this scene again"
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


def _bands_of(path: Path | str, dataset: Any) -> tuple[tuple[str, ...], bool]:  # noqa: ANN401 -- rasterio is untyped
    """Reflectance bands of a raster, and whether it holds classes."""
    described = tuple(dataset.descriptions)
    if set(dataset.dtypes) != {"uint16"} or dataset.count < 2:
        msg = f"{path}: {dataset.count} bands of {dataset.dtypes[0]}; a scene has uint16 bands"
        raise RasterError(msg)
    if described[-1] == SCENE_INDEX_BAND and all(described):
        has_classes = CLASS_BAND in described
        bands = described[: -3 if has_classes else -1]
        if bands and described == (
            scene_bands(bands) if has_classes else (*bands, SCENE_INDEX_BAND)
        ):
            return bands, has_classes
    if not any(described):
        return _bands_by_count(dataset.count - 1), False
    msg = f"{path}: bands {described}; a scene ends with {', '.join(scene_bands(()))}"
    raise RasterError(msg)


def _bands_by_count(count: int) -> tuple[str, ...]:
    # The original describes no band: it writes all of a level, in the order of `BANDS_BY_KIND`.
    for bands in BANDS_BY_KIND.values():
        if len(bands) == count:
            return bands
    return tuple(f"band_{number}" for number in range(1, count + 1))
