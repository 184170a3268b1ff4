"""The filter: which of the candidate scenes to take, so that the area is seen as often as asked."""

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyproj
import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.schema import missing_bands, parse_scene
from cloudbuster.catalogs.search import footprint_geometry
from cloudbuster.core.antimeridian import middle_longitude, placed_near, unwrapped
from cloudbuster.core.aoi import simplified
from cloudbuster.core.coverage import (
    STRATEGIES,
    UNKNOWN_CLOUD_COVER,
    CoverRules,
    Pick,
    polygonal,
    uncovered_by_layer,
)
from cloudbuster.errors import AoiError, CatalogError, NotCoveredError, NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import (
    Candidates,
    Dropped,
    FilterOptions,
    Geometry,
    Item,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.original.documents import ORIGINAL_PROPERTY

logger = logging.getLogger(__name__)

# Areas and footprints of more vertices are simplified for the greedy search, which lays them over
# each other thousands of times: 300 footprints over a coast of 20 000 vertices took 14 s, 1.1 s
# simplified, with the same picks. The original's cases have 10 vertices at most, real footprints
# 32.
MAX_VERTICES = 2000

Check = Callable[[Item], str | None]
"""An item to the reason why it is dropped, or None."""


def filter_scenes(
    candidates: Candidates,
    options: FilterOptions,
    *,
    bands: tuple[str, ...] = (),
    on_event: OnEvent | None = None,
) -> Selection:
    """Pick the scenes that cover the area as often as asked.

    Footprints are believed here alone; `cloudbuster.assess` counts pixels. A candidate without a
    readable footprint counts as its bounding box, else as the square of its tile; without any of
    these it is dropped: it cannot be known to cover anything. One without `eo:cloud_cover` counts
    as ``UNKNOWN_CLOUD_COVER`` percent cloudy, so that it comes after every scene that is known to
    be clearer, and is still taken where no other scene lies.

    Parameters
    ----------
    candidates : Candidates
        Result of the query.
    options : FilterOptions
        What to drop, what to reach, and by which strategy.
    bands : tuple of str
        Bands of the mosaic: a candidate without an asset for one of them is dropped.
    on_event : callable, optional
        Told of the two steps: candidates screened, scenes picked.

    Returns
    -------
    Selection
        The picked scenes. ``covered`` is False where the limits could not be reached;
        `not_covered_error` then says what is missing.

    Raises
    ------
    NothingUsableError
        Where no candidate passes the options, or none sees the area.
    AoiError
        Where the area of interest is no valid polygon.
    """
    aoi = read_aoi(candidates.cloudbuster.aoi)
    checks = _checks(options, bands, candidates.cloudbuster.catalog)
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
    _tell(selection, on_event)
    return selection


def _rules(options: FilterOptions) -> CoverRules:
    return CoverRules(
        coverage_count=options.coverage_count,
        max_uncovered=options.max_uncovered,
        max_selections=options.max_selections,
        backstop=options.backstop,
    )


def not_covered_error(selection: Selection, options: FilterOptions) -> NotCoveredError:
    """Make the error that says what a selection leaves uncovered, and what to do about it.

    Parameters
    ----------
    selection : Selection
        Whose ``covered`` is False.
    options : FilterOptions
        By which it was made.

    Returns
    -------
    NotCoveredError
        Shares in percent, areas in square kilometres (geodesic, WGS 84).
    """
    info = selection.cloudbuster
    area_km2 = geodesic_area_km2(read_aoi(info.aoi))
    layers = ", ".join(
        f"fewer than {times} on {_amount(share, area_km2)}"
        for times, share in enumerate(info.uncovered_by_layer, start=1)
        if share > 0
    )
    times = "once" if options.coverage_count == 1 else f"{options.coverage_count} times"
    told = [
        f"{area_km2:.1f} km2 cannot be seen {times}: "
        f"{_amount(info.uncovered, area_km2)} uncovered on average, "
        f"{_percent(options.max_uncovered)} allowed"
    ]
    if layers:
        told.append(f"clear scenes: {layers}")
    if info.backstop_uncovered is not None and info.backstop_uncovered > 0:
        told.append(f"no backstop on {_amount(info.backstop_uncovered, area_km2)}")
    picked = sum(not entry.reused for entry in info.entries)
    advice = "raise --maxclouds, widen the dates, lower --coverage-count or raise --max-uncovered"
    if options.max_selections is not None and picked >= options.max_selections:
        advice = f"raise --max-selections (all {picked} are taken), or {advice}"
    return NotCoveredError(f"{'; '.join(told)}: {advice}")


def read_aoi(aoi: Geometry) -> BaseGeometry:
    """Make a polygon of the area of interest.

    Parameters
    ----------
    aoi : dict
        GeoJSON geometry, longitude and latitude.

    Returns
    -------
    shapely geometry
        Polygon or MultiPolygon, valid and with an area, degrees; longitudes unwrapped.

    Raises
    ------
    AoiError
        Where it cannot be read, is not valid, or has no area.
    """
    geometry = _read_geometry(aoi)
    if geometry is None:
        msg = "the area of interest is no GeoJSON geometry: give a Polygon or a MultiPolygon"
        raise AoiError(msg)
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        try:
            geometry = unwrapped(geometry)
        except ValueError as error:
            msg = f"the area of interest: {error}"
            raise AoiError(msg) from error
    if not geometry.is_valid:
        msg = f"the area of interest is not valid: {shapely.is_valid_reason(geometry)}; mend it"
        raise AoiError(msg)
    area = polygonal(geometry)
    if area.area <= 0:
        msg = f"the area of interest ({geometry.geom_type}) has no area: give a Polygon"
        raise AoiError(msg)
    return area


def item_cloud_cover(item: Item) -> float:
    """Cloud cover of an item, percent, 0 to 100; ``UNKNOWN_CLOUD_COVER`` where it does not tell."""
    try:
        value = float(_properties(item)["eo:cloud_cover"])
    except (KeyError, TypeError, ValueError):
        return UNKNOWN_CLOUD_COVER
    return min(100.0, max(0.0, value)) if math.isfinite(value) else UNKNOWN_CLOUD_COVER


def geodesic_area_km2(geometry: BaseGeometry) -> float:
    """Area on the WGS 84 ellipsoid, edges geodesic (Karney 2013, by PROJ), square kilometres."""
    # The sign of a ring's area is its direction, which `normalize` sets: shells against holes.
    area_m2, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shapely.normalize(geometry))
    return abs(float(area_m2)) / 1e6


