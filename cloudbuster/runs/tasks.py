"""Plan the gather tasks of a selection: the mosaic's grid, and the indices of the scenes."""

import logging
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import PurePath
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.areas.antimeridian import middle_longitude, placed_near
from cloudbuster.core.areas.footprint import read_footprint
from cloudbuster.core.grids.grid import Bounds, Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.mosaic_grid import (
    has_native_phase,
    plan_grid,
    projected_bounds,
    resolve_crs,
)
from cloudbuster.core.scenes.bands import BANDS, Kind, requested_bands
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.detectors import resolved
from cloudbuster.errors import (
    BadInputError,
    CloudBusterError,
    GridError,
    NothingUsableError,
    RequestError,
)
from cloudbuster.inputs.areas import document_area
from cloudbuster.models import (
    MAX_SCENE_INDEX,
    Delivery,
    DetectorOptions,
    GatherOptions,
    GatherTask,
    GridDocument,
    Radiometry,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.source.radiometry import decide_radiometry
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.files.folders import names_in
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.uri import join
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.local_files import Stamps, file_stamps

logger = logging.getLogger(__name__)

# Ratio to a native cell size up to which a raster counts as one of that size: a raster that GDAL
# warped to degrees has cells of about the same diagonal, so that their sides vary.
NATIVE_TOLERANCE = 1.2
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
    """Plan the gather tasks of a selection.

    Parameters
    ----------
    selection, options : Selection, GatherOptions
        Scenes to gather, and how.
    name, output : str
        Base of the file names, and folder or prefix of the scenes.
    known : mapping of str to Radiometry, optional
        Earlier decisions about the scenes' offsets, by item id; they are not made again.
    stamps : mapping of str to tuple of str, optional
        ``file_stamps`` of earlier tasks, by item id, for files that have been removed since.

    Returns
    -------
    list of GatherTask
        Strategy ``original`` has one task for each item, clear scenes before the backstop, and
        ``clear`` one for each entry of which a part is needed. Its backstop has the index after
        that of the clear scene, so that later rounds do not change the tasks of earlier ones.

    Raises
    ------
    NothingUsableError
        If the selection is empty.
    AoiError, GridError
        If the area cannot be used, or the CRS does not exist or cannot hold it.
    RequestError
        If the product level does not have a band, or there are too many scenes.
    """
    info = selection.cloudbuster
    scenes = _scenes(selection)
    # Stamps are taken before anything is read, so that a file that changes meanwhile counts as
    # another one in the next plan.
    files = _files(scenes, options.detector, stamps or {})
    bands = _bands(info.kind, options)
    grid = selection_grid(document_area(info.aoi), scenes, bands, options)
    roles = _roles(info, options)
    items = {str(item.get("id")): item for item in selection.features}
    radiometry = _radiometry(scenes, bands, known or {})
    common = {"name": name, "bands": bands, "grid": GridDocument.of(grid), "output": output}
    return [
        GatherTask(
            item=items[role.item_id],
            radiometry=radiometry.get(role.item_id),
            file_stamps=files[role.item_id],
            **role.fields(),
            **common,
            **_common(info, options),
        )
        for role in roles
    ]


def tasks_of_index(tasks: list[GatherTask], index: int) -> list[GatherTask]:
    """Find the task that writes the scene of an index, as clear scene or as backstop.

    Raises
    ------
    RequestError
        If there is none; says which indices there are.
    """
    chosen = [task for task in tasks if index in (task.index, task.backstop_index)]
    if not chosen:
        numbers = [number for task in tasks for number in (task.index, task.backstop_index)]
        known = sorted(number for number in numbers if number is not None)
        msg = f"no scene has index {index}; they run from {known[0]} to {known[-1]}"
        raise RequestError(msg)
    return chosen


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
    """Return whether the local files that a task reads are as planned, or have been removed.

    Raises
    ------
    CatalogError
        If its item is no scene.
    """
    scene = parse_scene(task.item, catalog=task.catalog, asset_mirror=task.asset_mirror)
    return task.file_stamps == _files_of(scene, task.detector, task.file_stamps)


def _files(
    scenes: list[Scene], detector: DetectorOptions, before: Mapping[str, Stamps]
) -> dict[str, Stamps | None]:
    """Return the stamps of the files of each scene, by its id."""
    return {scene.id: _files_of(scene, detector, before.get(scene.id)) for scene in scenes}


def _files_of(scene: Scene, detector: DetectorOptions, before: Stamps | None) -> Stamps | None:
    """Return the stamps of the local files that decide a scene's pixels: its own, the model's."""
    model = (detector.architecture, detector.weights, detector.donor_mask)
    hrefs = [*scene.hrefs, *(href for href in model if href is not None)]
    return file_stamps(hrefs, before)


def _scenes(selection: Selection) -> list[Scene]:
    """Parse the selected scenes, each once; raise NothingUsableError if there is none."""
    info = selection.cloudbuster
    if not info.entries:
        msg = "the selection holds no scene; widen the query"
        raise NothingUsableError(msg)
    return [
        parse_scene(item, catalog=info.catalog, asset_mirror=info.asset_mirror)
        for item in selection.features
    ]


def _common(info: SelectionInfo, options: GatherOptions) -> dict[str, Any]:
    """Return the fields that are the same in every task of a selection."""
    return {
        "kind": info.kind,
        "catalog": info.catalog,
        "asset_mirror": info.asset_mirror,
        "detector": resolved(options.detector, info.kind),
        "dilate_m": options.dilate_m,
        "donate_mask": options.donate_mask,
        "on_radiometry_conflict": options.on_radiometry_conflict,
        "backstop_pixels": "masked" if info.strategy == "clear" else "all",
    }


def _bands(kind: Kind, options: GatherOptions) -> tuple[str, ...]:
    """Return the bands of the mosaic; raise RequestError."""
    try:
        return requested_bands(kind, options.bands)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _radiometry(
    scenes: list[Scene], bands: tuple[str, ...], known: Mapping[str, Radiometry]
) -> dict[str, Radiometry]:
    """Decide the offset of each scene, except of scenes that cannot be read."""
    decisions = decide_radiometry(
        scenes, bands, known={name: radiometry.decision() for name, radiometry in known.items()}
    )
    return {name: Radiometry.of(decision) for name, decision in decisions.items()}


@dataclass(frozen=True)
class _Role:
    """What one task is to write: the numbers of its rasters, and the parts of the scene."""

    item_id: str
    index: int | None
    backstop_index: int | None
    delivery: Delivery | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a task that this role decides."""
        return {
            "index": self.index,
            "backstop_index": self.backstop_index,
            "delivery": self.delivery,
        }


def _roles(info: SelectionInfo, options: GatherOptions) -> list[_Role]:
    """Return what each task of a selection is to write."""
    if info.strategy != "clear":
        numbers = _numbers(info.entries, options.index_start)
        return [
            _Role(item_id, numbers.get((item_id, False)), numbers.get((item_id, True)))
            for item_id in dict.fromkeys(entry.item_id for entry in info.entries)
        ]
    step = 1 if info.backstop_uncovered is None else 2
    _check_last(step * len(info.entries), options.index_start)
    # Without clipping, the mosaic holds the whole scenes.
    clips = options.bounds_clip
    return [
        _Role(
            entry.item_id,
            index,
            index + 1 if step == 2 else None,
            entry.delivery if clips else None,
        )
        for index, entry in zip(count(options.index_start, step), info.entries, strict=False)
        if entry.delivery is None or entry.delivery.needed().any()
    ]


def _check_last(scenes: int, index_start: int) -> None:
    """Raise RequestError if the indices of so many scenes leave their range."""
    last = index_start + scenes - 1
    if last > MAX_SCENE_INDEX:
        msg = (
            f"{scenes} scenes from index {index_start} reach {last}, over "
            f"{MAX_SCENE_INDEX}; lower --index-start or --max-selections"
        )
        raise RequestError(msg)


def _numbers(entries: tuple[SelectionEntry, ...], index_start: int) -> dict[tuple[str, bool], int]:
    """Return the index of each (item id, backstop): clear scenes come first."""
    ordered = sorted(entries, key=lambda entry: entry.backstop)
    _check_last(len(ordered), index_start)
    return {
        (entry.item_id, entry.backstop): index
        for index, entry in enumerate(ordered, start=index_start)
    }


def selection_grid(
    aoi: BaseGeometry, scenes: list[Scene], bands: tuple[str, ...], options: GatherOptions
) -> Grid:
    """Make the grid of a mosaic of the selected scenes.

    Parameters
    ----------
    aoi, scenes, bands : shapely geometry, list of Scene, tuple of str
        Area (longitudes unwrapped), selected scenes, and bands of the mosaic.
    options : GatherOptions
        ``crs``, ``gsd_m`` and ``bounds_clip`` are used.

    Returns
    -------
    Grid
        Contains the area's bounding box, or with ``bounds_clip`` off all the scenes.

    Raises
    ------
    GridError
        If the CRS does not exist or cannot hold the area.
    """
    try:
        crs = resolve_crs(options.crs, aoi)
        extent = None if options.bounds_clip else _extent(aoi, scenes, crs)
        gsd_m = options.gsd_m or _finest_gsd(aoi, scenes, bands)
        phase = _phase(aoi, scenes, bands, crs, gsd_m)
        return plan_grid(aoi, crs=crs, gsd_m=gsd_m, phase=phase, extent_bounds=extent)
    except ValueError as error:
        raise GridError(str(error)) from error


def _extent(aoi: BaseGeometry, scenes: list[Scene], crs: str) -> Bounds:
    """Return the bounds of all footprints and of the area in ``crs``."""
    shapes = [footprint for scene in scenes if (footprint := _footprint(scene, aoi)) is not None]
    west, south, east, north = map(float, shapely.total_bounds([aoi, *shapes]))
    # Vertices along the edges distinguish a box of over half the world, which is refused, from a
    # box across the antimeridian.
    return projected_bounds(shapely.segmentize(shapely.box(west, south, east, north), 1.0), crs)


def _finest_gsd(aoi: BaseGeometry, scenes: list[Scene], bands: tuple[str, ...]) -> float:
    """Return the cell size of the finest band of any scene, metres.

    If a scene has this band's native size, the others are not opened. The native size is assumed
    if no scene can be opened.
    """
    finest = min(bands, key=lambda band: BANDS[band].gsd_m)
    native_m = float(BANDS[finest].gsd_m)
    sizes = []
    for scene in sorted(scenes, key=lambda scene: _covered_area(scene, aoi), reverse=True):
        try:
            with gdal_env(), RasterSceneSource(scene, (finest,)) as source:
                width_m, height_m = cell_size_m(source.grid)
        except CloudBusterError:
            # A scene that cannot be opened fails when it is gathered.
            continue
        sizes.append(math.sqrt(width_m * height_m))
        if sizes[-1] <= native_m * NATIVE_TOLERANCE:
            return native_m
    return float(f"{min(sizes, default=native_m):.3g}")


def _phase(
    aoi: BaseGeometry, scenes: list[Scene], bands: tuple[str, ...], crs: str, gsd_m: float
) -> tuple[float, float]:
    """Return any corner of the grid: that of a raster, unless the grid has the native phase."""
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
            # A scene that cannot be opened fails when it is gathered; another gives the phase.
            continue
    return (0.0, 0.0)


def _covered_area(scene: Scene, aoi: BaseGeometry) -> float:
    """Return the planar area of a scene's footprint within the area, square degrees."""
    footprint = _footprint(scene, aoi)
    return 0.0 if footprint is None else float(footprint.intersection(aoi).area)


def _footprint(scene: Scene, aoi: BaseGeometry) -> BaseGeometry | None:
    """Return the footprint of a scene, shifted by full turns to the longitudes of the area."""
    footprint = read_footprint(scene.footprint, tile=scene.mgrs_tile)
    return None if footprint is None else placed_near(footprint, middle_longitude(aoi))
