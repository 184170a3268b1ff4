"""Filter: pick the candidate scenes that cover the area as often as asked."""

import logging
from collections.abc import Collection

from cloudbuster.core.selection.holes import Holes
from cloudbuster.errors import NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.inputs.areas import document_area
from cloudbuster.models import (
    Candidates,
    FilterOptions,
    Selection,
)
from cloudbuster.selection.clear_strategy import LookOptions, sample_candidates, select_clear
from cloudbuster.selection.further_choice import extend_choice
from cloudbuster.selection.messages import nothing_left
from cloudbuster.selection.original_strategy import select_original
from cloudbuster.selection.screening import option_checks, scene_check, screen

logger = logging.getLogger(__name__)


def filter_scenes(
    candidates: Candidates,
    options: FilterOptions,
    *,
    bands: tuple[str, ...] = (),
    look: LookOptions | None = None,
    on_event: OnEvent | None = None,
) -> Selection:
    """Pick the scenes that cover the area as often as asked.

    Strategy ``clear`` plans with thumbnails, ``original`` with footprints; `cloudbuster.assess`
    counts pixels. A candidate without a usable footprint is represented by its bounding box, else
    by the square of its tile; without any of these it is dropped. A candidate without
    `eo:cloud_cover` is taken to have ``UNKNOWN_CLOUD_COVER`` percent.

    Parameters
    ----------
    candidates : Candidates
        Result of the query.
    options : FilterOptions
        What to drop, what to reach, and the strategy.
    bands : tuple of str
        Bands of the mosaic: a candidate without an asset for one of them is dropped.
    look : LookOptions, optional
        How thumbnails are read; by default with the default detector, and not kept.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    Selection
        Picked scenes. If the limits could not be reached, ``covered`` is False and
        `not_covered_error` says what is missing.

    Raises
    ------
    NothingUsableError
        If no candidate passes the options, or none of them sees the area.
    AoiError
        If the area cannot be used.
    """
    aoi = document_area(candidates.cloudbuster.aoi)
    checks = [*option_checks(options), scene_check(candidates.cloudbuster, bands)]
    screened = screen(candidates.features, checks, aoi)
    count = f"{len(screened.items)} of {len(candidates.features)} candidates"
    emit(on_event, Event("filter", 1, 2, count))
    if not screened.items:
        raise NothingUsableError(nothing_left(screened.dropped))
    if options.strategy == "original":
        selection = select_original(candidates, options, aoi, screened)
    else:
        seen = look or LookOptions()
        selection = select_clear(candidates, options, aoi, screened, bands, seen, on_event)
    _report(selection, on_event)
    return selection


def extend_selection(
    selection: Selection,
    candidates: Candidates,
    options: FilterOptions,
    holes: Holes,
    *,
    failed: Collection[str] = (),
    bands: tuple[str, ...] = (),
    look: LookOptions | None = None,
    on_event: OnEvent | None = None,
) -> Selection | None:
    """Pick further scenes for the places that a round has left.

    Parameters
    ----------
    selection : Selection
        Picks of the rounds so far.
    candidates, options, bands, look, on_event
        As for `filter_scenes`.
    holes : Holes
        Places to fill.
    failed : collection of str
        Ids of the items that could not be gathered; they are not picked again.

    Returns
    -------
    Selection or None
        The selection with new entries at its end; None if no candidate adds enough.
    """
    info = selection.cloudbuster
    aoi = document_area(info.aoi)
    checks = [*option_checks(options), scene_check(candidates.cloudbuster, bands)]
    screened = screen(candidates.features, checks, aoi).without(failed)
    if not screened.items:
        return None
    clear, _ = sample_candidates(
        candidates, screened, bands, look or LookOptions(), holes.grid, on_event
    )
    gathered = [entry for entry in info.entries if entry.item_id not in failed]
    number = max(entry.round for entry in info.entries) + 1
    added = extend_choice(clear, gathered, holes, options, number)
    if not added:
        return None
    items = {str(item.get("id")): item for item in (*selection.features, *screened.items)}
    entries = (*info.entries, *added)
    return Selection(
        features=tuple(items[name] for name in dict.fromkeys(entry.item_id for entry in entries)),
        cloudbuster=info.model_copy(update={"entries": entries}),
    )


def _report(selection: Selection, on_event: OnEvent | None) -> None:
    """Log the selection and emit its event."""
    info = selection.cloudbuster
    clear = sum(not entry.backstop for entry in info.entries)
    logger.info(
        "scenes_picked",
        extra={
            "scenes": len(selection.features),
            "clear_scenes": clear,
            "backstops": len(info.entries) - clear,
            "uncovered": info.uncovered,
            "backstop_uncovered": info.backstop_uncovered,
            "covered": info.covered,
        },
    )
    emit(on_event, Event("filter", 2, 2, f"{len(selection.features)} scenes"))
