"""The blocks of a mosaic: composed of gathered scenes, or read from parts that were merged before.

The classes of all scenes of a block are read first; they decide which scene gives which cell. Only
then is reflectance read, and only of the scenes, and of the part of the block, that give something.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.composite import (
    COMPOSITES,
    BlockComposite,
    CellState,
    ObservationCounter,
    backstop_rank,
    class_rank,
    mosaic_state,
)
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.errors import GridError, RasterError
from cloudbuster.gathered.scene_files import SceneFile
from cloudbuster.gathered.scene_raster import MAX_OPEN_SCENES, OpenScenes, SceneRaster
from cloudbuster.products.cog import BLOCK_SIZE
from cloudbuster.storage.tiled_raster import NODATA

UInt16Raster = UInt16Raster
Pixels = Mapping[str, UInt16Raster]
"""All bands of one block, uint16, shape (band, y, x), by raster: ``cloudless``, ``cloudy`` (both
reflectance, then ``scene_index``) and ``quality``."""


class MosaicBlocks(Protocol):
    """Where the blocks of a mosaic, or of a window of one, come from.

    Attributes
    ----------
    grid : Grid
        Of the whole mosaic.
    bands : tuple of str
        Reflectance bands.
    """

    grid: Grid
    bands: tuple[str, ...]

    def blocks(self) -> Iterator[tuple[GridWindow, Pixels]]:
        """Yield each block once, with its window in the mosaic's grid."""

    def __len__(self) -> int:
        """Return the number of blocks."""


class Tally:
    """Counts cells while the blocks go by."""

    def __init__(self) -> None:
        self._states = np.zeros(len(CellState), dtype=np.int64)
        self._given = np.zeros((2, np.iinfo(np.uint16).max + 1), dtype=np.int64)

    def add(self, pixels: Pixels) -> None:
        """Count one block: the states of its cells, and the scenes that give them."""
        index, state = pixels["cloudless"][-1], pixels["quality"][-1]
        self._states += np.bincount(state.ravel(), minlength=len(CellState))
        for backstop, wanted in ((False, CellState.CLEAR), (True, CellState.BACKSTOP)):
            given = np.bincount(index[state == wanted], minlength=self._given.shape[1])
            self._given[int(backstop)] += given

    def share(self, *states: CellState) -> float:
        """Share of all cells that are in one of ``states``."""
        return float(self._states[list(states)].sum() / self._states.sum())

    def share_given(self, index: int, *, backstop: bool) -> float:
        """Share of all cells that come from one scene, in the cloud-free mosaic."""
        return float(self._given[int(backstop), index] / self._states.sum())


