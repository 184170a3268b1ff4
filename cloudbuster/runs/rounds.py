"""Rounds: decide, after the scenes of a round were assessed, whether another one follows."""

from collections.abc import Callable, Collection

from cloudbuster.core.scenes.bands import requested_bands
from cloudbuster.core.selection.holes import Holes
from cloudbuster.events import OnEvent
from cloudbuster.filter import extend_selection
from cloudbuster.models import Assessment, Candidates, MosaicRequest, RunEnd, Selection
from cloudbuster.selection.clear_strategy import LookOptions
from cloudbuster.selection.score import item_time


def next_round(
    request: MosaicRequest,
    candidates: Candidates,
    selection: Selection,
    assessment: Assessment,
    holes: Holes,
    *,
    failed: Collection[str],
    look: LookOptions,
    is_affordable: Callable[[Selection], bool] | None = None,
    on_event: OnEvent | None = None,
) -> tuple[Assessment, Selection | None]:
    """Decide whether to gather further scenes, and pick them.

    Parameters
    ----------
    request : MosaicRequest
        ``limits.max_rounds`` and the options of filter and gather are used.
    candidates, selection : Candidates, Selection
        Candidates of the run, and the picks so far.
    assessment, holes : Assessment, Holes
        What the gathered scenes show, and what is left to fill.
    failed : collection of str
        Ids of the items that could not be gathered.
    look : LookOptions
        How thumbnails are read.
    is_affordable : callable, optional
        Whether a run of a selection stays within the budget.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    Assessment, Selection or None
        The assessment with its end and why it ended, and None; or the assessment without an end,
        and the selection extended by the picks of the next round.
    """
    if assessment.covered or selection.cloudbuster.strategy != "clear":
        return ended_without_rounds(assessment), None
    if assessment.rounds >= request.limits.max_rounds:
        return _ended(assessment, "rounds-spent", _spent(request)), None
    extended = extend_selection(
        selection,
        candidates,
        request.filter,
        holes,
        failed=failed,
        bands=requested_bands(request.query.kind, request.gather.bands),
        look=look,
        on_event=on_event,
    )
    if extended is None:
        return _ended(
            assessment, "no-more-candidates", _exhausted(request, candidates, selection, failed)
        ), None
    if is_affordable is not None and not is_affordable(extended):
        added = len(extended.cloudbuster.entries) - len(selection.cloudbuster.entries)
        reason = f"{added} more scenes would exceed limits.budget_usd"
        return _ended(assessment, "over-budget", reason), None
    return assessment, extended


def ended_without_rounds(assessment: Assessment) -> Assessment:
    """Return the assessment of a run that makes one round, with its end."""
    return _ended(assessment, "covered" if assessment.covered else "rounds-spent")


def _ended(assessment: Assessment, end: RunEnd, reason: str | None = None) -> Assessment:
    """Return the assessment with its end, and with a further reason."""
    reasons = assessment.reasons if reason is None else (*assessment.reasons, reason)
    return assessment.model_copy(update={"end": end, "reasons": reasons})


def _spent(request: MosaicRequest) -> str:
    """Return the reason of a run whose rounds are spent."""
    rounds = request.limits.max_rounds
    return f"{rounds} rounds were made, as many as max_rounds allows"


def _exhausted(
    request: MosaicRequest, candidates: Candidates, selection: Selection, failed: Collection[str]
) -> str:
    """Return the reason of a run whose candidates show no more clear sky, or may not be picked."""
    gathered = {entry.item_id for entry in selection.cloudbuster.entries}.difference(failed)
    most = request.filter.max_selections
    if most is not None and len(gathered) >= most:
        return f"max_selections allows no more than {most}, and {len(gathered)} were taken"
    times = sorted(filter(None, map(item_time, candidates.features)))
    dates = f" ({times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d})" if times else ""
    count = len(candidates.features)
    picked = len(selection.features)
    return (
        f"none of the {count} candidates{dates} shows the rest clear; {picked} of them were taken"
    )
