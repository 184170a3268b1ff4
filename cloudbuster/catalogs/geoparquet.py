"""Catalogs in stac-geoparquet, read piece by piece while they are searched.

A row group whose statistics rule out every match is skipped. In the others, the columns that the
filters need are read first, and only the rows that pass are read whole and made STAC items.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
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
    utc_span,
)
from cloudbuster.core.areas.aoi import geometry_document
from cloudbuster.core.areas.footprint import repaired_footprints
from cloudbuster.core.arrays import BoolRaster
from cloudbuster.errors import CatalogError, MissingExtraError, first_line
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import Item

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch
    from pyarrow.parquet import ParquetFile, Statistics

logger = logging.getLogger(__name__)

PARQUET_SUFFIXES = (".parquet", ".geoparquet")
# Columns that are members of the item; all others are its properties (stac-geoparquet 1.1).
ITEM_COLUMNS = (
    *("type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets"),
    "collection",
)
NEEDED_COLUMNS = ("id", "geometry", "assets")
TIME, CLOUD = "datetime", "eo:cloud_cover"
STATISTICS_COLUMNS = ("bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax", TIME)
FILTER_COLUMNS = ("geometry", TIME, CLOUD)
# Rows decoded at a time: 100 rows of Earth Search take about 3 MB.
BATCH_ROWS = 2_000
# Bounding boxes that start east of this longitude may cross the antimeridian, with xmax < xmin.
LAST_PLAIN_WEST_DEG = 150.0
# Greatest absolute coordinate of a geometry: areas across the antimeridian reach at most one turn
# beyond 180. It is cut at each turn, of which 1e300 degrees have too many.
MAX_DEGREES = 540.0


class ParquetCatalog:
    """A stac-geoparquet file.

    Attributes
    ----------
    name : str
        Path or URI the catalog was opened with.
    """

    def __init__(self, name: str, path: Path, file: "ParquetFile") -> None:
        """Wrap an open file; use `open`, which checks it first."""
        self.name = name
        self._folder = str(path.parent.absolute())
        self._file = file

    @classmethod
    def open(cls, uri: str, path: Path) -> "ParquetCatalog":
        """Open a file; only its metadata is read.

        Raises
        ------
        CatalogError
            If it is not a stac-geoparquet file.
        MissingExtraError
            If pyarrow is not installed.
        """
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            msg = f"{uri}: stac-geoparquet needs pyarrow; pip install cloudbuster[geoparquet]"
            raise MissingExtraError(msg) from error
        try:
            file = parquet.ParquetFile(path, memory_map=True, pre_buffer=False)
        except (OSError, pa.ArrowException, ValueError) as error:
            msg = f"catalog {uri}: {first_line(error)}; give a stac-geoparquet file"
            raise CatalogError(msg) from error
        absent = [name for name in NEEDED_COLUMNS if name not in file.schema_arrow.names]
        if absent:
            msg = f"catalog {uri}: no column {', '.join(absent)}; give a stac-geoparquet file"
            raise CatalogError(msg)
        logger.info("catalog_opened", extra={"catalog": uri, "item_count": file.metadata.num_rows})
        return cls(uri, path, file)

    def search(self, search: SceneSearch, *, on_event: OnEvent | None = None) -> Found:
        """Find the items of a search, in the order of the rows; see `Catalog.search`.

        ``held`` is the number of rows in the file. There is one event for each row group.
        """
        import pyarrow as pa

        items: list[Item] = []
        removed: Counter[str] = Counter()
        count = self._file.num_row_groups
        try:
            for group in range(count):
                items += self._search_group(group, search, removed)
                emit(on_event, Event("query", group + 1, count, "parts of the catalog searched"))
        # pyarrow raises ValueError for values that its types do not have.
        except (OSError, pa.ArrowException, ValueError) as error:
            msg = f"catalog {self.name}: {first_line(error)}; the file is damaged"
            raise CatalogError(msg) from error
        # Unary plus leaves the counts of 0 out.
        return Found(tuple(items), self._file.metadata.num_rows, +removed)

    def _search_group(
        self, group: int, search: SceneSearch, removed: Counter[str]
    ) -> Iterator[Item]:
        """Yield the matching items of a row group; count the others in ``removed``."""
        reason = self._group_rejection(group, search)
        if reason is not None:
            removed[reason] += self._file.metadata.row_group(group).num_rows
            return
        masks = [_passing(batch, search, removed) for batch in self._batches(group, FILTER_COLUMNS)]
        if not any(mask.any() for mask in masks):
            return
        for mask, batch in zip(masks, self._batches(group), strict=True):
            rows = _rows(batch.take(np.flatnonzero(mask))) if mask.any() else []
            kept, rejected = sift([_item_from_row(row) for row in rows], search)
            removed.update(rejected)
            yield from (absolute_item(item, self._folder) for item in kept)

    def _batches(self, group: int, wanted: Sequence[str] | None = None) -> Iterator["RecordBatch"]:
        """Yield the rows of a row group in order: the ``wanted`` columns that exist, or all."""
        present = self._file.schema_arrow.names
        columns = None if wanted is None else [name for name in wanted if name in present]
        # With threads, pyarrow would decode many columns at once and hold all of them in memory.
        yield from self._file.iter_batches(
            batch_size=BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
        )

    def _group_rejection(self, group: int, search: SceneSearch) -> str | None:
        """Name of a filter that rejects every row of a group by its statistics, or None."""
        schema = self._file.schema
        paths = [schema.column(index).path for index in range(len(schema))]
        present = [path for path in STATISTICS_COLUMNS if path in paths]
        # Where the metadata of a column are damaged, reading from it raises an error; asking for
        # its statistics would end the process.
        first = self._file.iter_batches(
            batch_size=1, row_groups=[group], columns=present, use_threads=False
        )
        next(first, None)
        columns = self._file.metadata.row_group(group)
        return _rejection_of_all(
            {path: columns.column(paths.index(path)).statistics for path in present}, search
        )


def _rejection_of_all(statistics: Mapping[str, "Statistics"], search: SceneSearch) -> str | None:
    """Name of a filter that rejects every row by the statistics of the columns, or None."""
    west, south, east, north = search.ground.bounds
    # Statistics ignore null values, so they decide nothing about a column that has some.
    known = {
        path: (found.min, found.max)
        for path, found in statistics.items()
        if found is not None and found.has_min_max and found.null_count == 0
    }
    edges = {path: ends for path, ends in known.items() if all(map(_is_number, ends))}
    lowest = {path: low for path, (low, _) in edges.items()}
    highest = {path: high for path, (_, high) in edges.items()}
    if highest.get("bbox.ymax", south) < south or lowest.get("bbox.ymin", north) > north:
        return AREA
    if highest.get("bbox.xmin", 180.0) < LAST_PLAIN_WEST_DEG and (
        highest.get("bbox.xmax", west) < west or lowest.get("bbox.xmin", east) > east
    ):
        return AREA
    first, last = known.get(TIME, (None, None))
    if isinstance(first, datetime) and isinstance(last, datetime):
        spans = (utc_span(period) for period in search.periods)
        if not any(_as_utc(last) >= begin and _as_utc(first) < end for begin, end in spans):
            return DATES
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _as_utc(moment: datetime) -> datetime:
    """Take a time without a time zone as UTC."""
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _passing(batch: "RecordBatch", search: SceneSearch, removed: Counter[str]) -> BoolRaster:
    """Mask of the rows that may match; the others are counted in ``removed``.

    Rows with missing or unsuitable values are kept: their items are checked later.
    """
    kept = np.ones(batch.num_rows, dtype=bool)
    if TIME in batch.schema.names:
        outside = _outside_of_dates(batch.column(TIME), search)
        kept = _remove(kept, outside, DATES, removed)
    if CLOUD in batch.schema.names:
        outside = _outside_of_cloud_cover(batch.column(CLOUD), search)
        kept = _remove(kept, outside, CLOUD_COVER, removed)
    rows = np.flatnonzero(kept)
    geometries = map(_as_bytes, batch.column("geometry").take(rows).to_pylist())
    wkb = np.array(list(geometries), dtype=object)
    footprints = repaired_footprints(shapely.from_wkb(wkb, on_invalid="ignore"))
    # A row without a footprint is kept: its item's bounding box or tile decides later.
    apart = np.zeros(batch.num_rows, dtype=bool)
    apart[rows] = ~sharing_area(search.ground, footprints) & ~shapely.is_missing(footprints)
    return _remove(kept, apart, AREA, removed)


def _remove(
    kept: BoolRaster,
    rejected: BoolRaster,
    reason: str,
    removed: Counter[str],
) -> BoolRaster:
    """Remove the rejected rows from those kept, and count them under ``reason``."""
    removed[reason] += int(np.count_nonzero(kept & rejected))
    return kept & ~rejected


def _outside_of_dates(times: "Array", search: SceneSearch) -> BoolRaster:
    """Mask of the times outside every period of the search; nulls count as inside."""
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
    """Mask of the cloud covers outside the range of the search; nulls count as inside."""
    percent = clouds.to_numpy(zero_copy_only=False)
    if not np.issubdtype(percent.dtype, np.number):
        return np.zeros(len(percent), dtype=bool)
    # Nulls become NaN, which compares False.
    return np.asarray((percent < search.minclouds) | (percent > search.maxclouds))


def _rows(batch: "RecordBatch") -> list[dict[str, Any]]:
    """Return the rows of a batch; a row with text that is not UTF-8 is empty."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        return [_row(batch, index) for index in range(batch.num_rows)]


