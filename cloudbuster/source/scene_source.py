"""Read the files of a scene: harmonised pixels and the masks of the product, on any grid."""

from contextlib import ExitStack
from functools import cached_property
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
from cloudbuster.storage.trust import catalog_trust

# Longest side of the thumbnail that the radiometric decision is based on, pixels.
EVIDENCE_PIXELS = 256
# Minimum number of bands of a thumbnail, if the scene has as many.
MIN_THUMBNAIL_BANDS = 3
# SCL classes whose brightness is about the same on two dates: clear ground and water, not snow.
STEADY_CLASSES = (4, 5, 6)


class RasterSceneSource:
    """Files of one scene, opened when they are needed.

    Use it as a context manager, which closes the files.

    Parameters
    ----------
    scene : Scene
        Description of the scene by its catalog.
    bands : tuple of str
        Bands of the mosaic; the finest of them defines the grid of the scene.
    radiometry : OffsetDecision or None
        Decision on the radiometric offset of the scene; None makes it from this scene alone, at
        the first read.

    Raises
    ------
    RasterError, TryAgainError
        If a band is missing or cannot be read.
    UntrustedAddressError
        If its catalog may not have a file opened.
    GridError
        If a raster has no CRS or is not north-up.
    """

    def __init__(
        self, scene: Scene, bands: tuple[str, ...], *, radiometry: OffsetDecision | None = None
    ) -> None:
        """Open the bands of the mosaic to find the grid of the scene."""
        self._scene = scene
        self._trust = catalog_trust(scene.catalog, scene.asset_mirror)
        self._given_radiometry = radiometry
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
        """Return the source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    @property
    def scene(self) -> Scene:
        """Description of the scene by its catalog."""
        return self._scene

    @property
    def grid(self) -> Grid:
        """Grid of the finest requested band: the whole raster, in the CRS of the scene."""
        return self._grid

    @property
    def metadata(self) -> OffsetMetadata:
        """Statements of the metadata about the radiometric offset."""
        return offset_metadata(self._scene)

    @cached_property
    def radiometry(self) -> OffsetDecision:
        """Decision on the radiometric offset: the given one, or made from this scene alone."""
        return self._given_radiometry or decide_offset(self.metadata, pixels=self.pixels)

    @cached_property
    def pixels(self) -> PixelEvidence:
        """Evidence of the thumbnail's pixels about the radiometric offset."""
        names, dn = self._thumbnail_pixels
        return pixel_evidence(dn, names)

    def thumbnail(self) -> SceneThumbnail:
        """Read the scene at low resolution, to compare it with others.

        Raises
        ------
        RasterError, TryAgainError
            If a file cannot be read.
        """
        names, dn = self._thumbnail_pixels
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
        return SceneThumbnail(grid, names, dn, self._steady_cells(dn.shape[1:]))

    def read(self, bands: tuple[str, ...], grid: Grid) -> UInt16Raster:
        """Read harmonised DN on a grid; see `BandRaster.read_harmonised`.

        Parameters
        ----------
        bands : tuple of str
            Names in `cloudbuster.core.bands.BANDS`.
        grid : Grid
            Grid in the CRS of the scene; it need not be aligned to the rasters.

        Returns
        -------
        ndarray of uint16, shape (band, y, x)
            Reflectance times 10 000; 0 is nodata.

        Raises
        ------
        RasterError, TryAgainError
            If a band is missing or cannot be read.
        """
        missing = [name for name in bands if name not in self._scene.bands]
        if missing:
            msg = f"{self._scene.id} has no asset for {', '.join(missing)}"
            raise RasterError(msg)
        rasters = [self._raster(self._scene.bands[name]) for name in bands]
        offset_dn = self.radiometry.offset_dn
        return np.stack([raster.read_harmonised(grid, offset_dn=offset_dn) for raster in rasters])

    def read_mask(self, name: str, grid: Grid, *, bands: int = 1) -> UInt8Raster:
        """Read a mask of the product at full resolution, by nearest neighbour.

        Parameters
        ----------
        name : str
            ``scl``, ``cld`` or ``classi``.
        grid : Grid
            Grid in the CRS of the scene.
        bands : int
            Number of bands to read.

        Returns
        -------
        ndarray of uint8, shape (bands, y, x)
            Values of the mask; 0 outside it.

        Raises
        ------
        MaskError
            If the mask is missing or cannot be read.
        """
        asset, native = self._mask_asset(name), self.mask_grid(name)
        window = native.window_of(grid.bounds)
        parts = [BandAsset(asset.href, asset.band_index + offset) for offset in range(bands)]
        try:
            layers = [self._raster(part).read_native(window).astype(np.uint8) for part in parts]
        except RasterError as error:
            raise MaskError(str(error)) from error
        return np.stack(
            [sample_nearest(each, native.crop(window), grid, fill=0) for each in layers]
        )

    def mask_grid(self, name: str) -> Grid:
        """Native grid of a mask; raise MaskError if it is missing or cannot be read."""
        try:
            return self._raster(self._mask_asset(name)).grid
        except RasterError as error:
            raise MaskError(str(error)) from error

    def twin(self) -> "RasterSceneSource | None":
        """Open the L1C twin that the query attached to the item; None if there is none.

        It is closed with this source.
        """
        twin = self._scene.twin
        if twin is None:
            return None
        return self._stack.enter_context(RasterSceneSource(twin, tuple(twin.bands)))

    def _mask_asset(self, name: str) -> BandAsset:
        """Asset of a mask; raise MaskError if the scene has none."""
        asset = self._scene.masks.get(name)
        if asset is None:
            msg = f"{self._scene.id} has no mask asset {name}"
            raise MaskError(msg)
        return asset

    def _dataset(self, asset: BandAsset) -> RasterFile:
        """Open file of an asset, cached; raise RasterError if it lacks the band of the asset."""
        if asset.href not in self._open:
            opened = RasterFile(asset.href, self._trust)
            self._open[asset.href] = self._stack.enter_context(opened)
        dataset = self._open[asset.href]
        if asset.band_index > dataset.count:
            msg = f"{asset.href} has {dataset.count} bands, and band {asset.band_index} is needed"
            raise RasterError(msg)
        return dataset

    def _raster(self, asset: BandAsset) -> BandRaster:
        """Band of an asset with its grid, cached; raise GridError if it is not georeferenced."""
        if asset not in self._rasters:
            dataset = self._dataset(asset)
            grid = _raster_grid(asset.href, dataset, self._scene.epsg)
            self._rasters[asset] = BandRaster(dataset, asset.band_index, grid)
        return self._rasters[asset]

    @cached_property
    def _thumbnail_pixels(self) -> tuple[tuple[str, ...], UInt16Raster]:
        """Names and DN as delivered of the thumbnail's bands, DN of shape (band, y, x)."""
        bands = self._scene.bands
        pixels: dict[str, UInt16Raster] = {}
        for name in self._thumbnail_bands():
            try:
                pixels[name] = self._read_thumbnail(bands[name])
            except CloudBusterError:
                # A band that was not requested may be missing from the thumbnail.
                if name in self._bands:
                    raise
        return tuple(pixels), np.stack(list(pixels.values()))

    def _thumbnail_bands(self) -> tuple[str, ...]:
        """Bands of the thumbnail: requested ones, and others in the same folders."""
        bands = self._scene.bands
        folders = {bands[name].href.rpartition("/")[0] for name in self._bands}
        beside = {name for name, asset in bands.items() if asset.href.rpartition("/")[0] in folders}
        preferred = [name for name in THUMBNAIL_BANDS if name in beside]
        others = [name for name in self._bands if name not in preferred]
        return tuple([*preferred, *others][: max(len(preferred), MIN_THUMBNAIL_BANDS)])

    def _read_thumbnail(self, asset: BandAsset) -> UInt16Raster:
        """DN as delivered of one band, decimated to the thumbnail's size."""
        shape = tuple(min(EVIDENCE_PIXELS, side) for side in self._grid.shape)
        pixels: UInt16Raster = self._dataset(asset).read(
            asset.band_index, out_shape=shape, resampling=Resampling.nearest
        )
        return pixels

    def _steady_cells(self, shape: tuple[int, ...]) -> BoolRaster:
        """Mask of the thumbnail's cells in `STEADY_CLASSES`; all cells if SCL cannot be read."""
        scl = self._scene.masks.get("scl")
        if scl is None:
            return np.ones(shape, dtype=np.bool_)
        try:
            classes = self._dataset(scl).read(
                scl.band_index, out_shape=shape, resampling=Resampling.nearest
            )
        except CloudBusterError:
            # The comparison uses the shift that most pixels agree on, so classes are optional.
            return np.ones(shape, dtype=np.bool_)
        return np.isin(classes, STEADY_CLASSES)


def _raster_grid(href: str, dataset: RasterFile, scene_epsg: int | None) -> Grid:
    """Grid of a whole raster, in its own CRS, or that of the scene's item if it has none."""
    epsg = dataset.crs.to_epsg() if dataset.crs else scene_epsg
    if epsg is None:
        msg = f"{href} has no coordinate reference system with an EPSG code; drop the scene"
        raise GridError(msg)
    try:
        return Grid.from_transform(
            f"EPSG:{epsg}", dataset.transform, width=dataset.width, height=dataset.height
        )
    except ValueError as error:
        msg = f"{href}: {error}"
        raise GridError(msg) from error
