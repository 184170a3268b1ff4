"""Query: find the candidate scenes of an area in a catalog."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import orjson
import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs import Found, SceneSearch, check_catalog, open_catalog
from cloudbuster.catalogs.item_hrefs import mended_item, mirrored_item
from cloudbuster.catalogs.item_properties import datastrip_start_of, generated_of
from cloudbuster.catalogs.schema import TWIN_PROPERTIES, parse_scene, refused_href
from cloudbuster.catalogs.search import AREA, LEVEL, Catalog, footprint_geometry
from cloudbuster.core.areas.aoi import ReadArea, geometry_document
from cloudbuster.core.areas.footprint import tile_square
from cloudbuster.core.scenes.asset_mirror import Mirror, parse_mirror
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.core.texts.names import shortened
from cloudbuster.errors import CatalogError, CredentialsError, NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.inputs.areas import check_crs, described_area, request_area
from cloudbuster.models import (
    FIRST_DAY,
    LAST_DAY,
    Candidates,
    CandidatesInfo,
    Dropped,
    Geometry,
    Item,
    MosaicRequest,
    QueryOptions,
)

logger = logging.getLogger(__name__)

# Products of baseline 99.xx were made for calibration; their files may not exist
# (openeo-geopyspark#1834).
CALIBRATION_BASELINE = re.compile(r"^99\.")
# Greatest difference between the start times of one datastrip in two processings, which is a line
# or so. The datastrips of two halves of a datatake, received by two stations, start about as far
# apart as a tile is long: 100 km at 7 km/s (stactools-sentinel2#5).
SAME_DATASTRIP = timedelta(seconds=2)
# Least share of its own area that an item must add to better items of the same datatake and tile to
# be another half of the datatake. An item that adds less is a reprocessing.
LEAST_NEW_SHARE = 0.1
# Tolerance for a footprint that leaves out the part of the tile without data, percent of the tile.
# Some catalogs give the whole square of the tile instead.
FOOTPRINT_TOLERANCE_PERCENT = 10.0
# Buckets of JPEG 2000 files that are requester pays. Items of Earth Search's older collection whose
# files were never converted have such hrefs, and must not replace items whose files were
# (cirrus-earth-search#4, #25).
PAID_HREF = re.compile(r"^(?:s3|https?)://(?:[^/]*/)?sentinel-s2-l(?:1c|2a)[./]")
# Earth Search's Collection 1 is preferred to the older collection, whose offset is ambiguous
# (cirrus-earth-search#33, #71).
PREFERRED_COLLECTION = re.compile(r"(?<!pre)-c1-")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Observation = tuple[str | None, str | None, str | None]
"""Platform, datatake and tile, which all reprocessings and both product levels have in common."""


@dataclass(frozen=True)
class _Candidate:
    """An item, the scene it describes, and its footprint."""

    item: Item
    scene: Scene
    footprint: BaseGeometry | None

    @property
    def observation(self) -> Observation:
        """Platform, datatake (else the second of acquisition) and tile."""
        scene = self.scene
        taken = scene.acquired.strftime("%Y%m%dT%H%M%S") if scene.acquired else scene.id
        return (scene.platform, scene.datatake or taken, scene.mgrs_tile)

    @property
    def rank(self) -> tuple[int, int, bool, str, datetime, bytes]:
        """Key by which candidates are compared; the better one is greater.

        The criteria are: number of bands that are free to read, number of bands, collection,
        baseline, time of processing. The content of the item comes last, so that the order of the
        search result never matters.
        """
        hrefs = [band.href for band in (*self.scene.bands.values(), *self.scene.unnamed)]
        return (
            sum(PAID_HREF.match(href) is None for href in hrefs),
            len(hrefs),
            bool(PREFERRED_COLLECTION.search(self.scene.collection or "")),
            self.scene.baseline or "",
            generated_of(self.item) or _EPOCH,
            orjson.dumps([self.scene.id, self.item], option=orjson.OPT_SORT_KEYS),
        )

    @property
    def shown(self) -> BaseGeometry | None:
        """Footprint, if it is known to leave out the part of the tile without data; else None."""
        square = tile_square(self.scene.mgrs_tile) if self.scene.mgrs_tile else None
        if self.footprint is None or square is None or self.scene.nodata_percent is None:
            return self.footprint
        percent = 100 * self.footprint.area / square.area
        is_plausible = percent + self.scene.nodata_percent <= 100 + FOOTPRINT_TOLERANCE_PERCENT
        return self.footprint if is_plausible else None


def query_scenes(
    aoi: Geometry,
    options: QueryOptions,
    *,
    with_twins: bool = False,
    refresh_token: str | None = None,
    on_event: OnEvent | None = None,
) -> Candidates:
    """Find the candidate scenes of an area.

    Each L1C item gets the L2A item of the same datatake and tile, if the catalog has one, as
    property ``cloudbuster:l2a_twin``: its scene classification shows at low resolution where the
    scene is clear.

    Parameters
    ----------
    aoi : dict
        GeoJSON object or ``{"uri": ...}``, as for `cloudbuster.inputs.areas.load_aoi`.
    options : QueryOptions
        Catalog, product level, dates, cloud cover, greatest number, scale of the area.
    with_twins : bool
        For L2A: whether to attach to each item the L1C item of the same datatake and tile, if the
        catalog has one, as property ``cloudbuster:l1c_twin``.
    refresh_token : str, optional
        Of RasterFoundry, or ``secretsmanager:NAME``; None for that of the environment. Not logged.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    Candidates
        Items newest first, each once, with absolute hrefs; and dropped items with the reason.

    Raises
    ------
    AoiError, CatalogError, TryAgainError
        If the area cannot be used, or the catalog cannot be read or does not have the level.
    CredentialsError
        If the catalog or its files need credentials that are missing; raised before the search.
    NothingUsableError
        If no scene is left; the message says what each condition removed.
    """
    described = described_area(aoi, options)
    with_twins = with_twins and options.kind == "L2A"
    mirrors = [parse_mirror(text) for text in options.asset_mirror]
    check_catalog(options.catalog, ("L2A", "L1C") if with_twins else (options.kind,), mirrors)
    catalog = open_catalog(options.catalog, refresh_token=refresh_token)
    search = SceneSearch.from_options(described.geometry, options)
    found = catalog.search(search, on_event=on_event)
    taken, dropped = _chosen(found, options, mirrors, search)
    items = [candidate.item for candidate in taken]
    if with_twins:
        l1c = catalog.search(search.for_twins(), on_event=on_event)
        items = _with_twins(taken, _usable(l1c, options, mirrors)[0], options.kind)
    elif options.kind == "L1C":
        twins = _thumbnail_twins(catalog, search, options, mirrors, on_event)
        items = _with_twins(taken, twins, options.kind)
    candidates = _candidates(items, dropped, described, options)
    _report(candidates, on_event)
    return candidates


def query_request(request: MosaicRequest, *, on_event: OnEvent | None = None) -> Candidates:
    """Find the candidate scenes of a request by `query_scenes`.

    Raises
    ------
    GridError
        If the CRS does not exist, or cannot hold the area; raised before the search.
    CloudBusterError
        As `query_scenes`.
    """
    check_crs(request.gather, request_area(request.aoi, request.query))
    return query_scenes(
        request.aoi, request.query, with_twins=request.needs_twins, on_event=on_event
    )


def _candidates(
    items: Sequence[Item], dropped: Sequence[Dropped], area: ReadArea, options: QueryOptions
) -> Candidates:
    """Make the document of the query's result."""
    return Candidates(
        features=tuple(items),
        cloudbuster=CandidatesInfo(
            aoi=geometry_document(area.geometry),
            aoi_notes=area.notes,
            kind=options.kind,
            catalog=options.catalog,
            asset_mirror=options.asset_mirror,
            dropped=tuple(sorted(dropped, key=lambda entry: (entry.item_id, entry.reason))),
        ),
    )


