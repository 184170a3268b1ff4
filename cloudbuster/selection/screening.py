"""Screening: which candidates may be picked, and why the others are dropped."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.item_properties import first_number
from cloudbuster.catalogs.schema import missing_bands, parse_scene, refused_href
from cloudbuster.catalogs.search import footprint_geometry
from cloudbuster.core.areas.antimeridian import middle_longitude, placed_near
from cloudbuster.core.areas.aoi import simplified
from cloudbuster.core.selection.coverage import (
    UNKNOWN_CLOUD_COVER,
)
from cloudbuster.core.texts.patterns import compile_pattern
from cloudbuster.errors import CatalogError
from cloudbuster.models import (
    CandidatesInfo,
    Dropped,
    FilterOptions,
    Item,
)
from cloudbuster.original.documents import ORIGINAL_PROPERTY
from cloudbuster.selection.score import item_time

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
class Screened:
    """Candidates to pick from, their footprints (longitude, latitude), and what was dropped."""

    items: tuple[Item, ...]
    footprints: tuple[BaseGeometry, ...]
    dropped: tuple[Dropped, ...]

    def without(self, item_ids: Collection[str]) -> "Screened":
        """Return the candidates whose id is not among ``item_ids``."""
        return self._only(
            [place for place, item in enumerate(self.items) if str(item["id"]) not in item_ids]
        )

    def newest_first(self) -> "Screened":
        """Return the candidates from the latest to the earliest; of equals the lower id first."""
        places = sorted(range(len(self.items)), key=lambda place: str(self.items[place]["id"]))
        times = [item_time(item) or FIRST_TIME for item in self.items]
        return self._only(sorted(places, key=lambda place: times[place], reverse=True))

    def _only(self, places: Sequence[int]) -> "Screened":
        """Return the candidates of some places, in their order."""
        return replace(
            self,
            items=tuple(self.items[place] for place in places),
            footprints=tuple(self.footprints[place] for place in places),
        )


def item_cloud_cover(item: Item) -> float:
    """Return the cloud cover of an item, 0 to 100 percent, or ``UNKNOWN_CLOUD_COVER``."""
    value = first_number(_properties(item), ("eo:cloud_cover",))
    if value is None or not math.isfinite(value):
        return UNKNOWN_CLOUD_COVER
    return min(100.0, max(0.0, value))


def screen(features: Sequence[Item], checks: Sequence[Check], aoi: BaseGeometry) -> Screened:
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
    return Screened(tuple(items), tuple(footprints), tuple(dropped))


def option_checks(options: FilterOptions) -> list[Check]:
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


def scene_check(info: CandidatesInfo, bands: tuple[str, ...]) -> Check:
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
