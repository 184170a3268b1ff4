"""Compose the blocks of a mosaic from gathered scenes.

For each block, the pixel classes of all scenes are read first and decide which scene provides each
cell. Reflectance is then read only from the scenes that provide some, and only for those cells.
Composites that are statistics read it from all scenes that see a cell clear.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.composite import (
    BACKSTOP_RANK,
    COMPOSITES,
    BlockComposite,
    CellState,
    ChosenComposite,
    ObservationCounter,
    backstop_rank,
    class_rank,
    mosaic_state,
)
from cloudbuster.core.pixels.composite_methods import parse_composite
from cloudbuster.core.pixels.held_out import HeldOutTally
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.pixels.pixel_statistics import pixel_statistic
from cloudbuster.errors import GridError, RasterError
from cloudbuster.gathered.observed_blocks import (
    BestPlan,
    BlockChoice,
    GatheredRaster,
    choose_in_block,
)
from cloudbuster.gathered.scene_files import SceneFile
from cloudbuster.gathered.scene_raster import MAX_OPEN_SCENES, OpenScenes, SceneRaster
from cloudbuster.products.cog import BLOCK_SIZE
from cloudbuster.products.looks import BlockLooks, check_values, datatake_numbers, extent
from cloudbuster.storage.rasters.tiled_raster import NODATA

Winners = npt.NDArray[np.intp]
"""Position of the scene that a cell is taken from, shape (y, x); -1 for none."""

Pixels = Mapping[str, UInt16Raster]
"""Pixels of one block by product, uint16, shape (band, y, x): ``cloudless`` and ``cloudy``
(reflectance bands, then ``scene_index``) and ``quality``."""


class MosaicBlocks(Protocol):
    """Source of the blocks of a mosaic, or of a window of one.

    Attributes
    ----------
    grid : Grid
        Grid of the whole mosaic.
    bands : tuple of str
        Reflectance bands.
    tally : HeldOutTally or None
        Self-check of the blocks that have been yielded; None without one.
    """

    grid: Grid
    bands: tuple[str, ...]

    @property
    def tally(self) -> HeldOutTally | None:
        """Self-check of the blocks that have been yielded."""

    def blocks(self) -> Iterator[tuple[GridWindow, Pixels]]:
        """Yield each block once, with its window in the mosaic's grid."""

    def __len__(self) -> int:
        """Return the number of blocks."""


class Tally:
    """Counts the cells of a mosaic by state and by scene, block by block.

    Attributes
    ----------
    has_value : bool
        Whether any cell has a value, counted or not.
    """

    def __init__(self) -> None:
        """Start with no cells."""
        self._states = np.zeros(len(CellState), dtype=np.int64)
        # Cells by scene index: of clear cells, and of cells from the backstop.
        self._scene_cells = np.zeros((2, np.iinfo(np.uint16).max + 1), dtype=np.int64)
        self.has_value = False

    def add(self, pixels: Pixels, inside: BoolRaster | None = None) -> None:
        """Count the cells of one block; with ``inside``, shape (y, x), only those that are True."""
        index, state = pixels["cloudless"][-1], pixels["quality"][-1]
        self.has_value |= bool((state >= CellState.BACKSTOP).any())
        if inside is not None:
            index, state = index[inside], state[inside]
        self._states += np.bincount(state.ravel(), minlength=len(CellState))
        for backstop, counted in ((False, CellState.CLEAR), (True, CellState.BACKSTOP)):
            cells = np.bincount(index[state == counted], minlength=self._scene_cells.shape[1])
            self._scene_cells[int(backstop)] += cells

    def share(self, *states: CellState) -> float:
        """Share of the counted cells that are in one of ``states``."""
        return float(self._states[list(states)].sum() / max(1, self._states.sum()))

    def scene_share(self, index: int, *, backstop: bool) -> float:
        """Share of the counted cells of the cloud-free mosaic that one scene provides."""
        return float(self._scene_cells[int(backstop), index] / max(1, self._states.sum()))


def clipped(pixels: Pixels, inside: BoolRaster) -> dict[str, UInt16Raster]:
    """Return a block without the cells outside of an area.

    Parameters
    ----------
    pixels : Pixels
        Pixels of the block. Not modified.
    inside : ndarray of bool, shape (y, x)
        True in the area.

    Returns
    -------
    dict of str to ndarray of uint16
        As ``pixels``, with 0 in every band of the other cells: nodata, and never observed.
    """
    return {key: np.where(inside, part, np.uint16(NODATA)) for key, part in pixels.items()}


