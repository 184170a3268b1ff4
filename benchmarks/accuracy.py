"""Compare the mosaic of a sample world with its truth: ``python -m benchmarks.accuracy WORLD``.

Prints the figures of the README: the share of clear pixels that are cloud or shadow, and the RMSE
of each band over the clear pixels against the cloud-free truth.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

Raster = npt.NDArray[Any]


# Code of clear pixels in the band `state` of the quality raster.
CLEAR = 3
# Codes of cloud and shadow in the `affected` rasters of the truth.
AFFECTED = (2, 3)


def affected_count(
    world: Path, scenes: list[dict[str, Any]], index: Raster, clear: Raster, grid: dict[str, Any]
) -> int:
    """Count the clear pixels of a mosaic that are cloud or shadow in their own scene.

    Parameters
    ----------
    world : Path
        Folder of the sample world.
    scenes : list of dict
        Scene table of the mosaic's item.
    index, clear : ndarray, shape (y, x)
        Scene index, and whether the pixel is clear. Not modified.
    grid : dict
        CRS, transform, width and height of the mosaic.
    """
    count = 0
    for scene in scenes:
        own = clear & (index == scene["index"])
        path = world / "truth" / f"{scene['item_id']}-affected.tif"
        with rasterio.open(path) as source, WarpedVRT(source, **grid) as affected:
            count += int(np.isin(affected.read(1)[own], AFFECTED).sum())
    return count


def print_errors(world: Path, mosaic: DatasetReader, clear: Raster, grid: dict[str, Any]) -> None:
    """Print the RMSE of each band of a mosaic over its clear pixels."""
    with (
        rasterio.open(world / "truth" / "truth.tif") as source,
        WarpedVRT(source, nodata=0, **grid) as truth,
    ):
        for band, description in enumerate(mosaic.descriptions[:-1], start=1):
            expected = truth.read(1 + source.descriptions.index(description))
            error = mosaic.read(band)[clear].astype(float) - expected[clear]
            print(f"{description:4} RMSE {np.sqrt((error**2).mean()):6.1f} DN")


def main(world: Path) -> None:
    """Print the figures of the mosaic in ``world/output``."""
    output = world / "output"
    (name,) = (path.name.removesuffix("-cloudless.tif") for path in output.glob("*-cloudless.tif"))
    item = json.loads((output / f"{name}.json").read_text())
    scenes = item["properties"]["cloudbuster:scenes"]
    with (
        rasterio.open(output / f"{name}-cloudless.tif") as mosaic,
        rasterio.open(output / f"{name}-quality.tif") as quality,
    ):
        grid = {key: getattr(mosaic, key) for key in ("crs", "transform", "width", "height")}
        clear = quality.read(quality.count) == CLEAR
        count = affected_count(world, scenes, mosaic.read(mosaic.count), clear, grid)
        print(f"cloud or shadow left  {100 * count / clear.sum():.3f} % of the clear pixels")
        print_errors(world, mosaic, clear, grid)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
