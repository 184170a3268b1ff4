"""Errors of the filter: what a selection leaves uncovered, and what to change."""

from collections import Counter
from collections.abc import Sequence

import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.polygons import geodesic_area_m2
from cloudbuster.errors import NotCoveredError
from cloudbuster.inputs.areas import document_area
from cloudbuster.models import (
    Dropped,
    FilterOptions,
    Selection,
    SelectionInfo,
)


def not_covered_error(selection: Selection, options: FilterOptions) -> NotCoveredError:
    """Make the error about what a selection leaves uncovered.

    Parameters
    ----------
    selection, options : Selection, FilterOptions
        Selection that is not covered, and the options it was made with.

    Returns
    -------
    NotCoveredError
        With shares in percent, and areas in square kilometres on the WGS 84 ellipsoid.
    """
    info = selection.cloudbuster
    area_km2 = geodesic_area_m2(document_area(info.aoi)) / 1e6
    if info.strategy == "clear":
        return _not_clear_error(info, options, area_km2)
    layers = [
        f"fewer than {times} on {_amount(share, area_km2)}"
        for times, share in enumerate(info.uncovered_by_layer, start=1)
        if share > 0
    ]
    times = "once" if options.coverage_count == 1 else f"{options.coverage_count} times"
    average, allowed = _amount(info.uncovered, area_km2), _percent(options.max_uncovered)
    message = f"{area_km2:.1f} km2 cannot be seen {times}: {average} uncovered on average, "
    problems = [f"{message}{allowed} allowed"]
    if layers:
        problems.append(f"clear scenes: {', '.join(layers)}")
    if info.backstop_uncovered:
        problems.append(f"no backstop on {_amount(info.backstop_uncovered, area_km2)}")
    return NotCoveredError(f"{'; '.join(problems)}: {_advice(info, options)}")


def _not_clear_error(
    info: SelectionInfo, options: FilterOptions, area_km2: float
) -> NotCoveredError:
    """Make the error about what thumbnails show of no picked scene clear, or at all."""
    never_clear = info.uncovered_by_layer[0]
    problems = [
        f"{_amount(never_clear, area_km2)} of the area is clear in no picked scene, "
        f"{_percent(options.max_never_clear)} may be"
    ]
    if info.backstop_uncovered:
        problems.append(f"{_amount(info.backstop_uncovered, area_km2)} is in none of them")
    advice = "widen the dates, raise --maxclouds or --max-never-clear"
    if options.max_selections is not None and len(info.entries) >= options.max_selections:
        advice = f"raise --max-selections (all {len(info.entries)} are taken), or {advice}"
    return NotCoveredError(f"{'; '.join(problems)}: {advice}")


def _advice(info: SelectionInfo, options: FilterOptions) -> str:
    """Return what to change so that the area can be covered."""
    advice = "raise --maxclouds, widen the dates, lower --coverage-count or raise --max-uncovered"
    picked = sum(not entry.reused for entry in info.entries)
    if options.max_selections is not None and picked >= options.max_selections:
        advice = f"raise --max-selections (all {picked} are taken), or {advice}"
    return advice


def nothing_left(dropped: Sequence[Dropped]) -> str:
    """Return the message for a query without a candidate that passes the options."""
    if not dropped:
        return "the query found no candidate: widen the dates, raise --maxclouds or move the area"
    counts = Counter(entry.reason for entry in dropped).most_common()
    reasons = ", ".join(f"{count} because {reason}" for reason, count in counts)
    return f"all {len(dropped)} candidates are dropped: {reasons}; relax these conditions"


def nothing_gains(
    aoi: BaseGeometry, footprints: Sequence[BaseGeometry], options: FilterOptions
) -> str:
    """Return the message for candidates of which none gains anything."""
    if options.max_uncovered >= 1:
        return f"max_uncovered {options.max_uncovered:g} asks for no scene: lower it"
    meeting = int(shapely.intersects(footprints, aoi).sum())
    if meeting == 0:
        return (
            f"none of the {len(footprints)} candidates lies over the area of interest: "
            "query again with this area"
        )
    return (
        f"of {len(footprints)} candidates {meeting} lie over the area of interest, and none of "
        "these has any clear sky: widen the dates"
    )


def _amount(share: float, area_km2: float) -> str:
    """Format a share of the area in percent and in square kilometres."""
    return f"{_percent(share)} ({share * area_km2:.1f} km2)"


def _percent(share: float) -> str:
    """Format a share in percent."""
    return f"{100 * share:.3g} %"
