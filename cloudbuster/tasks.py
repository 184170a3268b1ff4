"""Turn a selection into gather tasks: fix the mosaic's grid, number the scenes."""

from collections.abc import Mapping
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
from cloudbuster.source.radiometry import decide_radiometry
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.gdal_env import gdal_env
from cloudbuster.storage.local_files import Stamps, file_stamps


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
