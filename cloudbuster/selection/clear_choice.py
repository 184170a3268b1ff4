"""Pick scenes, and the parts of each that it delivers, by what their thumbnails show clear."""

from dataclasses import dataclass

import numpy as np
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.selection.clear_cover import (
    ClearCover,
    CoverGoal,
    cover_clear,
)
from cloudbuster.core.selection.coverage import CoverRules, pick_original
from cloudbuster.core.selection.delivery import plan_delivery
from cloudbuster.core.selection.sky_thumbnail import (
    scene_cells,
)
from cloudbuster.core.selection.spared_margins import spare_margins
from cloudbuster.models import FilterOptions, SelectionEntry
from cloudbuster.selection.cells import SelectionCells
from cloudbuster.selection.clear_candidates import ClearCandidates
from cloudbuster.selection.score import score_factors

# Further layers are taken up to three quarters of the scenes that strategy `original` takes, those
# of its backstop included: each scene costs, and a composite of the first clear scene gains nothing
# from them.
ENOUGH_OF_ORIGINAL = 0.75


@dataclass(frozen=True)
class Choice:
    """Scenes that were picked, and what they show of the area.

    Attributes
    ----------
    entries : tuple of SelectionEntry
        Picks in order, with the parts that each is to deliver.
    layers : tuple of float
        Shares of the area that are seen clear at least 1, 2, ... times.
    unseen : float
        Share of the area that no pick shows at all, 0 to 1.
    optimum_bound : float
        Share of the area that no selection of as many scenes would see clear more of.
    """

    entries: tuple[SelectionEntry, ...]
    layers: tuple[float, ...]
    unseen: float
    optimum_bound: float


def choose_clear(
    aoi: BaseGeometry,
    candidates: ClearCandidates,
    cells: SelectionCells,
    options: FilterOptions,
    *,
    layers: int = 1,
) -> Choice:
    """Pick scenes so that the area is seen clear, and again for further layers.

    The picks of strategy `original` are measured by the same thumbnails, and what they reach is
    the least that these must reach.

    Parameters
    ----------
    aoi : shapely geometry
        Area in longitude and latitude.
    candidates : ClearCandidates
        What there is to pick from.
    cells : SelectionCells
        Cells of the area, on the grid of the candidates.
    options : FilterOptions
        ``coverage_count``, ``max_selections``, ``backstop``, ``score`` and ``target_date`` are
        used.
    layers : int
        How often each place is to be delivered clear, where the picks allow it.
    """
    area = cells.area
    cover = cover_clear(
        area,
        [scene_cells(units) for units in candidates.units],
        _goal(aoi, candidates, area, options),
        scores=score_factors(candidates, area, options),
    )
    chosen = _with_backstop(cover, options)
    scenes = [candidates.units[scene] for scene in chosen]
    numbers = plan_delivery(cells.frame, scenes, layers=layers, fill=options.backstop)
    parts = spare_margins(cells.frame, scenes, numbers, layers=layers, fill=options.backstop)
    steps = {step.scene: step for step in cover.steps}
    shares = np.maximum.accumulate(
        [steps[scene].layers[0] if scene in steps else 0.0 for scene in chosen]
    )
    return Choice(
        entries=tuple(
            SelectionEntry(
                item_id=candidates.ids[scene],
                backstop=False,
                weight=max(0.0, steps[scene].gain) if scene in steps else 0.0,
                clear_fraction=min(1.0, max(0.0, float(share))),
                delivery=candidates.delivery(scene, needed, kept),
            )
            for scene, share, needed, kept in zip(chosen, shares, numbers, parts, strict=True)
        ),
        layers=cover.steps[-1].layers if cover.steps else (0.0,) * options.coverage_count,
        unseen=cover.unseen,
        optimum_bound=cover.optimum_bound,
    )


def _goal(
    aoi: BaseGeometry, candidates: ClearCandidates, area: BoolRaster, options: FilterOptions
) -> CoverGoal:
    """Return what strategy `original` would reach, as the least that is to be reached."""
    rules = CoverRules(
        coverage_count=options.coverage_count,
        max_uncovered=options.max_uncovered,
        max_selections=options.max_selections,
        backstop=options.backstop,
    )
    picks = pick_original(aoi, candidates.footprints, candidates.cloud_cover, rules)
    times = np.zeros(area.shape, dtype=np.uint16)
    for pick in picks:
        if not pick.backstop:
            units = candidates.units[pick.index]
            times[units.window.slices] += units.clear
    seen = times[area]
    shares = [float(np.mean(seen >= layer)) for layer in range(1, options.coverage_count + 1)]
    return CoverGoal(
        layers=options.coverage_count,
        first_share=shares[0],
        mean_share=float(np.mean(shares)),
        enough_scenes=int(ENOUGH_OF_ORIGINAL * len({pick.index for pick in picks})),
        max_scenes=options.max_selections,
    )


def _with_backstop(cover: ClearCover, options: FilterOptions) -> list[int]:
    """Return the scenes of a cover, and after them those that fill what none shows clear."""
    chosen = list(cover.scenes)
    if options.backstop:
        chosen += [scene for scene in cover.backstop if scene not in cover.scenes]
    return chosen if options.max_selections is None else chosen[: options.max_selections]
