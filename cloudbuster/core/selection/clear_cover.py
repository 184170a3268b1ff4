"""Scene selection by clear sky: which scenes to take so that every place is seen clear.

The scenes are compared on a common grid of coarse cells, of which each scene's thumbnail says where
it has data and where it is clear. Taking scenes is a maximum coverage problem; its gains fall as
scenes are added (they are submodular), so the greedy choice comes close to the best one and bounds
it (Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978).
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grids.grid import GridWindow

# Value of seeing a cell clear for the first, second and each further time. A second clear scene
# lets a composite choose, a third one outvotes a mistake; each is worth half of the one before.
LAYER_WEIGHTS = (1.0, 0.5, 0.25)
# What a further scene must add to be worth its cost: a thousandth of the area to the cells that are
# seen clear at all, or, weighted, a tenth of what it shows to the layers beneath them. On synthetic
# sets of 200 to 800 scenes gains fall below a tenth where a layer is complete (benchmarks,
# `selection`).
LEAST_FIRST_GAIN = 0.001
LEAST_DEPTH_SHARE = 0.1
WORD_BITS = 64

Words = npt.NDArray[np.uint64]
"""Cells as bits, shape (y, words)."""


@dataclass(frozen=True, eq=False)
class SceneCells:
    """What one scene shows of a grid of cells.

    Attributes
    ----------
    window : GridWindow
        Cells that it may show; inside the grid.
    clear : ndarray of bool, shape (y, x) of the window
        Where it is seen clear.
    seen : ndarray of bool, shape (y, x) of the window
        Where it has data, cloudy or clear.
    """

    window: GridWindow
    clear: BoolRaster
    seen: BoolRaster


@dataclass(frozen=True)
class CoverGoal:
    """What a selection is to reach, and what a scene must add to be taken.

    Attributes
    ----------
    layers : int
        How often each cell is to be seen clear, at least 1.
    first_share, mean_share : float
        Take scenes until this share of the area is seen clear at least once, and until the layers
        hold this share on average, whatever each scene adds; 0 to 1.
    least_first_gain : float
        Beyond `first_share`, a scene is taken for the first layer if it adds at least this share of
        the area.
    least_depth_share : float
        Beyond `mean_share`, a scene is taken for the other layers if what it adds to them,
        weighted, is at least this share of what it shows of the area.
    enough_scenes : int or None
        Number of scenes from which no further one is taken for the other layers beyond
        `mean_share`, whatever it adds.
    max_scenes : int or None
        Greatest number of scenes.
    """

    layers: int = 3
    first_share: float = 0.0
    mean_share: float = 0.0
    least_first_gain: float = LEAST_FIRST_GAIN
    least_depth_share: float = LEAST_DEPTH_SHARE
    enough_scenes: int | None = None
    max_scenes: int | None = None


@dataclass(frozen=True)
class CoverStep:
    """One scene of a selection, and what the selection holds once it is taken.

    Attributes
    ----------
    scene : int
        Position among the scenes.
    gain : float
        Share of the area that only this scene and later ones see clear.
    layers : tuple of float
        Share of the area seen clear at least 1, 2, ... times by this scene and those before it.
    """

    scene: int
    gain: float
    layers: tuple[float, ...]


@dataclass(frozen=True)
class ClearCover:
    """A selection of scenes.

    Attributes
    ----------
    steps : tuple of CoverStep
        The scenes in order of what each adds to the cells that are seen clear.
    backstop : tuple of int
        Scenes that show, cloudy, what none of the steps shows clear: of the steps first.
    optimum_bound : float
        No selection of as many scenes sees a greater share of the area clear.
    never_clear : float
        Share of the area that no step shows clear.
    unseen : float
        Share of the area that neither steps nor backstop show at all.
    """

    steps: tuple[CoverStep, ...]
    backstop: tuple[int, ...]
    optimum_bound: float
    never_clear: float
    unseen: float

    @property
    def scenes(self) -> tuple[int, ...]:
        """Positions of the scenes, in order."""
        return tuple(step.scene for step in self.steps)


class _Tally:
    """How often the cells of the area were seen clear by the scenes taken so far.

    Cells are bits: 64 to a word, so that the gain of a scene is a few operations on kilobytes.
    ``fewer[n]`` marks the cells of the area that were seen clear fewer than ``n + 1`` times.
    """

    def __init__(
        self, area: BoolRaster, scenes: Sequence[SceneCells], layers: int, counted: UInt16Raster
    ) -> None:
        """Count what was seen before, and pack the scenes."""
        self.total = max(1, int(np.count_nonzero(area)))
        whole = GridWindow(0, 0, *area.shape)
        self.fewer = [_packed(area & (counted <= layer), whole) for layer in range(layers)]
        self.clear = [_packed(cells.clear, cells.window) for cells in scenes]
        self.seen = [_packed(cells.seen, cells.window) for cells in scenes]
        self.slices = [_word_slices(cells.window) for cells in scenes]
        in_area = _packed(area, whole)
        self.shown = [
            _count(seen & in_area[slices]) / self.total
            for seen, slices in zip(self.seen, self.slices, strict=True)
        ]

    def gain(self, scene: int, weights: Sequence[float]) -> float:
        """Weighted share of the area that a scene would add to the layers."""
        slices, left, gain = self.slices[scene], self.clear[scene], 0.0
        for layer, weight in enumerate(weights):
            # What was seen fewer times is new for this layer; the rest may be for the next one.
            new = left & self.fewer[layer][slices]
            gain += weight * _count(new)
            left = left & ~self.fewer[layer][slices]
        return gain / self.total

    def add(self, scene: int) -> None:
        """Take a scene."""
        slices, left = self.slices[scene], self.clear[scene]
        for fewer in self.fewer:
            new = left & fewer[slices]
            left = left & ~fewer[slices]
            fewer[slices] &= ~new

    def layers(self) -> tuple[float, ...]:
        """Share of the area seen clear at least 1, 2, ... times."""
        return tuple(1 - _count(fewer) / self.total for fewer in self.fewer)


def _word_slices(window: GridWindow) -> tuple[slice, slice]:
    """Rows and words of a window of cells."""
    first, last = window.col // WORD_BITS, -(-(window.col + window.width) // WORD_BITS)
    return slice(window.row, window.row + window.height), slice(first, last)


def _packed(cells: BoolRaster, window: GridWindow) -> Words:
    """Pack the cells of a window into the words that it touches."""
    _, words = _word_slices(window)
    padded = np.zeros((window.height, (words.stop - words.start) * WORD_BITS), dtype=np.bool_)
    start = window.col - words.start * WORD_BITS
    padded[:, start : start + window.width] = cells
    packed: Words = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    return packed


def _count(words: Words) -> int:
    """Count the cells that are set."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def cover_clear(
    area: BoolRaster,
    scenes: Sequence[SceneCells],
    goal: CoverGoal,
    *,
    scores: Sequence[float] | None = None,
    counted: UInt16Raster | None = None,
) -> ClearCover:
    """Select scenes so that every cell is seen clear, and again for further layers.

    First the cells seen clear at all: each step takes the scene that adds most of them, times its
    score, until ``goal`` is reached and no scene adds enough. Then the further layers in the same
    way. Last, scenes that the others made dispensable are left out, and the rest is put in order
    of what each adds to the first layer, so that a composite that takes the first clear scene
    needs as few scenes as possible for most cells.

    Parameters
    ----------
    area : ndarray of bool, shape (y, x)
        Cells to cover. Not modified.
    scenes : sequence of SceneCells
        What each candidate shows. Of equals the earlier one is taken.
    goal : CoverGoal
        What to reach, and what a scene must add.
    scores : sequence of float, optional
        Factor of each scene's gains, above 0; 1 for all by default.
    counted : ndarray of uint16, shape (y, x), optional
        How often each cell is seen clear already, by scenes that are no candidates. Not modified.

    Returns
    -------
    ClearCover
    """
    before = np.zeros(area.shape, dtype=np.uint16) if counted is None else counted
    factors = list(scores) if scores is not None else [1.0] * len(scenes)
    taken = _greedy(_Tally(area, scenes, goal.layers, before), factors, goal)
    kept = _indispensable(area, scenes, taken, goal, before)
    tally = _Tally(area, scenes, goal.layers, before)
    order = _in_order(tally, kept, factors)
    steps = _steps(_Tally(area, scenes, goal.layers, before), order)
    backstop, unseen = _backstop(tally, order)
    return ClearCover(
        steps=tuple(steps),
        backstop=tuple(backstop),
        optimum_bound=_first_layer_bound(tally, order),
        never_clear=1 - tally.layers()[0],
        unseen=unseen,
    )


