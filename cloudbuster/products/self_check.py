"""Let a mosaic measure its own error: hold the clearest date of each block out, and compare.

Any composite can be checked, because the mosaic of the other dates is composed as the mosaic is.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.core.pixels.held_out import (
    CLOUD_BAND,
    SHADOW_BAND,
    GroundType,
    HeldOut,
    HeldOutTally,
)
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.models import BandCheck, GroundCheck, HeldOutSums, SelfCheck
from cloudbuster.products.blocks import MosaicBlocks, Pixels

# Greatest side of a block, metres: within it one date is usually clear, or none is.
BLOCK_M = 4000
# Least side of a block, cells, for large cells.
LEAST_CELLS = 8
# Least share of a block that a date must show clear to be held out of it. Scenes are delivered in
# parts, so that few dates have all of a block.
LEAST_CLEAR = 0.5
# A cell of a date is clear beyond doubt at this distance from its masked clouds, metres. On real
# crops, errors of masks reach 240 to 360 m from them.
SURE_DISTANCE_M = 500

InsideOf = Callable[[GridWindow], BoolRaster]
"""Function of a window that returns which of its cells are inside the area."""


class Composer(Protocol):
    """What a self-check needs of the source of a mosaic; `SceneBlocks` is one."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Reflectance bands."""

    def compose(self, window: GridWindow, *, without: Collection[int] = ()) -> Pixels:
        """Compose a window of the mosaic as if some scenes had not been gathered."""

    def datatakes_in(self, window: GridWindow) -> dict[int, list[int]]:
        """Positions of the cloud-free scenes that intersect a window, by datatake."""

    def open_raster(self, position: int) -> SceneRaster:
        """Raster of the scene at a position."""


@dataclass(frozen=True, eq=False)
class _Date:
    """What one datatake shows of a block: its scenes, and arrays of shape (y, x).

    ``position`` is that of the scene that shows a cell, -1 for none.
    """

    positions: list[int]
    position: np.ndarray
    classes: UInt8Raster
    usable: BoolRaster


class CheckedBlocks:
    """Blocks of a mosaic, each of which is checked when it is yielded; see `MosaicBlocks`.

    Parameters
    ----------
    blocks : MosaicBlocks
        Blocks of the mosaic.
    composer : Composer
        Their source.
    inside_of : callable, optional
        Cells of the area; None for all cells.

    Attributes
    ----------
    tally : HeldOutTally
        What has been compared so far.
    """

    def __init__(
        self, blocks: MosaicBlocks, composer: Composer, inside_of: InsideOf | None = None
    ) -> None:
        """Start with nothing checked."""
        self.grid = blocks.grid
        self.bands = blocks.bands
        self.tally = HeldOutTally(blocks.bands)
        self._blocks = blocks
        self._composer = composer
        self._inside_of = inside_of
        self._side = check_block_cells(blocks.grid)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._blocks)

    def blocks(self) -> Iterator[tuple[GridWindow, Pixels]]:
        """Yield each block, and check it."""
        for window, pixels in self._blocks.blocks():
            for part in self.grid.crop(window).blocks(self._side):
                self._check(part.shifted(window.row, window.col))
            yield window, pixels

    def _check(self, window: GridWindow) -> None:
        """Compare one block of the self-check."""
        if self._inside_of is None:
            inside = np.ones((window.height, window.width), dtype=np.bool_)
        else:
            inside = self._inside_of(window)
        if not inside.any():
            return
        dates = [
            read_date(self._composer, positions, window)
            for positions in self._composer.datatakes_in(window).values()
        ]
        held_out = clearest_date(dates, inside)
        if held_out is None:
            self.tally.skip(inside)
            return
        first = dates[held_out]
        usable = first.usable & inside
        pairs = [
            -1 if number == held_out else int(np.count_nonzero(usable & date.usable))
            for number, date in enumerate(dates)
        ]
        second = dates[int(np.argmax(pairs))] if max(pairs) > 0 else None
        mosaic = self._composer.compose(window, without=frozenset(first.positions))
        reference = read_pixels(self._composer, first, window)
        self.tally.add(
            HeldOut(
                mosaic=mosaic["cloudless"][:-1],
                reference=reference,
                second=reference if second is None else read_pixels(self._composer, second, window),
                shown=mosaic["quality"][-1] == CellState.CLEAR,
                usable=usable,
                second_usable=np.zeros_like(usable) if second is None else second.usable,
                inside=inside,
            )
        )


