"""Count what GDAL reads of raster files: whole tiles, each once while it is kept."""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from rasterio.enums import Resampling

from cloudbuster.storage.rasters.gdal_env import CACHE_BYTES

# Bytes of a pixel of two bytes in the JPEG 2000 files of Sentinel-2: 0.8 GB for the 673 Mpx of a
# tile's bands (measured). GDAL does not say how long a tile of such a file is.
JP2_BYTES_PER_PIXEL = 1.2
JP2_DEPTH = 2

Tile = tuple[str, int, int, int, int]
"""Address of the file, band (0 for all), overview (0 for the raster itself), row and column."""


class DecodedTiles:
    """Tiles of files that GDAL has decoded, as far as reads alone can show.

    GDAL decodes every tile that a read touches, and keeps the latest ones in its block cache. The
    cache is modelled by the tiles of the counted files alone, so that a tile counts again when
    `CACHE_BYTES` of other tiles have been decoded since it was last read. Overviews are taken to
    have tiles of the size of the raster's own.

    Parameters
    ----------
    cache_bytes : int
        Size of GDAL's block cache.
    """

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        """Start with an empty cache."""
        self._cache_bytes = cache_bytes
        self._kept: OrderedDict[Tile, int] = OrderedDict()
        self._kept_bytes = 0
        self._pixels: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()

    def pixels_of(self, href: str) -> int:
        """Return the number of pixels of a file that were decoded.

        They are pixels of that file, at the resolution of the overview that was read. A tile at the
        edge counts with its pixels inside the raster, and one with all bands of a file together
        (interleaved by pixel) with the pixels of each band.
        """
        return self._pixels[href]

    @property
    def bytes_read(self) -> int:
        """Bytes of the tiles of all files that were read; headers are not included."""
        return self._bytes.total()

    @property
    def requests(self) -> int:
        """Number of requests for these tiles: one for each run of new neighbours in a row."""
        return self._requests.total()

    def add(self, href: str, dataset: Any, band: int | list[int], how: Mapping[str, Any]) -> None:  # noqa: ANN401 -- rasterio has no types
        """Count a read.

        Parameters
        ----------
        href : str
            Address of the file.
        dataset : rasterio dataset
            The open file.
        band : int or list of int
            1-based.
        how : mapping
            Arguments of the read: ``window``, ``out_shape`` and ``resampling`` decide which tiles
            of which overview are decoded.
        """
        together = dataset.count > 1 and _interleave(dataset) == "PIXEL"
        bands = [band] if isinstance(band, int) else band
        for number in bands[:1] if together else bands:
            layers = dataset.count if together else 1
            depth = layers * np.dtype(dataset.dtypes[number - 1]).itemsize
            latest: tuple[int, int] | None = None
            for level, row, col, pixels in _tiles(dataset, number, how):
                tile = (href, 0 if together else number, level, row, col)
                if self._is_new(tile, pixels * depth):
                    self._pixels[href] += pixels * layers
                    self._bytes[href] += _size(dataset, number, (level, row, col), pixels * depth)
                    self._requests[href] += latest != (row, col - 1)
                    latest = (row, col)

    def _is_new(self, tile: Tile, size_bytes: int) -> bool:
        """Whether a tile is not in the cache; it is afterwards, as the one that was read last."""
        if tile in self._kept:
            self._kept.move_to_end(tile)
            return False
        self._kept[tile] = size_bytes
        self._kept_bytes += size_bytes
        while self._kept_bytes > self._cache_bytes and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1]
        return True


def _tiles(dataset: Any, band: int, how: Mapping[str, Any]) -> Iterator[tuple[int, int, int, int]]:  # noqa: ANN401 -- rasterio has no types
    """Yield overview, row, column and number of pixels of each tile that a read touches."""
    window = how.get("window")
    left, top, width, height = (
        (window.col_off, window.row_off, window.width, window.height)
        if window is not None
        else (0, 0, dataset.width, dataset.height)
    )
    shape = tuple(how.get("out_shape") or (height, width))[-2:]
    nearest = how.get("resampling", Resampling.nearest) == Resampling.nearest
    factors = dataset.overviews(band)
    wanted = width / shape[1] if shape[0] == 1 else min(height / shape[0], width / shape[1])
    level = _overview(factors, wanted, nearest=nearest)
    factor = factors[level - 1] if level else 1
    rows, cols = (math.ceil(side / factor) for side in (dataset.height, dataset.width))
    high, wide = dataset.block_shapes[band - 1]
    for row, col in product(
        _touched(top / factor, height / factor, high, rows),
        _touched(left / factor, width / factor, wide, cols),
    ):
        yield level, row, col, min(high, rows - row * high) * min(wide, cols - col * wide)


def _size(dataset: Any, band: int, tile: tuple[int, int, int], pixel_bytes: int) -> int:  # noqa: ANN401 -- rasterio has no types
    """Bytes of a tile (overview, row, column) in its file; 0 for an omitted one."""
    if dataset.driver != "GTiff":
        return round(pixel_bytes * JP2_BYTES_PER_PIXEL / JP2_DEPTH)
    level, row, col = tile
    overview = level - 1 if level else None
    found = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band, ovr=overview)
    return int(found or 0)


def _interleave(dataset: Any) -> str | None:  # noqa: ANN401 -- rasterio has no types
    """How a file interleaves its bands, in GDAL's words; None if its format does not say."""
    interleave: str | None = dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE")
    return interleave


def _overview(factors: list[int], wanted: float, *, nearest: bool) -> int:
    """Return the number of the overview that GDAL reads from, from 1; 0 for the raster itself.

    It is the coarsest one that is hardly coarser than what is asked for
    (`GDALBandGetBestOverviewLevel2` of GDAL 3.10).
    """
    usable = [factor for factor in factors if factor < wanted * (1.2 if nearest else 1.01)]
    return factors.index(max(usable)) + 1 if usable else 0


def _touched(start: float, length: float, side: int, count: int) -> range:
    """Tiles of ``side`` that an interval of pixels touches on an axis of ``count`` pixels."""
    first = max(0, math.floor(start + 1e-6))
    last = min(count, math.ceil(start + length - 1e-6))
    return range(first // side, -(-max(last, first + 1) // side))
