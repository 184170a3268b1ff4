"""A mosaic as a small picture."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from cloudbuster.core.arrays import Raster, UInt8Raster
from cloudbuster.storage.gdal_env import writing
from cloudbuster.storage.uri import write_bytes

# Pixels of the longest side.
MAX_SIZE = 1024
TRUE_COLOUR = ("B04", "B03", "B02")
# Shares of the valid pixels that become black and white: haze and a few bright roofs do not decide.
DARK_PERCENTILE = 1.0
BRIGHT_PERCENTILE = 98.0
# Land is dark in reflectance: the mid tones are lifted as a screen shows them.
GAMMA = 1.6
# DN. A scene without contrast (open water, snow) keeps at least this range: it stays flat.
MIN_RANGE_DN = 500.0

UInt8Raster = UInt8Raster


def stretch(reflectance: Raster) -> UInt8Raster:
    """Stretch three bands of reflectance into a picture.

    Each band's first percentile becomes black (which removes the haze that differs by band); the
    98th percentile of all three together becomes white, the same for all, so that the balance of
    the colours stays; then gamma 1.6.

    Parameters
    ----------
    reflectance : ndarray of uint16, shape (3, y, x)
        Harmonised digital numbers, red, green, blue; 0 is nodata. Not modified.

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
    """Shape of the preview of a raster: its own, or the longest side `MAX_SIZE`."""
    scale = min(1.0, MAX_SIZE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def write_preview(mosaic: Path, target: Path) -> tuple[int, int]:
    """Write the true colour preview of a mosaic.

    Parameters
    ----------
    mosaic : Path
        Raster with described bands; read reduced, through its overviews. Without B04, B03 and B02
        its first band is shown in grey.
    target : Path
        PNG to write, 8 bit, transparent where there is no data.

    Returns
    -------
    tuple of int
        (rows, columns) of the picture.

    Raises
    ------
    OutputError, TryAgainError
        Where the file cannot be written, or the disk is full.
    """
    with rasterio.open(mosaic) as dataset:
        named = {name: number for number, name in enumerate(dataset.descriptions, start=1)}
        wanted = TRUE_COLOUR if all(name in named for name in TRUE_COLOUR) else ()
        numbers = [named[name] for name in wanted] or [1, 1, 1]
        shape = preview_shape(dataset.height, dataset.width)
        reflectance = dataset.read(
            numbers, out_shape=(3, *shape), resampling=Resampling.average, masked=False
        )
    with writing(target):
        content = png_of(stretch(reflectance))
    write_bytes(str(target), content)
    return shape


def png_of(picture: UInt8Raster) -> bytes:
    """Make a PNG of a picture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity. Not modified.

    Returns
    -------
    bytes
        Content of the file.
    """
    count, height, width = picture.shape
    size = {"width": width, "height": height, "count": count}
    with warnings.catch_warnings(), MemoryFile() as memory:
        # A picture has no place on the ground, on purpose.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG", dtype="uint8", **size) as png:
            png.write(picture)
        content: bytes = memory.read()
    return content