class SceneBlocks(OpenScenes):
    """Blocks composed of gathered scenes, which have the same bands and one grid.

    Use it as a context manager: it closes the scenes.

    Parameters
    ----------
    files : tuple of SceneFile
        In order of preference.
    composite : str
        One of `COMPOSITES`.
    window : GridWindow or None
        The part of the mosaic's grid that is wanted; None for all of it.

    Attributes
    ----------
    files : tuple of SceneFile
        As given.
    grid : Grid
        Of the whole mosaic.
    bands : tuple of str
        Reflectance bands.

    Raises
    ------
    RasterError, GridError
        Where a raster cannot be read, or the scenes are not of one mosaic.
    """

    def __init__(
        self, files: tuple[SceneFile, ...], composite: str, window: GridWindow | None = None
    ) -> None:
        self.files = files
        self.grid = mosaic_grid(files)
        self._composite = composite
        self._window = window or self.grid.window
        super().__init__([file.path for file in files], self.grid, max_open=MAX_OPEN_SCENES)
        self.bands = self.use(0).bands
        for position, file in enumerate(files):
            bands = self.use(position).bands
            if bands != self.bands:
                msg = (
                    f"{file.path}: bands {', '.join(bands)}, but {files[0].path.name} has "
                    f"{', '.join(self.bands)}; gather all scenes with the same --bands"
                )
                raise RasterError(msg)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return sum(1 for _ in self.grid.crop(self._window).blocks(BLOCK_SIZE))

    def blocks(self) -> Iterator[tuple[GridWindow, Pixels]]:
        """Compose each block, row by row."""
        for block in self.grid.crop(self._window).blocks(BLOCK_SIZE):
            window = block.shifted(self._window.row, self._window.col)
            yield window, self._compose(window)

    def _compose(self, window: GridWindow) -> Pixels:
        shape = (window.height, window.width)
        meeting = self.meeting(window)
        best, backstop = COMPOSITES[self._composite](shape), COMPOSITES["first"](shape)
        offers = Counter(self.files[position].acquisition for position in meeting)
        counter = ObservationCounter(shape, dict(offers))
        for position in meeting:
            file, raster = self.files[position], self.use(position)
            classes = raster.read_classes(window)
            counter.feed(file.acquisition, classes, counts_clear=not file.backstop)
            if file.backstop:
                rank = backstop_rank(raster.read_present(window))
                backstop.feed(position, rank)
            else:
                rank = class_rank(classes)
            if not best.is_done:
                best.feed(position, rank)
        pixels, distance = self._read_winners(window, best, backstop)
        state = mosaic_state(best.rank, counter.times_observed)
        quality = (counter.times_observed, counter.times_clear, distance, state)
        return {**pixels, "quality": np.stack(quality).astype(np.uint16)}

    def _read_winners(
        self, window: GridWindow, best: BlockComposite, backstop: BlockComposite
    ) -> tuple[dict[str, UInt16Raster], UInt16Raster]:
        """Reflectance and index of both mosaics, and the winners' distance to cloud."""
        shape = (len(self.bands) + 1, window.height, window.width)
        composites = {"cloudless": best, "cloudy": backstop}
        pixels = {key: np.zeros(shape, dtype=np.uint16) for key in composites}
        distance = np.zeros(shape[1:], dtype=np.uint16)
        for position in np.union1d(best.winner, backstop.winner):
            if position < 0:
                continue
            wanted = {key: chosen.winner == position for key, chosen in composites.items()}
            part = _extent(wanted["cloudless"] | wanted["cloudy"])
            rows, cols = part.slices
            where_in_mosaic = part.shifted(window.row, window.col)
            file, raster = self.files[position], self.use(position)
            reflectance = raster.read_reflectance(where_in_mosaic)
            for key, cells in wanted.items():
                _fill(pixels[key][:, rows, cols], reflectance, cells[rows, cols], file)
            if not file.backstop:
                own = raster.read_cloud_distance(where_in_mosaic)
                np.copyto(distance[rows, cols], own, where=wanted["cloudless"][rows, cols])
        return pixels, distance


def mosaic_grid(files: tuple[SceneFile, ...]) -> Grid:
    """Grid that the records agree on; without records the union of the rasters."""
    known = [(file, file.record.grid) for file in files if file.record is not None]
    if not known:
        return _union_grid(files)
    first, document = known[0]
    for file, other in known:
        if other != document:
            msg = (
                f"{file.path.name} is on another grid than {first.path.name} ({other.crs} "
                f"{other.width}x{other.height}, {document.crs} {document.width}x"
                f"{document.height}); gather all scenes of a mosaic from one selection"
            )
            raise GridError(msg)
    return document.grid()


def _union_grid(files: tuple[SceneFile, ...]) -> Grid:
    with SceneRaster(files[0].path) as first:
        anchor = first.grid
    windows = []
    for file in files:
        with SceneRaster(file.path, anchor) as raster:
            windows.append(raster.window)
    row, col = min(window.row for window in windows), min(window.col for window in windows)
    height = max(window.row + window.height for window in windows) - row
    width = max(window.col + window.width for window in windows) - col
    return anchor.crop(GridWindow(row, col, height, width))


def _extent(cells: BoolRaster) -> GridWindow:
    """Smallest window that holds all True cells; there is at least one."""
    rows, cols = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    return GridWindow(
        int(rows[0]), int(cols[0]), int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1)
    )


def _fill(
    target: UInt16Raster, reflectance: UInt16Raster, cells: BoolRaster, file: SceneFile
) -> None:
    """Copy the cells of one scene, and its index, into a mosaic's block."""
    if (reflectance[:, cells] == NODATA).any():
        msg = f"{file.path}: cells that count as seen hold no value; gather this scene again"
        raise RasterError(msg)
    np.copyto(target[:-1], reflectance, where=cells)
    target[-1][cells] = file.index
