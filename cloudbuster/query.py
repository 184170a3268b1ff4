"""Query: find the candidate scenes of an area in a catalog."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import orjson
import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.areas import check_crs, request_area
from cloudbuster.catalogs import Found, SceneSearch, check_catalog, open_catalog
from cloudbuster.catalogs.item_hrefs import mended_item, mirrored_item
from cloudbuster.catalogs.item_properties import datastrip_start_of, generated_of
from cloudbuster.catalogs.schema import TWIN_PROPERTY, parse_scene
from cloudbuster.catalogs.search import AREA, LEVEL, footprint_geometry
from cloudbuster.core.aoi import geometry_document
from cloudbuster.core.asset_mirror import Mirror, parse_mirror
from cloudbuster.core.footprint import tile_square
from cloudbuster.core.scene import Scene
from cloudbuster.errors import CatalogError, NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
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

# Products of baseline 99.xx were made for calibration; their files need not exist
# (openeo-geopyspark#1834).
CALIBRATION_BASELINE = re.compile(r"^99\.")
# Datastrips of a datatake that begin no further apart are one: processings differ by a line or so.
# Two halves of it, received by two stations, begin as far apart as a tile is long, or about: 100 km
# at 7 km/s (stactools-sentinel2#5).
SAME_DATASTRIP = timedelta(seconds=2)
# An item of a datatake and tile that has others adds less than this share of its own area: then it
# is a reprocessing of them, else another half of the datatake.
LEAST_NEW_SHARE = 0.1
# A footprint tells which part of the tile a scene shows only if it leaves out what has no data, to
# so many percent of the tile; some catalogs give the whole square instead.
FOOTPRINT_TOLERANCE_PERCENT = 10.0
# Where readers pay, and files are JPEG 2000: items of Earth Search's older collection that were
# never converted point there, and must not hide those that were (cirrus-earth-search#4, #25).
PAID_HREF = re.compile(r"^(?:s3|https?)://(?:[^/]*/)?sentinel-s2-l(?:1c|2a)[./]")
# Earth Search's Collection 1 goes before the older collection, whose offset is ambiguous
# (cirrus-earth-search#33, #71).
PREFERRED_COLLECTION = re.compile(r"(?<!pre)-c1-")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Observation = tuple[str | None, str | None, str | None]
"""Platform, datatake and tile: what every reprocessing and the other product level share."""


@dataclass(frozen=True)
class _Candidate:
    """An item, what was read from it, and where it lies."""

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
        """Better ones are greater: readable, more bands, better collection, higher baseline, newer.

        Two that are equal are the same item: the rest of it decides, never which arrived first.
        """
        hrefs = [band.href for band in self.scene.bands.values()]
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
        """Footprint, where it tells which part of the tile the scene shows."""
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

    Parameters
    ----------
    aoi : dict
        GeoJSON geometry, Feature or FeatureCollection in longitude and latitude, or
        ``{"uri": ...}``.
    options : QueryOptions
        Catalog, product level, dates, cloud cover, greatest number, scale of the area.
    with_twins : bool
        For L2A: attach to each item the L1C item of the same datatake and tile, where the catalog
        has one, as property ``cloudbuster:l1c_twin``.
    refresh_token : str or None
        Of RasterFoundry, or ``secretsmanager:NAME``; None for the environment's. It is kept
        nowhere.
    on_event : callable or None
        Told of the progress.

    Returns
    -------
    Candidates
        Items newest first, each once, hrefs absolute; what was dropped, with the reason.

    Raises
    ------
    AoiError
        Where the area cannot be read or used.
    CatalogError
        Where the catalog cannot be read, or does not have the level.
    CredentialsError
        Where the catalog or its files need credentials that are not there; before the search.
    NothingUsableError
        Where no scene is left; says what each filter removed.
    TryAgainError
        Where a remote catalog failed in a way that may pass.
    """
    area = request_area(aoi, options)
    with_twins = with_twins and options.kind == "L2A"
    mirrors = [parse_mirror(text) for text in options.asset_mirror]
    check_catalog(options.catalog, ("L2A", "L1C") if with_twins else (options.kind,), mirrors)
    catalog = open_catalog(options.catalog, refresh_token=refresh_token)
    search = SceneSearch.from_options(area, options)
    found = catalog.search(search, on_event=on_event)
    taken, dropped = _chosen(found, options, mirrors, search)
    items = [candidate.item for candidate in taken]
    if with_twins:
        l1c = catalog.search(search.for_twins(), on_event=on_event)
        items = _with_twins(taken, _usable(l1c, options.catalog, mirrors)[0])
    candidates = _candidates(items, dropped, area, options)
    _tell(candidates, on_event)
    return candidates


def query_request(request: MosaicRequest, *, on_event: OnEvent | None = None) -> Candidates:
    """Find the candidate scenes of a request: `query_scenes` with its options.

    A CRS that does not exist, or cannot hold the area, is told before anything is searched.

    Raises
    ------
    GridError
        For such a CRS; else as `query_scenes`.
    """
    check_crs(request.gather, request_area(request.aoi, request.query))
    return query_scenes(
        request.aoi, request.query, with_twins=request.needs_twins, on_event=on_event
    )


