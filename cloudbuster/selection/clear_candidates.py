"""Candidates of strategy ``clear``: what each shows of the cells of an area."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from shapely.geometry.base import BaseGeometry

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.mosaic_grid import project_area
from cloudbuster.core.selection.sky_thumbnail import (
    CellSampler,
    SkyThumbnail,
    grid_of_parts,
    part_layout,
    window_shape,
)
from cloudbuster.core.selection.units import SceneUnits
from cloudbuster.models import Delivery, Item, SelectionEntry


class ClearCandidates:
    """Candidates of strategy ``clear`` on a grid of cells.

    Parameters
    ----------
    items : sequence of dict
        STAC items, in order of preference among equals.
    footprints : sequence of shapely geometry
        Their footprints, longitude and latitude, unwrapped as the area.
    cloud_cover : sequence of float
        Cloud cover of each as the catalog gives it, percent.
    thumbnails : mapping of str to SkyThumbnail
        Thumbnails by item id; a candidate without one is judged by its metadata.
    cells : Grid
        Grid of the cells.
    whole : bool
        Whether a scene of which a part is needed is delivered whole.
    stated : mapping of str to Grid
        Cells of candidates without thumbnail, by item id (see `stated_cells`); one without either
        is delivered whole.
    """

    def __init__(
        self,
        items: Sequence[Item],
        footprints: Sequence[BaseGeometry],
        cloud_cover: Sequence[float],
        thumbnails: Mapping[str, SkyThumbnail],
        cells: Grid,
        *,
        whole: bool = False,
        stated: Mapping[str, Grid] | None = None,
    ) -> None:
        """Sample what each candidate shows of each cell."""
        self.whole = whole
        self.items = items
        self.footprints = footprints
        self.cloud_cover = cloud_cover
        self.ids = [str(item.get("id")) for item in items]
        thumbnails_by_scene = [thumbnails.get(item_id) for item_id in self.ids]
        self.grids = [
            (stated or {}).get(item_id) if thumbnail is None else thumbnail.grid
            for thumbnail, item_id in zip(thumbnails_by_scene, self.ids, strict=True)
        ]
        sampler = CellSampler(cells)
        self.units = [
            sampler.sample(thumbnail)
            if thumbnail is not None
            else sampler.sample_footprint(
                project_area(footprint, cells.crs), 1 - clouds / 100, _seed(item_id), grid
            )
            for thumbnail, grid, footprint, clouds, item_id in zip(
                thumbnails_by_scene, self.grids, footprints, cloud_cover, self.ids, strict=True
            )
        ]

    def delivery(
        self, scene: int, numbers: frozenset[int], parts: BoolRaster | None = None
    ) -> Delivery | None:
        """Make the document of what a scene delivers: some units, or some ``parts`` of them.

        Returns None for the whole scene.
        """
        grid = self.grids[scene]
        if grid is None or (self.whole and numbers):
            return None
        if parts is None:
            parts = part_layout(grid).parts(numbers)
        return Delivery.of(grid_of_parts(grid), parts)

    def without_delivered(self, entries: Sequence[SelectionEntry]) -> list[SceneUnits]:
        """Return what each candidate shows beyond what its picks deliver already."""
        delivered: dict[str, list[SelectionEntry]] = {}
        for entry in entries:
            delivered.setdefault(entry.item_id, []).append(entry)
        return [
            _remaining(units, delivered.get(item_id, ()))
            for units, item_id in zip(self.units, self.ids, strict=True)
        ]


def _remaining(units: SceneUnits, entries: Sequence[SelectionEntry]) -> SceneUnits:
    """Return what a scene shows in the units that it does not deliver yet."""
    left = np.ones(window_shape(units.window), dtype=np.bool_)
    for entry in entries:
        if entry.delivery is None:
            left[:] = False
            break
        if units.part is not None:
            left &= ~entry.delivery.needed().ravel()[units.part]
    return without_cells(units, ~left)


def without_cells(units: SceneUnits, cells: BoolRaster) -> SceneUnits:
    """Return what a scene shows outside of some cells of its window."""
    left = ~cells
    return replace(units, clear=units.clear & left, seen=units.seen & left, safe=units.safe & left)


def _seed(item_id: str) -> int:
    """Return a number that depends on an item's id alone."""
    return int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8])
