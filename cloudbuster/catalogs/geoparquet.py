"""Catalogs in stac-geoparquet: the file is read as it is searched, and never all of it at once.

Parts of the file (row groups) whose own statistics say that nothing in them can match are not
read. Of the others the columns that the filters ask for are; only rows that pass become items.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely

from cloudbuster.catalogs.item_hrefs import absolute_item
from cloudbuster.catalogs.search import (
    AREA,
    CLOUD_COVER,
    DATES,
    Found,
    SceneSearch,
    sharing_area,
    sift,
)
from cloudbuster.core.aoi import geometry_document
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.footprint import repaired_footprints
from cloudbuster.errors import CatalogError, MissingExtraError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import Item

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch
    from pyarrow.parquet import ParquetFile, RowGroupMetaData

logger = logging.getLogger(__name__)

PARQUET_SUFFIXES = (".parquet", ".geoparquet")
# Columns of stac-geoparquet that are members of the item; every other is one of its properties
# (stac-geoparquet specification 1.1).
ITEM_COLUMNS = (
    *("type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets"),
    "collection",
)
NEEDED_COLUMNS = ("id", "geometry", "assets")
TIME, CLOUD = "datetime", "eo:cloud_cover"
# Rows that are decoded together: 100 rows of Earth Search take about 3 MB.
BATCH_ROWS = 2_000
# East of this the box of an item may cross the antimeridian, and end west of where it begins.
LAST_PLAIN_WEST_DEG = 150.0


class ParquetCatalog:
    """A stac-geoparquet file.

    Attributes
    ----------
    name : str
        What was given to open it.
    """

    def __init__(self, name: str, path: Path, file: "ParquetFile") -> None:
        self.name = name
        self._folder = str(path.parent.absolute())
        self._file = file

    @classmethod
    def open(cls, uri: str, path: Path) -> "ParquetCatalog":
        """Open a file; only its description is read.

        Raises
        ------
        CatalogError
            Where it is no stac-geoparquet file.
        MissingExtraError
            Where pyarrow is not installed.
        """
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            msg = f"{uri}: stac-geoparquet needs pyarrow; pip install cloudbuster[geoparquet]"
            raise MissingExtraError(msg) from error
        try:
            file = parquet.ParquetFile(path, memory_map=True, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            msg = f"catalog {uri}: {str(error).splitlines()[0]}; give a stac-geoparquet file"
            raise CatalogError(msg) from error
        absent = [name for name in NEEDED_COLUMNS if name not in file.schema_arrow.names]
        if absent:
            msg = f"catalog {uri}: no column {', '.join(absent)}; give a stac-geoparquet file"
            raise CatalogError(msg)
        logger.info("catalog_opened", extra={"catalog": uri, "item_count": file.metadata.num_rows})
        return cls(uri, path, file)

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items that ``search`` wants, in the order of the rows.

        Parameters
        ----------
        search : SceneSearch
            What is wanted.
        on_event : callable or None
            Told after each part of the file.

        Returns
        -------
        Found
            Exact; ``held`` is the number of rows in the file.

        Raises
        ------
        CatalogError
            Where the file is damaged.
        """
        import pyarrow as pa

        items: list[Item] = []
        removed: Counter[str] = Counter()
        count = self._file.num_row_groups
        try:
            for group in range(count):
                items += self._items_of(group, search, removed)
                emit(on_event, Event("query", group + 1, count, "parts of the catalog searched"))
        except (OSError, pa.ArrowException) as error:
            msg = f"catalog {self.name}: {str(error).splitlines()[0]}; the file is damaged"
            raise CatalogError(msg) from error
        # Unary plus leaves the counts of 0 out.
        return Found(tuple(items), self._file.metadata.num_rows, +removed)

    def _items_of(self, group: int, search: SceneSearch, removed: Counter[str]) -> Iterator[Item]:
        """Yield the items of one row group that pass; count the others."""
        reason = _group_rejection(self._file.metadata.row_group(group), search)
        if reason is not None:
            removed[reason] += self._file.metadata.row_group(group).num_rows
            return
        passing = [_passing(batch, search, removed) for batch in self._batches(group, slim=True)]
        if not any(mask.any() for mask in passing):
            return
        for mask, batch in zip(passing, self._batches(group, slim=False), strict=True):
            rows = batch.take(np.flatnonzero(mask)).to_pylist() if mask.any() else []
            kept, gone = sift([_item(row) for row in rows], search)
            removed.update(gone)
            yield from (absolute_item(item, self._folder) for item in kept)

    def _batches(self, group: int, *, slim: bool) -> Iterator["RecordBatch"]:
        """Yield the rows of a group in order; slim ones have what the filters ask for alone."""
        present = self._file.schema_arrow.names
        columns = [name for name in ("geometry", TIME, CLOUD) if name in present] if slim else None
        # Threads would decode many columns at once, and hold them all.
        yield from self._file.iter_batches(
            batch_size=BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
        )


