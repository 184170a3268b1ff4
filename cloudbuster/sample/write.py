"""Write the sample world: scenes, truth and documents, in one complete folder."""

import json
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import rasterio
import rasterio.shutil

from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.errors import BadInputError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.processes.workers import Report, run_tasks
from cloudbuster.sample import items
from cloudbuster.sample.files import GDAL_OPTIONS, Rasters, Target, split_blocks, write_json
from cloudbuster.sample.scenes import KINDS, SceneJob, write_scene
from cloudbuster.sample.world import plan
from cloudbuster.sample.world.plan import Size
from cloudbuster.sample.world.product import shift_dn, truth_reflectance
from cloudbuster.storage.files.uri import output_error

# Version of the generator. Increase it if the bytes of a sample change: older samples are replaced.
GENERATOR_VERSION = 3
SCHEMA = "cloudbuster.sample/1"


class _Marker(TypedDict):
    """Content of ``sample.json``, which identifies a sample."""

    schema: str
    generator: int
    size: Size
    seed: int
    jp2: bool


@dataclass(frozen=True)
class SampleWorld:
    """Paths of a sample.

    Attributes
    ----------
    folder : Path
        Folder of the sample.
    catalog : Path
        Folder of the STAC catalog (``catalog.json`` and the items).
    aoi : Path
        Area of interest, GeoJSON.
    request : Path
        Request for a mosaic of the whole season; paths in it are relative to its folder.
    truth : Path
        Cloud-free truth, 12 bands at 10 m.
    truth_document : Path
        Truth about each scene, JSON.
    scene_count : int
        Number of items in the catalog, of both levels.
    """

    folder: Path
    catalog: Path
    aoi: Path
    request: Path
    truth: Path
    truth_document: Path
    scene_count: int


def write_sample(
    folder: Path,
    *,
    size: Size = "small",
    seed: int = 7,
    jp2: bool = False,
    on_event: OnEvent | None = None,
    workers: int = 1,
) -> SampleWorld:
    """Write a deterministic Sentinel-2 world with its cloud-free truth.

    Parameters
    ----------
    folder : Path
        Folder of the sample. It may be missing, empty or another sample, which is replaced.
    size : {"small", "full"}
        Tiles of 1024 or of 10980 pixels.
    seed : int
        Seed; the same seed and versions give the same bytes.
    jp2 : bool
        Whether to write lossless JP2 instead of COG.
    on_event : callable or None
        Progress callback; there is one event for each scene.
    workers : int
        Number of processes; 1 uses the calling process.

    Returns
    -------
    SampleWorld
        Paths of the sample. If the folder already holds this sample, nothing is written.

    Raises
    ------
    BadInputError
        If the folder holds something that is not a sample.
    OutputError, TryAgainError
        If the folder cannot be written, or the disk is full.
    """
    folder = Path(folder).absolute()
    marker: _Marker = {
        "schema": SCHEMA,
        "generator": GENERATOR_VERSION,
        "size": size,
        "seed": seed,
        "jp2": jp2,
    }
    if _read_marker(folder) == marker:
        return _world(folder, size)
    _check_replaceable(folder)
    try:
        _write_all(folder, marker, on_event=on_event, workers=workers)
    except OSError as error:
        raise output_error(folder, error) from error
    return _world(folder, size)


def _write_all(folder: Path, marker: _Marker, *, on_event: OnEvent | None, workers: int) -> None:
    """Write the sample to a folder beside ``folder``, then rename it."""
    size, seed = marker["size"], marker["seed"]
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        _check_replaceable(partial)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    write_json(partial / "sample.json", marker)
    suffix = "jp2" if marker["jp2"] else "tif"
    jobs = [
        SceneJob(partial, datatake, tile, size, seed, suffix)
        for datatake, tile in plan.planned_scenes(size)
    ]
    scenes = _write_scenes(jobs, on_event, workers)
    _write_truth(partial, size, seed)
    _write_documents(partial, size, scenes)
    _put_in_place(partial, folder)
    emit(on_event, Event("sample", len(jobs) + 1, len(jobs) + 1, "truth"))


