"""A scene opened for reading: harmonised pixels and the product's own masks, on any grid."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from cloudbuster.core.grid import GridWindow, MosaicGrid
from cloudbuster.core.masks import ISOLATED_ZERO_PIXELS, repair_isolated_zeros
from cloudbuster.core.radiometry import (
    LOOK_BANDS,
    NODATA,
    OffsetDecision,
    OffsetMetadata,
    PixelEvidence,
    SceneLook,
    decide_offset,
    harmonise,
    pixel_evidence,
    provider_treatment,
)
from cloudbuster.core.regrid import sample_nearest, valid_means
from cloudbuster.core.scene import BandAsset, Scene
from cloudbuster.errors import (
    CloudBusterError,
    GridError,
    MaskError,
    RasterError,
)
from cloudbuster.io.raster_file import RasterFile

# A group of fewer zeros than this can reach this far from a block and still be enclosed.
ZERO_REPAIR_MARGIN = 16
# Bilinear interpolation looks one cell further; one more for the half cell of a misaligned corner.
INTERPOLATION_MARGIN = 2
# Longest side of the low-resolution look that the radiometric decision is taken from, pixels.
EVIDENCE_PIXELS = 256
# Bands of a look, at least, where the scene has as many.
MIN_LOOK_BANDS = 3
# Classes of SCL that are clear ground or water, whose brightness two dates share (not snow).
STEADY_CLASSES = (4, 5, 6)
# Pixels a side that are averaged at once: 32 MB in double precision.
MEAN_PIXELS = 2048
# A group of cells at the edge of the data is averaged from full resolution; cells a side.
EDGE_GROUP_CELLS = 32
# Pixels of an overview, beside those without data, into which resampling mixed their zeros.
EDGE_PIXELS = 2

Raster = npt.NDArray[np.uint16]


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
        """What a low-resolution look says of the offset."""
        names, dn = self._thumbnails
        return pixel_evidence(dn, names)

    def look(self) -> SceneLook:
        """Look at the scene in low resolution, to compare it with others.

        Raises
        ------
        RasterError, TryAgainError
            Naming the file that cannot be read.
        """
        names, dn = self._thumbnails
        rows, cols = dn.shape[1:]
        whole = self._grid
        grid = MosaicGrid(
            whole.crs,
            whole.west,
            whole.north,
            whole.x_size * whole.width / cols,
            whole.y_size * whole.height / rows,
            cols,
            rows,
        )
        return SceneLook(grid, names, dn, self._steady(dn.shape[1:]))

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

    def _dataset(self, href: str) -> RasterFile:
        if href not in self._open:
            self._open[href] = self._stack.enter_context(RasterFile(href))
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

    @cached_property
    def _thumbnails(self) -> tuple[tuple[str, ...], Raster]:
        """The look's bands and their DN as delivered, shape (band, y, x)."""
        bands = self._scene.bands
        found: dict[str, Raster] = {}
        for name in self._look_bands():
            try:
                found[name] = self._thumbnail(bands[name])
            except CloudBusterError:
                # Nobody asked for this band: the others have to do.
                if name in self._bands:
                    raise
        return tuple(found), np.stack(list(found.values()))

    def _look_bands(self) -> tuple[str, ...]:
        """Bands worth a look: requested ones, and others that lie beside them."""
        bands = self._scene.bands
        homes = {bands[name].href.rpartition("/")[0] for name in self._bands}
        beside = {name for name, asset in bands.items() if asset.href.rpartition("/")[0] in homes}
        near = [name for name in LOOK_BANDS if name in beside]
        others = [name for name in self._bands if name not in near]
        return tuple([*near, *others][: max(len(near), MIN_LOOK_BANDS)])

    def _thumbnail(self, asset: BandAsset) -> Raster:
        shape = tuple(min(EVIDENCE_PIXELS, side) for side in self._grid.shape)
        dataset = self._dataset(asset.href)
        if asset.band_index > dataset.count:
            msg = f"{asset.href} has {dataset.count} bands, band {asset.band_index} is asked for"
            raise RasterError(msg)
        pixels: Raster = dataset.read(
            asset.band_index, out_shape=shape, resampling=Resampling.nearest
        )
        return pixels

    def _steady(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Where the product calls a cell of the look clear; everywhere if it has no classes."""
        scl = self._scene.masks.get("scl")
        if scl is None:
            return np.ones(shape, dtype=np.bool_)
        try:
            classes = self._dataset(scl.href).read(
                scl.band_index, out_shape=shape, resampling=Resampling.nearest
            )
        except CloudBusterError:
            # The comparison takes the shift that most pixels agree on: it can do without classes.
            return np.ones(shape, dtype=np.bool_)
        return np.isin(classes, STEADY_CLASSES)

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
        # A block of nothing but zeros is not looked at twice, unless they are few enough to be
        # enclosed by what lies around it.
        if zeros.any() and not (zeros.all() and zeros.size >= ISOLATED_ZERO_PIXELS):
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
            pixels[target.slices] = dataset.read(asset.band_index, window=area)
        return pixels

    def _read_coarse(self, asset: BandAsset, native: MosaicGrid, grid: MosaicGrid) -> Raster:
        """Harmonised means of the valid pixels, from the overviews where there are some.

        Where the raster does not say which pixels hold no data (JPEG 2000 cannot), cells at the
        edge of the data are averaged from full resolution: overviews mix its zeros in.
        """
        dataset = self._dataset(asset.href)
        factors = dataset.overviews(asset.band_index)
        tagged = dataset.nodatavals[asset.band_index - 1] == NODATA
        ratio = grid.x_size / native.x_size
        usable = [factor for factor in factors if factor <= min(ratio, max(2.0, ratio / 2))]
        if not factors or not (tagged or usable):
            return self._read_means(asset, native, grid, grid.window)
        means = harmonise(self._read_averages(asset, native, grid), self.radiometry.offset_dn)
        if tagged:
            return means
        mixed = self._edge_cells(asset, native, grid, max(usable))
        for group in grid.blocks(EDGE_GROUP_CELLS):
            if mixed[group.slices].any():
                exact = self._read_means(asset, native, grid, group)
                means[group.slices] = np.where(mixed[group.slices], exact, means[group.slices])
        return means

    def _read_means(
        self, asset: BandAsset, native: MosaicGrid, grid: MosaicGrid, cells: GridWindow
    ) -> Raster:
        """Harmonised means of the valid pixels of some cells, from full resolution."""
        part = grid.crop(cells)
        means = np.zeros(part.shape, dtype=np.uint16)
        for block in part.blocks(max(1, int(MEAN_PIXELS * native.x_size / grid.x_size))):
            target = part.crop(block)
            window = native.window_of(target.bounds).intersection(native.window)
            if not window.is_empty:
                pixels = self._read_repaired(asset, native, window)
                means[block.slices] = valid_means(pixels, native.crop(window), target)
        return means

    def _edge_cells(
        self, asset: BandAsset, native: MosaicGrid, grid: MosaicGrid, factor: int
    ) -> npt.NDArray[np.bool_]:
        """Cells that hold pixels without data and others, or are beside those; shape of ``grid``.

        They are looked for in the overview of ``factor``. A hole that is smaller than one of its
        pixels, half a cell, goes unseen.
        """
        inside = native.window_of(grid.bounds).intersection(native.window)
        if inside.is_empty:
            return np.zeros(grid.shape, dtype=np.bool_)
        shape = (-(-inside.height // factor), -(-inside.width // factor))
        empty = self._read_window(asset, inside, shape, Resampling.nearest) == NODATA
        counts = np.pad(empty.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        part = native.crop(inside)
        top, bottom = _reach(part.north - grid.north, grid.y_size, part.y_size, grid.height, factor)
        left, right = _reach(grid.west - part.west, grid.x_size, part.x_size, grid.width, factor)
        top, bottom = (np.clip(edge, 0, shape[0])[:, None] for edge in (top, bottom))
        left, right = (np.clip(edge, 0, shape[1])[None, :] for edge in (left, right))
        found = (
            counts[bottom, right] - counts[top, right] - counts[bottom, left] + counts[top, left]
        )
        mixed: npt.NDArray[np.bool_] = (found > 0) & (found < (bottom - top) * (right - left))
        return mixed

    def _read_averages(self, asset: BandAsset, native: MosaicGrid, grid: MosaicGrid) -> Raster:
        """GDAL's averages, DN as delivered.

        The raster's last cells are rarely a whole cell of ``grid``: whole cells are read in one go
        and the rest by itself, so that nothing is stretched.
        """
        pixels = np.zeros(grid.shape, dtype=np.uint16)
        for rows in _spans(grid.north, -grid.y_size, grid.height, native, axis="y"):
            for cols in _spans(grid.west, grid.x_size, grid.width, native, axis="x"):
                area = Window(cols[1], rows[1], cols[2] - cols[1], rows[2] - rows[1])
                target = pixels[rows[0], cols[0]]
                target[:] = self._read_window(asset, area, target.shape, Resampling.average)
        return pixels

    def _read_window(
        self,
        asset: BandAsset,
        window: Window | GridWindow,
        shape: tuple[int, int],
        resampling: Resampling,
    ) -> Raster:
        """DN as delivered of a window inside of the raster, at another resolution."""
        area = (
            Window(window.col, window.row, window.width, window.height)
            if isinstance(window, GridWindow)
            else window
        )
        pixels: Raster = self._dataset(asset.href).read(
            asset.band_index, window=area, out_shape=shape, resampling=resampling
        )
        return pixels


def offset_metadata(scene: Scene) -> OffsetMetadata:
    """Collect what a scene's item and its provider say of its offset."""
    href = next((asset.href for asset in scene.bands.values()), "")
    return OffsetMetadata(
        baseline=scene.baseline,
        removed_flag=scene.offset_removed_flag,
        declared_offset=scene.declared_offset,
        treatment=provider_treatment(scene.collection, href, scene.offset_removed_flag),
    )


def _reach(
    start: float, step: float, size: float, count: int, factor: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First and last overview pixel (exclusive) that each cell of an axis may be mixed from."""
    first = (start + np.arange(count) * step) / (size * factor)
    last = first + step / (size * factor)
    return (
        np.floor(first).astype(np.intp) - EDGE_PIXELS,
        np.ceil(last).astype(np.intp) + EDGE_PIXELS,
    )


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
