"""Filter: pick the candidate scenes that cover the area as often as asked."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.areas import document_area
from cloudbuster.catalogs.item_properties import first_number
from cloudbuster.catalogs.schema import missing_bands, parse_scene, refused_href
from cloudbuster.catalogs.search import footprint_geometry
from cloudbuster.core.antimeridian import middle_longitude, placed_near
from cloudbuster.core.aoi import simplified
from cloudbuster.core.coverage import (
    STRATEGIES,
    UNKNOWN_CLOUD_COVER,
    CoverRules,
    Pick,
    uncovered_by_layer,
)
from cloudbuster.core.patterns import compile_pattern
from cloudbuster.core.polygons import geodesic_area_m2
from cloudbuster.errors import CatalogError, NotCoveredError, NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import (
    Candidates,
    CandidatesInfo,
    Dropped,
    FilterOptions,
    Item,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.original.documents import ORIGINAL_PROPERTY

logger = logging.getLogger(__name__)

# Areas and footprints with more vertices are simplified for the greedy search, which overlays them
# thousands of times. 300 footprints over a coast of 20 000 vertices took 14 s, and 1.1 s when
# simplified, with the same picks. The original's test cases have 10 vertices at most, real
# footprints 32.
MAX_VERTICES = 2000

Check = Callable[[Item], str | None]
"""Function of an item that returns the reason to drop it, or None."""


def filter_scenes(
    candidates: Candidates,
    options: FilterOptions,
    *,
    bands: tuple[str, ...] = (),
    on_event: OnEvent | None = None,
) -> Selection:
    """Pick the scenes that cover the area as often as asked.

    Coverage is planned with footprints; `cloudbuster.assess` counts pixels. A candidate without a
    usable footprint is represented by its bounding box, else by the square of its tile; without any
    of these it is dropped. A candidate without `eo:cloud_cover` is taken to have
    ``UNKNOWN_CLOUD_COVER`` percent.

    Parameters
    ----------
    candidates : Candidates
        Result of the query.
    options : FilterOptions
        What to drop, what to reach, and the strategy.
    bands : tuple of str
        Bands of the mosaic: a candidate without an asset for one of them is dropped.
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
    checks = [*_checks(options), _scene_check(candidates.cloudbuster, bands)]
    items, footprints, dropped = _screen(candidates.features, checks, aoi)
    emit(on_event, Event("filter", 1, 2, f"{len(items)} of {len(candidates.features)} candidates"))
    if not items:
        raise NothingUsableError(_nothing_left(dropped))
    rules = _rules(options)
    cloud_cover = [item_cloud_cover(item) for item in items]
    ground = simplified(aoi, max_vertices=MAX_VERTICES)
    picks = STRATEGIES[options.strategy](ground, footprints, cloud_cover, rules)
    if not picks:
        raise NothingUsableError(_nothing_gains(aoi, footprints, options))
    selection = Selection(
        features=tuple(items[index] for index in dict.fromkeys(pick.index for pick in picks)),
        cloudbuster=_describe(candidates, options, aoi, items, footprints, picks, dropped),
    )
    _report(selection, on_event)
    return selection


