"""Compare the mosaic of a sample world with its truth: ``python -m benchmarks.accuracy WORLD``.

Prints the figures of the README: cloud and shadow left among the clear pixels, and the RMSE of each
band, over the clear pixels, against the cloud-free truth.
"""

import json
import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.vrt import WarpedVRT

CLEAR = 3
AFFECTED = (2, 3)


def main(world: Path) -> None:
    """Print the figures of ``world/output``."""
    output = world / "output"
    (name,) = (path.name.removesuffix("-cloudless.tif") for path in output.glob("*-cloudless.tif"))
    item = json.loads((output / f"{name}.json").read_text())
    with (
        rasterio.open(output / f"{name}-cloudless.tif") as mosaic,
        rasterio.open(output / f"{name}-quality.tif") as quality,
    ):
        grid = {
            "crs": mosaic.crs,
            "transform": mosaic.transform,
            "width": mosaic.width,
            "height": mosaic.height,
        }
        clear = quality.read(4) == CLEAR
        index = mosaic.read(mosaic.count)
        left = 0
        for scene in item["properties"]["cloudbuster:scenes"]:
            own = clear & (index == scene["index"])
            path = world / "truth" / f"{scene['item_id']}-affected.tif"
            with rasterio.open(path) as source, WarpedVRT(source, **grid) as affected:
                left += int(np.isin(affected.read(1)[own], AFFECTED).sum())
        print(f"cloud or shadow left  {100 * left / clear.sum():.3f} % of the clear pixels")
        with (
            rasterio.open(world / "truth" / "truth.tif") as source,
            WarpedVRT(source, nodata=0, **grid) as truth,
        ):
            for band, description in enumerate(mosaic.descriptions[:-1], start=1):
                expected = truth.read(1 + source.descriptions.index(description))
                error = mosaic.read(band)[clear].astype(float) - expected[clear]
                print(f"{description:4} RMSE {np.sqrt((error**2).mean()):6.1f} DN")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
