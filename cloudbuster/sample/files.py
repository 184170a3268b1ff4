"""Write the files of the sample world: JSON documents, and COG or JP2 rasters, block by block."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from cloudbuster.sample.world import plan
from cloudbuster.sample.world.product import Block
from cloudbuster.storage.rasters.gdal_env import CACHE_BYTES
from cloudbuster.storage.rasters.tiled_raster import TILE_SIZE, TILE_STEP

# Side of the blocks, pixels of 10 m: a sixth of a tile, and a multiple of 6.
BLOCK_PIXELS = 1830
# COGs of Earth Search have the overviews 2 to 16; small rasters have those of 32 pixels or more.
MAX_OVERVIEWS = 4
MIN_OVERVIEW_PIXELS = 32
# Tiles across a small raster: a tile of a real one, 10 980 pixels, has 11 to 22.
TILES_ACROSS = 16
GDAL_OPTIONS = {"GDAL_PAM_ENABLED": "NO", "GDAL_CACHEMAX": CACHE_BYTES, "GDAL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Target:
    """One raster to write.

    Attributes
    ----------
    path : Path
        Path of the raster; its suffix, ``.tif`` or ``.jp2``, determines the format.
    gsd_m : int
        Side of a pixel, metres.
    dtype : str
        Name of the dtype.
    west_m, north_m : int
        Upper left corner in the CRS of the world, metres.
    width, height : int
        Size in pixels.
    bands : tuple of str
        Descriptions of the bands; empty for one band without a description.
    resampling : str
        Resampling of the overviews, as a name of GDAL's COG driver.
    nodata : int or None
        Nodata value of a COG.
    """

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


class Rasters:
    """Rasters that are written block by block to plain GeoTIFFs, then converted to COG or JP2.

    Use it as a context manager, which converts the rasters at the end.

    Parameters
    ----------
    targets : mapping of (str, str) to Target
        Rasters by keys of the caller's choice.
    """

    def __init__(self, targets: Mapping[tuple[str, str], Target]) -> None:
        """Keep the targets; files are created by entering the context."""
        self._targets = targets
        self._open: dict[tuple[str, str], Any] = {}
        self._stack = contextlib.ExitStack()

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether there is a raster of that key."""
        return key in self._targets

    def __enter__(self) -> "Rasters":
        """Create the scratch files."""
        for key, target in self._targets.items():
            target.path.parent.mkdir(parents=True, exist_ok=True)
            self._open[key] = self._stack.enter_context(_open_scratch(target))
        return self

    def __exit__(self, failed: type[BaseException] | None, *_rest: object) -> None:
        """Convert the scratch files, unless the body failed, and delete them."""
        self._stack.close()
        for target in self._targets.values():
            if failed is None:
                _convert(target)
            _scratch_path(target).unlink(missing_ok=True)

    def put(
        self, key: tuple[str, str], block: Block, pixels: npt.NDArray[Any]
    ) -> tuple[slice, slice]:
        """Write a block of shape (band, y, x); return the part of it that is in the raster."""
        target = self._targets[key]
        column = (block.west_m - target.west_m) // target.gsd_m
        row = (target.north_m - block.north_m) // target.gsd_m
        rows = min(pixels.shape[1], target.height - row)
        columns = min(pixels.shape[2], target.width - column)
        window = Window(column, row, columns, rows)
        self._open[key].write(pixels[:, :rows, :columns], window=window)
        return slice(0, rows), slice(0, columns)


def split_blocks(west_m: int, north_m: int, *, columns: int, rows: int) -> Iterator[Block]:
    """Split a raster with pixels of 10 m into blocks; the last ones may extend beyond it."""
    for row in range(0, rows, BLOCK_PIXELS):
        for column in range(0, columns, BLOCK_PIXELS):
            high, wide = (
                -(-min(BLOCK_PIXELS, end - start) // 6) * 6
                for start, end in ((row, rows), (column, columns))
            )
            yield Block(west_m + column * 10, north_m - row * 10, high, wide)


def _scratch_path(target: Target) -> Path:
    """Path of the plain GeoTIFF beside a raster."""
    return target.path.with_name(f"{target.path.name}.scratch.tif")


def _tile_side(target: Target) -> int:
    """Side of the tiles of a raster: a sixteenth of it or more, as in the files of real products.

    Small COGs have small tiles, so that a part of one is read as in a large raster. JP2 files keep
    GDAL's: their resolutions end at 32 pixels of a tile, and tiles of 64 have none.
    """
    part = -(-max(target.height, target.width) // TILES_ACROSS)
    return min(TILE_SIZE, -(-part // TILE_STEP) * TILE_STEP)


def _open_scratch(target: Target) -> Any:  # noqa: ANN401 -- rasterio has no types
    """Create the plain GeoTIFF that blocks are written to."""
    side = _tile_side(target)
    dataset = rasterio.open(
        _scratch_path(target),
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
        blockxsize=side,
        blockysize=side,
        bigtiff="IF_SAFER",
    )
    for number, name in enumerate(target.bands, start=1):
        dataset.set_band_description(number, name)
    return dataset


def _convert(target: Target) -> None:
    """Convert a scratch file to the format of the raster."""
    if target.path.suffix == ".jp2":
        options = {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "YES", "ycc": "NO"}
        if target.dtype == "uint16":
            options["nbits"] = "15"
    else:
        smaller = min(target.width, target.height) // MIN_OVERVIEW_PIXELS
        options = {
            "driver": "COG",
            "compress": "DEFLATE",
            # Measured on the sample world: a third less CPU time than level 6, and no larger files.
            "level": "1",
            "predictor": "STANDARD" if target.dtype == "uint16" else "NO",
            "blocksize": str(_tile_side(target)),
            "bigtiff": "IF_SAFER",
        }
        overviews = min(MAX_OVERVIEWS, max(smaller.bit_length() - 1, 0))
        # GDAL fails at a count of 0 if the raster has several tiles.
        options |= (
            {"overview_resampling": target.resampling, "overview_count": str(overviews)}
            if overviews
            else {"overviews": "NONE"}
        )
    rasterio.shutil.copy(_scratch_path(target), target.path, **options)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