def _report(candidates: Candidates, on_event: OnEvent | None) -> None:
    """Log the result and emit its event."""
    count, catalog = len(candidates.features), candidates.cloudbuster.catalog
    logger.info("scenes_found", extra={"catalog": catalog, "scene_count": count})
    notes = candidates.cloudbuster.aoi_notes
    shown = f" (area {'; '.join(notes)})" if notes else ""
    emit(on_event, Event("query", count, count, f"{count} candidates{shown}"))


def _chosen(
    found: Found, options: QueryOptions, mirrors: Sequence[Mirror], search: SceneSearch
) -> tuple[list[_Candidate], list[Dropped]]:
    """Choose the candidates; return them and the dropped items.

    Raises
    ------
    NothingUsableError
        If no candidate is left.
    """
    usable, dropped = _usable(found, options, mirrors)
    taken, left = _without_repeats(usable, options.limit)
    dropped += left
    if not taken:
        raise NothingUsableError(_nothing_message(found, dropped, options, search.aoi))
    return taken, dropped


def _usable(
    found: Found, options: QueryOptions, mirrors: Sequence[Mirror]
) -> tuple[list[_Candidate], list[Dropped]]:
    """Parse the items, with repaired and mirrored hrefs; return the scenes and dropped items."""
    usable: list[_Candidate] = []
    dropped = list(found.unreadable)
    for found_item in found.items:
        item = mirrored_item(mended_item(found_item), mirrors)
        try:
            scene = parse_scene(item, catalog=options.catalog, asset_mirror=options.asset_mirror)
        except CatalogError as error:
            dropped.append(Dropped(item_id=str(item["id"]), reason=str(error)))
            continue
        refused = refused_href(scene)
        if refused is not None:
            logger.warning("item_refused", extra={"item": scene.id, "reason": refused})
            dropped.append(Dropped(item_id=scene.id, reason=refused))
        elif scene.bands or scene.unnamed:
            usable.append(_Candidate(item, scene, footprint_geometry(item)))
        else:
            dropped.append(Dropped(item_id=scene.id, reason="has no reflectance band"))
    return usable, dropped


