"""Strategy ``original`` of the filter: pick scenes by their footprints and cloud cover."""

import math
from collections.abc import Sequence

from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.aoi import simplified
from cloudbuster.core.selection.coverage import (
    CoverRules,
    Pick,
    pick_original,
    uncovered_by_layer,
)
from cloudbuster.errors import NothingUsableError
from cloudbuster.models import (
    Candidates,
    FilterOptions,
    Item,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.selection.messages import nothing_gains
from cloudbuster.selection.screening import MAX_VERTICES, Screened, item_cloud_cover
from cloudbuster.selection.unpicked import left_by_original, list_unpicked


def select_original(
    candidates: Candidates, options: FilterOptions, aoi: BaseGeometry, screened: Screened
) -> Selection:
    """Pick scenes by their footprints and cloud cover."""
    items, footprints = screened.items, screened.footprints
    cloud_cover = [item_cloud_cover(item) for item in items]
    ground = simplified(aoi, max_vertices=MAX_VERTICES)
    picks = pick_original(ground, footprints, cloud_cover, _rules(options))
    if not picks:
        raise NothingUsableError(nothing_gains(aoi, footprints, options))
    return Selection(
        features=tuple(items[index] for index in dict.fromkeys(pick.index for pick in picks)),
        cloudbuster=_describe(candidates, options, aoi, screened, picks),
    )


def _rules(options: FilterOptions) -> CoverRules:
    """Return the rules of the cover that the options ask for."""
    return CoverRules(
        coverage_count=options.coverage_count,
        max_uncovered=options.max_uncovered,
        max_selections=options.max_selections,
        backstop=options.backstop,
    )


def _describe(
    candidates: Candidates,
    options: FilterOptions,
    aoi: BaseGeometry,
    screened: Screened,
    picks: Sequence[Pick],
) -> SelectionInfo:
    """Describe the picks, and what they leave uncovered of the area."""
    items, footprints = screened.items, screened.footprints
    clear = [footprints[pick.index] for pick in picks if not pick.backstop]
    below = [footprints[pick.index] for pick in picks if pick.backstop]
    by_layer = uncovered_by_layer(aoi, clear, options.coverage_count)
    uncovered = math.fsum(by_layer) / len(by_layer)
    backstop_uncovered = uncovered_by_layer(aoi, below, 1)[0] if options.backstop else None
    ids = [str(item.get("id")) for item in items]
    left = left_by_original(ids, {ids[pick.index] for pick in picks}, options)
    return SelectionInfo(
        aoi=candidates.cloudbuster.aoi,
        kind=candidates.cloudbuster.kind,
        catalog=candidates.cloudbuster.catalog,
        asset_mirror=candidates.cloudbuster.asset_mirror,
        strategy=options.strategy,
        entries=tuple(_entry(items[pick.index], pick) for pick in picks),
        uncovered_by_layer=by_layer,
        uncovered=uncovered,
        backstop_uncovered=backstop_uncovered,
        covered=max(uncovered, backstop_uncovered or 0.0) <= options.max_uncovered,
        dropped=screened.dropped,
        unpicked=list_unpicked(candidates, screened.dropped, left),
    )


def _entry(item: Item, pick: Pick) -> SelectionEntry:
    """Make the entry of a pick."""
    return SelectionEntry(
        item_id=str(item.get("id")), backstop=pick.backstop, reused=pick.reused, weight=pick.gain
    )
