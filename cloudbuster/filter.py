"""Filter: pick the candidate scenes that cover the area as often as asked."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.areas import document_area
from cloudbuster.catalogs.item_properties import first_number
from cloudbuster.catalogs.schema import missing_bands, parse_scene, refused_href
from cloudbuster.catalogs.search import footprint_geometry
from cloudbuster.clear_selection import (
    ClearCandidates,
    area_cells,
    choose_clear,
    extend_choice,
    item_time,
)
from cloudbuster.core.antimeridian import middle_longitude, placed_near
from cloudbuster.core.aoi import simplified
from cloudbuster.core.coverage import (
    UNKNOWN_CLOUD_COVER,
    CoverRules,
    Pick,
    pick_original,
    uncovered_by_layer,
)
from cloudbuster.core.grid import Grid
from cloudbuster.core.holes import Holes
from cloudbuster.core.patterns import compile_pattern
from cloudbuster.core.polygons import geodesic_area_m2
from cloudbuster.errors import CatalogError, NotCoveredError, NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import (
    Candidates,
    CandidatesInfo,
    DetectorOptions,
    Dropped,
    FilterOptions,
    GatherOptions,
    Item,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.original.documents import ORIGINAL_PROPERTY
from cloudbuster.storage.uri import is_remote, local_path
from cloudbuster.thumbnails import Thumbnails, read_thumbnails

logger = logging.getLogger(__name__)

# Areas and footprints with more vertices are simplified for the greedy search, which overlays them
# thousands of times. 300 footprints over a coast of 20 000 vertices took 14 s, and 1.1 s when
# simplified, with the same picks. The original's test cases have 10 vertices at most, real
# footprints 32.
MAX_VERTICES = 2000
# Stands for the time of an item that gives none: before every acquisition.
FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)

Check = Callable[[Item], str | None]
"""Function of an item that returns the reason to drop it, or None."""


@dataclass(frozen=True)
class LookOptions:
    """How the thumbnails of candidates are read.

    Attributes
    ----------
    detector : DetectorOptions
        Detector of gather: its preset decides which classes of the product's masks are clear.
    dilate_m : float
        Growth of cloud and shadow, metres.
    folder : str or None
        Folder or prefix in which thumbnails are kept for later calls; None keeps none.
    seconds : float or None
        Time after which the other candidates are judged by their metadata; None for no limit.
    crs : str
        CRS of the mosaic, as in a request: its bounding box is filled, not the area alone.
    whole : bool
        Whether scenes are delivered whole, as for a mosaic that is not clipped.
    layers : int
        How often each place is to be delivered clear, as the composite needs it.
    """

    detector: DetectorOptions = field(default_factory=DetectorOptions)
    dilate_m: float = 50.0
    folder: str | None = None
    seconds: float | None = None
    crs: str = "utm"
    whole: bool = False
    layers: int = 1

    @classmethod
    def of(
        cls,
        options: GatherOptions,
        folder: str | None = None,
        seconds: float | None = None,
        *,
        layers: int = 1,
    ) -> "LookOptions":
        """Take what the options of gather say."""
        whole = not options.bounds_clip
        return cls(options.detector, options.dilate_m, folder, seconds, options.crs, whole, layers)


@dataclass(frozen=True)
class _Screened:
    """Candidates to pick from, their footprints (longitude, latitude), and what was dropped."""

    items: tuple[Item, ...]
    footprints: tuple[BaseGeometry, ...]
    dropped: tuple[Dropped, ...]

    def without(self, item_ids: Collection[str]) -> "_Screened":
        """Return the candidates whose id is not among ``item_ids``."""
        return self._only(
            [place for place, item in enumerate(self.items) if str(item["id"]) not in item_ids]
        )

    def newest_first(self) -> "_Screened":
        """Return the candidates from the latest to the earliest; of equals the lower id first."""
        places = sorted(range(len(self.items)), key=lambda place: str(self.items[place]["id"]))
        times = [item_time(item) or FIRST_TIME for item in self.items]
        return self._only(sorted(places, key=lambda place: times[place], reverse=True))

    def _only(self, places: Sequence[int]) -> "_Screened":
        """Return the candidates of some places, in their order."""
        return replace(
            self,
            items=tuple(self.items[place] for place in places),
            footprints=tuple(self.footprints[place] for place in places),
        )


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
    checks = [*_checks(options), _scene_check(candidates.cloudbuster, bands)]
    screened = _screen(candidates.features, checks, aoi)
    count = f"{len(screened.items)} of {len(candidates.features)} candidates"
    emit(on_event, Event("filter", 1, 2, count))
    if not screened.items:
        raise NothingUsableError(_nothing_left(screened.dropped))
    if options.strategy == "original":
        selection = _select_original(candidates, options, aoi, screened)
    else:
        seen = look or LookOptions()
        selection = _select_clear(candidates, options, aoi, screened, bands, seen, on_event)
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
    checks = [*_checks(options), _scene_check(candidates.cloudbuster, bands)]
    screened = _screen(candidates.features, checks, aoi).without(failed)
    if not screened.items:
        return None
    clear, _ = _look(candidates, screened, bands, look or LookOptions(), holes.grid, on_event)
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


def _select_original(
    candidates: Candidates, options: FilterOptions, aoi: BaseGeometry, screened: _Screened
) -> Selection:
    """Pick scenes by their footprints and cloud cover."""
    items, footprints = screened.items, screened.footprints
    cloud_cover = [item_cloud_cover(item) for item in items]
    ground = simplified(aoi, max_vertices=MAX_VERTICES)
    picks = pick_original(ground, footprints, cloud_cover, _rules(options))
    if not picks:
        raise NothingUsableError(_nothing_gains(aoi, footprints, options))
    return Selection(
        features=tuple(items[index] for index in dict.fromkeys(pick.index for pick in picks)),
        cloudbuster=_describe(candidates, options, aoi, screened, picks),
    )


def _select_clear(
    candidates: Candidates,
    options: FilterOptions,
    aoi: BaseGeometry,
    screened: _Screened,
    bands: tuple[str, ...],
    look: LookOptions,
    on_event: OnEvent | None,
) -> Selection:
    """Pick scenes by what their thumbnails show clear."""
    cells = area_cells(aoi, look.crs)
    clear, thumbnails = _look(candidates, screened, bands, look, cells.grid, on_event)
    dropped = (*screened.dropped, *_dropped(thumbnails.unusable))
    if not clear.items:
        raise NothingUsableError(_nothing_left(dropped))
    ground = simplified(aoi, max_vertices=MAX_VERTICES)
    choice = choose_clear(ground, clear, cells, options, layers=look.layers)
    if not choice.entries:
        raise NothingUsableError(_nothing_gains(aoi, clear.footprints, options))
    items = {str(item.get("id")): item for item in clear.items}
    by_layer = tuple(min(1.0, max(0.0, 1 - share)) for share in choice.layers)
    never_clear, unseen = by_layer[0], choice.unseen
    return Selection(
        features=tuple(items[entry.item_id] for entry in choice.entries),
        cloudbuster=SelectionInfo(
            aoi=candidates.cloudbuster.aoi,
            kind=candidates.cloudbuster.kind,
            catalog=candidates.cloudbuster.catalog,
            asset_mirror=candidates.cloudbuster.asset_mirror,
            strategy=options.strategy,
            entries=choice.entries,
            uncovered_by_layer=by_layer,
            uncovered=math.fsum(by_layer) / len(by_layer),
            backstop_uncovered=unseen if options.backstop else None,
            covered=never_clear <= options.max_never_clear and unseen == 0,
            dropped=dropped,
            optimum_bound=choice.optimum_bound,
            without_thumbnail=_dropped(thumbnails.missing),
            delivered_layers=look.layers,
        ),
    )


def _look(
    candidates: Candidates,
    screened: _Screened,
    bands: tuple[str, ...],
    look: LookOptions,
    cells: Grid,
    on_event: OnEvent | None,
) -> tuple[ClearCandidates, Thumbnails]:
    """Read the thumbnails of the candidates, and sample them on a grid of cells."""
    thumbnails = read_thumbnails(
        screened.items,
        kind=candidates.cloudbuster.kind,
        catalog=candidates.cloudbuster.catalog,
        asset_mirror=candidates.cloudbuster.asset_mirror,
        bands=bands,
        detector=look.detector,
        dilate_m=look.dilate_m,
        folder=look.folder,
        seconds=look.seconds,
        on_event=on_event,
    )
    usable = screened.without(thumbnails.unusable).newest_first()
    clear = ClearCandidates(
        usable.items,
        usable.footprints,
        [item_cloud_cover(item) for item in usable.items],
        thumbnails.by_id,
        cells,
        whole=look.whole,
    )
    return clear, thumbnails


def _dropped(reasons: Mapping[str, str]) -> tuple[Dropped, ...]:
    """Make the records of items that are left out, from their reasons."""
    return tuple(Dropped(item_id=name, reason=reason) for name, reason in reasons.items())


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


def frontier_lines(selection: Selection) -> list[str]:
    """Describe what each pick adds to what is seen clear, for people.

    Parameters
    ----------
    selection : Selection
        Selection of strategy `clear`.

    Returns
    -------
    list of str
        A heading, and one line for each pick: number of scenes, share of the area that they see
        clear, what the last one adds, the size of the files so far, and its id.
        With strategy `original` one line that says that there is no such table.
    """
    info = selection.cloudbuster
    if info.strategy != "clear":
        return ["strategy original does not measure what scenes show clear: --strategy clear does"]
    sizes = {str(item.get("id")): _file_bytes(item) for item in selection.features}
    lines = ["scenes   clear    adds  megabytes  scene"]
    total, known = 0, True
    for number, entry in enumerate(info.entries, start=1):
        size = sizes[entry.item_id]
        known = known and size > 0
        total += size
        amount = f"{total / 1e6:9.1f}" if known else f"{'unknown':>9}"
        clear, adds = 100 * (entry.clear_fraction or 0), 100 * (entry.weight or 0)
        lines.append(f"{number:6}  {clear:5.2f} %  {adds:5.2f} %  {amount}  {entry.item_id}")
    bound = info.optimum_bound
    if bound is not None:
        lines.append(f"no {len(info.entries)} scenes show more than {100 * bound:.2f} % clear")
    return lines


def _file_bytes(item: Item) -> int:
    """Return the size of an item's files: those on this machine, or as ``file:size`` says.

    It is 0 if nothing says how large one of its data files is.
    """
    assets = item.get("assets")
    total = 0
    for asset in assets.values() if isinstance(assets, dict) else ():
        if not isinstance(asset, dict) or "data" not in (asset.get("roles") or ["data"]):
            continue
        size = asset.get("file:size") or _local_bytes(asset.get("href"))
        if not isinstance(size, int) or size <= 0:
            return 0
        total += size
    return total


def _local_bytes(href: object) -> int:
    """Return the size of a file of this machine; 0 if it is elsewhere or missing."""
    if not isinstance(href, str) or is_remote(href):
        return 0
    try:
        return local_path(href).stat().st_size
    except OSError:
        return 0


def item_cloud_cover(item: Item) -> float:
    """Return the cloud cover of an item, 0 to 100 percent, or ``UNKNOWN_CLOUD_COVER``."""
    value = first_number(_properties(item), ("eo:cloud_cover",))
    if value is None or not math.isfinite(value):
        return UNKNOWN_CLOUD_COVER
    return min(100.0, max(0.0, value))


def _screen(features: Sequence[Item], checks: Sequence[Check], aoi: BaseGeometry) -> _Screened:
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
    return _Screened(tuple(items), tuple(footprints), tuple(dropped))


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
        """Return why an item cannot be used; None if it can."""
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
    screened: _Screened,
    picks: Sequence[Pick],
) -> SelectionInfo:
    """Describe the picks, and what they leave uncovered of the area."""
    items, footprints = screened.items, screened.footprints
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
        dropped=screened.dropped,
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