def _without_repeats(
    usable: Iterable[_Candidate], limit: int
) -> tuple[list[_Candidate], list[Dropped]]:
    """Return each observation once, the newest first, up to the limit; and the dropped items."""
    unique, left = _deduplicated(usable)
    ordered = sorted(unique, key=_newest_first)
    reason = f"over the limit of {limit}"
    left += [Dropped(item_id=entry.scene.id, reason=reason) for entry in ordered[limit:]]
    return ordered[:limit], left


def _deduplicated(candidates: Iterable[_Candidate]) -> tuple[list[_Candidate], list[Dropped]]:
    """Keep the best of the reprocessings of each observation; return also the dropped items.

    An item of the same datatake and tile but of another datastrip is kept too, unless the better
    items show the same ground.
    """
    kept: dict[Observation, list[_Candidate]] = defaultdict(list)
    ids: set[str] = set()
    dropped: list[Dropped] = []
    for candidate in sorted(candidates, key=lambda entry: entry.rank, reverse=True):
        same = kept[candidate.observation]
        reason = _repeats(candidate, same, ids)
        if reason is None:
            same.append(candidate)
            ids.add(candidate.scene.id)
        else:
            dropped.append(Dropped(item_id=candidate.scene.id, reason=reason))
    return [candidate for group in kept.values() for candidate in group], dropped


def _repeats(candidate: _Candidate, same: Sequence[_Candidate], ids: set[str]) -> str | None:
    """Return the reason to drop a candidate in favour of better ones; None to keep it."""
    scene = candidate.scene
    if scene.baseline and CALIBRATION_BASELINE.match(scene.baseline):
        return f"baseline {scene.baseline} is not for use"
    if scene.id in ids:
        return "another item has the same id"
    if not same or scene.mgrs_tile is None:
        return None
    if _adds(candidate, same):
        return None
    best = same[0].scene
    return (
        f"same datatake and tile as {best.id} (baseline {best.baseline or 'unknown'}, "
        f"this one {scene.baseline or 'unknown'})"
    )


def _adds(candidate: _Candidate, same: Sequence[_Candidate]) -> bool:
    """Return whether a candidate shows ground that better ones of its observation do not show."""
    start = datastrip_start_of(candidate.item)
    starts = [datastrip_start_of(entry.item) for entry in same]
    if start is not None and any(
        other is not None and abs(start - other) <= SAME_DATASTRIP for other in starts
    ):
        return False
    shown, covered = candidate.shown, [entry.shown for entry in same]
    if shown is None or None in covered:
        return start is not None and None not in starts
    new = shown.difference(shapely.union_all(covered))
    return bool(new.area >= LEAST_NEW_SHARE * shown.area)


def _newest_first(candidate: _Candidate) -> tuple[float, str]:
    """Key that sorts candidates by time, the newest first."""
    acquired = candidate.scene.acquired or _EPOCH
    return (-acquired.timestamp(), candidate.scene.id)


