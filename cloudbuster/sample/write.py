"""Write the sample world: rasters block by block, items, truth; the folder appears whole."""

import contextlib
import json
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from cloudbuster.core.bands import BANDS, BANDS_BY_KIND, Kind
from cloudbuster.errors import BadInputError
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.io.uri import output_error
from cloudbuster.sample import items, plan
from cloudbuster.sample.plan import Datatake, Size, Tile
from cloudbuster.sample.product import (
    OFFSET_DN,
    Block,
    SceneBlock,
    has_offset,
    shift_dn,
    truth_reflectance,
)
from cloudbuster.sample.sky import make_sky

# Raised whenever the bytes of a sample change: an older sample is then made anew.
GENERATOR_VERSION = 1
SCHEMA = "cloudbuster.sample/1"
# Side of the blocks that are in memory at once, pixels of 10 m: a multiple of 6, a sixth of a tile.
BLOCK_PIXELS = 1830
KINDS: tuple[Kind, ...] = ("L1C", "L2A")
# Earth Search's COGs have overviews 2 to 16; a small raster gets those with 32 pixels or more.
MAX_OVERVIEWS = 4
MIN_OVERVIEW_PIXELS = 32
GDAL_OPTIONS = {"GDAL_PAM_ENABLED": "NO", "GDAL_CACHEMAX": 256, "GDAL_NUM_THREADS": "1"}


class _Marker(TypedDict):
    """Content of ``sample.json``: what makes one sample differ from another."""

    schema: str
    generator: int
    size: Size
    seed: int
    jp2: bool


@dataclass(frozen=True)
class SampleWorld:
    """Where a sample lies.

    Attributes
    ----------
    folder : Path
        The sample.
    catalog : Path
        Folder of the STAC catalog (``catalog.json`` and the items).
    aoi : Path
        Area of interest, GeoJSON.
    request : Path
        A request over the whole season; its paths are relative to it.
    truth : Path
        Cloud-free truth, 12 bands at 10 m.
    truth_document : Path
        What is true of each scene, JSON.
    scene_count : int
        Items in the catalog, both levels.
    """

    folder: Path
    catalog: Path
    aoi: Path
    request: Path
    truth: Path
    truth_document: Path
    scene_count: int


@dataclass(frozen=True)
class _Job:
    """One datatake of one tile: all that a worker process needs."""

    folder: Path
    datatake: Datatake
    tile: Tile
    size: Size
    seed: int
    suffix: str


@dataclass(frozen=True)
class _Target:
    """One raster to be written."""

    path: Path
    gsd_m: int
    dtype: str
    west_m: int
    north_m: int
    width: int
    height: int
    bands: tuple[str, ...] = ()
    resampling: str = "AVERAGE"
    nodata: int | None = 0


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
        Where; made anew where it is absent, empty or another sample.
    size : {"small", "full"}
        Tiles of 1024 or of 10980 pixels.
    seed : int
        Same seed and versions, same bytes.
    jp2 : bool
        Lossless JP2 instead of COG.
    on_event : callable or None
        Told after each scene.
    workers : int
        Processes; 1 works in this one.

    Returns
    -------
    SampleWorld
        An existing folder that holds this very sample is returned as it is.

    Raises
    ------
    BadInputError
        Where the folder holds something that is not a sample.
    OutputError, TryAgainError
        Where the folder cannot be written, or the disk is full.
    """
    folder = Path(folder).absolute()
    marker: _Marker = {
        "schema": SCHEMA,
        "generator": GENERATOR_VERSION,
        "size": size,
        "seed": seed,
        "jp2": jp2,
    }
    if _marker_of(folder) == marker:
        return _world(folder, size)
    _refuse_foreign(folder)
    try:
        _write_all(folder, marker, on_event=on_event, workers=workers)
    except OSError as error:
        raise output_error(folder, error) from error
    return _world(folder, size)


def _write_all(folder: Path, marker: _Marker, *, on_event: OnEvent | None, workers: int) -> None:
    """Write the sample beside ``folder``, then put it in place."""
    size, seed = marker["size"], marker["seed"]
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        _refuse_foreign(partial)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    _write_json(partial / "sample.json", marker)
    suffix = "jp2" if marker["jp2"] else "tif"
    jobs = [
        _Job(partial, datatake, tile, size, seed, suffix)
        for datatake, tile in plan.planned_scenes(size)
    ]
    scenes = _run(jobs, on_event, workers)
    _write_truth(partial, size, seed)
    _write_documents(partial, size, scenes)
    _put_in_place(partial, folder)
    emit(on_event, Event("sample", len(jobs) + 1, len(jobs) + 1, "truth"))


def _world(folder: Path, size: Size) -> SampleWorld:
    return SampleWorld(
        folder=folder,
        catalog=folder / "catalog",
        aoi=folder / "aoi.geojson",
        request=folder / "request.json",
        truth=folder / "truth" / "truth.tif",
        truth_document=folder / "truth" / "truth.json",
        scene_count=len(plan.planned_scenes(size)) * len(KINDS),
    )


def _marker_of(folder: Path) -> dict[str, Any] | None:
    """Content of the folder's ``sample.json``; None where it is not a sample."""
    try:
        marker = json.loads((folder / "sample.json").read_text())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) and marker.get("schema") == SCHEMA else None