def _rules(options: FilterOptions) -> CoverRules:
    """Return the rules of the cover that the options ask for."""
    return CoverRules(
        coverage_count=options.coverage_count,
        max_uncovered=options.max_uncovered,
        max_selections=options.max_selections,
        backstop=options.backstop,
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


def _advice(info: SelectionInfo, options: FilterOptions) -> str:
    """Return what to change so that the area can be covered."""
    advice = "raise --maxclouds, widen the dates, lower --coverage-count or raise --max-uncovered"
    picked = sum(not entry.reused for entry in info.entries)
    if options.max_selections is not None and picked >= options.max_selections:
        advice = f"raise --max-selections (all {picked} are taken), or {advice}"
    return advice


def item_cloud_cover(item: Item) -> float:
    """Return the cloud cover of an item, 0 to 100 percent, or ``UNKNOWN_CLOUD_COVER``."""
    value = first_number(_properties(item), ("eo:cloud_cover",))
    if value is None or not math.isfinite(value):
        return UNKNOWN_CLOUD_COVER
    return min(100.0, max(0.0, value))


def _screen(
    features: Sequence[Item], checks: Sequence[Check], aoi: BaseGeometry
) -> tuple[list[Item], list[BaseGeometry], list[Dropped]]:
    """Return the candidates to pick from, their footprints, and those that are dropped."""
    seen: set[str] = set()
    items, footprints, dropped = [], [], []
    middle = middle_longitude(aoi)
    for item in features:
        item_id = str(item.get("id"))
        reason = next(filter(None, (check(item) for check in checks)), None)
        footprint = None if reason else footprint_geometry(item)
        if footprint is None:
            reason = reason or "it has no usable footprint"
        elif item_id in seen:
            reason = "an earlier candidate has the same id"
        if footprint is None or reason is not None:
            dropped.append(Dropped(item_id=item_id, reason=str(reason)))
            continue
        seen.add(item_id)
        items.append(item)
        near = placed_near(footprint, middle)
        footprints.append(simplified(near, max_vertices=MAX_VERTICES))
    return items, footprints, dropped


def _checks(options: FilterOptions) -> list[Check]:
    """Return the checks by the options that may drop a candidate."""
    checks: list[Check] = []
    if options.minclouds > 0:
        reason = f"its cloud cover is below minclouds {options.minclouds:g}"
        checks.append(lambda item: reason if item_cloud_cover(item) < options.minclouds else None)
    for name, pattern, texts in (
        ("name_regexp", options.name_regexp, _names),
        ("date_regexp", options.date_regexp, _dates),
    ):
        if pattern:
            checks.append(_pattern_check(name, pattern, texts))
    return checks


def _scene_check(info: CandidatesInfo, bands: tuple[str, ...]) -> Check:
    """Make the check that keeps an item whose files may be opened and give the bands."""

    def problem(item: Item) -> str | None:
        try:
            scene = parse_scene(item, catalog=info.catalog, asset_mirror=info.asset_mirror)
        except CatalogError as error:
            # Without bands, coverage alone is planned, for which an item need not be a scene.
            return str(error) if bands else None
        missing = missing_bands(scene, bands)
        return f"it has no asset for {', '.join(missing)}" if missing else refused_href(scene)

    return problem


def _pattern_check(name: str, pattern: str, texts: Callable[[Item], list[str]]) -> Check:
    """Make the check that keeps an item if one of its texts contains a match, as the original."""
    contains_match = compile_pattern(pattern)
    reason = f"{name} {pattern!r} does not match it"
    return lambda item: None if any(map(contains_match, texts(item))) else reason


def _names(item: Item) -> list[str]:
    """Return the id of an item, and its name in a document of the original."""
    return _texts(item.get("id"), _original(item).get("name"))


def _dates(item: Item) -> list[str]:
    """Return the acquisition time as in a document of the original, else that of the item."""
    created = _texts(_original(item).get("createdAt"))
    properties = _properties(item)
    return created or _texts(properties.get("datetime") or properties.get("start_datetime"))


def _texts(*values: object) -> list[str]:
    """Return the values that are text."""
    return [value for value in values if isinstance(value, str)]


def _properties(item: Item) -> dict[str, Any]:
    """Return the properties of an item; empty if it has none."""
    properties = item.get("properties")
    return properties if isinstance(properties, dict) else {}


def _original(item: Item) -> dict[str, Any]:
    """Return the record of an item in a document of the original; empty if there is none."""
    original = _properties(item).get(ORIGINAL_PROPERTY)
    return original if isinstance(original, dict) else {}


def _describe(
    candidates: Candidates,
    options: FilterOptions,
    aoi: BaseGeometry,
    items: Sequence[Item],
    footprints: Sequence[BaseGeometry],
    picks: Sequence[Pick],
    dropped: Sequence[Dropped],
) -> SelectionInfo:
    """Describe the picks, and what they leave uncovered of the area."""
    clear = [footprints[pick.index] for pick in picks if not pick.backstop]
    below = [footprints[pick.index] for pick in picks if pick.backstop]
    by_layer = uncovered_by_layer(aoi, clear, options.coverage_count)
    uncovered = math.fsum(by_layer) / len(by_layer)
    backstop_uncovered = uncovered_by_layer(aoi, below, 1)[0] if options.backstop else None
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
        dropped=tuple(dropped),
    )


def _entry(item: Item, pick: Pick) -> SelectionEntry:
    """Make the entry of a pick."""
    return SelectionEntry(
        item_id=str(item.get("id")), backstop=pick.backstop, reused=pick.reused, weight=pick.gain
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


def _nothing_left(dropped: Sequence[Dropped]) -> str:
    """Return the message for a query without a candidate that passes the options."""
    if not dropped:
        return "the query found no candidate: widen the dates, raise --maxclouds or move the area"
    counts = Counter(entry.reason for entry in dropped).most_common()
    reasons = ", ".join(f"{count} because {reason}" for reason, count in counts)
    return f"all {len(dropped)} candidates are dropped: {reasons}; relax these conditions"


def _nothing_gains(
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