def _greedy(tally: _Tally, factors: list[float], goal: CoverGoal) -> list[int]:
    """Take scenes for the first layer, then for the others."""
    taken: list[int] = []
    others = tuple(_layer_weight(layer) for layer in range(goal.layers))

    def first_is_enough(_scene: int, gain: float) -> bool:
        """Whether a scene that adds ``gain`` is no longer worth it for the first layer."""
        return gain < goal.least_first_gain and tally.layers()[0] >= goal.first_share

    def depth_is_enough(scene: int, gain: float) -> bool:
        """Whether a scene that adds ``gain`` is no longer worth it for the other layers."""
        layers = tally.layers()
        little = gain < goal.least_depth_share * tally.shown[scene]
        if goal.enough_scenes is not None and len(taken) >= goal.enough_scenes:
            little = True
        return little and sum(layers) / len(layers) >= goal.mean_share

    _take_lazily(tally, factors, (1.0,), taken, first_is_enough, goal.max_scenes)
    _take_lazily(tally, factors, others, taken, depth_is_enough, goal.max_scenes)
    return taken


def _layer_weight(layer: int) -> float:
    """Weight of a layer, counted from 0."""
    return LAYER_WEIGHTS[min(layer, len(LAYER_WEIGHTS) - 1)]


def _take_lazily(
    tally: _Tally,
    factors: list[float],
    weights: Sequence[float],
    taken: list[int],
    is_enough: Callable[[int, float], bool],
    max_scenes: int | None,
) -> None:
    """Take the scene of the greatest gain until that is enough.

    Gains only fall as scenes are taken, so that a scene whose gain was computed anew and still
    leads the queue is the best one (Minoux 1978, accelerated greedy).
    """
    queue = [
        (-tally.gain(scene, weights) * factors[scene], scene)
        for scene in set(range(len(tally.clear))).difference(taken)
    ]
    heapq.heapify(queue)
    while queue and (max_scenes is None or len(taken) < max_scenes):
        _, scene = heapq.heappop(queue)
        gain = tally.gain(scene, weights)
        entry = (-gain * factors[scene], scene)
        if queue and queue[0] < entry:
            heapq.heappush(queue, entry)
            continue
        if gain <= 0 or is_enough(scene, gain):
            return
        tally.add(scene)
        taken.append(scene)


