"""Make the preview of a mosaic: a small true-colour PNG."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from cloudbuster.core.arrays import BoolRaster, Raster, UInt8Raster
from cloudbuster.core.pixels.stretch import stretch
from cloudbuster.storage.files.uri import write_bytes
from cloudbuster.storage.rasters.gdal_env import writing

# Longest side of the preview, pixels.
MAX_SIZE = 1024
TRUE_COLOUR = ("B04", "B03", "B02")
# Colour of the outline of what the backstop fills.
BACKSTOP_COLOUR = (230, 159, 0)


def outline(picture: UInt8Raster, cells: BoolRaster) -> None:
    """Draw a line of one pixel around some cells of a picture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity. Modified; transparent pixels stay so.
    cells : ndarray of bool, shape (y, x)
        Cells to enclose.
    """
    rows, cols = cells.shape
    padded = np.pad(cells, 1)
    near = np.zeros_like(cells)
    for row in range(3):
        for col in range(3):
            near |= padded[row : row + rows, col : col + cols]
    line = near & ~cells & (picture[3] > 0)
    picture[:3, line] = np.array(BACKSTOP_COLOUR, dtype=np.uint8)[:, np.newaxis]


def read_codes(path: Path, band: int, max_size: int = MAX_SIZE) -> Raster:
    """Read a band of codes by nearest neighbour, reduced to ``max_size``; -1 is the last band."""
    with rasterio.open(path) as dataset:
        number = dataset.count if band < 0 else band
        shape = preview_shape(dataset.height, dataset.width, max_size)
        codes: Raster = dataset.read(number, out_shape=shape, resampling=Resampling.nearest)
    return codes


def preview_shape(height: int, width: int, max_size: int = MAX_SIZE) -> tuple[int, int]:
    """(rows, columns) of a picture of a raster, reduced to ``max_size`` on its longest side."""
    scale = min(1.0, max_size / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def write_preview(
    mosaic: Path, target: Path, *, backstop: BoolRaster | None = None
) -> tuple[int, int]:
    """Write the true-colour preview of a mosaic.

    Parameters
    ----------
    mosaic : Path
        Raster with band descriptions, of which an overview is read. Without B04, B03 and B02 its
        first band is shown in grey.
    target : Path
        Path of the PNG: 8 bit, transparent where there is no data.
    backstop : ndarray of bool, optional
        Cells to outline, of the shape of the preview.

    Returns
    -------
    tuple of int
        (rows, columns) of the picture.

    Raises
    ------
    OutputError, TryAgainError
        If the file cannot be written, or the disk is full.
    """
    picture = true_colour(mosaic)
    if backstop is not None:
        outline(picture, backstop)
    with writing(target):
        write_bytes(str(target), encode_png(picture))
    return picture.shape[1], picture.shape[2]


def true_colour(mosaic: Path, max_size: int = MAX_SIZE) -> UInt8Raster:
    """Make the true-colour picture of a mosaic.

    Parameters
    ----------
    mosaic : Path
        Raster as for `write_preview`.
    max_size : int
        Longest side of the picture, pixels.

    Returns
    -------
    ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity.
    """
    with rasterio.open(mosaic) as dataset:
        numbers = _colour_bands(dataset.descriptions)
        shape = preview_shape(dataset.height, dataset.width, max_size)
        reflectance = dataset.read(
            numbers, out_shape=(3, *shape), resampling=Resampling.average, masked=False
        )
    return stretch(reflectance)


def _colour_bands(descriptions: Sequence[str | None]) -> list[int]:
    """Numbers of the bands shown in red, green and blue, by the descriptions of a raster."""
    numbers = {name: number for number, name in enumerate(descriptions, start=1)}
    if all(name in numbers for name in TRUE_COLOUR):
        return [numbers[name] for name in TRUE_COLOUR]
    return [1, 1, 1]


def encode_png(picture: UInt8Raster) -> bytes:
    """Encode a picture as PNG; see `encode_picture`."""
    return encode_picture(picture, "PNG")


def encode_picture(picture: UInt8Raster, driver: str, **options: str | int) -> bytes:
    """Encode a picture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity. Not modified.
    driver : {"PNG", "WEBP"}
        GDAL's driver of the format.
    **options : str or int
        Creation options of the driver.

    Returns
    -------
    bytes
        Content of the file.
    """
    count, height, width = picture.shape
    size = {"width": width, "height": height, "count": count}
    with warnings.catch_warnings(), MemoryFile() as memory:
        # The picture is not georeferenced, on purpose.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver=driver, dtype="uint8", **size, **options) as file:
            file.write(picture)
        content: bytes = memory.read()
    return content
