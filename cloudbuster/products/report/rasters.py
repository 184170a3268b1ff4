"""The picture and the codes of a mosaic, reduced to what a page can hold.

Codes are values of cells, not colours: the page paints them and reads them where one clicks.
"""

import base64
import functools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.gathered.scene_raster import SCENE_INDEX_BAND
from cloudbuster.products.preview import encode_picture, preview_shape, read_codes, true_colour
from cloudbuster.storage.rasters.area_cells import AreaCells

# Greatest sizes of the picture and of the codes in the page, bytes of base64: with Leaflet
# (160 kB) and the tables of 1000 scenes the page stays below 3 MB.
PICTURE_BYTES = 900_000
CODES_BYTES = 800_000
# Longest sides to try, pixels: each has half as many as the one before. A screen shows about 1000.
PICTURE_SIZES = (1600, 1132, 800, 566, 400)
CODES_SIZES = (2048, 1448, 1024, 724, 512, 362, 256, 181, 128)
# WebP needs a third of the bytes of PNG at a quality whose errors are not seen at twice the size.
WEBP_QUALITY = 82


@dataclass(frozen=True, eq=False)
class CodeBand:
    """Values of one band at the cells of the page's map.

    Attributes
    ----------
    name : str
        Name of the band.
    codes : ndarray of uint8 or uint16, shape (y, x)
        Value of the mosaic's cell that is nearest to each cell of the map.
    """

    name: str
    codes: Raster

    @functools.cached_property
    def packed(self) -> str:
        """The codes as the page holds them; see `encode_codes`."""
        return encode_codes(self.codes)


@dataclass(frozen=True, eq=False)
class MapRasters:
    """What the map shows.

    Attributes
    ----------
    grid : Grid
        Cells of the codes, over the whole mosaic.
    bands : tuple of CodeBand
        Scene index and the bands of the quality raster.
    inside : ndarray of bool, shape (y, x)
        Cells of the area; all cells if the area is unknown.
    picture : str
        Data URI of the true-colour picture.
    """

    grid: Grid
    bands: tuple[CodeBand, ...]
    inside: BoolRaster
    picture: str

    def codes(self, name: str) -> Raster:
        """Return the codes of a band."""
        return next(band.codes for band in self.bands if band.name == name)


def read_rasters(cloudless: Path, quality: Path, grid: Grid, area: Any) -> MapRasters:  # noqa: ANN401 -- shapely has no types
    """Read what the map shows, as large as the bounds of the page allow.

    Parameters
    ----------
    cloudless, quality : Path
        Rasters of the mosaic.
    grid : Grid
        Their grid.
    area : shapely geometry or None
        Area, longitude (unwrapped) and latitude.
    """
    bands = _fitting_bands(cloudless, quality)
    rows, cols = bands[0].codes.shape
    coarse = Grid(
        grid.crs,
        grid.west,
        grid.north,
        grid.x_size * grid.width / cols,
        grid.y_size * grid.height / rows,
        cols,
        rows,
    )
    inside = np.ones(coarse.shape, dtype=np.bool_)
    if area is not None:
        inside = AreaCells(area, coarse).inside(coarse.window)
    return MapRasters(coarse, bands, inside, picture_uri(cloudless))


def _fitting_bands(cloudless: Path, quality: Path) -> tuple[CodeBand, ...]:
    """Read all bands at the greatest size at which they fit into the page."""
    bands: tuple[CodeBand, ...] = ()
    taken, total = 0, 0
    for size in CODES_SIZES:
        # Half the cells take about half the bytes: sizes that are far from fitting are passed over.
        if taken and total * (size / taken) ** 2 > CODES_BYTES * 1.2 and size != CODES_SIZES[-1]:
            continue
        bands = _read_bands(cloudless, quality, size)
        taken, total = max(bands[0].codes.shape), sum(len(band.packed) for band in bands)
        if total <= CODES_BYTES:
            break
    return bands


def _read_bands(cloudless: Path, quality: Path, size: int) -> tuple[CodeBand, ...]:
    """Read the scene index and all bands of the quality raster, reduced to a size."""
    with rasterio.open(quality) as dataset:
        names = dataset.descriptions
    codes = [(SCENE_INDEX_BAND, read_codes(cloudless, -1, size))]
    codes += [
        (name, read_codes(quality, number, size)) for number, name in enumerate(names, start=1)
    ]
    return tuple(CodeBand(name, _smallest(values)) for name, values in codes)


def _smallest(codes: Raster) -> Raster:
    """Return codes as uint8 if all of them fit, else as uint16."""
    return codes.astype(np.uint8 if int(codes.max(initial=0)) < 256 else np.uint16)


def encode_codes(codes: Raster) -> str:
    """Encode codes for the page: base64 of zlib of the bytes.

    Parameters
    ----------
    codes : ndarray of uint8 or uint16, shape (y, x)
        Values. The low bytes of all cells come before the high bytes, which compresses better.
    """
    low = codes.astype(np.uint8).tobytes()
    high = (codes >> 8).astype(np.uint8).tobytes() if codes.dtype.itemsize > 1 else b""
    return base64.b64encode(zlib.compress(low + high, 9)).decode()


def picture_uri(cloudless: Path) -> str:
    """Make the data URI of the true-colour picture of a mosaic."""
    text = ""
    with rasterio.open(cloudless) as dataset:
        shape = preview_shape(dataset.height, dataset.width, PICTURE_SIZES[0])
    sizes = [size for size in PICTURE_SIZES if size <= max(shape)] or [max(shape)]
    for size in sizes:
        text = _data_uri(true_colour(cloudless, size))
        if len(text) <= PICTURE_BYTES:
            break
    return text


def _data_uri(picture: UInt8Raster) -> str:
    """Encode a picture as WebP; as PNG where this GDAL has no WebP."""
    with rasterio.Env() as env:
        has_webp = "WEBP" in env.drivers()
    if has_webp:
        content = encode_picture(picture, "WEBP", QUALITY=WEBP_QUALITY)
    else:
        content = encode_picture(picture, "PNG")
    kind = "webp" if has_webp else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
