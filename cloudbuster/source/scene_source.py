"""A scene opened for reading: harmonised pixels and the product's own masks, on any grid."""

from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
from rasterio.enums import Resampling

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grid import Grid
from cloudbuster.core.offset_metadata import OffsetMetadata, offset_metadata
from cloudbuster.core.offset_neighbours import SceneThumbnail
from cloudbuster.core.offset_pixels import THUMBNAIL_BANDS, PixelEvidence, pixel_evidence
from cloudbuster.core.radiometry import OffsetDecision, decide_offset
from cloudbuster.core.regrid import sample_nearest
from cloudbuster.core.scene import BandAsset, Scene
from cloudbuster.errors import (
    CloudBusterError,
    GridError,
    MaskError,
    RasterError,
)
from cloudbuster.source.band_raster import BandRaster
from cloudbuster.storage.raster_file import RasterFile

# Longest side of the thumbnail that the radiometric decision is taken from, pixels.
EVIDENCE_PIXELS = 256
# Bands of a thumbnail, at least, where the scene has as many.
MIN_THUMBNAIL_BANDS = 3
# Classes of SCL that are clear ground or water, whose brightness two dates share (not snow).
STEADY_CLASSES = (4, 5, 6)


class RasterSceneSource:
    """The files of one scene, opened as they are needed.

    Use it as a context manager: it closes what it opened.

    Parameters
    ----------
    scene : Scene
        What the catalog said.
    bands : tuple of str
        Bands of the mosaic; the finest of them gives the scene's grid.
    radiometry : OffsetDecision or None
        What was decided of the scene's offset; None to decide it from this scene alone, at the
        first read.

    Raises
    ------
    RasterError, TryAgainError
        Where a band is missing or cannot be read.
    GridError
        Where a raster has no CRS or is not north-up.
    """

    def __init__(
        self, scene: Scene, bands: tuple[str, ...], *, radiometry: OffsetDecision | None = None
    ) -> None:
        self._scene = scene
        self._decided = radiometry
        self._stack = ExitStack()
        self._open: dict[str, RasterFile] = {}
        self._rasters: dict[BandAsset, BandRaster] = {}
        missing = [name for name in bands if name not in scene.bands]
        if missing:
            msg = (
                f"{scene.id} has no asset for {', '.join(missing)}; "
                "ask for other bands or drop the scene"
            )
            raise RasterError(msg)
        self._bands = bands
        try:
            self._grid = min(
                (self._raster(scene.bands[name]).grid for name in bands),
                key=lambda grid: grid.x_size,
            )
        except CloudBusterError:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def scene(self) -> Scene:
        """What is known of the scene."""
        return self._scene

    @property
    def grid(self) -> Grid:
        """Grid of the finest requested band, whole raster, in the scene's CRS."""
        return self._grid

    @property
    def metadata(self) -> OffsetMetadata:
        """What is said of the scene's offset."""
        return offset_metadata(self._scene)

    @cached_property
    def radiometry(self) -> OffsetDecision:
        """The offset of the scene: as it was given, else decided from the scene alone."""
        return self._decided or decide_offset(self.metadata, pixels=self.pixels)

    @cached_property
    def pixels(self) -> PixelEvidence:
        """What the thumbnail says of the offset."""
        names, dn = self._thumbnails
        return pixel_evidence(dn, names)

    def thumbnail(self) -> SceneThumbnail:
        """Read the scene in low resolution, to compare it with others.

        Raises
        ------
        RasterError, TryAgainError
            Naming the file that cannot be read.
        """
        names, dn = self._thumbnails
        rows, cols = dn.shape[1:]
        whole = self._grid
        grid = Grid(
            whole.crs,
            whole.west,
            whole.north,
            whole.x_size * whole.width / cols,
            whole.y_size * whole.height / rows,
            cols,
            rows,
        )
        return SceneThumbnail(grid, names, dn, self._steady(dn.shape[1:]))

    def read(self, bands: tuple[str, ...], grid: Grid) -> UInt16Raster:
        """Read harmonised DN on ``grid``.

        Parameters
        ----------
        bands : tuple of str
            Names as in `cloudbuster.core.bands.BANDS`.
        grid : Grid
            In the scene's CRS; its lines need not be those of the rasters.

        Returns
        -------
        ndarray of uint16, shape (band, y, x)
            Reflectance times 10 000, 0 where the raster has no data, is saturated, or ends.
            Finer rasters are averaged, coarser ones interpolated bilinearly.

        Raises
        ------
        RasterError, TryAgainError
            Naming the file that cannot be read.
        """
        missing = [name for name in bands if name not in self._scene.bands]
        if missing:
            msg = f"{self._scene.id} has no asset for {', '.join(missing)}"
            raise RasterError(msg)
        rasters = [self._raster(self._scene.bands[name]) for name in bands]
        offset_dn = self.radiometry.offset_dn
        return np.stack([raster.read_harmonised(grid, offset_dn=offset_dn) for raster in rasters])

    def read_mask(self, name: str, grid: Grid, *, bands: int = 1) -> UInt8Raster:
        """Read a mask at full resolution, nearest on ``grid``; 0 where it ends.

        Parameters
        ----------
        name : str
            ``scl``, ``cld`` or ``classi``.
        grid : Grid
            In the scene's CRS.
        bands : int
            How many bands of the mask to read.

        Returns
        -------
        ndarray of uint8, shape (bands, y, x)

        Raises
        ------
        MaskError
            Where the mask is missing or cannot be read.
        """
        asset = self._mask_asset(name)
        native = self.mask_grid(name)
        window = native.window_of(grid.bounds)
        layers = []
        for offset in range(bands):
            part = BandAsset(asset.href, asset.band_index + offset)
            try:
                values = self._raster(part).read_native(window).astype(np.uint8)
            except RasterError as error:
                raise MaskError(str(error)) from error
            layers.append(sample_nearest(values, native.crop(window), grid, fill=0))
        return np.stack(layers)

    def mask_grid(self, name: str) -> Grid:
        """Native grid of a mask; MaskError where it is missing or cannot be read."""
        try:
            return self._raster(self._mask_asset(name)).grid
        except RasterError as error:
            raise MaskError(str(error)) from error

    def twin(self) -> "RasterSceneSource | None":
        """Open the L1C twin that the query attached; None where there is none.

        It is closed together with this source.
        """
        twin = self._scene.twin
        if twin is None:
            return None
        return self._stack.enter_context(RasterSceneSource(twin, tuple(twin.bands)))

    def _mask_asset(self, name: str) -> BandAsset:
        asset = self._scene.masks.get(name)
        if asset is None:
            msg = f"{self._scene.id} has no mask asset {name}"
            raise MaskError(msg)
        return asset

    def _dataset(self, asset: BandAsset) -> RasterFile:
        """Open the file of an asset once; RasterError where it does not hold the asset's band."""
        if asset.href not in self._open:
            self._open[asset.href] = self._stack.enter_context(RasterFile(asset.href))
        dataset = self._open[asset.href]
        if asset.band_index > dataset.count:
            msg = f"{asset.href} has {dataset.count} bands, band {asset.band_index} is asked for"
            raise RasterError(msg)
        return dataset

    def _raster(self, asset: BandAsset) -> BandRaster:
        """Find the grid of an asset's file once; GridError where it lies nowhere."""
        if asset not in self._rasters:
            dataset = self._dataset(asset)
            grid = _grid_of(asset.href, dataset, self._scene.epsg)
            self._rasters[asset] = BandRaster(dataset, asset.band_index, grid)
        return self._rasters[asset]

    @cached_property
    def _thumbnails(self) -> tuple[tuple[str, ...], UInt16Raster]:
        """The thumbnail's bands and their DN as delivered, shape (band, y, x)."""
        bands = self._scene.bands
        found: dict[str, UInt16Raster] = {}
        for name in self._thumbnail_bands():
            try:
                found[name] = self._thumbnail(bands[name])
            except CloudBusterError:
                # Nobody asked for this band: the others have to do.
                if name in self._bands:
                    raise
        return tuple(found), np.stack(list(found.values()))

    def _thumbnail_bands(self) -> tuple[str, ...]:
        """Bands of the thumbnail: requested ones, and others that lie beside them."""
        bands = self._scene.bands
        homes = {bands[name].href.rpartition("/")[0] for name in self._bands}
        beside = {name for name, asset in bands.items() if asset.href.rpartition("/")[0] in homes}
        near = [name for name in THUMBNAIL_BANDS if name in beside]
        others = [name for name in self._bands if name not in near]
        return tuple([*near, *others][: max(len(near), MIN_THUMBNAIL_BANDS)])

    def _thumbnail(self, asset: BandAsset) -> UInt16Raster:
        shape = tuple(min(EVIDENCE_PIXELS, side) for side in self._grid.shape)
        pixels: UInt16Raster = self._dataset(asset).read(
            asset.band_index, out_shape=shape, resampling=Resampling.nearest
        )
        return pixels

    def _steady(self, shape: tuple[int, ...]) -> BoolRaster:
        """Cells of the thumbnail that the product calls clear; all where it has no classes."""
        scl = self._scene.masks.get("scl")
        if scl is None:
            return np.ones(shape, dtype=np.bool_)
        try:
            classes = self._dataset(scl).read(
                scl.band_index, out_shape=shape, resampling=Resampling.nearest
            )
        except CloudBusterError:
            # The comparison takes the shift that most pixels agree on: it can do without classes.
            return np.ones(shape, dtype=np.bool_)
        return np.isin(classes, STEADY_CLASSES)


def _grid_of(href: str, dataset: RasterFile, scene_epsg: int | None) -> Grid:
    """Grid of a whole raster; in the CRS that the scene's item tells where the file names none."""
    epsg = dataset.crs.to_epsg() if dataset.crs else scene_epsg
    if epsg is None:
        msg = f"{href} names no coordinate reference system that EPSG knows"
        raise GridError(msg)
    try:
        return Grid.from_transform(
            f"EPSG:{epsg}", dataset.transform, width=dataset.width, height=dataset.height
        )
    except ValueError as error:
        msg = f"{href}: {error}"
        raise GridError(msg) from error
