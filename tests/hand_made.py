"""Gathered scenes made by hand, with a class for each cell and values that name scene and band."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.events import OnEvent
from cloudbuster.gathered.scene_raster import scene_stem
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.merge import MosaicRecipe, merge_scenes
from cloudbuster.models import GridDocument, MergeResult, Radiometry, SceneRecord
from cloudbuster.storage.rasters.tiled_raster import raster_profile

GRID = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 4, 2)
BANDS = ("B02", "B03", "B04")


@dataclass(frozen=True)
class GatheredSpec:
    """A scene by hand: its classes, their window in the mosaic, and its role."""

    index: int
    classes: np.ndarray
    row: int = 0
    col: int = 0
    backstop: bool = False
    item_id: str | None = None
    distance: int = 700

    @property
    def reflectance(self) -> np.ndarray:
        """Index * 100 + 10 * band + 1; 0 where the scene has no value."""
        kept = self.classes >= (1 if self.backstop else 2)
        levels = [self.index * 100 + 10 * band + 1 for band in range(len(BANDS))]
        return np.stack([np.where(kept, level, 0) for level in levels]).astype(np.uint16)

    @property
    def window(self) -> GridWindow:
        return GridWindow(self.row, self.col, *self.classes.shape)


def spec(index: int, classes: list[list[int]] | np.ndarray, **options: object) -> GatheredSpec:
    return replace(GatheredSpec(index, np.array(classes)), **options)  # type: ignore[arg-type]


def make_record(index: int, item_id: str, **changes: Any) -> SceneRecord:
    """Record of a gathered scene of `GRID`; ``changes`` are fields of the record."""
    record = SceneRecord(
        name="m",
        index=index,
        backstop=False,
        item_id=item_id,
        catalog="https://example.com/v1",
        collection="sentinel-2-l2a",
        acquired=datetime(2020, 6, 1, 10, tzinfo=UTC),
        platform="sentinel-2b",
        mgrs_tile="33TWM",
        baseline="05.09",
        cloud_cover=3.25,
        detector="stock(standard)",
        radiometry=Radiometry(verdict="removed", offset_dn=0, confidence="high", evidence=()),
        bands=BANDS,
        grid=GridDocument.of(GRID),
        observed_fraction=1,
        clear_fraction=0.5,
        raster=f"m-{index:02d}.tif",
        task_fingerprint="f",
        version="1",
        item={"id": item_id, "links": []},
    )
    return record.model_copy(update=changes)


def record_of(scene: GatheredSpec, name: str = "m", grid: Grid = GRID) -> SceneRecord:
    """Record of a scene on the grid of a mosaic."""
    return make_record(
        scene.index,
        scene.item_id or f"ITEM_{scene.index}",
        name=name,
        backstop=scene.backstop,
        grid=GridDocument.of(grid),
        raster=f"{stem_of(scene, name)}.tif",
    )


def stem_of(scene: GatheredSpec, name: str) -> str:
    return scene_stem(name, scene.index, prefix="backstop-" if scene.backstop else "")


def write_gathered(
    folder: Path,
    scene: GatheredSpec,
    *,
    name: str = "m",
    grid: Grid = GRID,
    record: bool = True,
) -> Path:
    path = folder / f"{stem_of(scene, name)}.tif"
    own = grid.crop(scene.window)
    with open_scene_writer(path, own, BANDS, index=scene.index) as writer:
        distance = np.full(scene.classes.shape, scene.distance)
        writer.write(own.window, scene.reflectance, scene.classes, distance)
    if record:
        path.with_suffix(".json").write_bytes(record_of(scene, name, grid).to_json())
    return path


def write_original(folder: Path, stem: str, pixels: np.ndarray, grid: Grid = GRID) -> Path:
    """Write a scene as the original does: bands without description, then the index."""
    path = folder / f"{stem}.tif"
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **raster_profile(grid, len(pixels))) as dataset:
        dataset.write(pixels.astype(np.uint16))
    return path


def merged(folder: Path, *, on_event: OnEvent | None = None, **options: Any) -> MergeResult:
    """Merge the scenes in ``folder/scenes`` into ``folder``; ``options`` are of the recipe."""
    recipe = MosaicRecipe("m", **options)
    return merge_scenes(str(folder / "scenes"), str(folder), recipe, on_event=on_event)


def read(path: str) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read())


THREE = (
    spec(1, [[3, 1, 2, 0], [1, 1, 2, 0]]),
    spec(2, [[3, 3, 2, 0], [1, 1, 3, 0]], distance=90),
    spec(3, [[3, 1, 1, 0], [1, 1, 1, 0]], backstop=True, item_id="ITEM_1"),
)


def write_three(folder: Path) -> None:
    for scene in THREE:
        write_gathered(folder / "scenes", scene)
