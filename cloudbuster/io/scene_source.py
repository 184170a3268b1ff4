"""A scene opened for reading: harmonised pixels and the product's own masks, on any grid."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from cloudbuster.core.grid import GridWindow, MosaicGrid
from cloudbuster.core.masks import repair_isolated_zeros
from cloudbuster.core.radiometry import (
    NODATA,
    OffsetDecision,
    decide_offset,
    harmonise,
    pixel_evidence,
)
from cloudbuster.core.regrid import sample_nearest
from cloudbuster.core.scene import BandAsset, Scene
from cloudbuster.errors import (
    CloudBusterError,
    GridError,
    MaskError,
    RasterError,
    TryAgainError,
)
from cloudbuster.io.uri import is_remote

# A group of fewer zeros than this can reach this far from a block and still be enclosed.
ZERO_REPAIR_MARGIN = 16
# Bilinear interpolation looks one cell further; one more for the half cell of a misaligned corner.
INTERPOLATION_MARGIN = 2
# Longest side of the low-resolution look that the radiometric decision is taken from, pixels.
EVIDENCE_PIXELS = 256

Raster = npt.NDArray[np.uint16]


def raster_error(href: str, error: Exception) -> RasterError | TryAgainError:
    """Tell a remote failure, which may pass, from a file that is missing or broken."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if is_remote(href):
        return TryAgainError(f"{href}: {reason}; try again")
    return RasterError(f"{href}: {reason}; fetch the file again or drop the scene")


class RasterSceneSource:
    """The files of one scene, opened as they are needed.

    Use it as a context manager: it closes what it opened.

    Parameters
    ----------
    scene : Scene
        What the catalog said.
    bands : tuple of str
        Bands of the mosaic; the finest of them gives the scene's grid, and the radiometric
        decision is taken from them.

    Raises
    ------
    RasterError, TryAgainError
        Where a band is missing or cannot be read.
    GridError
        Where a raster has no CRS or is not north-up.
    """

    def __init__(self, scene: Scene, bands: tuple[str, ...]) -> None:
        self._scene = scene
        self._stack = ExitStack()
        self._open: dict[str, Any] = {}
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
                (self._grid_of(scene.bands[name]) for name in bands),
                key=lambda grid: grid.x_size,
            )
            self.radiometry = self._decide_offset()
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
    def grid(self) -> MosaicGrid:
        """Grid of the finest requested band, whole raster, in the scene's CRS."""
        return self._grid

    def read(self, bands: tuple[str, ...], grid: MosaicGrid) -> Raster:
        """Read harmonised DN on ``grid``.

        Parameters
        ----------
        bands : tuple of str
            Names as in `cloudbuster.core.bands.BANDS`.
        grid : MosaicGrid
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
        return np.stack([self._read_band(self._scene.bands[name], grid) for name in bands])

    def read_mask(self, name: str, grid: MosaicGrid, *, bands: int = 1) -> npt.NDArray[np.uint8]:
        """Read a mask at full resolution, nearest on ``grid``; 0 where it ends.

        Parameters
        ----------
        name : str
            ``scl``, ``cld`` or ``classi``.
        grid : MosaicGrid
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
                values = self._read_native(part, native, window).astype(np.uint8)
            except RasterError as error:
                raise MaskError(str(error)) from error
            layers.append(sample_nearest(values, native.crop(window), grid, fill=0))
        return np.stack(layers)

    def mask_grid(self, name: str) -> MosaicGrid:
        """Native grid of a mask; MaskError where it is missing or cannot be read."""
        try:
            return self._grid_of(self._mask_asset(name))
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

    def _dataset(self, href: str) -> Any:  # noqa: ANN401 -- rasterio has no types
        if href not in self._open:
            try:
                self._open[href] = self._stack.enter_context(rasterio.open(href))
            except rasterio.errors.RasterioIOError as error:
                raise raster_error(href, error) from error
        return self._open[href]

    def _grid_of(self, asset: BandAsset) -> MosaicGrid:
        dataset = self._dataset(asset.href)
        if asset.band_index > dataset.count:
            msg = f"{asset.href} has {dataset.count} bands, band {asset.band_index} is asked for"
            raise RasterError(msg)
        epsg = dataset.crs.to_epsg() if dataset.crs else self._scene.epsg
        if epsg is None:
            msg = f"{asset.href} names no coordinate reference system that EPSG knows"
            raise GridError(msg)
        try:
            return MosaicGrid.from_transform(
                f"EPSG:{epsg}", dataset.transform, width=dataset.width, height=dataset.height
            )
        except ValueError as error:
            msg = f"{asset.href}: {error}"
            raise GridError(msg) from error

    def _decide_offset(self) -> OffsetDecision:
        """Look at the scene in low resolution where its baseline may carry the offset."""
        scene = self._scene
        baseline = scene.baseline
        looks = np.stack([self._thumbnail(scene.bands[name]) for name in self._bands])
        return decide_offset(
            baseline,
            removed_flag=scene.offset_removed_flag,
            declared_offset=scene.declared_offset,
            pixels=pixel_evidence(looks),
        )

    def _thumbnail(self, asset: BandAsset) -> Raster:
        dataset = self._dataset(asset.href)
        shape = tuple(min(EVIDENCE_PIXELS, side) for side in self._grid.shape)
        try:
            pixels: Raster = dataset.read(
                asset.band_index, out_shape=shape, resampling=Resampling.nearest
            )
        except rasterio.errors.RasterioIOError as error:
            raise raster_error(asset.href, error) from error
        return pixels

    def _read_band(self, asset: BandAsset, grid: MosaicGrid) -> Raster:
        native = self._grid_of(asset)
        if native.is_aligned(grid):
            row, col = native.offset_of(grid)
            return self._read_repaired(asset, native, GridWindow(row, col, *grid.shape))
        if grid.x_size > native.x_size * (1 + 1e-9):
            return self._read_coarse(asset, native, grid)
        window = native.window_of(grid.bounds).grown(INTERPOLATION_MARGIN)
        pixels = self._read_repaired(asset, native, window)
        return _interpolate(pixels, native.crop(window), grid)

    def _read_repaired(self, asset: BandAsset, native: MosaicGrid, window: GridWindow) -> Raster:
        """Harmonised DN of a native window, isolated zeros repaired."""
        pixels = self._read_native(asset, native, window)
        zeros = pixels == NODATA
        if zeros.any() and not zeros.all():
            wide = window.grown(ZERO_REPAIR_MARGIN)
            repaired = repair_isolated_zeros(self._read_native(asset, native, wide))
            pixels = repaired[window.shifted(-wide.row, -wide.col).slices]
        return harmonise(pixels, self.radiometry.offset_dn)

    def _read_native(self, asset: BandAsset, native: MosaicGrid, window: GridWindow) -> Raster:
        """DN as delivered; 0 outside of the raster."""
        inside = window.intersection(native.window)
        dataset = self._dataset(asset.href)
        pixels = np.zeros((window.height, window.width), dtype=dataset.dtypes[asset.band_index - 1])
        if not inside.is_empty:
            target = inside.shifted(-window.row, -window.col)
            area = Window(inside.col, inside.row, inside.width, inside.height)
            try:
                pixels[target.slices] = dataset.read(asset.band_index, window=area)
            except rasterio.errors.RasterioIOError as error:
                raise raster_error(asset.href, error) from error
        return pixels

    def _read_coarse(self, asset: BandAsset, native: MosaicGrid, grid: MosaicGrid) -> Raster:
        """Harmonised means, from the overviews where there are some.

        The raster's last cells are rarely a whole cell of ``grid``: whole cells are read in one go
        and the rest by itself, so that nothing is stretched.
        """
        dataset = self._dataset(asset.href)
        pixels = np.zeros(grid.shape, dtype=np.uint16)
        for rows in _spans(grid.north, -grid.y_size, grid.height, native, axis="y"):
            for cols in _spans(grid.west, grid.x_size, grid.width, native, axis="x"):
                area = Window(cols[1], rows[1], cols[2] - cols[1], rows[2] - rows[1])
                target = pixels[rows[0], cols[0]]
                try:
                    target[:] = dataset.read(
                        asset.band_index,
                        window=area,
                        out_shape=target.shape,
                        resampling=Resampling.average,
                    )
                except rasterio.errors.RasterioIOError as error:
                    raise raster_error(asset.href, error) from error
        return harmonise(pixels, self.radiometry.offset_dn)


