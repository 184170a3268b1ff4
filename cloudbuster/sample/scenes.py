"""Write the scenes of the sample world: the rasters and items of both product levels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from cloudbuster.core.scenes.bands import BANDS, BANDS_BY_KIND, Kind
from cloudbuster.sample import items
from cloudbuster.sample.files import GDAL_OPTIONS, Rasters, Target, split_blocks, write_json
from cloudbuster.sample.world import plan
from cloudbuster.sample.world.plan import Datatake, Size, Tile
from cloudbuster.sample.world.product import OFFSET_DN, SceneBlock, has_offset
from cloudbuster.sample.world.sky import make_sky

KINDS: tuple[Kind, ...] = ("L1C", "L2A")


@dataclass(frozen=True)
class SceneJob:
    """Everything a worker process needs to write a datatake on a tile.

    Attributes
    ----------
    folder : Path
        Folder of the sample.
    datatake : Datatake
        Datatake of the plan.
    tile : Tile
        Tile to write.
    size : {"small", "full"}
        Size of the world.
    seed : int
        Seed of the sample.
    suffix : {"tif", "jp2"}
        Suffix of the rasters.
    """

    folder: Path
    datatake: Datatake
    tile: Tile
    size: Size
    seed: int
    suffix: str


def write_scene(job: SceneJob) -> list[dict[str, Any]]:
    """Write both levels of a datatake on a tile; return the truth document of each."""
    sky = make_sky(job.datatake, seed=job.seed, bounds=plan.world_bounds(job.size))
    tile, counts = job.tile, np.zeros((2, 12), np.int64)
    with rasterio.Env(**GDAL_OPTIONS), Rasters(_targets(job)) as rasters:
        for block in split_blocks(tile.west_m, tile.north_m, columns=tile.pixels, rows=tile.pixels):
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


def _write_item(job: SceneJob, kind: Kind, counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Write the item of a level; return the truth document of the scene.

    ``counts`` are 20 m pixels by truth (row 0: nodata, clear, cloud, shadow) and by scene class
    (row 1).
    """
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
    write_json(job.folder / "catalog" / folder / f"{item['id']}.json", item)
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


def _targets(job: SceneJob) -> dict[tuple[str, str], Target]:
    """Rasters of a datatake on a tile, by level and name."""
    tile = job.tile
    targets: dict[tuple[str, str], Target] = {}
    for kind in KINDS:
        folder = job.folder / "catalog" / items.item_folder(job.datatake, tile, kind)
        for band in BANDS_BY_KIND[kind]:
            absent = kind == "L2A" and (job.datatake.index, tile.name) == plan.MISSING_NIR
            if not (absent and band == "B08"):
                path = folder / f"{band}.{job.suffix}"
                targets[kind, band] = _target(tile, path, BANDS[band].gsd_m, "uint16")
    scl, cld = folder / f"SCL.{job.suffix}", folder / f"CLD.{job.suffix}"
    targets["L2A", "SCL"] = _target(tile, scl, 20, "uint8", resampling="NEAREST")
    targets["L2A", "CLD"] = _target(tile, cld, 20, "uint8", nodata=None)
    truth = job.folder / "truth" / f"{items.item_id(job.datatake, tile, 'L2A')}-affected.tif"
    targets["L2A", "affected"] = _target(tile, truth, 20, "uint8", resampling="NEAREST")
    return targets


def _target(tile: Tile, path: Path, gsd_m: int, dtype: str, **more: Any) -> Target:  # noqa: ANN401
    """Make the target of a raster that covers a whole tile."""
    side = tile.side(gsd_m)
    return Target(path, gsd_m, dtype, tile.west_m, tile.north_m, side, side, **more)
