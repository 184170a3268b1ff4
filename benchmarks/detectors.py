"""Accuracy and cost of the cloud detectors: ``python -m benchmarks.detectors DATA [WORLD ...]``.

DATA is the folder of the real imagery (see CONTRIBUTING.md), each WORLD a folder that ``cloudbuster
sample`` wrote. Prints the table of docs/detectors.md: for each set of scenes and each detector the
precision and recall of cloud and shadow together, the recall of the shadow alone, and CPU
microseconds for each cell of the mask. The pixels of every set are counted together.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cloudbuster.catalogs.item_hrefs import absolute_item
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.arrays import Raster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.pixels.masks import DetectedMask, grow
from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.core.scenes.scene import BandAsset, Scene
from cloudbuster.detectors import SceneSource, make_detector
from cloudbuster.errors import CloudBusterError, MaskError
from cloudbuster.models import DetectorOptions
from cloudbuster.source.scene_source import RasterSceneSource

# Codes of the truth.
CLEAR, CLOUD, SHADOW, UNKNOWN = 0, 1, 2, 255
# Classes of the labelled picture: shadow 0, clear 1 and 3, cloud 4.
PICTURE_CODES = {0: SHADOW, 1: CLEAR, 3: CLEAR, 4: CLOUD}
PICTURE_BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
# Detectors that are compared, by level.
COMPARED = {
    "L2A": ("stock", "csmask", "csmask+stock", "csmask&stock", "auto"),
    "L1C": ("s2cloudless", "csmask", "csmask+s2cloudless", "csmask&s2cloudless"),
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """A scene with its truth.

    Attributes
    ----------
    source : SceneSource
        Open scene.
    grid : Grid
        Grid of the truth.
    truth : ndarray of uint8, shape (y, x)
        Codes of the truth.
    """

    source: SceneSource
    grid: Grid
    truth: UInt8Raster


@dataclass
class Counts:
    """What a detector said of the pixels of a set of scenes."""

    right: int = 0
    masked: int = 0
    dirty: int = 0
    shadow_right: int = 0
    shadow: int = 0
    clear: int = 0
    cpu_s: float = 0.0
    cells: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, mask: DetectedMask, labelled: Labelled, dilate_m: float) -> None:
        """Count the pixels of a scene; defective cells count as masked."""
        found = grow(mask.cloud_or_shadow, dilate_m, mask.grid) | mask.defective
        found = sample_nearest(found, mask.grid, labelled.grid, fill=1) != 0
        known = labelled.truth != UNKNOWN
        dirty = np.isin(labelled.truth, (CLOUD, SHADOW))
        shadow = labelled.truth == SHADOW
        self.right += int((found & dirty).sum())
        self.masked += int((found & known).sum())
        self.dirty += int(dirty.sum())
        self.shadow_right += int((found & shadow).sum())
        self.shadow += int(shadow.sum())
        self.clear += int((known & ~dirty).sum())

    def row(self) -> str:
        """Return the columns of the table."""
        shares = (
            (self.right, self.masked),
            (self.right, self.dirty),
            (self.shadow_right, self.shadow),
            (self.masked - self.right, self.clear),
        )
        texts = [f"{part / whole:.3f}" if whole else "-" for part, whole in shares]
        return " | ".join([*texts, f"{1e6 * self.cpu_s / max(1, self.cells):.1f}"])


@contextmanager
def opened(path: Path) -> Iterator[RasterSceneSource]:
    """Open the scene of an item on this machine."""
    item = absolute_item(json.loads(path.read_text()), str(path.parent))
    scene = parse_scene(item, catalog=str(path.parent.parent))
    bands = ("B02",) if scene.kind == "L2A" else BANDS_BY_KIND["L1C"]
    with RasterSceneSource(scene, bands) as source:
        yield source


def series(data: Path) -> Iterator[Labelled]:
    """Yield the dates of the real series that are not clear, with the labels of its own script."""
    spec = importlib.util.spec_from_file_location("score_series", data / "score_series.py")
    if spec is None or spec.loader is None:
        msg = f"{data} holds no score_series.py"
        raise SystemExit(msg)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    known = script.Series(data / "l2a-belgium-series")
    days = sorted({day for window in known.windows for day in known.candidates(window)})
    for day in days:
        (path,) = known.folders[day].glob("*.json")
        with opened(path) as source:
            yield Labelled(source, source.grid, known.labels(day).astype(np.uint8))


def slovenia(data: Path) -> Iterator[Labelled]:
    """Yield five L1C dates: two are overcast and three clear, by the published masks."""
    for path in sorted((data / "l1c-slovenia-5dates").glob("S2A_L1C_*.json")):
        published = read(path.with_suffix(".s2cloudless-mask.tif"))
        with opened(path) as source:
            yield Labelled(source, source.grid, np.where(published != 0, CLOUD, CLEAR))


def picture(data: Path) -> Iterator[Labelled]:
    """Yield the labelled picture, which has six bands at about 30 m."""
    folder = data / "toa-labelled-dlr"
    with rasterio.open(folder / "sentinel2_toa_6band.tif") as dataset:
        pixels = np.rint(dataset.read() * 10_000).clip(1, 32_767).astype(np.uint16)
    labels = read(folder / "sentinel2_labels.tif")
    truth = np.full(labels.shape, UNKNOWN, dtype=np.uint8)
    for label, code in PICTURE_CODES.items():
        truth[labels == label] = code
    source = Picture(dict(zip(PICTURE_BANDS, pixels, strict=True)))
    yield Labelled(source, source.grid, truth)


def sample(world: Path, kind: str, every: int) -> Iterator[Labelled]:
    """Yield some scenes of a sample world, whose truth is known."""
    items = sorted((world / "catalog").rglob(f"S2*_{kind}.json"))
    for path in items[::every]:
        truth = world / "truth" / f"{path.stem.replace('L1C', 'L2A')}-affected.tif"
        with rasterio.open(truth) as dataset, opened(path) as source:
            grid = Grid.from_transform(
                source.grid.crs, dataset.transform, width=dataset.width, height=dataset.height
            )
            affected = dataset.read(1)
            codes = np.array([UNKNOWN, CLEAR, CLOUD, SHADOW], dtype=np.uint8)
            yield Labelled(source, grid, codes[affected])


def read(path: Path) -> Raster:
    """Read the first band of a raster."""
    with rasterio.open(path) as dataset:
        values: Raster = dataset.read(1)
    return values


class Picture:
    """Scene in memory, whose bands are on one grid of 30 m."""

    def __init__(self, pixels: dict[str, UInt16Raster]) -> None:
        """Take pixels by band, shape (y, x)."""
        self._pixels = pixels
        height, width = next(iter(pixels.values())).shape
        self.grid = Grid("EPSG:32633", 600_000, 5_100_000, 30, 30, width, height)
        bands = {name: BandAsset(f"memory/{name}.tif") for name in pixels}
        self.scene = Scene(id="picture", kind="L1C", bands=bands)

    def read(self, bands: tuple[str, ...], grid: Grid) -> UInt16Raster:
        """Read a window of its own cells; see `SceneSource.read`."""
        window = GridWindow(*self.grid.offset_of(grid), *grid.shape)
        return np.stack([self._pixels[name][window.slices] for name in bands])

    def read_mask(self, name: str, grid: Grid, *, bands: int = 1) -> UInt8Raster:
        """Raise MaskError: the picture has no mask."""
        size = f"{bands} bands of {grid.width} x {grid.height} cells"
        msg = f"the labelled picture has no mask {name} ({size}); use a detector of bands alone"
        raise MaskError(msg)

    def mask_grid(self, name: str) -> Grid:
        """Raise MaskError: the picture has no mask."""
        msg = f"the labelled picture has no mask {name}; use a detector of bands alone"
        raise MaskError(msg)

    def twin(self) -> None:
        """Return None: there is none."""


def measured(
    scenes: Iterator[Labelled], detectors: tuple[str, ...], gsds: list[float | None], growth: float
) -> dict[str, Counts]:
    """Let detectors mask scenes, and count what they said."""
    counts: dict[str, Counts] = {}
    for labelled in scenes:
        for name in detectors:
            for gsd_m in gsds:
                title = name if gsd_m is None else f"{name} {gsd_m:g} m"
                known = counts.setdefault(title, Counts())
                options = DetectorOptions(type=name, mask_gsd_m=gsd_m)
                detector = make_detector(options, labelled.source.scene.kind)
                start = time.process_time()
                try:
                    mask = detector.detect(labelled.source, labelled.source.grid)
                except CloudBusterError as error:
                    known.notes.append(str(error))
                    continue
                known.cpu_s += time.process_time() - start
                known.cells += mask.cloud.size
                known.add(mask, labelled, growth)
    return counts


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detectors", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the real imagery")
    parser.add_argument("worlds", type=Path, nargs="*", help="folders of sample worlds")
    parser.add_argument("--detector", action="append", help="compare these instead")
    parser.add_argument("--gsd", type=float, action="append", help="cell sizes of masks, metres")
    parser.add_argument("--growth", type=float, default=0, help="growth of the masks, metres")
    parser.add_argument("--every", type=int, default=4, help="use each such scene of a world")
    given = parser.parse_args()
    sets: list[tuple[str, Any, Any]] = [
        ("series, L2A, 10 m", series(given.data), COMPARED["L2A"]),
        ("five dates, L1C, 10 m", slovenia(given.data), COMPARED["L1C"]),
        ("labelled picture, L1C, 30 m", picture(given.data), ("csmask",)),
    ]
    for world in given.worlds:
        for kind, names in COMPARED.items():
            scenes = sample(world, kind, given.every)
            sets.append((f"{world.name}, {kind}", scenes, names))
    print("| scenes | detector | precision | recall | shadow | lost | CPU |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for title, scenes, names in sets:
        chosen = tuple(given.detector or names)
        counts = measured(scenes, chosen, given.gsd or [None], given.growth)
        for name, known in counts.items():
            print(f"| {title} | `{name}` | {known.row()} |", flush=True)
            for note in sorted(set(known.notes))[:1]:
                print(f"  {len(known.notes)} scenes: {note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