def check_block_cells(grid: Grid) -> int:
    """Rows and columns of a block of the self-check: a power of two, so that blocks hold several.

    Parameters
    ----------
    grid : Grid
        Grid of the mosaic.
    """
    side = LEAST_CELLS
    while 2 * side * max(cell_size_m(grid)) <= BLOCK_M:
        side *= 2
    return side


def read_date(composer: Composer, positions: list[int], window: GridWindow) -> _Date:
    """Read what a datatake shows of a window: each cell by its first scene of the highest class."""
    shape = (window.height, window.width)
    classes = np.zeros(shape, dtype=np.uint8)
    position = np.full(shape, -1, dtype=np.int32)
    usable = np.zeros(shape, dtype=np.bool_)
    for number in positions:
        raster = composer.open_raster(number)
        own = raster.read_classes(window)
        better = own > classes
        position[better] = number
        np.maximum(classes, own, out=classes)
        sure = own >= PixelClass.LOW_RANK
        if raster.has_classes:
            sure &= raster.read_cloud_distance(window) >= SURE_DISTANCE_M
        usable = np.where(better, sure, usable)
    return _Date(positions, position, classes, usable)


def clearest_date(dates: Sequence[_Date], inside: BoolRaster) -> int | None:
    """Return the number of the date to hold out of a block: the clearest; None if there is none.

    It must see at least half of the block clear, and another date some of it. Of equals it is the
    first.
    """
    many = np.count_nonzero(inside)
    best, most = None, 0
    for number, date in enumerate(dates):
        clear = int(np.count_nonzero(date.classes[inside] >= PixelClass.LOW_RANK))
        if clear >= LEAST_CLEAR * many and clear > most:
            best, most = number, clear
    others = [date for number, date in enumerate(dates) if number != best]
    if not any((date.classes[inside] >= PixelClass.LOW_RANK).any() for date in others):
        return None
    return best


def read_pixels(composer: Composer, date: _Date, window: GridWindow) -> UInt16Raster:
    """Read the reflectance of a datatake in a window, shape (band, y, x); 0 where there is none."""
    pixels = np.zeros((len(composer.bands), window.height, window.width), dtype=np.uint16)
    for position in np.unique(date.position):
        if position >= 0:
            own = composer.open_raster(int(position)).read_reflectance(window)
            np.copyto(pixels, own, where=date.position == position)
    return pixels


def tally_document(tally: HeldOutTally) -> HeldOutSums:
    """Make the document of a tally, for `HeldOutTally.add_tally`."""
    return HeldOutSums(
        blocks=tuple(tally.blocks.tolist()),
        cells=tuple(tally.cells.ravel().tolist()),
        sums=tuple(tally.sums.ravel().tolist()),
    )


def self_check(tally: HeldOutTally, grid: Grid) -> SelfCheck:
    """Make the result of a self-check.

    Parameters
    ----------
    tally : HeldOutTally
        Sums of all blocks.
    grid : Grid
        Grid of the mosaic.
    """
    blocks, checked, cells, cells_checked, shown = tally.blocks.tolist()
    types = {"all": tuple(GroundType)} | {each.name.lower(): (each,) for each in GroundType}
    grounds = [_ground_check(tally, name, kinds) for name, kinds in types.items()]
    return SelfCheck(
        block_m=round(check_block_cells(grid) * max(cell_size_m(grid)), 3),
        blocks=blocks,
        blocks_checked=checked,
        checked_fraction=cells_checked / max(1, cells),
        clear_fraction=shown / cells_checked if cells_checked else None,
        grounds=tuple(each for each in grounds if each.ground == "all" or each.cells),
    )


def _ground_check(tally: HeldOutTally, name: str, kinds: Sequence[GroundType]) -> GroundCheck:
    """Make the result on some types of ground."""
    usable, compared, bright, dark = tally.cells[list(kinds)].sum(axis=0).tolist()

    def share(cells: int, band: str) -> float | None:
        """Share of the compared cells; None if it cannot be known."""
        return cells / compared if compared and band in tally.bands else None

    return GroundCheck.model_validate(
        {
            "ground": name,
            "cells": usable,
            "clear_fraction": compared / usable if usable else None,
            "residual_cloud_fraction": share(bright, CLOUD_BAND),
            "residual_shadow_fraction": share(dark, SHADOW_BAND),
            "bands": tuple(
                BandCheck(band=band, **tally.band_errors(kinds, band)) for band in tally.bands
            ),
        }
    )
