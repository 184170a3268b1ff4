"""Query: find the candidate scenes of an area in a catalog."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs import Catalog, Found, SceneSearch, open_catalog
from cloudbuster.catalogs.schema import TWIN_PROPERTY, generated_of, parse_scene
from cloudbuster.catalogs.search import footprint_geometry
from cloudbuster.core.aoi import geometry_document, parse_aoi
from cloudbuster.core.scene import Scene
from cloudbuster.errors import AoiError, CatalogError, NothingUsableError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.io.documents import load_aoi
from cloudbuster.models import Candidates, CandidatesInfo, Dropped, Geometry, Item, QueryOptions

logger = logging.getLogger(__name__)

# Products of baseline 99.xx were made for calibration; their files need not exist
# (openeo-geopyspark#1834).
CALIBRATION_BASELINE = re.compile(r"^99\.")
# An item of a datatake and tile that has others adds less than this share of its own area: then it
# is a reprocessing of them, else another half of the datatake (stactools-sentinel2#5).
LEAST_NEW_SHARE = 0.1
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
    def rank(self) -> tuple[int, bool, str, datetime, str, str]:
        """Better ones are greater: more bands, better collection, higher baseline, newer."""
        return (
            len(self.scene.bands),
            bool(PREFERRED_COLLECTION.search(self.scene.collection or "")),
            self.scene.baseline or "",
            generated_of(self.item) or _EPOCH,
            self.scene.id,
            self.scene.collection or "",
        )


def query_scenes(
    aoi: Geometry,
    options: QueryOptions,
    *,
    with_twins: bool = False,
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
        Where the catalog cannot be read.
    NothingUsableError
        Where no scene is left; says what each filter removed.
    TryAgainError
        Where a remote catalog failed in a way that may pass.
    """
    area = _area(aoi, options)
    catalog, search = open_catalog(options.catalog), SceneSearch.of(area, options)
    found = catalog.search(search, on_event=on_event)
    usable, dropped = _usable(found, options.catalog)
    taken, left = _taken(usable, options.limit)
    dropped += left
    if not taken:
        raise NothingUsableError(_nothing_message(found, dropped, options))
    items = [candidate.item for candidate in taken]
    if with_twins and options.kind == "L2A":
        items = _with_twins(taken, catalog, search, on_event)
    logger.info("scenes_found", extra={"catalog": options.catalog, "scene_count": len(items)})
    emit(on_event, Event("query", len(items), len(items), f"{len(items)} candidates"))
    return Candidates(
        features=tuple(items),
        cloudbuster=CandidatesInfo(
            aoi=geometry_document(area),
            kind=options.kind,
            catalog=options.catalog,
            dropped=tuple(sorted(dropped, key=lambda entry: (entry.item_id, entry.reason))),
        ),
    )


def _area(aoi: Geometry, options: QueryOptions) -> BaseGeometry:
    try:
        return parse_aoi(load_aoi(aoi), scale=options.scale, original_shape=options.original_shape)
    except ValueError as error:
        msg = f"aoi: {error}"
        raise AoiError(msg) from error


def _usable(found: Found, catalog: str) -> tuple[list[_Candidate], list[Dropped]]:
    """Read the items; those that are no scene are dropped."""
    usable: list[_Candidate] = []
    dropped = list(found.unreadable)
    for item in found.items:
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

    An item of the same datatake and tile that shows another part of the tile stays too.
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
    best = same[0].scene
    footprints = [entry.footprint for entry in same]
    if candidate.footprint is not None and all(footprints):
        new = candidate.footprint.difference(shapely.union_all(footprints))
        if new.area >= LEAST_NEW_SHARE * candidate.footprint.area:
            return None
    return (
        f"same datatake and tile as {best.id} (baseline {best.baseline or 'unknown'}, "
        f"this one {scene.baseline or 'unknown'})"
    )


def _newest_first(candidate: _Candidate) -> tuple[float, str]:
    acquired = candidate.scene.acquired or _EPOCH
    return (-acquired.timestamp(), candidate.scene.id)


def _with_twins(
    taken: Sequence[_Candidate],
    catalog: Catalog,
    search: SceneSearch,
    on_event: OnEvent | None,
) -> list[Item]:
    """Attach to each item the L1C item of the same observation, where there is one."""
    # The cloud cover of L1C is another measurement, so it may not decide here.
    wanted = SceneSearch(search.aoi, search.periods, "L1C")
    found, _ = _usable(catalog.search(wanted, on_event=on_event), catalog.name)
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

    def shared(twin: _Candidate) -> float:
        if twin.footprint is None or candidate.footprint is None:
            return 0.0
        return round(float(candidate.footprint.intersection(twin.footprint).area), 9)

    same = twins.get(candidate.observation, ())
    return max(same, key=shared).item if same else None


def _nothing_message(found: Found, dropped: Sequence[Dropped], options: QueryOptions) -> str:
    """Say how many items there were, what removed them, and what to change."""
    parts = [f"{count} {reason}" for reason, count in found.removed.items()]
    if dropped:
        first = f"{dropped[0].item_id}: {dropped[0].reason}"
        parts.append(f"{len(dropped)} unusable (the first: {first})")
    periods = ", ".join(
        f"{first} to {last}" for first, last in zip(options.mindate, options.maxdate, strict=True)
    )
    return (
        f"no {options.kind} scene in catalog {options.catalog} for {periods} with "
        f"{options.minclouds:g} to {options.maxclouds:g} % cloud: {found.held} items looked at"
        f"{'; ' if parts else ''}{', '.join(parts)}; "
        "check the area, widen the dates or the cloud cover, or take another catalog"
    )
