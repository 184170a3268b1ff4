"""Write the raster of a gathered scene, in the layout that `scene_raster` tells of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cloudbuster.core.arrays import Raster, UInt16Raster
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.core.masks import DISTANCE_LIMIT_M
from cloudbuster.gathered.scene_raster import scene_bands
from cloudbuster.storage.gdal_env import writing
from cloudbuster.storage.tiled_raster import NODATA, check_written, raster_profile, rasterio_window
from cloudbuster.storage.uri import replacing

UInt16Raster = UInt16Raster


def scene_profile(grid: Grid, bands: tuple[str, ...]) -> dict[str, Any]:
    """Profile, as rasterio takes it, of the raster of a gathered scene.

    Parameters
    ----------
    grid : Grid
        Of the scene's own window.
    bands : tuple of str
        Reflectance bands.

    Returns
    -------
    dict
        uint16, nodata 0, tiled, DEFLATE level 1 (measured 2.9 times cheaper than the original's
        merge input, and no larger than level 6), band-interleaved.
    """
    return {
        **raster_profile(grid, len(scene_bands(bands))),
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }


@dataclass(frozen=True)
class SceneWriter:
    """Writes the raster of a gathered scene block by block; made by `open_scene_writer`.

    Attributes
    ----------
    path : Path
        Where the raster will be.
    grid : Grid
        Of the scene's own window.
    bands : tuple of str
        Reflectance bands.
    index : int
        Of the scene.
    """

    path: Path
    grid: Grid
    bands: tuple[str, ...]
    index: int
    _dataset: Any

    def write(
        self,
        window: GridWindow,
        reflectance: UInt16Raster,
        classes: Raster,
        cloud_distance_m: Raster,
    ) -> None:
        """Write one block; ``scene_index`` is written where every band has a value.

        Parameters
        ----------
        window : GridWindow
            Of the scene's own grid. Multiples of `TILE_SIZE` are written without waste.
        reflectance : ndarray of uint16, shape (band, y, x)
            Harmonised digital numbers; 0 is nodata.
        classes : ndarray of int, shape (y, x)
            Codes of `PixelClass`.
        cloud_distance_m : ndarray of number, shape (y, x)
            Metres to the nearest masked cloud; capped at `DISTANCE_LIMIT_M`.

        Raises
        ------
        ValueError
            Where the shapes do not match.
        OutputError, TryAgainError
            Where the file cannot be written, or the disk is full.
        """
        shape = (window.height, window.width)
        if reflectance.shape != (len(self.bands), *shape) or classes.shape != shape:
            msg = f"reflectance {reflectance.shape} and classes {classes.shape} do not fit {window}"
            raise ValueError(msg)
        present = (reflectance != NODATA).all(axis=0)
        capped = np.minimum(cloud_distance_m, DISTANCE_LIMIT_M)
        layers = (classes, capped, np.where(present, self.index, NODATA))
        pixels = np.concatenate([reflectance, np.stack(layers).astype(np.uint16)])
        with writing(self.path):
            self._dataset.write(pixels, window=rasterio_window(window))


@contextmanager
def open_scene_writer(
    path: Path, grid: Grid, bands: tuple[str, ...], *, index: int
) -> Iterator[SceneWriter]:
    """Open a scene's raster for writing; it appears whole, when the body succeeds, or not at all.

    Parameters
    ----------
    path : Path
        Where the raster will be.
    grid : Grid
        Of the scene's own window.
    bands : tuple of str
        Reflectance bands.
    index : int
        Of the scene, 1 to 65534.

    Raises
    ------
    OutputError
        Where the folder or the file cannot be written.
    TryAgainError
        Where the disk is full.
    """
    profile = scene_profile(grid, bands)
    with replacing(path) as partial, writing(path):
        with rasterio.open(partial, "w", **profile) as dataset:
            dataset.descriptions = scene_bands(bands)
            yield SceneWriter(path, grid, bands, index, dataset)
        check_written(partial)