def _indispensable(
    area: BoolRaster,
    scenes: Sequence[SceneCells],
    taken: list[int],
    goal: CoverGoal,
    counted: UInt16Raster,
) -> list[int]:
    """Leave out the scenes that others made dispensable since they were taken.

    Without such a scene every cell is still seen clear that was before, the goal's mean is kept,
    and the further layers lose less than a scene must add to be taken.
    """
    total, count, kept = max(1, int(np.count_nonzero(area))), counted.copy(), list(taken)
    for scene in taken:
        count[scenes[scene].window.slices] += scenes[scene].clear
    held = np.bincount(count[area], minlength=goal.layers + 1)
    layers = np.cumsum(held[::-1])[::-1][1 : goal.layers + 1] / total
    weights = [_layer_weight(layer) for layer in range(goal.layers)]
    shown = {scene: _shown(area, scenes[scene]) for scene in taken}
    for scene in sorted(taken, key=lambda scene: (shown[scene], -scene)):
        part = count[scenes[scene].window.slices]
        clear = scenes[scene].clear & area[scenes[scene].window.slices]
        lost = np.bincount(part[clear], minlength=goal.layers + 1)[1 : goal.layers + 1] / total
        enough = float(np.mean(layers - lost)) >= min(goal.mean_share, float(np.mean(layers)))
        little = np.dot(lost, weights) < goal.least_depth_share * shown[scene] / total
        if lost[0] == 0 and enough and little:
            part[scenes[scene].clear] -= 1
            layers = layers - lost
            kept.remove(scene)
    return kept


def _shown(area: BoolRaster, cells: SceneCells) -> int:
    """Count the cells of the area that a scene shows, cloudy or clear."""
    return int(np.count_nonzero(cells.seen & area[cells.window.slices]))


def _first_layer_bound(tally: _Tally, kept: list[int]) -> float:
    """Share of the area that no selection of as many scenes exceeds.

    Whatever other scenes such a selection holds, together they add no more than their gains on top
    of the kept ones do one by one.
    """
    known = set(kept)
    others = (scene for scene in range(len(tally.clear)) if scene not in known)
    gains = sorted((tally.gain(scene, (1.0,)) for scene in others), reverse=True)
    return min(1.0, tally.layers()[0] + sum(gains[: len(kept)]))


def _in_order(tally: _Tally, kept: list[int], factors: list[float]) -> list[int]:
    """Take scenes in order of what each adds to the first layer, then to the others."""
    left, order = sorted(kept), []
    further = (0.0, *LAYER_WEIGHTS[1 : len(tally.fewer)])
    while left:
        best = max(
            left,
            key=lambda scene: (
                tally.gain(scene, (1.0,)) * factors[scene],
                tally.gain(scene, further) * factors[scene],
                -scene,
            ),
        )
        left.remove(best)
        tally.add(best)
        order.append(best)
    return order


def _steps(tally: _Tally, order: list[int]) -> list[CoverStep]:
    """Describe what each scene adds, in order."""
    steps = []
    for scene in order:
        gain = tally.gain(scene, (1.0,))
        tally.add(scene)
        steps.append(CoverStep(scene, gain, tally.layers()))
    return steps


def _backstop(tally: _Tally, order: list[int]) -> tuple[list[int], float]:
    """Choose the scenes that fill, cloudy, what is never seen clear: taken ones first."""
    left = tally.fewer[0].copy()
    chosen: list[int] = []
    taken = set(order)
    for group in (order, [scene for scene in range(len(tally.seen)) if scene not in taken]):
        while left.any() and group:
            filled = [_count(left[tally.slices[scene]] & tally.seen[scene]) for scene in group]
            if max(filled) == 0:
                break
            best = group[int(np.argmax(filled))]
            left[tally.slices[best]] &= ~tally.seen[best]
            chosen.append(best)
    return chosen, _count(left) / tally.total
