"""One band of an open raster: its pixels as delivered, and harmonised on any grid of its CRS."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.digital_numbers import NODATA, harmonise
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.core.masks import ISOLATED_ZERO_PIXELS, repair_isolated_zeros
from cloudbuster.core.regrid import count_in_boxes, valid_means
from cloudbuster.storage.raster_file import RasterFile

# A group of fewer zeros than this can reach this far from a block and still be enclosed.
ZERO_REPAIR_MARGIN = 16
# Bilinear interpolation looks one cell further; one more for the half cell of a misaligned corner.
INTERPOLATION_MARGIN = 2
# Pixels a side that are averaged at once: 32 MB in double precision.
MEAN_PIXELS = 2048
# A group of cells at the edge of the data is averaged from full resolution; cells a side.
EDGE_GROUP_CELLS = 32
# Pixels of an overview, beside those without data, into which resampling mixed their zeros.
EDGE_PIXELS = 2


class BandRaster:
    """A band, by the file that holds it.

    Parameters
    ----------
    dataset : RasterFile
        Open; whoever opened it closes it.
    band_index : int
        1-based.
    grid : Grid
        Of the whole raster.
    """

    def __init__(self, dataset: RasterFile, band_index: int, grid: Grid) -> None:
        self._dataset = dataset
        self._index = band_index
        self.grid = grid

    def read_native(self, window: GridWindow) -> Raster:
        """Read a window of the raster's own cells.

        Parameters
        ----------
        window : GridWindow
            In cells of `grid`; it may reach over its edges.

        Returns
        -------
        ndarray, shape (y, x)
            DN as delivered, of the raster's own dtype; 0 outside of it.

        Raises
        ------
        RasterError, TryAgainError
            Naming the file that cannot be read.
        """
        inside = window.intersection(self.grid.window)
        dtype = self._dataset.dtypes[self._index - 1]
        pixels = np.zeros((window.height, window.width), dtype=dtype)
        if not inside.is_empty:
            target = inside.shifted(-window.row, -window.col)
            pixels[target.slices] = self._dataset.read(self._index, window=_window(inside))
        return pixels

    def read_harmonised(self, grid: Grid, *, offset_dn: int) -> UInt16Raster:
        """Read reflectance times 10 000 on any grid.

        Parameters
        ----------
        grid : Grid
            In the raster's CRS; its lines need not be those of the raster.
        offset_dn : int
            What is added to each valid DN, -1000 or 0.

        Returns
        -------
        ndarray of uint16, shape (y, x)
            0 where the raster has no data, is saturated, or ends. A finer raster is averaged over
            its valid pixels, a coarser or shifted one interpolated bilinearly, an aligned one
            copied.

        Raises
        ------
        RasterError, TryAgainError
            Naming the file that cannot be read.
        """
        if self.grid.is_aligned(grid):
            row, col = self.grid.offset_of(grid)
            return self._repaired(GridWindow(row, col, *grid.shape), offset_dn)
        if grid.x_size > self.grid.x_size * (1 + 1e-9):
            return self._coarse(grid, offset_dn)
        window = self.grid.window_of(grid.bounds).grown(INTERPOLATION_MARGIN)
        return _interpolate(self._repaired(window, offset_dn), self.grid.crop(window), grid)

    def _repaired(self, window: GridWindow, offset_dn: int) -> UInt16Raster:
        """Harmonised DN of a native window, isolated zeros repaired."""
        pixels = self.read_native(window)
        zeros = pixels == NODATA
        # A block of nothing but zeros is not looked at twice, unless they are few enough to be
        # enclosed by what lies around it.
        if zeros.any() and not (zeros.all() and zeros.size >= ISOLATED_ZERO_PIXELS):
            wide = window.grown(ZERO_REPAIR_MARGIN)
            repaired = repair_isolated_zeros(self.read_native(wide))
            pixels = repaired[window.shifted(-wide.row, -wide.col).slices]
        return harmonise(pixels, offset_dn)

    def _coarse(self, grid: Grid, offset_dn: int) -> UInt16Raster:
        """Harmonised means of the valid pixels, from the overviews where there are some.

        Where the raster does not say which pixels hold no data (JPEG 2000 cannot), cells at the
        edge of the data are averaged from full resolution: overviews mix its zeros in.
        """
        factors = self._dataset.overviews(self._index)
        tagged = self._dataset.nodatavals[self._index - 1] == NODATA
        ratio = grid.x_size / self.grid.x_size
        usable = [factor for factor in factors if factor <= min(ratio, max(2.0, ratio / 2))]
        if not factors or not (tagged or usable):
            return self._means(grid, grid.window, offset_dn)
        means = harmonise(self._averages(grid), offset_dn)
        if tagged:
            return means
        mixed = self._edge_cells(grid, max(usable))
        for group in grid.blocks(EDGE_GROUP_CELLS):
            if mixed[group.slices].any():
                exact = self._means(grid, group, offset_dn)
                means[group.slices] = np.where(mixed[group.slices], exact, means[group.slices])
        return means

    def _means(self, grid: Grid, cells: GridWindow, offset_dn: int) -> UInt16Raster:
        """Harmonised means of the valid pixels of some cells, from full resolution."""
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
        """Cells that hold pixels without data and others, or are beside those; shape of ``grid``.

        They are looked for in the overview of ``factor``. A hole that is smaller than one of its
        pixels, half a cell, goes unseen.
        """
        inside = self.grid.window_of(grid.bounds).intersection(self.grid.window)
        if inside.is_empty:
            return np.zeros(grid.shape, dtype=np.bool_)
        shape = (-(-inside.height // factor), -(-inside.width // factor))
        empty = self._resampled(_window(inside), shape, Resampling.nearest) == NODATA
        part = self.grid.crop(inside)
        top, bottom = _reach(part.north - grid.north, grid.y_size, part.y_size, grid.height, factor)
        left, right = _reach(grid.west - part.west, grid.x_size, part.x_size, grid.width, factor)
        top, bottom = (np.clip(edge, 0, shape[0])[:, None] for edge in (top, bottom))
        left, right = (np.clip(edge, 0, shape[1])[None, :] for edge in (left, right))
        found = count_in_boxes(empty, (top, bottom), (left, right))
        mixed: BoolRaster = (found > 0) & (found < (bottom - top) * (right - left))
        return mixed

    def _averages(self, grid: Grid) -> UInt16Raster:
        """GDAL's averages, DN as delivered.

        The raster's last cells are rarely a whole cell of ``grid``: whole cells are read in one go
        and the rest by itself, so that nothing is stretched.
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
        """DN as delivered of a window inside of the raster, at another resolution."""
        pixels: UInt16Raster = self._dataset.read(
            self._index, window=area, out_shape=shape, resampling=resampling
        )
        return pixels


def _window(window: GridWindow) -> Window:
    return Window(window.col, window.row, window.width, window.height)


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
    origin: float, step: float, count: int, native: Grid, *, axis: str
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


def _interpolate(pixels: UInt16Raster, native: Grid, grid: Grid) -> UInt16Raster:
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
