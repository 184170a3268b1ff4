"""Which part of which scene a mosaic needs: each cell from as few decoded pixels as possible.

A scene is read in units, square pieces of its own raster of about the size of its tiles in the
file. Choosing units so that every cell is delivered clear is a weighted set cover, solved greedily:
the unit that delivers most new cells for its size comes first (Chvatal, Mathematics of Operations
Research 4, 1979).

A pixel that is interpolated from coarser bands, or resampled, needs its neighbours too: at the edge
of a unit these lie in the next one, which then is decoded for a strip of cells. `spare_margins`
leaves out the strips that another scene delivers anyway.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grid import GridWindow

# A scene that comes later in the order delivers a unit only if that is cheaper by more than this
# for each place between them: neighbouring units then come from few scenes.
PREFERENCE = 0.002

UnitNumbers = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


# Steps to the eight neighbours of a unit, in rows and columns.
STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class UnitLayout:
    """How the units of a scene, and the parts of units, are numbered: row by row.

    Attributes
    ----------
    rows, cols : int
        Rows and columns of parts.
    side : int
        Rows and columns of parts in a unit; fewer at the southern and the eastern edge.
    """

    rows: int
    cols: int
    side: int

    @property
    def unit_cols(self) -> int:
        """Columns of units."""
        return -(-self.cols // self.side)

    @cached_property
    def unit(self) -> UnitNumbers:
        """Number of the unit of each part, shape (rows, cols)."""
        row, col = np.arange(self.rows) // self.side, np.arange(self.cols) // self.side
        return (row[:, None] * self.unit_cols + col[None, :]).astype(np.int32)

    def neighbours(self, step: tuple[int, int]) -> UnitNumbers:
        """Return the unit that lies beside each part in a direction, shape (rows, cols).

        It is -1 for a part that is not at that edge of its unit, and at the edge of the scene.
        """
        row, col = (
            _beside(count, self.side, along)
            for count, along in zip((self.rows, self.cols), step, strict=True)
        )
        row, col = row[:, None], col[None, :]
        return np.where((row >= 0) & (col >= 0), row * self.unit_cols + col, -1).astype(np.int32)

    def parts(self, units: Collection[int]) -> BoolRaster:
        """Return which parts belong to some units, shape (rows, cols)."""
        return np.isin(self.unit, np.fromiter(units, dtype=np.int32, count=len(units)))


def _beside(count: int, side: int, step: int) -> UnitNumbers:
    """Return the row of units beside each of ``count`` rows of parts; -1 if none is adjacent."""
    part = np.arange(count)
    beside = part + step
    is_next = (beside // side == part // side + step) & (beside >= 0) & (beside < count)
    return np.where(is_next, beside // side, -1).astype(np.int32)


@dataclass(frozen=True, eq=False)
class SceneUnits:
    """What one scene can deliver.

    Attributes
    ----------
    window : GridWindow
        Cells that the scene may show; inside the grid of cells.
    clear, seen : ndarray of bool, shape (y, x) of the window
        Where it is clear, and where it has data.
    safe : ndarray of bool, shape (y, x) of the window
        Cells of ``clear`` that are clear even if the thumbnail is off by a cell.
    unit : ndarray of int32, shape (y, x) of the window
        Number of the unit that holds the centre of each cell; negative outside of the raster.
    part : ndarray of int32, shape (y, x) of the window, or None
        Number of the part of a unit that holds it; None if units have no parts.
    layout : UnitLayout or None
        Numbering of units and parts; None if units have no parts.
    """

    window: GridWindow
    clear: BoolRaster
    seen: BoolRaster
    safe: BoolRaster
    unit: UnitNumbers
    part: UnitNumbers | None = None
    layout: UnitLayout | None = None


@dataclass(frozen=True, eq=False)
class _Unit:
    """One unit of one scene: its cells in the flattened grid, and what they show."""

    scene: int
    number: int
    cells: npt.NDArray[np.intp]
    clear: Flags
    seen: Flags
    safe: Flags
    size: int


def plan_delivery(
    area: BoolRaster,
    scenes: Sequence[SceneUnits],
    *,
    layers: int = 1,
    fill: bool = True,
    counted: UInt16Raster | None = None,
) -> list[frozenset[int]]:
    """Choose the units that each scene is to deliver.

    Cells that are clear beyond doubt are counted on first; cells beside a cloud count only where
    there is nothing better, so that most of them are delivered by a second scene as well.

    Parameters
    ----------
    area : ndarray of bool, shape (y, x)
        Cells of the mosaic. Not modified.
    scenes : sequence of SceneUnits
        Scenes of the selection, in order of preference.
    layers : int
        How often each cell is to be delivered clear, where the scenes allow it.
    fill : bool
        Whether cells that no scene shows clear are to be delivered too, cloudy.
    counted : ndarray of uint16, shape (y, x), optional
        How often each cell was delivered clear before. Not modified.

    Returns
    -------
    list of frozenset of int
        Numbers of the units by scene; empty for a scene of which nothing is needed.
    """
    units = [unit for number, scene in enumerate(scenes) for unit in _units(area, number, scene)]
    before = np.zeros(area.size, np.int32)
    if counted is not None:
        before += np.minimum(counted, layers).ravel()
    chosen: dict[int, None] = {}
    safe, clear = before.copy(), before.copy()

    def take(index: int) -> None:
        """Count what a unit delivers."""
        unit = units[index]
        safe[unit.cells] += unit.safe
        clear[unit.cells] += unit.clear
        chosen[index] = None

    _choose(units, chosen, lambda unit: unit.safe & (safe[unit.cells] < layers), take)
    _choose(units, chosen, lambda unit: unit.clear & (clear[unit.cells] < layers), take)
    _drop_dispensable(units, chosen, (safe, clear), layers)
    if fill:
        filled = clear > 0
        for index in chosen:
            filled[units[index].cells[units[index].seen]] = True

        def fill_with(index: int) -> None:
            """Note the cells that a unit fills, cloudy or clear."""
            filled[units[index].cells[units[index].seen]] = True
            chosen[index] = None

        _choose(units, chosen, lambda unit: unit.seen & ~filled[unit.cells], fill_with)
    delivered: list[set[int]] = [set() for _ in scenes]
    for index in chosen:
        delivered[units[index].scene].add(units[index].number)
    return [frozenset(numbers) for numbers in delivered]


def _units(area: BoolRaster, number: int, scene: SceneUnits) -> Iterator[_Unit]:
    """Yield the units of a scene that hold cells of the area."""
    rows, cols = np.nonzero(area[scene.window.slices] & scene.seen & (scene.unit >= 0))
    unit = scene.unit[rows, cols]
    order = np.argsort(unit, kind="stable")
    rows, cols, unit = rows[order], cols[order], unit[order]
    cells = (rows + scene.window.row) * area.shape[1] + cols + scene.window.col
    numbers, starts = np.unique(unit, return_index=True)
    sizes = dict(zip(*np.unique(scene.unit, return_counts=True), strict=True))
    stops = [*starts, len(unit)][1:]
    for name, start, stop in zip(numbers, starts, stops, strict=True):
        part = (rows[start:stop], cols[start:stop])
        yield _Unit(
            scene=number,
            number=int(name),
            cells=cells[start:stop],
            clear=scene.clear[part],
            seen=scene.seen[part],
            safe=scene.safe[part],
            size=int(sizes[name]),
        )


def _choose(
    units: Sequence[_Unit],
    chosen: dict[int, None],
    adds: Callable[[_Unit], Flags],
    take: Callable[[int], None],
) -> None:
    """Take units while one adds cells, the one that adds most for its size first."""

    def key(index: int) -> float:
        """Cells that a unit adds for its size, negative, less for scenes late in the order."""
        unit = units[index]
        return -float(np.count_nonzero(adds(unit))) / unit.size * (1 - PREFERENCE * unit.scene)

    queue = [(key(index), index) for index in range(len(units)) if index not in chosen]
    heapq.heapify(queue)
    while queue:
        _, index = heapq.heappop(queue)
        entry = (key(index), index)
        if entry[0] == 0:
            continue
        if queue and queue[0] < entry:
            heapq.heappush(queue, entry)
            continue
        take(index)


def _drop_dispensable(
    units: Sequence[_Unit], chosen: dict[int, None], counts: tuple[Counts, Counts], layers: int
) -> None:
    """Leave out units without which every cell is still delivered as often as is needed."""
    safe, clear = counts
    for index in sorted(chosen, key=lambda index: (int(units[index].clear.sum()), -index)):
        unit = units[index]
        parts = ((safe[unit.cells], unit.safe), (clear[unit.cells], unit.clear))
        if any((flags & (count <= layers)).any() for count, flags in parts):
            continue
        safe[unit.cells] -= unit.safe
        clear[unit.cells] -= unit.clear
        del chosen[index]


@dataclass(frozen=True, eq=False)
class _Delivered:
    """Cells that one scene delivers, by what must be read for them.

    Attributes
    ----------
    cells : ndarray of int
        Positions in the flattened grid.
    clear, seen, safe : ndarray of bool
        What the scene shows of them.
    margins : dict of int to ndarray of int
        For each unit that is read only for the cells beside it: positions of these in ``cells``.
    """

    cells: npt.NDArray[np.intp]
    clear: Flags
    seen: Flags
    safe: Flags
    margins: dict[int, npt.NDArray[np.intp]]


def spare_margins(
    area: BoolRaster,
    scenes: Sequence[SceneUnits],
    delivered: Sequence[Collection[int]],
    *,
    fill: bool = True,
) -> list[BoolRaster | None]:
    """Leave out the edges of units for which a neighbouring unit would be decoded in vain.

    A part at the edge of a unit is kept if the scene delivers the unit beside it as well, or if no
    other scene delivers all of the strip along that edge as clear as this one does.

    Parameters
    ----------
    area : ndarray of bool, shape (y, x)
        Cells of the mosaic. Not modified.
    scenes : sequence of SceneUnits
        Scenes of the selection.
    delivered : sequence of collection of int
        Result of `plan_delivery`.
    fill : bool
        As for `plan_delivery`.

    Returns
    -------
    list of ndarray of bool, shape (rows, cols) of the layout, or None
        Parts that each scene is to deliver; None for a scene without parts.
    """
    found = [
        _delivered(area, scene, numbers) for scene, numbers in zip(scenes, delivered, strict=True)
    ]
    counts = np.zeros((3, area.size), dtype=np.int32)
    for each in found:
        for count, flags in zip(counts, (each.safe, each.clear, each.seen), strict=True):
            count[each.cells] += flags
    left = [np.ones(each.cells.shape, dtype=np.bool_) for each in found]
    kept = [set(numbers) for numbers in delivered]
    margins = [
        (len(places), position, unit)
        for position, each in enumerate(found)
        for unit, places in each.margins.items()
    ]
    for _, position, unit in sorted(margins):
        each, places = found[position], found[position].margins[unit]
        places = places[left[position][places]]
        cells = each.cells[places]
        shown = [flags[places] for flags in (each.safe, each.clear, each.seen)]
        needed = shown if fill else shown[:2]
        if any((flags & (counts[row, cells] <= 1)).any() for row, flags in enumerate(needed)):
            kept[position].add(unit)
            continue
        for count, flags in zip(counts, shown, strict=True):
            count[cells] -= flags
        left[position][places] = False
    return [
        None if scene.layout is None else _kept_parts(scene.layout, numbers, read)
        for scene, numbers, read in zip(scenes, delivered, kept, strict=True)
    ]


def _delivered(area: BoolRaster, scene: SceneUnits, numbers: Collection[int]) -> _Delivered:
    """Return the cells of the area in some units of a scene, and which of them need others."""
    units = np.fromiter(numbers, dtype=np.int32, count=len(numbers))
    rows, cols = np.nonzero(area[scene.window.slices] & scene.seen & np.isin(scene.unit, units))
    cells = (rows + scene.window.row) * area.shape[1] + cols + scene.window.col
    margins: defaultdict[int, list[npt.NDArray[np.intp]]] = defaultdict(list)
    if scene.layout is not None and scene.part is not None:
        part = scene.part[rows, cols]
        for step in STEPS:
            beside = scene.layout.neighbours(step).ravel()[part]
            places = np.flatnonzero((beside >= 0) & ~np.isin(beside, units))
            order = places[np.argsort(beside[places], kind="stable")]
            names, starts = np.unique(beside[order], return_index=True)
            for name, group in zip(names, np.split(order, starts[1:]), strict=False):
                margins[int(name)].append(group)
    flags = (each[rows, cols] for each in (scene.clear, scene.seen, scene.safe))
    joined = {name: np.concatenate(groups) for name, groups in margins.items()}
    return _Delivered(cells, *flags, joined)


def _kept_parts(layout: UnitLayout, units: Collection[int], read: Collection[int]) -> BoolRaster:
    """Return the parts of some units that can be delivered if only the units ``read`` are read."""
    parts = layout.parts(units)
    known = np.fromiter(read, dtype=np.int32, count=len(read))
    for step in STEPS:
        beside = layout.neighbours(step)
        parts &= (beside < 0) | np.isin(beside, known)
    return parts
