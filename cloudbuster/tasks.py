"""Turn a selection into gather tasks: fix the mosaic's grid, number the scenes."""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.antimeridian import middle_longitude, placed_near
from cloudbuster.core.aoi import read_area
from cloudbuster.core.bands import BANDS, Kind, requested_bands
from cloudbuster.core.footprint import read_footprint
from cloudbuster.core.grid import Bounds, Grid
from cloudbuster.core.mosaic_grid import (
    has_native_phase,
    plan_grid,
    projected_bounds,
    resolve_crs,
)
from cloudbuster.core.scene import Scene
from cloudbuster.detectors import resolve_type
from cloudbuster.errors import (
    AoiError,
    BadInputError,
    CloudBusterError,
    GridError,
    NothingUsableError,
    RequestError,
)
from cloudbuster.models import (
    MAX_SCENE_INDEX,
    DetectorOptions,
    GatherOptions,
    GatherTask,
    Geometry,
    GridDocument,
    Radiometry,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.source.thumbnails import decide_radiometry
from cloudbuster.storage.folders import names_in
from cloudbuster.storage.gdal_env import gdal_env
from cloudbuster.storage.local_files import Stamps, file_stamps
from cloudbuster.storage.reuse import read_earlier
from cloudbuster.storage.uri import join

logger = logging.getLogger(__name__)

# Tasks that are read from S3 at a time: as many as boto3 keeps connections open for.
READERS = 10


def plan_tasks(
    selection: Selection,
    *,
    name: str,
    options: GatherOptions,
    output: str,
    known: Mapping[str, Radiometry] | None = None,
    stamps: Mapping[str, Stamps] | None = None,
) -> list[GatherTask]:
    """Make the gather tasks of a selection.

    Parameters
    ----------
    selection : Selection
        The picked scenes.
    name, output : str
        Base of the file names; folder of the scenes.
    options : GatherOptions
        Bands, detector, grid.
    known : mapping of str to Radiometry, optional
        What an earlier call decided of the same scenes, by item id; the others are looked at.
    stamps : mapping of str to tuple of str, optional
        ``file_stamps`` of an earlier call's tasks, by item id, for files that are gone since.

    Returns
    -------
    list of GatherTask
        One for each picked item. Indices count from ``index_start``: clear looks, then backstop.

    Raises
    ------
    NothingUsableError
        For an empty selection.
    GridError
        For a CRS that does not exist or cannot hold the area.
    RequestError
        For a band that the product level does not have, or too many scenes for the index.
    """
    info = selection.cloudbuster
    scenes = _scenes(selection)
    # Before anything is read: a file that changes from now on is another one for the next plan.
    files = _files(scenes, options.detector, stamps or {})
    bands = _bands(info.kind, options)
    grid = GridDocument.of(mosaic_grid(_area(info.aoi), scenes, bands, options))
    numbers = _numbers(info.entries, options.index_start)
    radiometry = _radiometry(scenes, bands, known or {})
    common = {"name": name, "bands": bands, "grid": grid, "output": output}
    return [
        GatherTask(
            item=item,
            index=numbers.get((item["id"], False)),
            backstop_index=numbers.get((item["id"], True)),
            radiometry=radiometry.get(item["id"]),
            file_stamps=files[item["id"]],
            **common,
            **_common(info, options),
        )
        for item in selection.features
    ]


def read_tasks(folder: str) -> list[GatherTask]:
    """Read the tasks of an earlier plan, for `earlier_decisions`.

    Parameters
    ----------
    folder : str
        Folder or prefix of the task documents, whose names are numbers.

    Returns
    -------
    list of GatherTask
        In the order of their numbers; without those that cannot be read.
    """
    stems = [PurePath(name).stem for name in names_in(folder) if name.endswith(".json")]
    numbers = sorted((stem for stem in stems if stem.isdecimal()), key=int)
    with ThreadPoolExecutor(READERS) as pool:
        uris = (join(folder, f"{number}.json") for number in numbers)
        tasks = pool.map(lambda uri: read_earlier(uri, GatherTask), uris)
        return [task for task in tasks if task is not None]


def earlier_decisions(
    tasks: Iterable[GatherTask],
) -> tuple[dict[str, Radiometry], dict[str, Stamps]]:
    """Collect what an earlier plan decided, so that `plan_tasks` makes the same tasks again.

    Parameters
    ----------
    tasks : iterable of GatherTask
        Tasks of the earlier plan.

    Returns
    -------
    dict of str to Radiometry, dict of str to tuple of str
        By item id: the radiometric verdict of each scene whose files are the same as then, and the
        stamps of the files on this machine.
    """
    known: dict[str, Radiometry] = {}
    stamps: dict[str, Stamps] = {}
    for task in tasks:
        item_id = str(task.item.get("id"))
        if task.file_stamps:
            stamps[item_id] = task.file_stamps
        try:
            if task.radiometry is not None and has_same_files(task):
                known[item_id] = task.radiometry
        except BadInputError:
            logger.warning("item_unreadable", extra={"item": item_id})
    return known, stamps


def has_same_files(task: GatherTask) -> bool:
    """Whether the files that a task reads on this machine are those it was planned with, or gone.

    Raises
    ------
    CatalogError
        Where its item is no scene.
    """
    scene = parse_scene(task.item, catalog=task.catalog)
    return task.file_stamps == _files_of(scene, task.detector, task.file_stamps)


def _files(
    scenes: list[Scene], detector: DetectorOptions, before: Mapping[str, Stamps]
) -> dict[str, Stamps | None]:
    """Stamps of the files of each scene, by its id."""
    return {scene.id: _files_of(scene, detector, before.get(scene.id)) for scene in scenes}


def _files_of(scene: Scene, detector: DetectorOptions, before: Stamps | None) -> Stamps | None:
    """Identify what decides a scene's pixels and lies on this machine: its files, the model's."""
    model = (detector.architecture, detector.weights, detector.donor_mask)
    hrefs = [*scene.hrefs, *(href for href in model if href is not None)]
    return file_stamps(hrefs, before)


def _scenes(selection: Selection) -> list[Scene]:
    """Read the picked scenes, each once; NothingUsableError where there is none."""
    info = selection.cloudbuster
    if not info.entries:
        msg = "the selection holds no scene; widen the query"
        raise NothingUsableError(msg)
    return [parse_scene(item, catalog=info.catalog) for item in selection.features]


def _common(info: SelectionInfo, options: GatherOptions) -> dict[str, Any]:
    """Fields that every task of a selection shares."""
    detector = {"type": resolve_type(options.detector, info.kind)}
    return {
        "kind": info.kind,
        "catalog": info.catalog,
        "detector": options.detector.model_copy(update=detector),
        "dilate_m": options.dilate_m,
        "donate_mask": options.donate_mask,
        "on_radiometry_conflict": options.on_radiometry_conflict,
    }


def _bands(kind: Kind, options: GatherOptions) -> tuple[str, ...]:
    try:
        return requested_bands(kind, options.bands)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _area(aoi: Geometry) -> BaseGeometry:
    try:
        return read_area(aoi)
    except ValueError as error:
        msg = f"the selection's area: {error}"
        raise AoiError(msg) from error


def _radiometry(
    scenes: list[Scene], bands: tuple[str, ...], known: Mapping[str, Radiometry]
) -> dict[str, Radiometry]:
    """Decide each scene's offset, in doubt by the others; without those that cannot be read."""
    decisions = decide_radiometry(
        scenes, bands, known={name: radiometry.decision() for name, radiometry in known.items()}
    )
    return {name: Radiometry.of(decision) for name, decision in decisions.items()}


def _numbers(entries: tuple[SelectionEntry, ...], index_start: int) -> dict[tuple[str, bool], int]:
    """Index of each (item id, backstop): clear looks first."""
    ordered = sorted(entries, key=lambda entry: entry.backstop)
    last = index_start + len(ordered) - 1
    if last > MAX_SCENE_INDEX:
        msg = (
            f"{len(ordered)} scenes from index {index_start} reach {last}, over "
            f"{MAX_SCENE_INDEX}; lower --index-start or --max-selections"
        )
        raise RequestError(msg)
    return {
        (entry.item_id, entry.backstop): index
        for index, entry in enumerate(ordered, start=index_start)
    }


def mosaic_grid(
    aoi: BaseGeometry, scenes: list[Scene], bands: tuple[str, ...], options: GatherOptions
) -> Grid:
    """Fix the grid of a mosaic.

    Parameters
    ----------
    aoi : shapely geometry
        Longitude (unwrapped) and latitude.
    scenes : list of Scene
        The picked scenes.
    bands : tuple of str
        Bands of the mosaic.
    options : GatherOptions
        ``crs``, ``gsd_m`` and ``bounds_clip``.

    Returns
    -------
    Grid
        Holds the area's bounding box, or with ``bounds_clip`` off all the scenes.

    Raises
    ------
    GridError
        For a CRS that does not exist or cannot hold the area.
    """
    try:
        crs = resolve_crs(options.crs, aoi)
        extent = None if options.bounds_clip else _extent(aoi, scenes, crs)
        phase = _phase(aoi, scenes, bands, crs, options.gsd_m)
        return plan_grid(aoi, crs=crs, gsd_m=options.gsd_m, phase=phase, extent_bounds=extent)
    except ValueError as error:
        raise GridError(str(error)) from error


def _extent(aoi: BaseGeometry, scenes: list[Scene], crs: str) -> Bounds:
    """Bounds of all footprints in ``crs``, and of the area."""
    shapes = [footprint for scene in scenes if (footprint := _footprint(scene, aoi)) is not None]
    west, south, east, north = map(float, shapely.total_bounds([aoi, *shapes]))
    # Points along the edges tell a box of over half the world, which is refused, from one that
    # runs across the antimeridian.
    return projected_bounds(shapely.segmentize(shapely.box(west, south, east, north), 1.0), crs)


def _phase(
    aoi: BaseGeometry, scenes: list[Scene], bands: tuple[str, ...], crs: str, gsd_m: float
) -> tuple[float, float]:
    """Any one corner of the grid: that of a raster where the cell size is not one of a tile's."""
    if has_native_phase(crs, gsd_m):
        return (0.0, 0.0)
    finest = min(bands, key=lambda band: BANDS[band].gsd_m)
    for scene in sorted(scenes, key=lambda scene: _covered_area(scene, aoi), reverse=True):
        if scene.epsg is not None and f"EPSG:{scene.epsg}" != crs:
            continue
        try:
            with gdal_env(), RasterSceneSource(scene, (finest,)) as source:
                if source.grid.crs == crs:
                    return (source.grid.west, source.grid.north)
        except CloudBusterError:
            # A scene that cannot be opened fails in its own gather; another gives the phase.
            continue
    return (0.0, 0.0)


def _covered_area(scene: Scene, aoi: BaseGeometry) -> float:
    footprint = _footprint(scene, aoi)
    return 0.0 if footprint is None else float(footprint.intersection(aoi).area)


def _footprint(scene: Scene, aoi: BaseGeometry) -> BaseGeometry | None:
    """Footprint of a scene in the same turn of longitudes as the area."""
    footprint = read_footprint(scene.footprint, tile=scene.mgrs_tile)
    return None if footprint is None else placed_near(footprint, middle_longitude(aoi))