def _row(batch: "RecordBatch", index: int) -> dict[str, Any]:
    """Return one row of a batch; empty if its text is not UTF-8."""
    try:
        return dict(batch.slice(index, 1).to_pylist()[0])
    except UnicodeDecodeError:
        return {}


def _item_from_row(row: dict[str, Any]) -> Item:
    """Make the STAC item of a row; columns that are null in this row are left out."""
    item: Item = {"type": "Feature", "stac_version": "1.0.0", "links": []}
    properties: dict[str, Any] = {}
    for name, value in row.items():
        if value is not None:
            (item if name in ITEM_COLUMNS else properties)[name] = _without_nulls(value)
    item["geometry"] = _geometry(row.get("geometry"))
    assets = item.get("assets", {})
    # Some mirrors store the assets as JSON text, to keep the schema small. What is no JSON remains
    # a text, and the item then counts as none.
    with suppress(orjson.JSONDecodeError):
        item["assets"] = orjson.loads(assets) if isinstance(assets, str) else assets
    box = item.get("bbox")
    if isinstance(box, dict):
        item["bbox"] = [box.get(key) for key in ("xmin", "ymin", "xmax", "ymax")]
    item["properties"] = properties
    return item


def _geometry(value: object) -> dict[str, Any] | None:
    """Return WKB as GeoJSON; None for another value, and for coordinates that are no degrees."""
    geometry = shapely.from_wkb(_as_bytes(value), on_invalid="ignore")
    if geometry is None:
        return None
    are_degrees = all(abs(number) <= MAX_DEGREES for number in geometry.bounds)
    return geometry_document(geometry) if are_degrees or geometry.is_empty else None


def _as_bytes(value: object) -> bytes | None:
    """Return the bytes of a geometry; None for another value."""
    return value if isinstance(value, bytes) else None


def _without_nulls(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    """Drop the null members that the schema of a column adds; format times as ISO 8601."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    return value