def _refuse_foreign(folder: Path) -> None:
    """Raise unless the folder is absent, empty or a sample."""
    if not folder.exists() or _marker_of(folder) is not None:
        return
    if not folder.is_dir():
        msg = f"{folder} is a file; name a folder for the sample"
        raise BadInputError(msg)
    if any(folder.iterdir()):
        msg = f"{folder} is not empty and is not a sample; name another folder or empty it"
        raise BadInputError(msg)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename the finished folder; an older sample goes away only then."""
    old = folder.with_name(f"{folder.name}.old")
    if old.exists():
        _refuse_foreign(old)
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    if old.exists():
        shutil.rmtree(old)


def _run(jobs: list[_Job], on_event: OnEvent | None, workers: int) -> list[dict[str, Any]]:
    """Write every scene; return their truth documents in the plan's order."""
    truths: list[list[dict[str, Any]]] = [[] for _ in jobs]

    def finished(number: int, done: int, scene: list[dict[str, Any]]) -> None:
        truths[number] = scene
        emit(on_event, Event("sample", done, len(jobs) + 1, scene[-1]["id"]))

    if workers <= 1:
        for number, job in enumerate(jobs):
            finished(number, number + 1, write_scene(job))
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            futures = {pool.submit(write_scene, job): number for number, job in enumerate(jobs)}
            for done, future in enumerate(as_completed(futures), start=1):
                finished(futures[future], done, future.result())
    return [document for scene in truths for document in scene]


