"""Checks of all cells of a mosaic: scene indices, states and counts against each other.

They need no source and no gathered scene. The same pass over the blocks draws the places whose
sources are read afterwards.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from cloudbuster.checks.results import Count, not_checked
from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.pixels.composite import CellState
from cloudbuster.core.pixels.joined_masks import FULL_AGREEMENT
from cloudbuster.core.pixels.masks import DISTANCE_LIMIT_M
from cloudbuster.models import Check
from cloudbuster.mosaics.opened import FinishedMosaic
from cloudbuster.mosaics.rasters import QUALITY, MosaicRasters
from cloudbuster.products.cog import BLOCK_SIZE
from cloudbuster.storage.rasters.area_cells import AreaCells
from cloudbuster.storage.rasters.tiled_raster import NODATA

# Shares are quotients of the same counts: only the rounding of their text differs.
SHARE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Place:
    """A cell whose source is to be read.

    Attributes
    ----------
    row, col : int
        The cell.
    index : int
        Its scene index.
    backstop : bool
        Whether it is filled from the backstop.
    """

    row: int
    col: int
    index: int
    backstop: bool


class Draw:
    """Draws random cells, at least one of each scene and state if half of them are as many.

    Parameters
    ----------
    samples : int
        Number of cells to draw.
    seed : int
        Seed of the random numbers; the same seed draws the same cells.
    """

    def __init__(self, samples: int, seed: int) -> None:
        self._samples = samples
        self._random = np.random.default_rng(seed)
        # Cells of each stratum with the smallest random numbers, as rows of (number, row, col).
        self._kept: dict[tuple[int, bool], npt.NDArray[np.float64]] = {}

    def add(self, window: GridWindow, index: UInt16Raster, state: UInt16Raster) -> None:
        """Offer the cells of a block, uint16, shape (y, x)."""
        numbers = self._random.random(index.shape)
        for backstop, wanted in ((False, CellState.CLEAR), (True, CellState.BACKSTOP)):
            for code in np.unique(index[(state == wanted) & (index > 0)]).tolist():
                rows, cols = np.nonzero((state == wanted) & (index == code))
                drawn = numbers[rows, cols]
                least = np.argsort(drawn)[: self._samples]
                cells = np.column_stack(
                    [drawn[least], rows[least] + window.row, cols[least] + window.col]
                )
                key = (code, backstop)
                kept = np.concatenate([self._kept.get(key, cells[:0]), cells])
                self._kept[key] = kept[np.argsort(kept[:, 0])][: self._samples]

    def places(self) -> list[Place]:
        """Return the drawn cells, by scene and from north to south.

        One half is drawn evenly from the strata, the other from all cells alike.
        """
        drawn: dict[Place, None] = {}
        by_turn = [
            (turn, float(number), Place(int(row), int(col), *key))
            for key, cells in self._kept.items()
            for turn, (number, row, col) in enumerate(cells)
        ]
        even = sorted(by_turn, key=lambda each: each[:2])
        for _, _, place in even[: -(-self._samples // 2)]:
            drawn[place] = None
        for _, _, place in sorted(by_turn, key=lambda each: each[1]):
            if len(drawn) >= self._samples:
                break
            drawn[place] = None
        return sorted(drawn, key=lambda each: (each.backstop, each.index, each.row, each.col))


class CellChecks:
    """Checks the cells of a mosaic block by block.

    Parameters
    ----------
    mosaic : FinishedMosaic
        The mosaic.
    area : shapely geometry or None
        Area of the mosaic; None if it is unknown.
    """

    def __init__(self, mosaic: FinishedMosaic, area: BaseGeometry | None) -> None:
        self._mosaic = mosaic
        self._area = area
        self._indices = Count("scene-index", "cells")
        self._quality = Count("quality", "cells")
        # Cells of the area by state and scene index.
        self._cells: Counter[tuple[int, int]] = Counter()
        clear = [row.index for row in mosaic.rows if not row.backstop]
        filling = [row.index for row in mosaic.rows if row.backstop]
        # Other composites may fill a cell with a pixel that its mask calls clear.
        filling += [] if mosaic.composite == "first" else clear
        self._roles = {False: np.array(clear), True: np.array(filling)}

    def run(self, rasters: MosaicRasters, draw: Draw) -> list[Check]:
        """Read all blocks, check them, and offer them to ``draw``."""
        cells = None if self._area is None else AreaCells(self._area, rasters.grid)
        for window in rasters.grid.blocks(BLOCK_SIZE):
            cloudless, cloudy = rasters.cloudless(window), rasters.cloudy(window)
            quality = rasters.quality(window)
            self._check_indices(cloudless, cloudy, quality["state"])
            self._check_quality(cloudless, quality)
            draw.add(window, cloudless[-1], quality["state"])
            inside = None if cells is None else cells.inside(window)
            self._count(cloudless[-1], quality["state"], inside)
        return [self._indices.check, self._quality.check, self._shares()]

    def _check_indices(
        self, cloudless: UInt16Raster, cloudy: UInt16Raster, state: UInt16Raster
    ) -> None:
        """Check that each cell with a value names a scene of its role, and no other cell does."""
        index = cloudless[-1]
        self._mark(
            self._indices,
            _is_torn(cloudless),
            "cells of the mosaic have values and no scene, or a scene and no values",
        )
        self._mark(
            self._indices,
            _is_torn(cloudy),
            "cells of the backstop have values and no scene, or a scene and no values",
        )
        clear = np.isin(index, self._roles[False]) | (state != CellState.CLEAR)
        self._mark(self._indices, ~clear, "clear cells name a scene that the table does not hold")
        filled = np.isin(index, self._roles[True]) | (state != CellState.BACKSTOP)
        self._mark(self._indices, ~filled, "filled cells name no backstop of the table")
        known = np.isin(cloudy[-1], self._roles[True]) | (cloudy[-1] == 0)
        self._mark(self._indices, ~known, "cells of the backstop name no backstop of the table")
        other = (state == CellState.BACKSTOP) & (cloudless != cloudy).any(axis=0)
        self._mark(self._indices, other, "filled cells differ from the backstop")

    def _check_quality(self, cloudless: UInt16Raster, quality: dict[str, UInt16Raster]) -> None:
        """Check the state of each cell against its scene and its counts."""
        observed, clear, distance, confidence, state = (quality[name] for name in QUALITY)
        has_scene = cloudless[-1] != 0
        never = state == CellState.NEVER_OBSERVED
        is_clear = state == CellState.CLEAR
        self._mark(self._quality, state > max(CellState), "states are unknown")
        self._mark(
            self._quality,
            (state >= CellState.BACKSTOP) != has_scene,
            "cells have a scene against their state, or none",
        )
        self._mark(
            self._quality, never != (observed == 0), "cells are observed against their state"
        )
        self._mark(self._quality, clear > observed, "cells are clear more often than observed")
        self._mark(self._quality, is_clear & (clear == 0), "clear cells were never seen clear")
        if self._mosaic.composite == "first":
            seen = ~is_clear & (clear > 0)
            self._mark(self._quality, seen, "cells seen clear have another state")
        # A cell that is filled with a refused pixel keeps the distance and agreement of its scene.
        unmasked = ~is_clear & ~np.isin(cloudless[-1], self._roles[False])
        far = (distance > DISTANCE_LIMIT_M) | ((distance > 0) & unmasked)
        self._mark(self._quality, far, "distances to cloud do not fit the state")
        odd = (confidence > FULL_AGREEMENT) | ((confidence > 0) & unmasked)
        self._mark(self._quality, odd, "agreements of detectors do not fit the state")

    @staticmethod
    def _mark(count: Count, wrong: BoolRaster, finding: str) -> None:
        """Count the cells of a block that disagree."""
        count.add(wrong.size, int(np.count_nonzero(wrong)), finding)

    def _count(self, index: UInt16Raster, state: UInt16Raster, inside: BoolRaster | None) -> None:
        """Count the cells of a block, or those of them in the area."""
        if inside is not None:
            index, state = index[inside], state[inside]
        pairs, numbers = np.unique(
            np.stack([state.ravel(), index.ravel()]), axis=1, return_counts=True
        )
        for (code, scene), number in zip(pairs.T.tolist(), numbers.tolist(), strict=True):
            self._cells[code, scene] += number

    def _share(self, *states: CellState, index: int | None = None) -> float:
        """Return the share of the counted cells in some states, and of one scene if it is given."""
        found = sum(
            number
            for (state, scene), number in self._cells.items()
            if state in states and index in (None, scene)
        )
        return found / max(1, self._cells.total())

    def _shares(self) -> Check:
        """Compare the shares that the item states with the cells."""
        name, properties = "shares", self._mosaic.properties
        if self._area is None and "cloudbuster:request" in properties:
            return not_checked(name, "the area of the request cannot be read any more")
        count = Count(name, "shares")
        wanted = {
            "clear_fraction": self._share(CellState.CLEAR),
            "backstop_fraction": self._share(CellState.BACKSTOP),
            "hole_fraction": self._share(CellState.NEVER_OBSERVED, CellState.NEVER_CLEAR),
        }
        for key, value in wanted.items():
            stated = properties.get(f"cloudbuster:{key}")
            count.expect(
                _is_near(stated, value), f"{key} is stated as {stated}, and is {value:.6g}"
            )
        for row in self._mosaic.rows:
            state = CellState.BACKSTOP if row.backstop else CellState.CLEAR
            share = self._share(state, index=row.index)
            stated = row.fields.get("share")
            finding = f"share of scene {row.index} is stated as {stated}, and is {share:.6g}"
            count.expect(_is_near(stated, share), finding)
        return count.check


def _is_torn(pixels: UInt16Raster) -> BoolRaster:
    """Return the cells of which only some bands, the scene index included, have a value."""
    present = pixels != NODATA
    torn: BoolRaster = present.any(axis=0) & ~present.all(axis=0)
    return torn


def _is_near(stated: object, value: float) -> bool:
    """Return whether a stated share is the counted one."""
    return isinstance(stated, int | float) and abs(stated - value) <= SHARE_TOLERANCE