def _candidates(
    items: Sequence[Item], dropped: Sequence[Dropped], area: BaseGeometry, options: QueryOptions
) -> Candidates:
    return Candidates(
        features=tuple(items),
        cloudbuster=CandidatesInfo(
            aoi=geometry_document(area),
            kind=options.kind,
            catalog=options.catalog,
            asset_mirror=options.asset_mirror,
            dropped=tuple(sorted(dropped, key=lambda entry: (entry.item_id, entry.reason))),
        ),
    )


def _tell(candidates: Candidates, on_event: OnEvent | None) -> None:
    count, catalog = len(candidates.features), candidates.cloudbuster.catalog
    logger.info("scenes_found", extra={"catalog": catalog, "scene_count": count})
    emit(on_event, Event("query", count, count, f"{count} candidates"))


def _chosen(
    found: Found, options: QueryOptions, mirrors: Sequence[Mirror], search: SceneSearch
) -> tuple[list[_Candidate], list[Dropped]]:
    """Take what is wanted of what was found, and say what is not; an error if nothing is left."""
    usable, dropped = _usable(found, options.catalog, mirrors)
    taken, left = _taken(usable, options.limit)
    dropped += left
    if not taken:
        raise NothingUsableError(_nothing_message(found, dropped, options, search.aoi))
    return taken, dropped


def _usable(
    found: Found, catalog: str, mirrors: Sequence[Mirror]
) -> tuple[list[_Candidate], list[Dropped]]:
    """Read the items, hrefs mended, then mirrored; those that are no scene are dropped."""
    usable: list[_Candidate] = []
    dropped = list(found.unreadable)
    for told in found.items:
        item = mirrored_item(mended_item(told), mirrors)
        try:
            scene = parse_scene(item, catalog=catalog)
        except CatalogError as error:
            dropped.append(Dropped(item_id=str(item["id"]), reason=str(error)))
            continue
        if scene.bands:
            usable.append(_Candidate(item, scene, footprint_geometry(item)))
        else:
            dropped.append(Dropped(item_id=scene.id, reason="lists no reflectance band"))
    return usable, dropped


def _taken(usable: Iterable[_Candidate], limit: int) -> tuple[list[_Candidate], list[Dropped]]:
    """Take each observation once, the newest first, up to the limit; and say what was left."""
    unique, left = _deduplicated(usable)
    ordered = sorted(unique, key=_newest_first)
    reason = f"over the limit of {limit}"
    left += [Dropped(item_id=entry.scene.id, reason=reason) for entry in ordered[limit:]]
    return ordered[:limit], left


def _deduplicated(candidates: Iterable[_Candidate]) -> tuple[list[_Candidate], list[Dropped]]:
    """Keep each observation once: of its reprocessings the best one, whatever came first.

    An item of the same datatake and tile but of another datastrip stays too, unless the better
    ones show what it shows.
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
    """Say why a candidate is not wanted beside better ones of its observation; None if it is."""
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
    """Whether a candidate shows ground that the better ones of its datatake and tile do not."""
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
    acquired = candidate.scene.acquired or _EPOCH
    return (-acquired.timestamp(), candidate.scene.id)


def _with_twins(taken: Sequence[_Candidate], found: Sequence[_Candidate]) -> list[Item]:
    """Attach to each item the L1C item of the same observation, where there is one."""
    twins: dict[Observation, list[_Candidate]] = defaultdict(list)
    for twin in sorted(found, key=lambda entry: entry.rank, reverse=True):
        twins[twin.observation].append(twin)
    items: list[Item] = []
    for candidate in taken:
        twin_item = _best_twin(candidate, twins)
        properties = dict(candidate.item["properties"])
        if twin_item is not None:
            properties[TWIN_PROPERTY] = twin_item
        items.append({**candidate.item, "properties": properties})
    return items


def _best_twin(
    candidate: _Candidate,
    twins: Mapping[Observation, Sequence[_Candidate]],
) -> Item | None:
    """L1C item that shows most of what the candidate shows; the best rank where that is equal."""
    same = twins.get(candidate.observation, ())
    return max(same, key=lambda twin: _shared_area(candidate, twin)).item if same else None


def _shared_area(candidate: _Candidate, twin: _Candidate) -> float:
    """Area that both show, square degrees; rounded, so that equal ones are equal."""
    if twin.footprint is None or candidate.footprint is None:
        return 0.0
    return round(float(candidate.footprint.intersection(twin.footprint).area), 9)


def _nothing_message(
    found: Found, dropped: Sequence[Dropped], options: QueryOptions, aoi: BaseGeometry
) -> str:
    """Say how many items there were, what removed them, and what to change."""
    parts = [f"{count} {reason}" for reason, count in found.removed.items()]
    if dropped:
        first = f"{dropped[0].item_id}: {dropped[0].reason}"
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