def _group_rejection(group: "RowGroupMetaData", search: SceneSearch) -> str | None:
    """Name of a filter that no row of a group passes, by the statistics; None if one might."""
    west, south, east, north = search.ground.bounds
    lowest: dict[str, Any] = {}
    highest: dict[str, Any] = {}
    for index in range(group.num_columns):
        column = group.column(index)
        statistics = column.statistics
        # A row without a value is in no statistics, and would have to be looked at.
        if statistics is not None and statistics.has_min_max and statistics.null_count == 0:
            lowest[column.path_in_schema] = statistics.min
            highest[column.path_in_schema] = statistics.max
    if highest.get("bbox.ymax", south) < south or lowest.get("bbox.ymin", north) > north:
        return AREA
    if highest.get("bbox.xmin", 180.0) < LAST_PLAIN_WEST_DEG and (
        highest.get("bbox.xmax", west) < west or lowest["bbox.xmin"] > east
    ):
        return AREA
    first, last = lowest.get(TIME), highest.get(TIME)
    if isinstance(first, datetime) and isinstance(last, datetime):
        spans = (_moments(search, index) for index in range(len(search.periods)))
        if not any(_utc(last) >= begin and _utc(first) < end for begin, end in spans):
            return DATES
    return None


def _moments(search: SceneSearch, index: int) -> tuple[datetime, datetime]:
    """First moment of a period, and the first one after it."""
    first, last = (
        datetime(day.year, day.month, day.day, tzinfo=UTC) for day in search.periods[index]
    )
    return first, last + timedelta(days=1)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _passing(batch: "RecordBatch", search: SceneSearch, removed: Counter[str]) -> BoolRaster:
    """Tell which rows may pass, and count the others; what is unknown here passes."""
    kept = np.ones(batch.num_rows, dtype=bool)
    if TIME in batch.schema.names:
        outside = _outside_of_dates(batch.column(TIME), search)
        kept = _without(kept, outside, DATES, removed)
    if CLOUD in batch.schema.names:
        outside = _outside_of_cloud_cover(batch.column(CLOUD), search)
        kept = _without(kept, outside, CLOUD_COVER, removed)
    rows = np.flatnonzero(kept)
    wkb = np.array(batch.column("geometry").take(rows).to_pylist(), dtype=object)
    footprints = repaired_footprints(shapely.from_wkb(wkb, on_invalid="ignore"))
    # Where there is no footprint, the item's box or its tile will tell.
    apart = np.zeros(batch.num_rows, dtype=bool)
    apart[rows] = ~sharing_area(search.ground, footprints) & ~shapely.is_missing(footprints)
    return _without(kept, apart, AREA, removed)


def _without(
    kept: BoolRaster,
    rejected: BoolRaster,
    reason: str,
    removed: Counter[str],
) -> BoolRaster:
    """Take the rejected rows out of those kept, and count them under their reason."""
    removed[reason] += int(np.count_nonzero(kept & rejected))
    return kept & ~rejected


def _outside_of_dates(times: "Array", search: SceneSearch) -> BoolRaster:
    moments = times.to_numpy(zero_copy_only=False)
    if not np.issubdtype(moments.dtype, np.datetime64):
        return np.zeros(len(moments), dtype=bool)
    inside = np.isnat(moments)
    days = moments.astype("datetime64[D]")
    for first, last in search.periods:
        inside |= (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    outside: BoolRaster = ~inside
    return outside


def _outside_of_cloud_cover(clouds: "Array", search: SceneSearch) -> BoolRaster:
    percent = clouds.to_numpy(zero_copy_only=False)
    if not np.issubdtype(percent.dtype, np.number):
        return np.zeros(len(percent), dtype=bool)
    # Comparing with NaN, an unknown cover, is always false.
    return np.asarray((percent < search.minclouds) | (percent > search.maxclouds))


def _item(row: dict[str, Any]) -> Item:
    """STAC item of a row: properties back in their place, columns of other items left out."""
    item: Item = {"type": "Feature", "stac_version": "1.0.0", "links": []}
    properties: dict[str, Any] = {}
    for name, value in row.items():
        if value is not None:
            (item if name in ITEM_COLUMNS else properties)[name] = _without_nulls(value)
    geometry = row["geometry"]
    item["geometry"] = geometry_document(shapely.from_wkb(geometry)) if geometry else None
    assets = item.get("assets", {})
    # Some mirrors keep the assets as JSON text, to keep the schema small.
    item["assets"] = orjson.loads(assets) if isinstance(assets, str) else assets
    box = item.get("bbox")
    if isinstance(box, dict):
        item["bbox"] = [box[key] for key in ("xmin", "ymin", "xmax", "ymax")]
    item["properties"] = properties
    return item


def _without_nulls(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    """Drop the null members that a column's common schema adds; times become ISO 8601 text."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    return value