class SceneBlocks(OpenScenes):
    """Blocks composed from gathered scenes of one mosaic; see `MosaicBlocks`.

    Use it as a context manager, which closes the scenes.

    Parameters
    ----------
    files : tuple of SceneFile
        Scenes in order of preference, also available as an attribute.
    composite : str
        Name of a composite, for `parse_composite`.
    window : GridWindow or None
        Window of the mosaic's grid to compose; None composes all of it.
    plan : BestPlan or None
        Plan of composite `best`, made of all scenes of the mosaic; None for other composites.

    Raises
    ------
    RasterError, GridError
        If a raster cannot be read, or the scenes differ in their bands or grid.
    """

    def __init__(
        self,
        files: tuple[SceneFile, ...],
        composite: str,
        window: GridWindow | None = None,
        *,
        plan: BestPlan | None = None,
    ) -> None:
        """Open the scenes and check that they have the same bands."""
        self.tally: HeldOutTally | None = None
        self.files = files
        self.grid = mosaic_grid(files)
        self._composite = parse_composite(composite)
        if self._composite.method.is_comparing and plan is None:
            msg = f"composite {composite} needs a plan"
            raise ValueError(msg)
        self._plan = plan
        self._offered = [GatheredRaster(file.path.name, file.backstop) for file in files]
        self._window = window or self.grid.window
        self._datatakes = datatake_numbers(files)
        super().__init__([file.path for file in files], self.grid, max_open=MAX_OPEN_SCENES)
        self.bands = self.open_raster(0).bands
        for position, file in enumerate(files):
            bands = self.open_raster(position).bands
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
            yield window, self.compose(window)

    def datatakes_in(self, window: GridWindow) -> dict[int, list[int]]:
        """Positions of the cloud-free scenes that intersect a window, by datatake."""
        found: dict[int, list[int]] = {}
        for position in self.intersecting(window):
            if not self.files[position].backstop:
                found.setdefault(self._datatakes[position], []).append(position)
        return found

    def compose(self, window: GridWindow, *, without: Collection[int] = ()) -> Pixels:
        """Compose a window of the mosaic.

        Parameters
        ----------
        window : GridWindow
            Cells to compose.
        without : collection of int
            Positions of scenes that are not to be used, as if they had not been gathered.
        """
        shape = (window.height, window.width)
        positions = [each for each in self.intersecting(window) if each not in without]
        is_statistic = self._composite.method.is_statistic
        # A statistic takes looks of the rank that the first of them has.
        chosen = self._chosen(window, without)
        best, backstop = self._composites(shape, chosen)
        looks = BlockLooks(window)
        scene_counts = Counter(self.files[position].acquisition for position in positions)
        counter = ObservationCounter(shape, dict(scene_counts))
        for position in positions:
            file, raster = self.files[position], self.open_raster(position)
            classes = raster.read_classes(window)
            if chosen is not None:
                classes = chosen.accepted_classes(position, classes)
            counter.feed(file.acquisition, classes, counts_clear=not file.backstop)
            if file.backstop:
                rank = backstop_rank(raster.read_present(window))
                backstop.feed(position, rank)
            else:
                rank = class_rank(classes)
                if is_statistic:
                    looks.feed(position, self._datatakes[position], rank)
            if not best.is_done:
                best.feed(position, rank)
        winner = (
            np.where(best.rank > BACKSTOP_RANK, -1, best.winner) if is_statistic else best.winner
        )
        pixels, distance, confidence = self._read_winners(window, winner, backstop.winner)
        if chosen is not None:
            self._name_backstops(pixels["cloudless"], best, (distance, confidence))
            self._name_backstops(pixels["cloudy"], backstop)
        if is_statistic:
            self._add_statistic(window, looks, pixels["cloudless"], distance, confidence)
        state = mosaic_state(best.rank, counter.times_observed)
        quality = (counter.times_observed, counter.times_clear, distance, confidence, state)
        return {**pixels, "quality": np.stack(quality).astype(np.uint16)}

    def _chosen(self, window: GridWindow, without: Collection[int]) -> BlockChoice | None:
        """Choose the scenes of a block whose cells depend on several of them; else None."""
        if self._plan is None:
            return None
        return choose_in_block(self, self._offered, window, self.grid, self._plan, without=without)

    def _composites(
        self, shape: tuple[int, int], chosen: BlockChoice | None
    ) -> tuple[BlockComposite, BlockComposite]:
        """Make the composites of the cloud-free mosaic and of the backstop of one block."""
        method = self._composite.method
        if not method.is_comparing:
            name = "first" if method.is_statistic else self._composite.name
            return COMPOSITES[name](shape), COMPOSITES["first"](shape)
        winner, substitute = np.full((2, *shape), -1, dtype=np.intp)
        if chosen is not None:
            winner, substitute = chosen.winner, chosen.substitute
        fill = self._plan is not None and self._plan.has_backstop
        # Without a winner, a hazy observation is better than a cloudy one.
        filled = np.where((substitute >= 0) & fill, BACKSTOP_RANK, 0).astype(np.uint8)
        substitute = np.where(filled > 0, substitute, -1)
        rank = np.where(winner >= 0, PixelClass.CLEAR, filled).astype(np.uint8)
        return (
            ChosenComposite(np.where(winner >= 0, winner, substitute), rank),
            ChosenComposite(substitute, filled),
        )

    def _name_backstops(
        self,
        pixels: UInt16Raster,
        composite: BlockComposite,
        of_clear: tuple[UInt16Raster, ...] = (),
    ) -> None:
        """Name the backstop of a scene where one of its rejected observations fills a cell.

        Whoever goes by ``scene_index`` alone would take the cell for clear otherwise. As for other
        cells of a backstop, the layers ``of_clear`` become 0 there.
        """
        backstops = {file.acquisition: file.index for file in self.files if file.backstop}
        filled = composite.rank == BACKSTOP_RANK
        for position in np.unique(composite.winner[filled]):
            file = self.files[position]
            if file.backstop or file.acquisition not in backstops:
                continue
            cells = filled & (composite.winner == position)
            pixels[-1][cells] = backstops[file.acquisition]
            for layer in of_clear:
                layer[cells] = 0

    def _add_statistic(
        self,
        window: GridWindow,
        looks: BlockLooks,
        pixels: UInt16Raster,
        distance: UInt16Raster,
        confidence: UInt16Raster,
    ) -> None:
        """Set the cells of a block that have looks, and what is known of the nearest one."""
        found = looks.compute(self, self.files, pixel_statistic(self._composite))
        np.copyto(pixels[:-1], found.reflectance, where=found.position >= 0)
        for position in np.unique(found.position):
            if position < 0:
                continue
            cells = found.position == position
            part = extent(cells)
            rows, cols = part.slices
            pixels[-1][cells] = self.files[position].index
            raster, shown = self.open_raster(int(position)), part.shifted(window.row, window.col)
            for layer, values in (
                (distance, raster.read_cloud_distance(shown)),
                (confidence, raster.read_confidence(shown)),
            ):
                np.copyto(layer[rows, cols], values, where=cells[rows, cols])

    def _read_winners(
        self, window: GridWindow, best: Winners, backstop: Winners
    ) -> tuple[dict[str, UInt16Raster], UInt16Raster, UInt16Raster]:
        """Read the pixels that win a cell of the cloud-free mosaic or of the backstop.

        Returns reflectance and scene index of both mosaics, by product, and of the pixels of the
        cloud-free mosaic the distance to cloud in their scenes, metres, and the agreement of the
        detectors, percent, shape (y, x).
        """
        shape = (len(self.bands) + 1, window.height, window.width)
        winners = {"cloudless": best, "cloudy": backstop}
        pixels = {key: np.zeros(shape, dtype=np.uint16) for key in winners}
        distance, confidence = np.zeros((2, *shape[1:]), dtype=np.uint16)
        for position in np.union1d(best, backstop):
            if position < 0:
                continue
            won = {key: winner == position for key, winner in winners.items()}
            part = extent(won["cloudless"] | won["cloudy"])
            rows, cols = part.slices
            part_in_mosaic = part.shifted(window.row, window.col)
            file, raster = self.files[position], self.open_raster(position)
            reflectance = raster.read_reflectance(part_in_mosaic)
            for key, cells in won.items():
                _fill(pixels[key][:, rows, cols], reflectance, cells[rows, cols], file)
            if not file.backstop:
                cells = won["cloudless"][rows, cols]
                for layer, values in (
                    (distance, raster.read_cloud_distance(part_in_mosaic)),
                    (confidence, raster.read_confidence(part_in_mosaic)),
                ):
                    np.copyto(layer[rows, cols], values, where=cells)
        return pixels, distance, confidence


def mosaic_grid(files: tuple[SceneFile, ...]) -> Grid:
    """Grid of a mosaic: that of the records, or the union of the rasters if there are none.

    Raises
    ------
    GridError
        If the records name different grids.
    """
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
    """Smallest grid that holds all rasters, aligned to the first one."""
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


def _fill(
    target: UInt16Raster, reflectance: UInt16Raster, cells: BoolRaster, file: SceneFile
) -> None:
    """Copy the reflectance and the index of a scene into the cells of a block."""
    check_values(reflectance, cells, file)
    np.copyto(target[:-1], reflectance, where=cells)
    target[-1][cells] = file.index
