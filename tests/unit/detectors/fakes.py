"""In-memory scene that satisfies `SceneSource`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.scenes.bands import BANDS_BY_KIND, Kind
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.errors import MaskError

CRS = "EPSG:32633"


def grid_of(height: int, width: int, gsd_m: float = 10, *, crs: str = CRS) -> Grid:
    return Grid(crs, 600_000, 5_100_000, gsd_m, gsd_m, width, height)


def scene_of(kind: Kind = "L2A", **changes: Any) -> Scene:
    known: dict[str, Any] = {
        "id": f"S2A_33TWL_20230818_0_{kind}",
        "kind": kind,
        "mgrs_tile": "33TWL",
        "datatake": "S2A_20230818T100031",
    }
    return Scene(**{**known, **changes})


@dataclass
class FakeSource:
    """Pixels and masks held in arrays.

    ``pixels`` has one array on ``grid`` for each band; ``masks`` has (grid, array of shape
    (bands, y, x)) by name. ``reads`` counts the cells that were read.
    """

    scene: Scene
    grid: Grid
    pixels: Mapping[str, npt.NDArray[np.uint16]] = field(default_factory=dict)
    masks: Mapping[str, tuple[Grid, npt.NDArray[np.uint8]]] = field(default_factory=dict)
    twin_source: "FakeSource | None" = None
    reads: list[tuple[tuple[str, ...], Grid]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assets = {name: BandAsset(f"memory/{name}.tif") for name in self.masks}
        self.scene = Scene(**{**self.scene.__dict__, "masks": {**assets, **self.scene.masks}})

    def read(self, bands: tuple[str, ...], grid: Grid) -> npt.NDArray[np.uint16]:
        self.reads.append((bands, grid))
        return np.stack([self._band(self.pixels[name], grid) for name in bands])

    def _band(self, pixels: npt.NDArray[np.uint16], grid: Grid) -> npt.NDArray[np.uint16]:
        if self.grid.is_aligned(grid):
            window = GridWindow(*self.grid.offset_of(grid), *grid.shape)
            inside = window.intersection(self.grid.window)
            result = np.zeros(grid.shape, dtype=np.uint16)
            result[inside.shifted(-window.row, -window.col).slices] = pixels[inside.slices]
            return result
        result = np.zeros(grid.shape, dtype=np.uint16)
        for cell in grid.blocks(1):
            touched = self.grid.window_of(grid.window_bounds(cell)).intersection(self.grid.window)
            values = pixels[touched.slices]
            if (values != 0).any():
                result[cell.slices] = round(values[values != 0].mean())
        return result

    def read_mask(self, name: str, grid: Grid, *, bands: int = 1) -> npt.NDArray[np.uint8]:
        native = self.mask_grid(name)
        layers = self.masks[name][1][:bands]
        return np.stack([sample_nearest(layer, native, grid, fill=0) for layer in layers])

    def mask_grid(self, name: str) -> Grid:
        if name not in self.masks:
            msg = f"no mask {name}"
            raise MaskError(msg)
        return self.masks[name][0]

    def twin(self) -> "FakeSource | None":
        return self.twin_source


def source_of_tiff(path: Path) -> FakeSource:
    """Source of a 13-band L1C GeoTIFF."""
    with rasterio.open(path) as dataset:
        grid = Grid.from_transform(
            CRS, dataset.transform, width=dataset.width, height=dataset.height
        )
        pixels = dict(zip(BANDS_BY_KIND["L1C"], dataset.read(), strict=True))
    return FakeSource(scene_of("L1C", id=path.stem), grid, pixels)
