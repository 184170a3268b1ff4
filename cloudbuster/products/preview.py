"""Make the preview of a mosaic: a small true-colour PNG."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from cloudbuster.core.arrays import Raster, UInt8Raster
from cloudbuster.storage.gdal_env import writing
from cloudbuster.storage.uri import write_bytes

# Longest side of the preview, pixels.
MAX_SIZE = 1024
TRUE_COLOUR = ("B04", "B03", "B02")
# Percentiles of the valid pixels that become black and white, so that haze and a few bright roofs
# do not determine the contrast.
DARK_PERCENTILE = 1.0
BRIGHT_PERCENTILE = 98.0
# Land reflects little, so the mid tones are brightened.
GAMMA = 1.6
# Minimum range between black and white, DN, so that open water and snow are not exaggerated.
MIN_RANGE_DN = 500.0


def stretch(reflectance: Raster) -> UInt8Raster:
    """Stretch three bands of reflectance into a picture.

    The first percentile of each band becomes black, which removes haze, and the 98th percentile of
    the three bands together becomes white, which keeps the colour balance. Then gamma is applied.

    Parameters
    ----------
    reflectance : ndarray of uint16, shape (3, y, x)
        Harmonised DN of red, green and blue; 0 is nodata. Not modified.

    Returns
    -------
    ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity: 0 where any band is nodata, else 255.
    """
    valid = (reflectance != 0).all(axis=0)
    picture = np.zeros((4, *valid.shape), dtype=np.uint8)
    if not valid.any():
        return picture
    pixels = reflectance[:, valid].astype(np.float32)
    pixels -= np.percentile(pixels, DARK_PERCENTILE, axis=1)[:, np.newaxis]
    bright = max(float(np.percentile(pixels, BRIGHT_PERCENTILE)), MIN_RANGE_DN)
    tones = np.clip(pixels / bright, 0, 1) ** (1 / GAMMA)
    picture[:3, valid] = np.round(tones * 255).astype(np.uint8)
    picture[3, valid] = 255
    return picture


def preview_shape(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of the preview of a raster, reduced to `MAX_SIZE` on its longest side."""
    scale = min(1.0, MAX_SIZE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def write_preview(mosaic: Path, target: Path) -> tuple[int, int]:
    """Write the true-colour preview of a mosaic.

    Parameters
    ----------
    mosaic : Path
        Raster with band descriptions, of which an overview is read. Without B04, B03 and B02 its
        first band is shown in grey.
    target : Path
        Path of the PNG: 8 bit, transparent where there is no data.

    Returns
    -------
    tuple of int
        (rows, columns) of the picture.

    Raises
    ------
    OutputError, TryAgainError
        If the file cannot be written, or the disk is full.
    """
    with rasterio.open(mosaic) as dataset:
        numbers = _colour_bands(dataset.descriptions)
        shape = preview_shape(dataset.height, dataset.width)
        reflectance = dataset.read(
            numbers, out_shape=(3, *shape), resampling=Resampling.average, masked=False
        )
    with writing(target):
        write_bytes(str(target), encode_png(stretch(reflectance)))
    return shape


def _colour_bands(descriptions: Sequence[str | None]) -> list[int]:
    """Numbers of the bands shown in red, green and blue, by the descriptions of a raster."""
    numbers = {name: number for number, name in enumerate(descriptions, start=1)}
    if all(name in numbers for name in TRUE_COLOUR):
        return [numbers[name] for name in TRUE_COLOUR]
    return [1, 1, 1]


def encode_png(picture: UInt8Raster) -> bytes:
    """Encode a picture as PNG.

    Parameters
    ----------
    picture : ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity. Not modified.

    Returns
    -------
    bytes
        Content of the PNG file.
    """
    count, height, width = picture.shape
    size = {"width": width, "height": height, "count": count}
    with warnings.catch_warnings(), MemoryFile() as memory:
        # The picture is not georeferenced, on purpose.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG", dtype="uint8", **size) as png:
            png.write(picture)
        content: bytes = memory.read()
    return content
