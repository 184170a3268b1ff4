"""How each scene of a mosaic was gathered: the task that reads its source again.

It is that of the run if the tasks are still there, and else is made of the record of the raster, of
the selection, or, last, of what the catalog answers today.
"""

from collections import defaultdict
from datetime import date
from functools import cached_property
from typing import Any

from cloudbuster.catalogs.item_properties import acquired_of
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.scenes.digital_numbers import OFFSET_DN
from cloudbuster.detectors import resolved
from cloudbuster.errors import CatalogError, CloudBusterError
from cloudbuster.models import (
    DetectorOptions,
    GatherTask,
    GridDocument,
    Item,
    QueryOptions,
    Radiometry,
    SceneRecord,
)
from cloudbuster.mosaics.opened import FinishedMosaic, SceneRow
from cloudbuster.products.stac_item import lonlat_footprint
from cloudbuster.query import query_scenes
from cloudbuster.runs.tasks import plan_tasks

Origin = GatherTask | CloudBusterError
"""Task that reads the source of a row, or why there is none."""


class Origins:
    """Finds the task of each row of a mosaic's scene table.

    Parameters
    ----------
    mosaic : FinishedMosaic
        The mosaic.
    records : mapping of SceneRow to SceneRecord
        Records of the gathered rasters that are there.
    grid : Grid
        Grid of the mosaic.
    bands : tuple of str
        Its reflectance bands.
    """

    def __init__(
        self,
        mosaic: FinishedMosaic,
        records: dict[SceneRow, SceneRecord],
        grid: Grid,
        bands: tuple[str, ...],
    ) -> None:
        self._mosaic = mosaic
        self._records = records
        self._grid = grid
        self._bands = bands
        self._found: defaultdict[str, dict[str, Item]] = defaultdict(dict)

    @cached_property
    def _tasks(self) -> list[GatherTask]:
        """Tasks of the run, or those that its selection gives again."""
        run, request = self._mosaic.run, self._mosaic.request
        if run.tasks or run.selection is None or request is None:
            return run.tasks
        decided = {row.item_id: _radiometry(row) for row in self._mosaic.rows if row.item_id}
        known = {item_id: each for item_id, each in decided.items() if each is not None}
        try:
            tasks = plan_tasks(
                run.selection,
                name=self._mosaic.name,
                options=request.gather,
                output=self._mosaic.folder,
                known=known,
            )
        except CloudBusterError:
            return []
        own = GridDocument.of(self._grid)
        return [task for task in tasks if task.grid == own and task.bands == self._bands]

    @property
    def are_planned(self) -> bool:
        """Whether it is known which parts of each scene were read."""
        return bool(self._tasks)

    def of(self, row: SceneRow) -> Origin:
        """Return the task of a row, or the error that says why there is none."""
        for task in self._tasks:
            index = task.backstop_index if row.backstop else task.index
            # The row is believed: where it names another scene, that scene is read.
            if row.index == index and str(task.item.get("id")) == row.item_id:
                return task
        try:
            item = self._item(row)
            return self._task(row, item)
        except CloudBusterError as error:
            return error

    def _item(self, row: SceneRow) -> Item:
        """Return the STAC item of a row; raise CatalogError if nothing has it."""
        if row.item_id is None:
            msg = f"scene {row.index} has no record: its source is unknown"
            raise CatalogError(msg)
        items = [record.item for record in self._records.values()]
        selection, candidates = self._mosaic.run.selection, self._mosaic.run.candidates
        items += [] if selection is None else list(selection.features)
        items += [] if candidates is None else list(candidates.features)
        found = next((item for item in items if item.get("id") == row.item_id), None)
        return found if found is not None else self._searched(row, row.item_id)

    def _searched(self, row: SceneRow, item_id: str) -> Item:
        """Return an item that the catalog has on the day of the scene."""
        day = acquired_of({"properties": {"datetime": row.fields.get("datetime")}})
        catalog = row.fields.get("catalog")
        if day is None or not isinstance(catalog, str):
            msg = f"{item_id}: the scene table has no catalog or no date for it"
            raise CatalogError(msg)
        key = f"{catalog} {day.date()}"
        if key not in self._found:
            self._found[key] = self._search(catalog, day.date())
        if item_id not in self._found[key]:
            msg = f"{item_id} is not in {catalog} any more"
            raise CatalogError(msg)
        return self._found[key][item_id]

    def _search(self, catalog: str, day: date) -> dict[str, Item]:
        """Search a catalog for the scenes of one day."""
        request = self._mosaic.request
        options = QueryOptions() if request is None else request.query
        changes: dict[str, Any] = {
            "catalog": catalog,
            "mindate": (day,),
            "maxdate": (day,),
            "minclouds": 0,
            "maxclouds": 100,
            "scale": None,
        }
        geometry, _ = lonlat_footprint(self._grid)
        twins = request is not None and request.needs_twins
        candidates = query_scenes(geometry, options.model_copy(update=changes), with_twins=twins)
        return {str(item.get("id")): item for item in candidates.features}

    def _task(self, row: SceneRow, item: Item) -> GatherTask:
        """Make the task of a row from its item and what the mosaic's item says."""
        request, catalog = self._mosaic.request, str(row.fields.get("catalog"))
        mirror = () if request is None else request.query.asset_mirror
        kind = parse_scene(item, catalog=catalog, asset_mirror=mirror).kind
        detector = DetectorOptions() if request is None else request.gather.detector
        detector = resolved(detector, kind)
        return GatherTask(
            name=self._mosaic.name,
            kind=kind,
            catalog=catalog,
            asset_mirror=mirror,
            item=item,
            index=None if row.backstop else row.index,
            backstop_index=row.index if row.backstop else None,
            bands=self._bands,
            grid=GridDocument.of(self._grid),
            detector=detector,
            # A smaller growth masks less: without a request, no clear pixel is doubted for it.
            dilate_m=0 if request is None else request.gather.dilate_m,
            radiometry=_radiometry(row),
            output=self._mosaic.folder,
        )


def _radiometry(row: SceneRow) -> Radiometry | None:
    """Return the decision about the offset that a row records; None if it records none."""
    verdict = row.fields.get("radiometry")
    if verdict not in ("present", "removed", "none"):
        return None
    return Radiometry(
        verdict=verdict,
        offset_dn=OFFSET_DN if verdict == "present" else 0,
        confidence="low",
        evidence=(),
    )