def blocks_of(west_m: int, north_m: int, *, columns: int, rows: int) -> Iterator[Block]:
    """Cut a raster (pixels of 10 m) into blocks; the last may reach over its edge."""
    for row in range(0, rows, BLOCK_PIXELS):
        for column in range(0, columns, BLOCK_PIXELS):
            high, wide = (
                -(-min(BLOCK_PIXELS, end - start) // 6) * 6
                for start, end in ((row, rows), (column, columns))
            )
            yield Block(west_m + column * 10, north_m - row * 10, high, wide)


def write_scene(job: _Job) -> list[dict[str, Any]]:
    """Write both levels of one datatake on one tile; return what is true of each."""
    sky = make_sky(job.datatake, seed=job.seed, bounds=plan.world_bounds(job.size))
    tile, counts = job.tile, np.zeros((2, 12), np.int64)
    with rasterio.Env(**GDAL_OPTIONS), _Rasters(_targets(job)) as rasters:
        for block in blocks_of(tile.west_m, tile.north_m, columns=tile.pixels, rows=tile.pixels):
            scene = SceneBlock(sky, block)
            for kind in KINDS:
                for band in BANDS_BY_KIND[kind]:
                    if (kind, band) in rasters:
                        rasters.put((kind, band), block, scene.digital(band, kind)[np.newaxis])
            classes, affected = scene.scene_classes(), scene.affected()
            rasters.put(("L2A", "SCL"), block, classes[np.newaxis])
            rasters.put(("L2A", "CLD"), block, scene.cloud_probability()[np.newaxis])
            inside = rasters.put(("L2A", "affected"), block, affected[np.newaxis])
            counts[0] += np.bincount(affected[inside].ravel(), minlength=12)
            counts[1] += np.bincount(classes[inside].ravel(), minlength=12)
    return [_write_item(job, kind, counts) for kind in KINDS]


def _write_item(job: _Job, kind: Kind, counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Write the item of a level; return what is true of the scene."""
    datatake, tile = job.datatake, job.tile
    item = items.make_item(
        datatake,
        tile,
        kind,
        size=job.size,
        suffix=job.suffix,
        affected=counts[0, :4],
        classes=counts[1],
    )
    folder = items.item_folder(datatake, tile, kind)
    _write_json(job.folder / "catalog" / folder / f"{item['id']}.json", item)
    l2a = kind == "L2A"
    return {
        "id": item["id"],
        "href": f"{folder}/{item['id']}.json",
        "kind": kind,
        "mgrs_tile": tile.name,
        "datatake": datatake.index,
        "relative_orbit": datatake.orbit,
        "processing_baseline": datatake.baseline,
        "convention": datatake.convention
        if l2a
        else ("none" if datatake.convention == "none" else "present"),
        "offset_dn": OFFSET_DN if has_offset(datatake, kind) else 0,
        "flags_are_right": datatake.flag_is_right if l2a else True,
        "jitter_m": list(datatake.jitter_m),
        "reprocessed": datatake.sequence > 0,
        "missing_assets": ["nir"]
        if l2a and (datatake.index, tile.name) == plan.MISSING_NIR
        else [],
        "pixels_20m": dict(
            zip(("nodata", "clear", "cloud", "shadow"), counts[0, :4].tolist(), strict=True)
        ),
        "affected": f"{items.item_id(datatake, tile, 'L2A')}-affected.tif",
    }


def _targets(job: _Job) -> dict[tuple[str, str], _Target]:
    """Every raster of a datatake on a tile."""
    tile = job.tile

    def target(path: Path, gsd_m: int, dtype: str, **more: Any) -> _Target:  # noqa: ANN401
        side = tile.side(gsd_m)
        return _Target(path, gsd_m, dtype, tile.west_m, tile.north_m, side, side, **more)

    targets: dict[tuple[str, str], _Target] = {}
    for kind in KINDS:
        folder = job.folder / "catalog" / items.item_folder(job.datatake, tile, kind)
        for band in BANDS_BY_KIND[kind]:
            absent = kind == "L2A" and (job.datatake.index, tile.name) == plan.MISSING_NIR
            if not (absent and band == "B08"):
                path = folder / f"{band}.{job.suffix}"
                targets[kind, band] = target(path, BANDS[band].gsd_m, "uint16")
    scl, cld = folder / f"SCL.{job.suffix}", folder / f"CLD.{job.suffix}"
    targets["L2A", "SCL"] = target(scl, 20, "uint8", resampling="NEAREST")
    targets["L2A", "CLD"] = target(cld, 20, "uint8", nodata=None)
    truth = job.folder / "truth" / f"{items.item_id(job.datatake, tile, 'L2A')}-affected.tif"
    targets["L2A", "affected"] = target(truth, 20, "uint8", resampling="NEAREST")
    return targets


class _Rasters:
    """Rasters written window by window to plain GeoTIFFs, then made COG or JP2 on leaving.

    Parameters
    ----------
    targets : mapping
        Target by a key of the caller's.
    """

    def __init__(self, targets: Mapping[tuple[str, str], _Target]) -> None:
        self._targets = targets
        self._open: dict[tuple[str, str], Any] = {}
        self._stack = contextlib.ExitStack()

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._targets

    def __enter__(self) -> "_Rasters":
        for key, target in self._targets.items():
            target.path.parent.mkdir(parents=True, exist_ok=True)
            self._open[key] = self._stack.enter_context(_open_scratch(target))
        return self

    def __exit__(self, failed: type[BaseException] | None, *_rest: object) -> None:
        self._stack.close()
        for target in self._targets.values():
            if failed is None:
                _finish(target)
            _scratch(target).unlink(missing_ok=True)

    def put(
        self, key: tuple[str, str], block: Block, pixels: npt.NDArray[Any]
    ) -> tuple[slice, slice]:
        """Write a block, shape (band, y, x); return the part of it that is inside the raster."""
        target = self._targets[key]
        column = (block.west_m - target.west_m) // target.gsd_m
        row = (target.north_m - block.north_m) // target.gsd_m
        rows = min(pixels.shape[1], target.height - row)
        columns = min(pixels.shape[2], target.width - column)
        window = Window(column, row, columns, rows)
        self._open[key].write(pixels[:, :rows, :columns], window=window)
        return slice(0, rows), slice(0, columns)


def _scratch(target: _Target) -> Path:
    return target.path.with_name(f"{target.path.name}.scratch.tif")


def _open_scratch(target: _Target) -> Any:  # noqa: ANN401 -- rasterio has no types
    dataset = rasterio.open(
        _scratch(target),
        "w",
        driver="GTiff",
        width=target.width,
        height=target.height,
        count=max(len(target.bands), 1),
        dtype=target.dtype,
        crs=f"EPSG:{plan.EPSG}",
        transform=rasterio.Affine(target.gsd_m, 0, target.west_m, 0, -target.gsd_m, target.north_m),
        nodata=None if target.path.suffix == ".jp2" else target.nodata,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        bigtiff="IF_SAFER",
    )
    for number, name in enumerate(target.bands, start=1):
        dataset.set_band_description(number, name)
    return dataset


def _finish(target: _Target) -> None:
    """Copy the scratch file to its final format."""
    if target.path.suffix == ".jp2":
        options = {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "YES", "ycc": "NO"}
        if target.dtype == "uint16":
            options["nbits"] = "15"
    else:
        smaller = min(target.width, target.height) // MIN_OVERVIEW_PIXELS
        options = {
            "driver": "COG",
            "compress": "DEFLATE",
            "predictor": "STANDARD" if target.dtype == "uint16" else "NO",
            "blocksize": "512",
            "bigtiff": "IF_SAFER",
            "overview_resampling": target.resampling,
            "overview_count": str(min(MAX_OVERVIEWS, max(smaller.bit_length() - 1, 0))),
        }
    rasterio.shutil.copy(_scratch(target), target.path, **options)


def _write_truth(folder: Path, size: Size, seed: int) -> None:
    """Write the cloud-free surface of the season's middle over all tiles."""
    west, south, east, north = plan.world_bounds(size)
    columns, rows = (east - west) // 10, (north - south) // 10
    path = folder / "truth" / "truth.tif"
    target = _Target(path, 10, "uint16", west, north, columns, rows, bands=BANDS_BY_KIND["L2A"])
    day = plan.SEASON_MIDDLE.timetuple().tm_yday
    key = ("L2A", "truth")
    with rasterio.Env(**GDAL_OPTIONS), _Rasters({key: target}) as rasters:
        for block in blocks_of(west, north, columns=columns, rows=rows):
            reflectance = truth_reflectance(block, day=day, seed=seed)
            valid = np.ones(reflectance.shape, bool)
            rasters.put(key, block, shift_dn(reflectance, valid, offset_dn=0))


def _write_documents(folder: Path, size: Size, scenes: list[dict[str, Any]]) -> None:
    """Write catalog, collections, area, request and the truth's document."""
    aoi = items.make_aoi(size)
    feature = {"type": "Feature", "properties": {"name": "sample"}, "geometry": aoi}
    hrefs = [scene.pop("href") for scene in scenes]
    west, south, east, north = items.world_bbox_deg(size)
    _write_json(folder / "catalog" / "catalog.json", items.make_catalog(hrefs))
    for kind in KINDS:
        collection = items.make_collection(kind, bbox=(west, south, east, north))
        _write_json(folder / "catalog" / items.ROOTS[kind] / "collection.json", collection)
    _write_json(folder / "aoi.geojson", feature)
    _write_json(folder / "request.json", items.make_request(aoi))
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
    _write_json(folder / "truth" / "truth.json", truth)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
