"""Check the scene table of a mosaic against the documents and records of its run."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from pystac.utils import datetime_to_str

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.checks.results import Count
from cloudbuster.errors import BadInputError
from cloudbuster.gathered.resume import raster_fingerprint, task_outputs
from cloudbuster.gathered.scene_raster import BACKSTOP_PREFIX, scene_stem
from cloudbuster.models import MAX_SCENE_INDEX, Check, GatherTask, SceneRecord
from cloudbuster.mosaics.opened import FinishedMosaic, SceneRow
from cloudbuster.redaction import redacted_json
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.files.folders import names_in
from cloudbuster.storage.files.uri import join


def row_stem(name: str, row: SceneRow) -> str:
    """Return the file name, without suffix, of the gathered raster of a row."""
    return scene_stem(name, row.index, prefix=BACKSTOP_PREFIX if row.backstop else "")


def read_records(mosaic: FinishedMosaic) -> dict[SceneRow, SceneRecord]:
    """Read the records of the gathered rasters that are still there, by their row."""
    folder = mosaic.run.scenes
    names = set() if folder is None else set(names_in(folder))
    found = {}
    for row in mosaic.rows:
        name = f"{row_stem(mosaic.name, row)}.json"
        if folder is not None and name in names:
            try:
                found[row] = read_document(join(folder, name), SceneRecord)
            except BadInputError:
                continue
    return found


def check_table(mosaic: FinishedMosaic, records: dict[SceneRow, SceneRecord]) -> Check:
    """Check that each row describes the scene that was gathered under its index.

    Compared are the rows with each other, with the links of the item, with the records of the
    gathered rasters, with the tasks and the selection of the run, and with the STAC items of the
    scenes, as far as these are there.
    """
    count = Count("scene-table", "statements about scenes")
    _check_rows(count, mosaic.rows)
    _check_links(count, mosaic)
    _check_period(count, mosaic)
    for row, record in records.items():
        _check_record(count, row, record)
    tasks = _tasks_by_row(mosaic)
    for row, task in tasks.items():
        item_id = task.item.get("id")
        count.expect(
            row.item_id in (None, item_id),
            f"{_label(row)} is {row.item_id}, its task gathers {item_id}",
        )
        _check_fingerprint(count, row, task, records.get(row))
    items = _items(mosaic, records, tasks)
    for row in mosaic.rows:
        _check_item(count, row, items)
    return count.check


def _label(row: SceneRow) -> str:
    """Name a row for a person."""
    return f"scene {row.index}{' (backstop)' if row.backstop else ''}"


def _check_rows(count: Count, rows: Sequence[SceneRow]) -> None:
    """Check the indices of the rows: in range, each role once, and one scene for each."""
    known: dict[int, str | None] = {}
    roles = set()
    for row in rows:
        is_told = isinstance(row.fields.get("backstop"), bool)
        count.expect(is_told, f"scene {row.index} does not say whether it is a backstop")
        in_range = 1 <= row.index <= MAX_SCENE_INDEX
        count.expect(in_range, f"index {row.index} is not in 1 to {MAX_SCENE_INDEX}")
        role = (row.index, row.backstop)
        count.expect(role not in roles, f"{_label(row)} is there twice")
        roles.add(role)
        same = known.setdefault(row.index, row.item_id) == row.item_id
        count.expect(same, f"index {row.index} stands for two scenes")
    order = [(row.backstop, row.index) for row in rows]
    count.expect(order == sorted(order), "the rows are not in the order of preference")


def _check_links(count: Count, mosaic: FinishedMosaic) -> None:
    """Check that the item is derived from the scenes of its table, and from no others."""
    links = mosaic.item.get("links") or []
    titles = [
        link.get("title")
        for link in links
        if isinstance(link, dict) and link.get("rel") == "derived_from"
    ]
    wanted = list(dict.fromkeys(row.item_id for row in mosaic.rows if row.item_id))
    apart = [name for name in (*wanted, *titles) if (name in wanted) != (name in titles)]
    count.add(
        max(1, len(wanted)),
        len(apart),
        f"links and scene table differ by {', '.join(map(str, apart))}",
    )
    if not apart:
        count.expect(wanted == titles, "the links are in another order than the scenes")
    stated = mosaic.properties.get("cloudbuster:scene_count")
    found = len({row.item_id or row.index for row in mosaic.rows})
    count.expect(stated == found, f"{found} scenes are in the table, scene_count is {stated}")


def _check_period(count: Count, mosaic: FinishedMosaic) -> None:
    """Check that the period of the item is that of its scenes, if all have a date."""
    times = [row.fields.get("datetime") for row in mosaic.rows]
    known = sorted(time for time in times if isinstance(time, str))
    if not known:
        return
    for field, wanted in (("start_datetime", known[0]), ("end_datetime", known[-1])):
        stated = mosaic.properties.get(field)
        count.expect(stated == wanted, f"{field} is {stated}, that of the scenes is {wanted}")


def _check_record(count: Count, row: SceneRow, record: SceneRecord) -> None:
    """Compare a row with the record of its raster."""
    wanted = {
        "item_id": record.item_id,
        "catalog": record.catalog,
        "collection": record.collection,
        "datetime": datetime_to_str(record.acquired) if record.acquired else None,
        "platform": record.platform,
        "mgrs_tile": record.mgrs_tile,
        "baseline": record.baseline,
        "radiometry": record.radiometry.verdict,
        "radiometry_confidence": record.radiometry.confidence,
        "radiometry_conflict": record.radiometry.conflict,
        "radiometry_evidence": list(record.radiometry.evidence),
        "cloud_cover": record.cloud_cover,
        "detector": record.detector,
    }
    for field, value in redacted_json(wanted).items():
        stated = row.fields.get(field)
        count.expect(stated == value, f"{_label(row)}: {field} is {stated}, its record has {value}")


def _tasks_by_row(mosaic: FinishedMosaic) -> dict[SceneRow, GatherTask]:
    """Return the task of each row, if the tasks are there."""
    found = {}
    for task in mosaic.run.tasks:
        for index, backstop in ((task.index, False), (task.backstop_index, True)):
            row = None if index is None else mosaic.row(index, backstop=backstop)
            if row is not None:
                found[row] = task
    return found


def _check_fingerprint(
    count: Count, row: SceneRow, task: GatherTask, record: SceneRecord | None
) -> None:
    """Compare the fingerprint of a raster with that of its task, if this version wrote it."""
    if record is None:
        return
    for output in task_outputs(task):
        if output.backstop == row.backstop:
            wanted = raster_fingerprint(task, output)
            if wanted.rpartition("-")[2] == record.task_fingerprint.rpartition("-")[2]:
                count.expect(
                    wanted == record.task_fingerprint,
                    f"{_label(row)} was gathered by another task than the run's",
                )
    stem = PurePosixPath(record.raster).stem
    count.expect(stem == row_stem(record.name, row), f"{_label(row)}: its raster is {stem}")


def _items(
    mosaic: FinishedMosaic,
    records: dict[SceneRow, SceneRecord],
    tasks: dict[SceneRow, GatherTask],
) -> dict[str, dict[str, Any]]:
    """Return the STAC items of the scenes that the documents of the run hold, by id."""
    found = [record.item for record in records.values()]
    found += [task.item for task in tasks.values()]
    selection = mosaic.run.selection
    found += [] if selection is None else list(selection.features)
    return {str(item.get("id")): item for item in found}


def _check_item(count: Count, row: SceneRow, items: dict[str, dict[str, Any]]) -> None:
    """Compare a row with the STAC item of its scene, if any documents of the run hold items."""
    if not items or row.item_id is None:
        return
    item = items.get(row.item_id)
    count.expect(item is not None, f"{_label(row)}: the run has not gathered {row.item_id}")
    if item is None:
        return
    for field, value in _facts(item, str(row.fields.get("catalog"))):
        stated = row.fields.get(field)
        count.expect(
            stated == value, f"{_label(row)}: {field} is {stated}, that of {row.item_id} is {value}"
        )


def _facts(item: dict[str, Any], catalog: str) -> Iterator[tuple[str, object]]:
    """Yield what the scene table repeats of an item."""
    try:
        scene = parse_scene(item, catalog=catalog)
    except BadInputError:
        return
    yield "datetime", datetime_to_str(scene.acquired) if scene.acquired else None
    yield "platform", scene.platform
    yield "mgrs_tile", scene.mgrs_tile
    yield "baseline", scene.baseline