def _thumbnail_twins(
    catalog: Catalog,
    search: SceneSearch,
    options: QueryOptions,
    mirrors: Sequence[Mirror],
    on_event: OnEvent | None,
) -> list[_Candidate]:
    """Find the L2A items that may show where L1C scenes are clear, without their bands.

    Scenes can do without: a catalog that has no L2A, or none that may be read, is no fault.
    """
    try:
        check_catalog(options.catalog, ("L2A",), mirrors)
        found = catalog.search(search.for_twins(), on_event=on_event)
    except (CatalogError, CredentialsError) as error:
        logger.info("twins_not_found", extra={"reason": str(error)})
        return []
    usable, _ = _usable(found, options, mirrors)
    return [_mask_alone(twin) for twin in usable if "scl" in twin.scene.masks]


def _mask_alone(twin: _Candidate) -> _Candidate:
    """Return an L2A candidate with its scene classification alone, and without links."""
    href = twin.scene.masks["scl"].href
    assets = {
        name: asset for name, asset in twin.item["assets"].items() if asset.get("href") == href
    }
    return replace(twin, item={**twin.item, "assets": assets, "links": []})


def _with_twins(taken: Sequence[_Candidate], found: Sequence[_Candidate], kind: Kind) -> list[Item]:
    """Return the items, each with the best twin of its observation if there is one."""
    twins: dict[Observation, list[_Candidate]] = defaultdict(list)
    for twin in sorted(found, key=lambda entry: entry.rank, reverse=True):
        twins[twin.observation].append(twin)
    items: list[Item] = []
    for candidate in taken:
        twin_item = _best_twin(candidate, twins)
        properties = dict(candidate.item["properties"])
        if twin_item is not None:
            properties[TWIN_PROPERTIES[kind]] = twin_item
        items.append({**candidate.item, "properties": properties})
    return items


def _best_twin(
    candidate: _Candidate,
    twins: Mapping[Observation, Sequence[_Candidate]],
) -> Item | None:
    """Return the twin that shares the most ground with a candidate; ties go to the best one."""
    same = twins.get(candidate.observation, ())
    return max(same, key=lambda twin: _shared_area(candidate, twin)).item if same else None


def _shared_area(candidate: _Candidate, twin: _Candidate) -> float:
    """Return the area that both show, square degrees, rounded so that equal areas compare equal."""
    if twin.footprint is None or candidate.footprint is None:
        return 0.0
    return round(float(candidate.footprint.intersection(twin.footprint).area), 9)


def _nothing_message(
    found: Found, dropped: Sequence[Dropped], options: QueryOptions, aoi: BaseGeometry
) -> str:
    """Return the message: the number of items, what removed them, and what to change."""
    parts = [f"{count} {reason}" for reason, count in found.removed.items()]
    if dropped:
        first = f"{shortened(dropped[0].item_id)}: {shortened(dropped[0].reason)}"
        parts.append(f"{len(dropped)} unusable (the first: {first})")
    periods = ", ".join(map(_period_text, options.periods))
    return (
        f"no {options.kind} scene in catalog {options.catalog} for {periods} with "
        f"{options.minclouds:g} to {options.maxclouds:g} % cloud: {found.held} items looked at"
        f"{'; ' if parts else ''}{', '.join(parts)}; {_advice(found, options, aoi)}"
    )


def _period_text(period: tuple[date, date]) -> str:
    """Write a period as ``2020-05-01 to 2020-10-01``; its ends may be open."""
    first, last = period
    if (first, last) == (FIRST_DAY, LAST_DAY):
        return "any date"
    if last == LAST_DAY:
        return f"{first} and later"
    return f"{'any date' if first == FIRST_DAY else first} to {last}"


def _advice(found: Found, options: QueryOptions, aoi: BaseGeometry) -> str:
    """Say what to change so that a search finds something."""
    inside = found.held - found.removed.get(AREA, 0)
    if inside and found.removed.get(LEVEL) == inside:
        other = "L1C" if options.kind == "L2A" else "L2A"
        return f"all in the area are {other}: give --kind {other}, or take another catalog"
    advice = "check the area, widen the dates or the cloud cover, or take another catalog"
    west, south, east, north = aoi.bounds
    longitude, latitude = (west + east) / 2, (south + north) / 2
    if inside == 0 and abs(longitude) <= 90:
        advice = (
            f"the area lies at longitude {longitude:.3f}, latitude {latitude:.3f}: swap the two in "
            f"the file if that is not where it is meant to be, else {advice}"
        )
    return advice
