"""Gather tasks of the small scenes of `tests.factories`, and what comes of them."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cloudbuster.core.grids.grid import Grid
from cloudbuster.gather import gather_scene
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.models import Delivery, DetectorOptions, GatherTask, GridDocument
from tests.factories import BANDS, CRS, NORTH, WEST, SceneSpec, write_scene

# Side of a unit of a delivery: 64 pixels.
UNIT_M = 640.0


def grid_of(spec: SceneSpec, *, gsd: float = 10.0) -> Grid:
    """The grid of a scene's own raster, or with other cells over the same ground."""
    cells = round(spec.size * spec.gsd / gsd)
    return Grid(CRS, spec.west, spec.north, gsd, gsd, cells, cells)


def task_of(folder: Path, spec: SceneSpec, grid: Grid | None = None, **changes: Any) -> GatherTask:
    """Write a scene and make its task: stock mask, no growth, clear and backstop raster."""
    item = copy.deepcopy(write_scene(folder, spec))
    for asset in item["assets"].values():
        asset["href"] = str((folder / spec.id / asset["href"]).absolute())
    values: dict[str, Any] = {
        "name": "m",
        "kind": "L2A",
        "catalog": "catalog",
        "item": item,
        "index": 1,
        "backstop_index": 2,
        "bands": BANDS,
        "grid": GridDocument.of(grid or grid_of(spec)),
        "detector": DetectorOptions(type="stock"),
        "dilate_m": 0,
        "output": str(folder / "scenes"),
    }
    return GatherTask(**values | changes)


def scene_files(folder: Path, pattern: str = "*") -> list[str]:
    """Names of the files beside the scenes that `task_of` gathers into ``folder``."""
    return sorted(path.name for path in (folder / "scenes").glob(pattern))


@dataclass(frozen=True)
class Gathered:
    """A gathered raster on the mosaic's grid."""

    bands: np.ndarray
    classes: np.ndarray
    distance_m: np.ndarray
    present: np.ndarray


def gathered(task: GatherTask) -> dict[str, Gathered]:
    """Gather a scene; its rasters by ``clear`` and ``backstop``."""
    grid = task.grid.grid()
    rasters = {}
    for record in gather_scene(task):
        with SceneRaster(Path(task.output, record.raster), grid) as raster:
            rasters["backstop" if record.backstop else "clear"] = Gathered(
                raster.read_reflectance(grid.window),
                raster.read_classes(grid.window),
                raster.read_cloud_distance(grid.window),
                raster.read_present(grid.window),
            )
    return rasters


def delivery(*rows: str, unit_m: float = UNIT_M, crs: str = CRS) -> Delivery:
    """Units of a scene, of which those marked 1 are needed."""
    needed = np.array([[digit == "1" for digit in row] for row in rows])
    return Delivery.of(Grid(crs, WEST, NORTH, unit_m, unit_m, len(rows[0]), len(rows)), needed)


def tiled(path: Path) -> None:
    """Give a raster tiles of 64 x 64 pixels."""
    with rasterio.open(path) as dataset:
        pixels, profile = dataset.read(), dataset.profile
    profile.update(tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
