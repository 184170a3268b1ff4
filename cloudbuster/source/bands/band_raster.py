"""Read one band of a scene: its pixels as delivered, or harmonised on any grid of its CRS."""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.windows import Window

from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.regrid import count_in_boxes, valid_means
from cloudbuster.core.offsets.offset_pixels import without_undershoots
from cloudbuster.core.pixels.masks import may_cut_isolated_zeros, repair_isolated_zeros
from cloudbuster.core.scenes.digital_numbers import NODATA, harmonise, has_value
from cloudbuster.core.scenes.encoding import Encoding, check_range
from cloudbuster.errors import RasterError
from cloudbuster.source.bands.declared import DeclaredMask
from cloudbuster.source.warp import warp
from cloudbuster.storage.rasters.raster_file import RasterFile
from cloudbuster.storage.rasters.tiled_raster import rasterio_window

# Pixels read around a block to repair isolated zeros: a group that is small enough to be repaired
# cannot reach further.
ZERO_REPAIR_MARGIN = 16
# Longest side of the thumbnail in which parts of the raster without data are found.
EMPTY_PARTS = 256
# Least number of pixels of such a part: 42 in a whole tile, and not fewer in a small raster than a
# common overview reduces, of which more would be decoded than of the scene itself.
LEAST_PART_PIXELS = 16
# Cells read around a window for bilinear interpolation: one for the kernel, one for misalignment.
INTERPOLATION_MARGIN = 2
# Side of a block of pixels that are averaged at a time: 32 MB in double precision.
MEAN_PIXELS = 2048
# Side, in cells, of the groups at the edge of the data that are averaged from full resolution.
EDGE_GROUP_CELLS = 32
# Distance, in overview pixels, to which resampling mixes zeros into pixels beside nodata.
EDGE_PIXELS = 2


