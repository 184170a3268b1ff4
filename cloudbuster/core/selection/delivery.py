"""Which part of which scene a mosaic needs: each cell from as few decoded pixels as possible.

A scene is read in units, square pieces of its own raster of about the size of its tiles in the
file. Choosing units so that every cell is delivered clear is a weighted set cover, solved greedily:
the unit that delivers most new cells for its size comes first (Chvatal, Mathematics of Operations
Research 4, 1979).
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.selection.units import Flags, SceneUnits

# A scene that comes later in the order delivers a unit only if that is cheaper by more than this
# for each place between them: neighbouring units then come from few scenes.
PREFERENCE = 0.002

Counts = npt.NDArray[np.int32]


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
    chosen, clear = _chosen_clear(units, before, layers)
    if fill:
        _fill(units, chosen, clear > 0)
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


def _chosen_clear(
    units: Sequence[_Unit], before: npt.NDArray[np.int32], layers: int
) -> tuple[dict[int, None], npt.NDArray[np.int32]]:
    """Choose units for what is clear; return them, and how often each cell is delivered clear."""
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
    return chosen, clear


def _fill(units: Sequence[_Unit], chosen: dict[int, None], filled: Flags) -> None:
    """Choose further units, in place, for cells that are not ``filled`` yet, which changes too."""
    for index in chosen:
        filled[units[index].cells[units[index].seen]] = True

    def fill_with(index: int) -> None:
        """Note the cells that a unit fills, cloudy or clear."""
        filled[units[index].cells[units[index].seen]] = True
        chosen[index] = None

    _choose(units, chosen, lambda unit: unit.seen & ~filled[unit.cells], fill_with)


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
