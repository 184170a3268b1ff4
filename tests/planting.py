"""Defects, planted in the products of a mosaic by code that knows nothing of the checks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cloudbuster.core.grids.grid import Grid
from cloudbuster.products.cog import CogBand, open_cog_writer

CODES = ("scene_index", "times_observed", "times_clear", "cloud_distance_m", "state")
CLEAR = 3

Change = Callable[[np.ndarray], None]


class Products:
    """Products of a mosaic in a folder of their own.

    Parameters
    ----------
    folder : Path
        The folder.
    name : str
        Name of the mosaic.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def path(self, key: str) -> Path:
        """Path of a raster: ``cloudless``, ``cloudy`` or ``quality``."""
        return self.folder / f"{self.name}-{key}.tif"

    def read(self, key: str) -> np.ndarray:
        """All bands of a raster."""
        with rasterio.open(self.path(key)) as dataset:
            return np.asarray(dataset.read())

    @property
    def item(self) -> dict[str, Any]:
        """The STAC item."""
        return dict(json.loads((self.folder / f"{self.name}.json").read_text()))

    def write_item(self, item: dict[str, Any]) -> None:
        """Replace the STAC item."""
        (self.folder / f"{self.name}.json").write_text(json.dumps(item))

    def rewrite(self, key: str, change: Change, *, nodata: int | None = None) -> None:
        """Write a raster anew, as a proper COG, with other pixels or another nodata value."""
        path = self.path(key)
        with rasterio.open(path) as dataset:
            pixels = dataset.read()
            grid = Grid.from_transform(
                f"EPSG:{dataset.crs.to_epsg()}",
                dataset.transform,
                width=dataset.width,
                height=dataset.height,
            )
            bands = [
                CogBand(name, "nearest")
                if name in CODES
                else CogBand(name, "average", is_reflectance=True)
                for name in dataset.descriptions
            ]
            kept = dataset.nodata
        change(pixels)
        with open_cog_writer(path, grid, bands, nodata=kept if nodata is None else nodata) as out:
            out.write(grid.window, pixels)

    def most_used(self) -> tuple[int, np.ndarray]:
        """The scene that gives most clear cells, and these cells."""
        index, state = self.read("cloudless")[-1], self.read("quality")[-1]
        counts = np.bincount(index[state == CLEAR])
        code = int(counts.argmax())
        return code, (index == code) & (state == CLEAR)


def shifted_block(products: Products) -> None:
    """Move the values of a block of 64 cells by one column."""
    _, cells = products.most_used()
    row, col = densest(cells, 64)
    part = np.s_[:-1, row : row + 64, col : col + 64]

    def change(pixels: np.ndarray) -> None:
        pixels[part] = np.roll(pixels[part], 1, axis=2)

    products.rewrite("cloudless", change)


def densest(cells: np.ndarray, side: int) -> tuple[int, int]:
    """Corner of the block, on a lattice of its side, that holds most of some cells."""
    rows, cols = (length // side for length in cells.shape)
    blocks = cells[: rows * side, : cols * side].reshape(rows, side, cols, side).sum(axis=(1, 3))
    row, col = np.unravel_index(blocks.argmax(), blocks.shape)
    return int(row) * side, int(col) * side


def offset_in_one_scene(products: Products) -> None:
    """Add 1000 to all values of one scene."""
    _, cells = products.most_used()

    def change(pixels: np.ndarray) -> None:
        pixels[:-1, cells] += 1000

    products.rewrite("cloudless", change)


def swapped_bands(products: Products) -> None:
    """Swap the values of the first two bands."""

    def change(pixels: np.ndarray) -> None:
        pixels[[0, 1]] = pixels[[1, 0]]

    products.rewrite("cloudless", change)
    products.rewrite("cloudy", change)


def wrong_scene_index(products: Products) -> None:
    """Give all cells of one scene the index of another."""
    code, cells = products.most_used()
    rows = products.item["properties"]["cloudbuster:scenes"]
    other = next(row["index"] for row in rows if row["index"] != code and not row["backstop"])

    def change(pixels: np.ndarray) -> None:
        pixels[-1, cells] = other

    products.rewrite("cloudless", change)


def masked_called_clear(products: Products) -> None:
    """Call the masked pixels that fill the mosaic clear ones of the same scenes."""
    index, quality = products.read("cloudless")[-1], products.read("quality")
    rows = products.item["properties"]["cloudbuster:scenes"]
    filled = quality[-1] == 2
    by_id = {row["item_id"]: row["index"] for row in rows if not row["backstop"]}
    clear_index = {
        row["index"]: by_id[row["item_id"]]
        for row in rows
        if row["backstop"] and row["item_id"] in by_id
    }
    codes = [code for code in np.unique(index[filled]).tolist() if code in clear_index]
    cells = filled & np.isin(index, codes)
    assert cells.any()

    def change(pixels: np.ndarray) -> None:
        for code in codes:
            pixels[-1, cells & (index == code)] = clear_index[code]

    def call_clear(pixels: np.ndarray) -> None:
        pixels[1, cells], pixels[2, cells], pixels[3, cells] = 1, 50, CLEAR

    products.rewrite("cloudless", change)
    products.rewrite("quality", call_clear)


def stale_overview(products: Products) -> None:
    """Change pixels of the mosaic without its overviews."""
    _, cells = products.most_used()
    with rasterio.open(products.path("cloudless"), "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        pixels = dataset.read(1)
        pixels[cells] += 500
        dataset.write(pixels, 1)


def broken_item(products: Products) -> None:
    """Take the date and the bounding box out of the item, as a careless tool might."""
    item = products.item
    del item["bbox"]
    item["properties"]["datetime"] = "last summer"
    products.write_item(item)


def truncated_file(products: Products) -> None:
    """Cut the last tenth off the mosaic."""
    path = products.path("cloudless")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


def other_item_id(products: Products) -> None:
    """Write the id of another scene of the table into the row of a scene."""
    item = products.item
    code, _ = products.most_used()
    rows = item["properties"]["cloudbuster:scenes"]
    row = next(each for each in rows if each["index"] == code and not each["backstop"])
    row["item_id"] = next(each["item_id"] for each in rows if each["item_id"] != row["item_id"])
    products.write_item(item)


def flipped_state(products: Products) -> None:
    """Call a few clear cells never observed."""
    _, cells = products.most_used()
    row, col = densest(cells, 8)

    def change(pixels: np.ndarray) -> None:
        pixels[-1, row : row + 8, col : col + 8] = 0

    products.rewrite("quality", change)


def changed_nodata(products: Products) -> None:
    """Declare another value as nodata of the mosaic."""
    products.rewrite("cloudless", lambda _pixels: None, nodata=65535)


DEFECTS: dict[str, tuple[Callable[[Products], None], str]] = {
    "shifted block": (shifted_block, "pixels"),
    "offset 1000 in one scene": (offset_in_one_scene, "pixels"),
    "swapped bands": (swapped_bands, "pixels"),
    "wrong scene index": (wrong_scene_index, "pixels"),
    "masked pixel called clear": (masked_called_clear, "masks"),
    "stale overview": (stale_overview, "overviews"),
    "broken STAC item": (broken_item, "stac"),
    "truncated file": (truncated_file, "complete"),
    "other scene's item id": (other_item_id, "scene-table"),
    "flipped state": (flipped_state, "quality"),
    "changed nodata": (changed_nodata, "metadata"),
}
"""Each defect, and the check that must find it even if the gathered scenes are gone."""