def _screen(
    features: Sequence[Item], checks: Sequence[Check], aoi: BaseGeometry
) -> tuple[list[Item], list[BaseGeometry], list[Dropped]]:
    """Tell the candidates to pick from, with their footprints, from those that are dropped."""
    seen: set[str] = set()
    items, footprints, dropped = [], [], []
    middle = middle_longitude(aoi)
    for item in features:
        item_id = str(item.get("id"))
        reason = next(filter(None, (check(item) for check in checks)), None)
        footprint = None if reason else footprint_geometry(item)
        if footprint is None:
            reason = reason or "it has no footprint that can be read"
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


def _checks(options: FilterOptions, bands: tuple[str, ...], catalog: str) -> list[Check]:
    """Everything that may drop a candidate, the cheapest first."""
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
    if bands:
        checks.append(lambda item: _lacking(item, bands, catalog))
    return checks


def _lacking(item: Item, bands: tuple[str, ...], catalog: str) -> str | None:
    try:
        missing = missing_bands(parse_scene(item, catalog=catalog), bands)
    except CatalogError as error:
        return str(error)
    return f"it has no asset for {', '.join(missing)}" if missing else None


def _pattern_check(name: str, pattern: str, texts: Callable[[Item], list[str]]) -> Check:
    """Keep an item where ``pattern`` is found anywhere in one of its texts, as the original did."""
    compiled = re.compile(pattern)
    reason = f"{name} {pattern!r} does not match it"
    return lambda item: None if any(map(compiled.search, texts(item))) else reason


def _names(item: Item) -> list[str]:
    return _texts(item.get("id"), _original(item).get("name"))


def _dates(item: Item) -> list[str]:
    created = _texts(_original(item).get("createdAt"))
    properties = _properties(item)
    return created or _texts(properties.get("datetime") or properties.get("start_datetime"))


def _texts(*values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _properties(item: Item) -> dict[str, Any]:
    properties = item.get("properties")
    return properties if isinstance(properties, dict) else {}


def _original(item: Item) -> dict[str, Any]:
    original = _properties(item).get(ORIGINAL_PROPERTY)
    return original if isinstance(original, dict) else {}


def _read_geometry(geojson: object) -> BaseGeometry | None:
    if not isinstance(geojson, dict):
        return None
    try:
        geometry = shapely.from_geojson(orjson.dumps(geojson))
    except (ShapelyError, orjson.JSONEncodeError):
        return None
    return None if geometry.is_empty else geometry


def _describe(
    candidates: Candidates,
    options: FilterOptions,
    aoi: BaseGeometry,
    items: Sequence[Item],
    footprints: Sequence[BaseGeometry],
    picks: Sequence[Pick],
    dropped: Sequence[Dropped],
) -> SelectionInfo:
    """Write down what was picked, and what of the area it leaves uncovered."""
    clear = [footprints[pick.index] for pick in picks if not pick.backstop]
    below = [footprints[pick.index] for pick in picks if pick.backstop]
    by_layer = uncovered_by_layer(aoi, clear, options.coverage_count)
    uncovered = math.fsum(by_layer) / len(by_layer)
    backstop_uncovered = uncovered_by_layer(aoi, below, 1)[0] if options.backstop else None
    entries = tuple(
        SelectionEntry(
            item_id=str(items[pick.index].get("id")),
            backstop=pick.backstop,
            reused=pick.reused,
            weight=pick.gain,
        )
        for pick in picks
    )
    return SelectionInfo(
        aoi=candidates.cloudbuster.aoi,
        kind=candidates.cloudbuster.kind,
        catalog=candidates.cloudbuster.catalog,
        strategy=options.strategy,
        entries=entries,
        uncovered_by_layer=by_layer,
        uncovered=uncovered,
        backstop_uncovered=backstop_uncovered,
        covered=max(uncovered, backstop_uncovered or 0.0) <= options.max_uncovered,
        dropped=tuple(dropped),
    )


def _tell(selection: Selection, on_event: OnEvent | None) -> None:
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
    if not dropped:
        return "the query found no candidate: widen the dates, raise --maxclouds or move the area"
    counts = Counter(entry.reason for entry in dropped).most_common()
    reasons = ", ".join(f"{count} because {reason}" for reason, count in counts)
    return f"all {len(dropped)} candidates are dropped: {reasons}; loosen what drops them"


def _nothing_gains(
    aoi: BaseGeometry, footprints: Sequence[BaseGeometry], options: FilterOptions
) -> str:
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
    return f"{_percent(share)} ({share * area_km2:.1f} km2)"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