@contextmanager
def open_scene(scene: Scene, bands: tuple[str, ...]) -> Iterator[RasterSceneSource]:
    """Open a scene for reading and close its files afterwards."""
    with RasterSceneSource(scene, bands) as source:
        yield source


def _spans(
    origin: float, step: float, count: int, native: MosaicGrid, *, axis: str
) -> Iterator[tuple[slice, float, float]]:
    """Split target cells into runs: (cells, first and last native coordinate, clipped).

    One run of the cells that lie wholly in the raster, and one for each cell that its edge cuts.
    """
    first, size, length = (
        (native.west, native.x_size, native.width)
        if axis == "x"
        else (native.north, -native.y_size, native.height)
    )
    scale = step / size
    start = (origin - first) / size
    edges = start + scale * np.arange(count + 1)
    whole = (edges[:-1] >= -1e-6) & (edges[1:] <= length + 1e-6)
    cells = np.flatnonzero(whole)
    if cells.size:
        low, high = int(cells[0]), int(cells[-1]) + 1
        yield slice(low, high), max(0.0, edges[low]), min(float(length), edges[high])
    for cell in np.flatnonzero(~whole):
        low_edge, high_edge = max(0.0, edges[cell]), min(float(length), edges[cell + 1])
        if high_edge - low_edge > math.ulp(length):
            yield slice(int(cell), int(cell) + 1), low_edge, high_edge


def _interpolate(pixels: Raster, native: MosaicGrid, grid: MosaicGrid) -> Raster:
    """Put harmonised pixels on a finer or shifted grid of the same CRS, bilinear, aware of 0."""
    result = np.zeros(grid.shape, dtype=np.uint16)
    if not pixels.any():
        return result
    reproject(
        pixels,
        result,
        src_transform=native.transform,
        src_crs=native.crs,
        src_nodata=NODATA,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        dst_nodata=NODATA,
        resampling=Resampling.bilinear,
        tolerance=0,
        XSCALE=1,
        YSCALE=1,
    )
    return result