def _world(folder: Path, size: Size) -> SampleWorld:
    """Paths of the sample in a folder."""
    return SampleWorld(
        folder=folder,
        catalog=folder / "catalog",
        aoi=folder / "aoi.geojson",
        request=folder / "request.json",
        truth=folder / "truth" / "truth.tif",
        truth_document=folder / "truth" / "truth.json",
        scene_count=len(plan.planned_scenes(size)) * len(KINDS),
    )


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """Content of ``sample.json`` in a folder; None if it is not a sample."""
    try:
        marker = json.loads((folder / "sample.json").read_text())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) and marker.get("schema") == SCHEMA else None


def _check_replaceable(folder: Path) -> None:
    """Raise BadInputError unless the folder is missing, empty or a sample."""
    if not folder.exists() or _read_marker(folder) is not None:
        return
    if not folder.is_dir():
        msg = f"{folder} is a file; name a folder for the sample"
        raise BadInputError(msg)
    if any(folder.iterdir()):
        msg = f"{folder} is not empty and is not a sample; name another folder or empty it"
        raise BadInputError(msg)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename the finished folder, and delete the older sample it replaces."""
    old = folder.with_name(f"{folder.name}.old")
    if old.exists():
        _check_replaceable(old)
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    if old.exists():
        shutil.rmtree(old)


def _write_scenes(
    jobs: list[SceneJob], on_event: OnEvent | None, workers: int
) -> list[dict[str, Any]]:
    """Write every scene; return their truth documents in the order of the plan."""
    truths: list[list[dict[str, Any]]] = [[] for _ in jobs]
    # Closed whatever happens here, so that an interrupted caller does not leave workers behind.
    with closing(run_tasks(_write_numbered, list(enumerate(jobs)), workers=workers)) as written:
        for done, (number, scene) in enumerate(written, start=1):
            truths[number] = scene
            emit(on_event, Event("sample", done, len(jobs) + 1, scene[-1]["id"]))
    return [document for scene in truths for document in scene]


def _write_numbered(job: tuple[int, SceneJob], _report: Report) -> tuple[int, list[dict[str, Any]]]:
    """Write a scene; return its number and its truth documents."""
    return job[0], write_scene(job[1])


def _write_truth(folder: Path, size: Size, seed: int) -> None:
    """Write the cloud-free surface reflectance of the middle of the season over all tiles."""
    west, south, east, north = plan.world_bounds(size)
    columns, rows = (east - west) // 10, (north - south) // 10
    path = folder / "truth" / "truth.tif"
    target = Target(path, 10, "uint16", west, north, columns, rows, bands=BANDS_BY_KIND["L2A"])
    day = plan.SEASON_MIDDLE.timetuple().tm_yday
    key = ("L2A", "truth")
    with rasterio.Env(**GDAL_OPTIONS), Rasters({key: target}) as rasters:
        for block in split_blocks(west, north, columns=columns, rows=rows):
            reflectance = truth_reflectance(block, day=day, seed=seed)
            valid = np.ones(reflectance.shape, bool)
            rasters.put(key, block, shift_dn(reflectance, valid, offset_dn=0))


def _write_documents(folder: Path, size: Size, scenes: list[dict[str, Any]]) -> None:
    """Write the catalog, the collections, the area, the request and the truth document."""
    aoi = items.make_aoi(size)
    feature = {"type": "Feature", "properties": {"name": "sample"}, "geometry": aoi}
    hrefs = [scene.pop("href") for scene in scenes]
    west, south, east, north = items.world_bbox_deg(size)
    write_json(folder / "catalog" / "catalog.json", items.make_catalog(hrefs))
    for kind in KINDS:
        collection = items.make_collection(kind, bbox=(west, south, east, north))
        write_json(folder / "catalog" / items.ROOTS[kind] / "collection.json", collection)
    write_json(folder / "aoi.geojson", feature)
    write_json(folder / "request.json", items.make_request(aoi))
    truth = {
        "schema": "cloudbuster.sample-truth/1",
        "truth": {
            "file": "truth.tif",
            "date": plan.SEASON_MIDDLE.isoformat(),
            "bands": list(BANDS_BY_KIND["L2A"]),
            "unit": "surface reflectance x 10000, no offset, 0 is nodata",
        },
        "affected": {
            "gsd_m": 20,
            "values": {"0": "nodata", "1": "clear", "2": "behind cloud", "3": "in shadow"},
        },
        "scenes": scenes,
    }
    write_json(folder / "truth" / "truth.json", truth)
