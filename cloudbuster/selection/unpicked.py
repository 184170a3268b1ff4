"""Scenes that were found and not picked, each with its reason, for the report of a mosaic."""

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import numpy as np

from cloudbuster.catalogs.item_properties import first_number
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.selection.clear_cover import LEAST_FIRST_GAIN
from cloudbuster.core.texts.number_texts import format_percent
from cloudbuster.models import Candidates, Dropped, FilterOptions, Item, Unpicked
from cloudbuster.selection.clear_candidates import ClearCandidates
from cloudbuster.selection.score import item_time

# Stands for an unknown time when scenes are ordered: after every acquisition.
LAST_TIME = datetime(9999, 1, 1, tzinfo=UTC)


def list_unpicked(
    candidates: Candidates, dropped: Collection[Dropped], left: Mapping[str, str]
) -> tuple[Unpicked, ...]:
    """List the scenes that were found and not picked.

    Parameters
    ----------
    candidates : Candidates
        Result of the query, with what the query itself dropped.
    dropped : collection of Dropped
        Candidates that the filter dropped.
    left : mapping of str to str
        Ids of the usable candidates that were not picked, and why.

    Returns
    -------
    tuple of Unpicked
        By acquisition time, those of an unknown time last.
    """
    items = {str(item.get("id")): item for item in candidates.features}
    found = [
        *(_unpicked(each.item_id, "query", each.reason) for each in candidates.cloudbuster.dropped),
        *(
            _unpicked(each.item_id, "filter", each.reason, items.get(each.item_id))
            for each in dropped
        ),
        *(_unpicked(name, "choice", reason, items.get(name)) for name, reason in left.items()),
    ]
    return tuple(sorted(found, key=lambda each: (each.acquired or LAST_TIME, each.item_id)))


def _unpicked(item_id: str, stage: str, reason: str, item: Item | None = None) -> Unpicked:
    """Make the record of one scene; an item that was dropped by the query is not at hand."""
    properties = item.get("properties") if item else None
    cover = first_number(properties, ("eo:cloud_cover",)) if isinstance(properties, dict) else None
    if cover is not None and not math.isfinite(cover):
        cover = None
    return Unpicked.model_validate(
        {
            "item_id": item_id,
            "stage": stage,
            "acquired": item_time(item) if item else None,
            "cloud_cover": None if cover is None else min(100.0, max(0.0, cover)),
            "reason": reason,
        }
    )


def left_by_clear(
    candidates: ClearCandidates,
    area: BoolRaster,
    picked: Collection[str],
    options: FilterOptions,
) -> dict[str, str]:
    """Explain why strategy ``clear`` left candidates out.

    Parameters
    ----------
    candidates : ClearCandidates
        What there was to pick from.
    area : ndarray of bool, shape (y, x)
        Cells of the area, on the grid of the candidates.
    picked : collection of str
        Ids of the picks.
    options : FilterOptions
        ``max_selections`` is used.

    Returns
    -------
    dict of str to str
        Reason for each candidate that is not picked: what its thumbnail shows of the area clear,
        and what it would add to what the picks show clear.
    """
    shown = np.zeros_like(area)
    for item_id, units in zip(candidates.ids, candidates.units, strict=True):
        if item_id in picked:
            shown[units.window.slices] |= units.clear
    total = max(1, int(np.count_nonzero(area)))
    most = options.max_selections
    is_full = most is not None and len(picked) >= most
    reasons = {}
    for item_id, units in zip(candidates.ids, candidates.units, strict=True):
        if item_id in picked:
            continue
        clear = units.clear & area[units.window.slices]
        share = int(np.count_nonzero(clear)) / total
        adds = int(np.count_nonzero(clear & ~shown[units.window.slices])) / total
        text = f"it shows {format_percent(share)} of the area clear, and would add "
        text += f"{format_percent(adds)} to what the picks show clear"
        if is_full and adds >= LEAST_FIRST_GAIN:
            text += f"; max_selections {most} was reached"
        reasons[item_id] = text
    return reasons


def left_by_original(
    item_ids: Collection[str], picked: Collection[str], options: FilterOptions
) -> dict[str, str]:
    """Explain why strategy ``original`` left candidates out; see `left_by_clear`."""
    most = options.max_selections
    reason = "the picks cover the area as often as asked, or it adds nothing to what they leave"
    if most is not None and len(picked) >= most:
        reason = f"max_selections {most} was reached"
    return {item_id: reason for item_id in item_ids if item_id not in picked}
