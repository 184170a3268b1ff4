"""Which edges of units need not be delivered, so that fewer pixels are decoded.

A cell that is interpolated from a coarser band, or resampled, needs its neighbours too: at the edge
of a unit these lie in the next one, which then is decoded for a strip of cells.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.selection.units import Flags, SceneUnits, UnitLayout

# Steps to the eight neighbours of a unit, in rows and columns.
STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


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
    layers: int = 1,
    fill: bool = True,
) -> list[BoolRaster | None]:
    """Leave out the edges of units for which a neighbouring unit would be decoded in vain.

    A part at the edge of a unit is kept if the scene delivers the unit beside it as well, or if
    fewer than ``layers`` others deliver all of the strip along that edge as clear as this one.

    Parameters
    ----------
    area, scenes, layers, fill
        As for `plan_delivery`. Not modified.
    delivered : sequence of collection of int
        Result of `plan_delivery`.

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
        least = (layers, layers, 1 if fill else 0)
        if any(
            (flags & (counts[row, cells] <= least[row])).any() for row, flags in enumerate(shown)
        ):
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
    return _Delivered(
        cells,
        scene.clear[rows, cols],
        scene.seen[rows, cols],
        scene.safe[rows, cols],
        {name: np.concatenate(groups) for name, groups in margins.items()},
    )


def _kept_parts(layout: UnitLayout, units: Collection[int], read: Collection[int]) -> BoolRaster:
    """Return the parts of some units that can be delivered if only the units ``read`` are read."""
    parts = layout.parts(units)
    known = np.fromiter(read, dtype=np.int32, count=len(read))
    for step in STEPS:
        beside = layout.neighbours(step)
        parts &= (beside < 0) | np.isin(beside, known)
    return parts
