"""What is asked of a catalog and what it answers; the same filters for every catalog."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.item_properties import acquired_of, cloud_cover_of, kind_of, mgrs_tile_of
from cloudbuster.catalogs.schema import is_item
from cloudbuster.core.antimeridian import split
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.bands import Kind
from cloudbuster.core.footprint import read_footprint
from cloudbuster.events import OnEvent
from cloudbuster.models import Dropped, Item, QueryOptions

Period = tuple[date, date]
"""First and last UTC day, both inclusive."""


@dataclass(frozen=True)
class SceneSearch:
    """Which items are wanted.

    Attributes
    ----------
    aoi : shapely geometry
        Longitude (unwrapped) and latitude; an item must share area with it, not only an edge. The
        area itself is searched, not its box: a scene that sees none of it is never picked.
    periods : tuple of (date, date)
        UTC days, inclusive; sorted, apart from each other.
    kind : {"L1C", "L2A"}
        Product level.
    minclouds, maxclouds : float
        Cloud cover, percent, inclusive.
    """

    aoi: BaseGeometry
    periods: tuple[Period, ...]
    kind: Kind
    minclouds: float = 0
    maxclouds: float = 100

    @cached_property
    def ground(self) -> BaseGeometry:
        """The area as footprints are: split at the antimeridian; prepared."""
        area = split(self.aoi)
        shapely.prepare(area)
        return area

    @classmethod
    def of(cls, aoi: BaseGeometry, options: QueryOptions) -> "SceneSearch":
        """Make the search of a request's options."""
        periods = merged_periods(options.periods)
        return cls(aoi, periods, options.kind, options.minclouds, options.maxclouds)

    def of_twins(self) -> "SceneSearch":
        """Make the search of the L1C twins: their cloud cover is another measurement, so any."""
        return SceneSearch(self.aoi, self.periods, "L1C")


@dataclass(frozen=True)
class Found:
    """What a catalog answers.

    Attributes
    ----------
    items : tuple of dict
        STAC items that pass every filter, hrefs absolute, in an order that is always the same.
    held : int
        Items looked at: all of a local catalog, those that a server sent.
    removed : mapping of str to int
        How many of ``held`` each filter removed, by its name, in the order of the filters.
    unreadable : tuple of Dropped
        Files or entries that are no item though they might have been, with the reason.
    """

    items: tuple[Item, ...]
    held: int
    removed: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[Dropped, ...] = ()


class Catalog(Protocol):
    """Where scenes are looked for."""

    @property
    def name(self) -> str:
        """What was given to open it."""

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items that ``search`` wants.

        Raises
        ------
        CatalogError
            Where the catalog cannot be used.
        TryAgainError
            Where a remote one failed in a way that may pass.
        """


# Names of the filters, as an error tells them: "3 outside of the area".
NO_ITEM = "no STAC item"
NO_FOOTPRINT = "without a footprint, a bounding box or a tile"
AREA = "outside of the area"
NO_LEVEL = "of unknown product level"
LEVEL = "of another product level"
NO_DATE = "without a date"
DATES = "outside of the dates"
NO_CLOUD_COVER = "without a cloud cover"
CLOUD_COVER = "outside of the cloud cover"


def merged_periods(periods: Iterable[Period]) -> tuple[Period, ...]:
    """Union of periods: sorted, those that overlap or follow each other by a day made one."""
    merged: list[Period] = []
    for first, last in sorted(periods):
        if merged and first <= merged[-1][1] + timedelta(days=1):
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def footprint_geometry(item: Item) -> BaseGeometry | None:
    """Footprint of an item, repaired and split at the antimeridian.

    Else its bounding box, else the square of its tile; None where it has none of them. It decides
    where a scene is looked for, never what was covered in the end: that is counted in pixels.
    """
    return read_footprint(item.get("geometry"), box=item.get("bbox"), tile=mgrs_tile_of(item))


def shares_area(aoi: BaseGeometry, footprint: BaseGeometry | None) -> bool:
    """Whether two polygons share area: they meet, and not only at their edges (DE-9IM)."""
    return footprint is not None and bool(
        shapely.intersects(aoi, footprint) and not shapely.touches(aoi, footprint)
    )


def sharing_area(area: BaseGeometry, footprints: npt.NDArray[np.object_]) -> BoolRaster:
    """Tell which of many footprints share area with ``area``; None shares none. See `shares_area`.

    Faster where ``area`` is prepared, and the footprints as well.
    """
    sharing = np.asarray(shapely.intersects(area, footprints))
    # `touches` is the dearest of the three: only those near the edge need it.
    near_edge = np.flatnonzero(sharing)
    near_edge = near_edge[~shapely.contains_properly(area, footprints[near_edge])]
    sharing[near_edge] = ~shapely.touches(area, footprints[near_edge])
    return sharing


def _misplaced(footprint: BaseGeometry | None, search: SceneSearch) -> str | None:
    if footprint is None:
        return NO_FOOTPRINT
    return None if shares_area(search.ground, footprint) else AREA


def rejection(item: Item, search: SceneSearch) -> str | None:
    """Name of the first filter, after the area, that an item does not pass; None if it passes."""
    kind = kind_of(item)
    acquired = acquired_of(item)
    if kind is None or acquired is None:
        return NO_LEVEL if kind is None else NO_DATE
    if kind != search.kind:
        return LEVEL
    day = acquired.astimezone(UTC).date()
    if not any(first <= day <= last for first, last in search.periods):
        return DATES
    return _cloud_rejection(cloud_cover_of(item), search)


def _cloud_rejection(cloud_cover: float | None, search: SceneSearch) -> str | None:
    if cloud_cover is None:
        # An unknown cover lies in the full range, and in no narrower one for sure.
        return None if (search.minclouds, search.maxclouds) == (0, 100) else NO_CLOUD_COVER
    inside = search.minclouds <= cloud_cover <= search.maxclouds
    return None if inside else CLOUD_COVER


def sift(items: Iterable[Any], search: SceneSearch) -> tuple[list[Item], Counter[str]]:
    """Apply every filter to ``items``.

    Parameters
    ----------
    items : iterable
        JSON values, STAC items or not.
    search : SceneSearch
        What is wanted.

    Returns
    -------
    list of dict, Counter
        The items that pass, in the order given; how many each filter removed.
    """
    kept: list[Item] = []
    removed: Counter[str] = Counter()
    for item in items:
        if not is_item(item):
            reason: str | None = NO_ITEM
        else:
            reason = _misplaced(footprint_geometry(item), search) or rejection(item, search)
        if reason is None:
            kept.append(item)
        else:
            removed[reason] += 1
    return kept, removed