class BandRaster:
    """One band of an open raster file.

    Parameters
    ----------
    dataset : RasterFile
        Open file; the caller closes it.
    band_index : int
        1-based index of the band in the file.
    grid : Grid
        Grid of the whole raster.
    encoding : Encoding
        How the stored values become DN.
    mask : DeclaredMask or None
        Mask that the file declares for the band; None if there is none.
    """

    def __init__(
        self,
        dataset: RasterFile,
        band_index: int,
        grid: Grid,
        *,
        encoding: Encoding,
        mask: DeclaredMask | None,
    ) -> None:
        """Keep the file and the band; nothing is read yet."""
        self._dataset = dataset
        self._index = band_index
        self.grid = grid
        self.encoding = encoding
        self.mask = mask

    def read_dn(self, window: GridWindow) -> UInt16Raster:
        """Read a window of the raster's own cells.

        Parameters
        ----------
        window : GridWindow
            Window in cells of `grid`; it may extend beyond the raster.

        Returns
        -------
        ndarray of uint16, shape (y, x)
            DN as `Encoding.decode` returns them; 0 outside the raster.

        Raises
        ------
        RasterError, TryAgainError
            If the file cannot be read.
        """
        pixels = np.zeros((window.height, window.width), dtype=np.uint16)
        inside = window.intersection(self.grid.window)
        if not inside.is_empty:
            target = inside.shifted(-window.row, -window.col)
            pixels[target.slices] = self._decoded(window=rasterio_window(inside))
        return pixels

    def read_thumbnail(self, shape: tuple[int, int]) -> UInt16Raster:
        """Read the whole band in low resolution, every n-th pixel: DN, shape (y, x).

        Reduced resolutions of JPEG 2000 have no undershoots; see `without_undershoots`.

        Raises
        ------
        RasterError, TryAgainError
            If the file cannot be read, or holds no value that can be DN.
        """
        how = {"out_shape": shape, "resampling": Resampling.nearest}
        values: Raster = self._dataset.read(self._index, **how)
        masked = None if self.mask is None else self.mask.read(**how)
        try:
            check_range(values if masked is None else values[~masked], self.encoding)
        except ValueError as error:
            msg = f"{self._dataset.href} {error}, or drop the scene"
            raise RasterError(msg) from error
        pixels = self.encoding.decode(values, masked)
        is_reduced = self._dataset.driver.startswith("JP2") and shape != self.grid.shape
        return without_undershoots(pixels) if is_reduced else pixels

    def _decoded(self, **how: Any) -> UInt16Raster:  # noqa: ANN401 -- rasterio has no types
        """DN of the pixels that arguments of rasterio's ``read`` select."""
        values: Raster = self._dataset.read(self._index, **how)
        masked = None if self.mask is None else self.mask.read(**how)
        return self.encoding.decode(values, masked)

    def read_harmonised(self, grid: Grid, *, offset_dn: int) -> UInt16Raster:
        """Read reflectance times 10 000 on a grid.

        Parameters
        ----------
        grid : Grid
            Target grid in the CRS of the raster; it need not be aligned to the raster.
        offset_dn : int
            Offset added to each valid DN, -1000 or 0.

        Returns
        -------
        ndarray of uint16, shape (y, x)
            Harmonised DN; 0 where the raster has no value, or does not reach. A finer
            raster is averaged over its valid pixels, a coarser or shifted one is interpolated
            bilinearly, and an aligned one is copied.

        Raises
        ------
        RasterError, TryAgainError
            If the file cannot be read.
        """
        if self.grid.is_aligned(grid):
            row, col = self.grid.offset_of(grid)
            return self._repaired(GridWindow(row, col, *grid.shape), offset_dn)
        if grid.x_size > self.grid.x_size * (1 + 1e-9):
            return self._read_coarser(grid, offset_dn)
        window = self.grid.window_of(grid.bounds).grown(INTERPOLATION_MARGIN)
        return _interpolate(self._repaired(window, offset_dn), self.grid.crop(window), grid)

    def expect_harmonised(self, grid: Grid) -> None:
        """Count what `read_harmonised` decodes, as far as no pixel decides it.

        Isolated zeros at the edge of a window, and cells at the edge of the data, make the read
        larger than counted here.
        """
        if grid.x_size > self.grid.x_size * (1 + 1e-9) and not self.grid.is_aligned(grid):
            window = self.grid.window_of(grid.bounds)
            reduces = self.mask is None and self.encoding.is_plain
            how = {"out_shape": grid.shape, "resampling": Resampling.average} if reduces else {}
        elif self.grid.is_aligned(grid):
            row, col = self.grid.offset_of(grid)
            window, how = GridWindow(row, col, *grid.shape), {}
        else:
            window, how = self.grid.window_of(grid.bounds).grown(INTERPOLATION_MARGIN), {}
        inside = window.intersection(self.grid.window)
        if not inside.is_empty:
            self._dataset.expect(self._index, window=rasterio_window(inside), **how)

    def expect_edges(self) -> None:
        """Count the thumbnail that shows where the edge of the data may be."""
        if self._has_overviews:
            self._dataset.expect(self._index, **self._edge_thumbnail)

    def may_lack_data(self, window: GridWindow) -> bool:
        """Return whether the edge of the data may be within or near a window of the raster's cells.

        This is known from a small overview, and True for a raster without any.
        """
        if self._empty_parts is None:
            return True
        rows, cols = self._empty_parts.shape
        y_size, x_size = self.grid.height / rows, self.grid.width / cols
        first_row, first_col = (
            max(0, int(start) - 1) for start in (window.row / y_size, window.col / x_size)
        )
        last_row = int((window.row + window.height) / y_size) + 2
        last_col = int((window.col + window.width) / x_size) + 2
        return bool(self._empty_parts[first_row:last_row, first_col:last_col].any())

    @property
    def has_thumbnail(self) -> bool:
        """Whether `may_lack_data` knows, and does not guess."""
        return self._empty_parts is not None

    @cached_property
    def _empty_parts(self) -> BoolRaster | None:
        """Where a thumbnail of the raster has no data; None if it has no overviews of its own.

        Overviews of JPEG 2000 are decoded from the whole file, which costs too much.
        """
        if not self._has_overviews:
            return None
        empty: BoolRaster = ~has_value(self._decoded(**self._edge_thumbnail))
        return empty

    @property
    def _has_overviews(self) -> bool:
        return self._dataset.driver == "GTiff" and bool(self._dataset.overviews(self._index))

    @property
    def _edge_thumbnail(self) -> dict[str, Any]:
        """Arguments of the read that shows the parts of the raster without data."""
        rows, cols = (
            min(EMPTY_PARTS, max(1, side // LEAST_PART_PIXELS)) for side in self.grid.shape
        )
        return {"out_shape": (rows, cols), "resampling": Resampling.nearest}

    def _repaired(self, window: GridWindow, offset_dn: int) -> UInt16Raster:
        """Harmonised DN of a native window, with isolated zeros repaired."""
        pixels = self.read_dn(window)
        # The surroundings may lie in tiles that are not needed otherwise.
        if may_cut_isolated_zeros(pixels):
            wide = window.grown(ZERO_REPAIR_MARGIN)
            repaired = repair_isolated_zeros(self.read_dn(wide))
            pixels = repaired[window.shifted(-wide.row, -wide.col).slices]
        else:
            pixels = repair_isolated_zeros(pixels)
        return harmonise(pixels, offset_dn)

    def _read_coarser(self, grid: Grid, offset_dn: int) -> UInt16Raster:
        """Harmonised means of the valid pixels on a coarser grid, read from overviews if possible.

        The overviews of a raster without a nodata tag (JPEG 2000 has none) mix zeros into the edge
        of the data, so that cells there are averaged from full resolution instead. So is every cell
        of a raster that does not hold plain DN, or has a mask: its overviews may ignore that.
        """
        if self.mask is not None or not self.encoding.is_plain:
            return self._means(grid, grid.window, offset_dn)
        factors = self._dataset.overviews(self._index)
        tagged = self._dataset.nodatavals[self._index - 1] == NODATA
        ratio = grid.x_size / self.grid.x_size
        usable = [factor for factor in factors if factor <= min(ratio, max(2.0, ratio / 2))]
        if not factors or not (tagged or usable):
            return self._means(grid, grid.window, offset_dn)
        means = harmonise(self._gdal_averages(grid), offset_dn)
        if tagged:
            return means
        mixed = self._edge_cells(grid, max(usable))
        for group in grid.blocks(EDGE_GROUP_CELLS):
            if mixed[group.slices].any():
                exact = self._means(grid, group, offset_dn)
                means[group.slices] = np.where(mixed[group.slices], exact, means[group.slices])
        return means

    def _means(self, grid: Grid, cells: GridWindow, offset_dn: int) -> UInt16Raster:
        """Harmonised means of the valid pixels in the window ``cells``, from full resolution."""
        part = grid.crop(cells)
        means = np.zeros(part.shape, dtype=np.uint16)
        for block in part.blocks(max(1, int(MEAN_PIXELS * self.grid.x_size / grid.x_size))):
            target = part.crop(block)
            window = self.grid.window_of(target.bounds).intersection(self.grid.window)
            if not window.is_empty:
                pixels = self._repaired(window, offset_dn)
                means[block.slices] = valid_means(pixels, self.grid.crop(window), target)
        return means

    def _edge_cells(self, grid: Grid, factor: int) -> BoolRaster:
        """Mask of the cells at the edge of the data, shape of ``grid``.

        These are the cells whose surroundings in the overview of ``factor`` hold pixels with and
        without data. A hole smaller than a pixel of that overview, half a cell, is not found.
        """
        inside = self.grid.window_of(grid.bounds).intersection(self.grid.window)
        if inside.is_empty:
            return np.zeros(grid.shape, dtype=np.bool_)
        shape = (-(-inside.height // factor), -(-inside.width // factor))
        empty = self._resampled(rasterio_window(inside), shape, Resampling.nearest) == NODATA
        part = self.grid.crop(inside)
        top, bottom = _reach(part.north - grid.north, grid.y_size, part.y_size, grid.height, factor)
        left, right = _reach(grid.west - part.west, grid.x_size, part.x_size, grid.width, factor)
        top, bottom = (np.clip(edge, 0, shape[0])[:, None] for edge in (top, bottom))
        left, right = (np.clip(edge, 0, shape[1])[None, :] for edge in (left, right))
        found = count_in_boxes(empty, (top, bottom), (left, right))
        mixed: BoolRaster = (found > 0) & (found < (bottom - top) * (right - left))
        return mixed

    def _gdal_averages(self, grid: Grid) -> UInt16Raster:
        """DN as delivered, averaged by GDAL, which reads overviews.

        The edge of the raster rarely ends with a cell of ``grid``. Cells that it cuts are read
        separately, because GDAL would stretch them with the others.
        """
        pixels = np.zeros(grid.shape, dtype=np.uint16)
        for rows in _spans(grid.north, -grid.y_size, grid.height, self.grid, axis="y"):
            for cols in _spans(grid.west, grid.x_size, grid.width, self.grid, axis="x"):
                area = Window(cols[1], rows[1], cols[2] - cols[1], rows[2] - rows[1])
                target = pixels[rows[0], cols[0]]
                target[:] = self._resampled(area, target.shape, Resampling.average)
        return pixels

    def _resampled(
        self, area: Window, shape: tuple[int, int], resampling: Resampling
    ) -> UInt16Raster:
        """DN as delivered in a window inside the raster, resampled to ``shape``."""
        pixels: UInt16Raster = self._dataset.read(
            self._index, window=area, out_shape=shape, resampling=resampling
        )
        return pixels


def _reach(
    start: float, step: float, size: float, count: int, factor: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First and last (exclusive) overview pixel that may contribute to each cell of an axis.

    Parameters
    ----------
    start : float
        Distance from the first overview pixel to the first cell, CRS units.
    step, size : float
        Size of a cell and of a full-resolution pixel, CRS units.
    count : int
        Number of cells.
    factor : int
        Reduction factor of the overview.

    Returns
    -------
    first, last : ndarray of int, shape (count,)
    """
    first = (start + np.arange(count) * step) / (size * factor)
    last = first + step / (size * factor)
    return (
        np.floor(first).astype(np.intp) - EDGE_PIXELS,
        np.ceil(last).astype(np.intp) + EDGE_PIXELS,
    )


def _spans(
    origin: float, step: float, count: int, native: Grid, *, axis: str
) -> Iterator[tuple[slice, float, float]]:
    """Split the cells of an axis into runs that are read separately.

    Yields
    ------
    tuple of (slice, float, float)
        Cells of a run, and where it begins and ends in pixels of the raster, clipped to the raster:
        first the cells that lie wholly in the raster, then each cell that its edge cuts.
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


def _interpolate(pixels: UInt16Raster, native: Grid, grid: Grid) -> UInt16Raster:
    """Interpolate harmonised pixels bilinearly on another grid of the same CRS; 0 is nodata."""
    result = np.zeros(grid.shape, dtype=np.uint16)
    if pixels.any():
        warp(pixels, native, result, grid, Resampling.bilinear, tolerance=0, XSCALE=1, YSCALE=1)
    return result
