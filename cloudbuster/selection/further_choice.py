"""Pick further scenes, or further parts of picked ones, for what a round has left."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.selection.clear_cover import (
    LEAST_FIRST_GAIN,
    ClearCover,
    CoverGoal,
    cover_clear,
)
from cloudbuster.core.selection.delivery import plan_delivery
from cloudbuster.core.selection.holes import Holes
from cloudbuster.core.selection.sky_thumbnail import (
    scene_cells,
)
from cloudbuster.core.selection.units import SceneUnits
from cloudbuster.models import FilterOptions, SelectionEntry
from cloudbuster.selection.clear_candidates import ClearCandidates, without_cells
from cloudbuster.selection.score import score_factors


def extend_choice(
    candidates: ClearCandidates,
    entries: Sequence[SelectionEntry],
    holes: Holes,
    options: FilterOptions,
    round_number: int,
) -> tuple[SelectionEntry, ...]:
    """Pick further scenes, or further parts of picked ones, for what is not yet clear.

    Parameters
    ----------
    candidates : ClearCandidates
        What there is to pick from, on the grid of the holes; without scenes that failed.
    entries : sequence of SelectionEntry
        Picks whose scenes were gathered.
    holes : Holes
        Places to fill.
    options : FilterOptions
        ``max_never_clear``, ``max_selections``, ``backstop``, ``score`` and ``target_date`` are
        used.
    round_number : int
        Number of the new round.

    Returns
    -------
    tuple of SelectionEntry
        New picks; empty if no candidate adds enough.
    """
    left = candidates.without_delivered(entries)
    goal = _goal_of_round(left, holes, options)
    factors = score_factors(candidates, holes.never_clear, options)
    room = _Room.of(candidates, entries, options)

    def covered() -> ClearCover:
        """Cover the holes with what is left."""
        cells = [scene_cells(units) for units in left]
        return cover_clear(holes.never_clear, cells, goal, scores=factors)

    cover = covered()
    if len(room.kept(cover.scenes)) < len(cover.scenes):
        # Scenes that were picked before may show what those that are left out would have shown.
        left = room.only(room.kept(cover.scenes), left)
        cover = covered()
    clear_scenes = list(cover.scenes)
    numbers = plan_delivery(holes.never_clear, [left[scene] for scene in clear_scenes], fill=False)
    needed = dict(zip(clear_scenes, numbers, strict=True))
    if options.backstop and holes.empty.any():
        _fill_empty(left, holes.empty, needed, room)
    share = int(np.count_nonzero(holes.never_clear)) / holes.total
    gains = {step.scene: step.gain * share for step in cover.steps}
    return _entries(candidates, needed, gains, round_number)


def _entries(
    candidates: ClearCandidates,
    needed: Mapping[int, frozenset[int]],
    gains: Mapping[int, float],
    round_number: int,
) -> tuple[SelectionEntry, ...]:
    """Make the entries of scenes of which something is needed."""
    return tuple(
        SelectionEntry(
            item_id=candidates.ids[scene],
            backstop=False,
            weight=gains.get(scene, 0.0),
            delivery=candidates.delivery(scene, units),
            round=round_number,
        )
        for scene, units in needed.items()
        if units
    )


def _goal_of_round(left: Sequence[SceneUnits], holes: Holes, options: FilterOptions) -> CoverGoal:
    """Return what further picks are to reach of the holes."""
    wanted = max(1, int(np.count_nonzero(holes.never_clear)))
    missing = max(0.0, holes.never_clear_share - options.max_never_clear) * holes.total
    share = min(1.0, missing / wanted)
    return CoverGoal(
        layers=1,
        # If the limit is out of reach, a scene must be worth it by itself.
        first_share=share if _shown_share(left, holes.never_clear) >= share else 0.0,
        least_first_gain=LEAST_FIRST_GAIN * holes.total / wanted,
        # There is one layer: nothing is worth it for another.
        least_depth_share=math.inf,
    )


@dataclass(frozen=True)
class _Room:
    """Scenes that were picked before, and how many more ``max_selections`` allows."""

    picked: frozenset[int]
    more: int | None

    @classmethod
    def of(
        cls,
        candidates: ClearCandidates,
        entries: Sequence[SelectionEntry],
        options: FilterOptions,
    ) -> "_Room":
        """Count the scenes of some picks."""
        names = {entry.item_id for entry in entries}
        picked = frozenset(
            scene for scene, item_id in enumerate(candidates.ids) if item_id in names
        )
        most = options.max_selections
        return cls(picked, None if most is None else max(0, most - len(names)))

    def kept(self, scenes: Sequence[int]) -> list[int]:
        """Leave out new scenes after the first ones that are allowed; keep the order."""
        new = [scene for scene in scenes if scene not in self.picked]
        allowed = self.picked.union(new[: self.more])
        return [scene for scene in scenes if scene in allowed]

    def only(self, scenes: Sequence[int], units: Sequence[SceneUnits]) -> list[SceneUnits]:
        """Let scenes show nothing that are neither given nor were picked before."""
        allowed = self.picked.union(scenes)
        return [
            each if scene in allowed else without_cells(each, np.ones_like(each.seen))
            for scene, each in enumerate(units)
        ]


def _shown_share(scenes: Sequence[SceneUnits], wanted: BoolRaster) -> float:
    """Return the share of some cells that any of the scenes shows clear."""
    shown = np.zeros_like(wanted)
    for units in scenes:
        shown[units.window.slices] |= units.clear
    return int(np.count_nonzero(shown & wanted)) / max(1, int(np.count_nonzero(wanted)))


def _fill_empty(
    left: Sequence[SceneUnits], empty: BoolRaster, needed: dict[int, frozenset[int]], room: _Room
) -> None:
    """Add the units to ``needed`` that fill cells without a value: of scenes in it first."""
    rest = empty.copy()
    for scene, numbers in needed.items():
        units = left[scene]
        rest[units.window.slices] &= ~(units.seen & np.isin(units.unit, sorted(numbers)))
    others = [scene for scene in range(len(left)) if scene not in needed]
    if room.more is not None:
        # Those that fill most come first, as far as there is room for them.
        others.sort(key=lambda scene: -np.count_nonzero(_part(rest, left[scene])))
    order = room.kept([*needed, *others])
    fills = plan_delivery(rest, [left[scene] for scene in order], layers=1, fill=True)
    for scene, more in zip(order, fills, strict=True):
        if more:
            needed[scene] = needed.get(scene, frozenset()) | more


def _part(cells: BoolRaster, units: SceneUnits) -> BoolRaster:
    """Return which of some cells a scene shows, in its window."""
    return cells[units.window.slices] & units.seen
