"""Searches of a catalog, their results, and the filters that every catalog applies alike."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.item_properties import acquired_of, cloud_cover_of, kind_of, mgrs_tile_of
from cloudbuster.catalogs.schema import is_item
from cloudbuster.core.areas.antimeridian import split
from cloudbuster.core.areas.footprint import read_footprint
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.events import OnEvent
from cloudbuster.models import Dropped, Item, QueryOptions

Period = tuple[date, date]
"""First and last UTC day, both inclusive."""


@dataclass(frozen=True)
class SceneSearch:
    """The items to look for.

    Attributes
    ----------
    aoi : shapely geometry
        Area of interest in longitude (unwrapped) and latitude. An item matches if its footprint
        shares area with it; touching its edge or its bounding box is not enough.
    periods : tuple of (date, date)
        UTC days, inclusive; sorted and disjoint.
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
        """Area of interest split at the antimeridian, as footprints are; prepared."""
        area = split(self.aoi)
        shapely.prepare(area)
        return area

    @classmethod
    def from_options(cls, aoi: BaseGeometry, options: QueryOptions) -> "SceneSearch":
        """Make the search that the query options of a request describe."""
        periods = merged_periods(options.periods)
        return cls(aoi, periods, options.kind, options.minclouds, options.maxclouds)

    def for_twins(self) -> "SceneSearch":
        """Make the search for the twins of the other level, of any cloud cover.

        The levels measure it differently.
        """
        return SceneSearch(self.aoi, self.periods, "L1C" if self.kind == "L2A" else "L2A")


@dataclass(frozen=True)
class Found:
    """Result of a search.

    Attributes
    ----------
    items : tuple of dict
        STAC items that pass every filter, with absolute hrefs, in a reproducible order.
    held : int
        Number of items examined: all of a local catalog, or those that a server sent.
    removed : mapping of str to int
        Number of items that each filter removed, by the name of the filter.
    unreadable : tuple of Dropped
        Files or entries that should have been items and are not, with the reason.
    """

    items: tuple[Item, ...]
    held: int
    removed: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[Dropped, ...] = ()


class Catalog(Protocol):
    """Catalog of scenes that can be searched."""

    @property
    def name(self) -> str:
        """Name, URL or path the catalog was opened with."""

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items of a search.

        Parameters
        ----------
        search : SceneSearch
            The items to look for.
        on_event : callable or None
            Progress callback.

        Returns
        -------
        Found
            Matching items, and how many were removed by which filter.

        Raises
        ------
        CatalogError
            If the catalog cannot be used: not a catalog, damaged, or the search is refused.
        CredentialsError
            If a remote catalog refuses the credentials.
        TryAgainError
            If a remote catalog still fails, throttles or sends incomplete pages after retries.
        """


# Names of the filters, worded to follow a count in messages: "3 outside of the area".
NO_ITEM = "not a STAC item"
NO_FOOTPRINT = "without a footprint, a bounding box or a tile"
AREA = "outside of the area"
NO_LEVEL = "of unknown product level"
LEVEL = "of another product level"
NO_DATE = "without a date"
DATES = "outside of the dates"
NO_CLOUD_COVER = "without a cloud cover"
CLOUD_COVER = "outside of the cloud cover"


def merged_periods(periods: Iterable[Period]) -> tuple[Period, ...]:
    """Sort periods and join those that overlap or follow each other directly."""
    merged: list[Period] = []
    for first, last in sorted(periods):
        if merged and first <= merged[-1][1] + timedelta(days=1):
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def utc_span(period: Period) -> tuple[datetime, datetime]:
    """Start of a period and the midnight that ends it (exclusive), UTC."""
    first, last = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in period)
    return first, last + timedelta(days=1)


def footprint_geometry(item: Item) -> BaseGeometry | None:
    """Footprint of an item, repaired and split at the antimeridian.

    Falls back to the bounding box of the item, then to the square of its MGRS tile; None if it has
    neither. Footprints only decide which scenes are searched: coverage is counted in pixels.
    """
    return read_footprint(item.get("geometry"), box=item.get("bbox"), tile=mgrs_tile_of(item))


def shares_area(aoi: BaseGeometry, footprint: BaseGeometry | None) -> bool:
    """Whether two polygons share area, and not only an edge or a point (DE-9IM)."""
    return footprint is not None and bool(
        shapely.intersects(aoi, footprint) and not shapely.touches(aoi, footprint)
    )


def sharing_area(area: BaseGeometry, footprints: npt.NDArray[np.object_]) -> BoolRaster:
    """Mask of the footprints that share area with ``area``; see `shares_area`.

    A footprint that is None shares none. Preparing ``area`` and the footprints makes it faster.
    """
    sharing = np.asarray(shapely.intersects(area, footprints))
    # `touches` is the slowest of the three predicates; only footprints near the edge need it.
    near_edge = np.flatnonzero(sharing)
    near_edge = near_edge[~shapely.contains_properly(area, footprints[near_edge])]
    sharing[near_edge] = ~shapely.touches(area, footprints[near_edge])
    return sharing


def _area_rejection(footprint: BaseGeometry | None, search: SceneSearch) -> str | None:
    """Name of the filter that rejects a footprint; None if it shares area with the search."""
    if footprint is None:
        return NO_FOOTPRINT
    return None if shares_area(search.ground, footprint) else AREA


def rejection(item: Item, search: SceneSearch) -> str | None:
    """Name of the first filter but the area's that rejects an item; None if it passes all."""
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
    """Name of the filter that rejects a cloud cover; None if it is in the range."""
    if cloud_cover is None:
        # An unknown cloud cover passes only the full range, 0 to 100.
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
        The items to look for.

    Returns
    -------
    list of dict, Counter
        The items that pass, in the order given, and the number that each filter removed.
    """
    kept: list[Item] = []
    removed: Counter[str] = Counter()
    for item in items:
        if not is_item(item):
            reason: str | None = NO_ITEM
        else:
            reason = _area_rejection(footprint_geometry(item), search) or rejection(item, search)
        if reason is None:
            kept.append(item)
        else:
            removed[reason] += 1
    return kept, removed
