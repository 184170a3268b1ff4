"""Read the files of a scene: harmonised pixels and the masks of the product, on any grid."""

import math
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Self

import numpy as np
from rasterio.enums import Resampling

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import ALIGNMENT_TOLERANCE, Grid, GridWindow
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.grids.windows import overhang_cells
from cloudbuster.core.offsets.offset_metadata import OffsetMetadata, offset_metadata
from cloudbuster.core.offsets.offset_neighbours import SceneThumbnail
from cloudbuster.core.offsets.offset_pixels import (
    THUMBNAIL_BANDS,
    PixelEvidence,
    pixel_evidence,
)
from cloudbuster.core.offsets.radiometry import OffsetDecision, decide_offset
from cloudbuster.core.pixels.mask_codes import (
    class_codes,
    flag_codes,
    percent_codes,
    probability_unit,
)
from cloudbuster.core.pixels.masks import RIM_DN, RIM_PIXELS, grown_by, low_rim, valid_pixels
from cloudbuster.core.scenes.digital_numbers import NODATA
from cloudbuster.core.scenes.encoding import DARK_BAND, as_stored, check_brightness
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import CloudBusterError, GridError, MaskError, RasterError
from cloudbuster.source.bands.band_raster import BandRaster
from cloudbuster.source.bands.declared import declared_mask, declared_values
from cloudbuster.source.bands.georeference import MASK_GSDS_M
from cloudbuster.source.bands.scene_files import SceneFiles
from cloudbuster.source.rim_window import RimReads, rim_window
from cloudbuster.storage.rasters.tiled_raster import rasterio_window

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
        self._given_radiometry = radiometry
        self._bands = bands
        with ExitStack() as stack:
            self._files = stack.enter_context(SceneFiles(scene, bands))
            self._grid = min(
                (self._files.band(name).grid for name in bands), key=lambda grid: grid.x_size
            )
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    @property
    def scene(self) -> Scene:
        """Description of the scene by its catalog, with the bands that its files hold."""
        return self._files.scene

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual about the files read so far, and how they were understood."""
        return self._files.notes

    @property
    def grid(self) -> Grid:
        """Grid of the finest requested band: the whole raster, in the CRS of the scene."""
        return self._grid

    @property
    def decoded_pixels(self) -> int:
        """Pixels of the scene's bands decoded so far, each in pixels of its own file.

        Whole tiles count, as `DecodedTiles.pixels_of` describes. Thumbnails and what a detector
        reads of the bands are included; masks and the files of a twin are not.
        """
        hrefs = {each.href for each in self.scene.bands.values()}
        return sum(map(self._files.tiles.pixels_of, hrefs))

    @property
    def decoded_mask_pixels(self) -> int:
        """Pixels of the scene's masks decoded so far, counted as `decoded_pixels`."""
        bands = {each.href for each in self.scene.bands.values()}
        masks = {each.href for each in self.scene.masks.values()} - bands
        return sum(map(self._files.tiles.pixels_of, masks))

    @property
    def read_bytes(self) -> int:
        """Bytes of the tiles decoded so far, of bands and masks; those of a twin are not."""
        return self._files.tiles.bytes_read

    @property
    def requests(self) -> int:
        """Requests for these tiles, as far as reads alone can show."""
        return self._files.tiles.requests

    @property
    def is_jpeg2000(self) -> bool:
        """Whether the bands of the mosaic lie in JPEG 2000 files."""
        assets = (self.scene.bands[name] for name in self._bands)
        return any(self._files.dataset(asset).driver.startswith("JP2") for asset in assets)

    def expect(self, bands: tuple[str, ...], grid: Grid) -> None:
        """Count what `read_with_rim` decodes, as far as no pixel decides it."""
        self.expect_cells(bands, grid)
        for name in bands:
            if name != DARK_BAND:
                self._files.band(name).expect_edges()

    def expect_cells(self, bands: tuple[str, ...], grid: Grid) -> None:
        """Count what `read` decodes, as far as no pixel decides it."""
        for name in bands:
            self._files.band(name).expect_harmonised(grid)

    def expect_mask(self, name: str, grid: Grid, *, bands: int = 1) -> None:
        """Count what `read_mask` decodes; raise MaskError if the mask is missing."""
        asset, native = self._mask_asset(name), self.mask_grid(name)
        window = native.window_of(grid.bounds).intersection(native.window)
        if not window.is_empty:
            for place in range(bands):
                self._files.dataset(asset).expect(
                    asset.band_index + place, window=rasterio_window(window)
                )

    @property
    def metadata(self) -> OffsetMetadata:
        """Statements of the item and of the files about the radiometric offset.

        Raises RasterError if the bands of the mosaic have different offsets.
        """
        files = self._files
        return replace(
            offset_metadata(files.scene),
            declared_offset=files.item_offset,
            file_offset=files.file_offset,
            is_reflectance=files.are_reflectance,
        )

    @cached_property
    def radiometry(self) -> OffsetDecision:
        """Decision on the radiometric offset: the given one, or made from this scene alone."""
        return self._given_radiometry or decide_offset(self.metadata, pixels=self.pixels)

    @cached_property
    def pixels(self) -> PixelEvidence:
        """Evidence of the thumbnail's pixels about the radiometric offset."""
        names, dn = self._thumbnail_pixels
        decimation = max(self._grid.shape) / max(dn.shape[1:])
        return pixel_evidence(dn, names, rim_cells=math.ceil(RIM_PIXELS / decimation))

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
            Names in `cloudbuster.core.scenes.bands.BANDS`.
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
        rasters = [self._files.band(name) for name in bands]
        offset_dn = self.radiometry.offset_dn
        return np.stack([raster.read_harmonised(grid, offset_dn=offset_dn) for raster in rasters])

    def read_with_rim(self, bands: tuple[str, ...], grid: Grid) -> tuple[UInt16Raster, BoolRaster]:
        """Read as `read`, and mark the rim of low values at the edge of the swath.

        Returns
        -------
        pixels : ndarray of uint16, shape (band, y, x)
            As `read`.
        rim : ndarray of bool, shape (y, x)
            True where any band has such a value (see `cloudbuster.core.pixels.masks.low_rim`),
            except B10, which is dark everywhere.
        """
        pixels, rim = self.read(bands, grid), np.zeros(grid.shape, dtype=np.bool_)
        shown = [place for place, name in enumerate(bands) if name != DARK_BAND]
        spread = {place: self._reach_of_coarse(bands[place], grid) for place in shown}
        reach = RIM_PIXELS + max(spread.values(), default=0)
        if not valid_pixels(pixels).any():
            return pixels, rim
        lows = pixels[shown]
        is_low = bool(((lows != NODATA) & (lows <= RIM_DN)).any())
        names = tuple(bands[place] for place in shown)
        near = self._bands_near_edge(names, grid.crop(grid.window.grown(reach)))
        # A coarser band may be low just beyond ``grid``, which counts where the edge is known.
        known = any(spread.values()) and any(raster.has_thumbnail for raster in near)
        if not near or not (is_low or known):
            return pixels, rim
        coarse = tuple(bands[place] for place in shown if spread[place])
        reads = RimReads(
            reach,
            shown,
            read=lambda window: self.read(bands, grid.crop(window)),
            read_coarse=(lambda window: self.read(coarse, grid.crop(window))) if coarse else None,
            may_lack_data=lambda window: bool(self._bands_near_edge(names, grid.crop(window))),
        )
        around, values = rim_window(grid.window, pixels, reads)
        # Beyond the scene there may be data, in the neighbouring tile.
        invalid = ~valid_pixels(values) & ~overhang_cells(self._grid, grid.crop(around))
        part = grid.window.shifted(-around.row, -around.col).slices
        for place in shown:
            rim |= grown_by(low_rim(values[place], invalid), spread[place])[part]
        return pixels, rim

    def _reach_of_coarse(self, band: str, grid: Grid) -> int:
        """Cells of a grid to which a cell of a coarser band reaches by interpolation."""
        ratio = self._files.band(band).grid.x_size / grid.x_size
        return math.ceil(ratio) if ratio > 1 + ALIGNMENT_TOLERANCE else 0

    def _bands_near_edge(self, bands: tuple[str, ...], wide: Grid) -> list[BandRaster]:
        """Rasters of which the edge of the data may be in ``wide``."""
        rasters = [self._files.band(name) for name in bands]
        return [each for each in rasters if each.may_lack_data(each.grid.window_of(wide.bounds))]

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
            Codes of `cloudbuster.core.pixels.mask_codes`; 0 outside of the mask.

        Raises
        ------
        MaskError
            If the mask is missing, cannot be read, or holds values that are no such mask.
        """
        asset, native = self._mask_asset(name), self.mask_grid(name)
        window = native.window_of(grid.bounds).intersection(native.window)
        try:
            layers = [
                self._mask_codes(name, replace(asset, band_index=asset.band_index + place), window)
                for place in range(bands)
            ]
        except RasterError as error:
            raise MaskError(str(error)) from error
        return np.stack(
            [sample_nearest(each, native.crop(window), grid, fill=0) for each in layers]
        )

    def mask_grid(self, name: str) -> Grid:
        """Native grid of a mask; raise MaskError if it is missing or cannot be read."""
        asset = self._mask_asset(name)
        try:
            return self._files.grid(asset, MASK_GSDS_M)
        except (RasterError, GridError) as error:
            raise MaskError(str(error)) from error

    def twin(self) -> "RasterSceneSource | None":
        """Open the L1C twin that the query attached to the item; None if there is none.

        It is closed with this source.
        """
        twin = self.scene.twin
        if twin is None or twin.kind != "L1C":
            return None
        return self._stack.enter_context(RasterSceneSource(twin, tuple(twin.bands)))

    def _mask_asset(self, name: str) -> BandAsset:
        """Asset of a mask; raise MaskError if the scene has none."""
        asset = self.scene.masks.get(name)
        if asset is None:
            msg = f"{self.scene.id} has no mask asset {name}"
            raise MaskError(msg)
        return asset

    def _mask_codes(self, name: str, asset: BandAsset, window: GridWindow) -> UInt8Raster:
        """Codes of a band of a mask in a window of its own cells.

        Raises MaskError if its values are no such mask.
        """
        if window.is_empty:
            return np.zeros((window.height, window.width), dtype=np.uint8)
        dataset, index = self._files.dataset(asset), asset.band_index
        values: Raster = dataset.read(index, window=rasterio_window(window))
        valid = ~np.isnan(values)
        for nodata in self._files.nodata(asset):
            # Class 0 of the scene classification, and 0 of the others, are no nodata.
            if nodata != 0:
                valid &= values != as_stored(nodata, values.dtype)
        mask = declared_mask(dataset, index, self._files.claimed[asset.href])
        if mask is not None:
            valid &= ~mask.read(window=rasterio_window(window))
        try:
            if name == "cld":
                return self._percent_codes(asset, values, valid)
            return (flag_codes if name == "classi" else class_codes)(values, valid)
        except ValueError as error:
            msg = f"{asset.href}: {error}; give another mask, or drop the scene"
            raise MaskError(msg) from error

    def _percent_codes(self, asset: BandAsset, values: Raster, valid: BoolRaster) -> UInt8Raster:
        """Codes of a cloud probability, whose unit is decided by the whole file."""
        known = self._files.sample(asset)
        known = known[np.isfinite(known)]
        declared = declared_values(self._files.dataset(asset), asset.band_index).scale
        scale = declared if declared not in (None, 1) else asset.metadata.values.scale
        factor = 1.0 if scale is None else scale
        unit = probability_unit(float(known.max(initial=0)) * factor)
        return percent_codes(values * factor, valid, unit=unit)

    @cached_property
    def _thumbnail_pixels(self) -> tuple[tuple[str, ...], UInt16Raster]:
        """Names and DN as delivered of the thumbnail's bands, DN of shape (band, y, x)."""
        shape = (min(EVIDENCE_PIXELS, self._grid.height), min(EVIDENCE_PIXELS, self._grid.width))
        pixels: dict[str, UInt16Raster] = {}
        for name in self._thumbnail_bands():
            try:
                pixels[name] = self._files.band(name).read_thumbnail(shape)
            except CloudBusterError:
                # A band that was not requested may be missing from the thumbnail.
                if name in self._bands:
                    raise
        try:
            check_brightness(pixels, declared=self._files.is_declared)
        except ValueError as error:
            msg = f"{self.scene.id} {error}, or drop the scene"
            raise RasterError(msg) from error
        return tuple(pixels), np.stack(list(pixels.values()))

    def _thumbnail_bands(self) -> tuple[str, ...]:
        """Bands of the thumbnail: requested ones, and others in the same folders."""
        bands = self.scene.bands
        folders = {bands[name].href.rpartition("/")[0] for name in self._bands}
        beside = {name for name, asset in bands.items() if asset.href.rpartition("/")[0] in folders}
        preferred = [name for name in THUMBNAIL_BANDS if name in beside]
        others = [name for name in self._bands if name not in preferred]
        return tuple([*preferred, *others][: max(len(preferred), MIN_THUMBNAIL_BANDS)])

    def _steady_cells(self, shape: tuple[int, ...]) -> BoolRaster:
        """Mask of the thumbnail's cells in `STEADY_CLASSES`; all cells if SCL cannot be read."""
        scl = self.scene.masks.get("scl")
        if scl is None:
            return np.ones(shape, dtype=np.bool_)
        try:
            classes = self._files.dataset(scl).read(
                scl.band_index, out_shape=shape, resampling=Resampling.nearest
            )
        except CloudBusterError:
            # The comparison uses the shift that most pixels agree on, so classes are optional.
            return np.ones(shape, dtype=np.bool_)
        return np.isin(classes, STEADY_CLASSES)
