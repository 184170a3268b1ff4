"""Keep the thumbnail of a scene in a small GeoTIFF, and read it back."""

import hashlib
import re

from rasterio.io import MemoryFile

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.selection.sky_thumbnail import SkyThumbnail
from cloudbuster.errors import BadInputError, TryAgainError
from cloudbuster.storage.files.uri import read_bytes, write_bytes
from cloudbuster.storage.rasters.gdal_env import RASTER_ERRORS

FINGERPRINT_TAG = "CLOUDBUSTER_FINGERPRINT"
CONTENT_TAG = "CLOUDBUSTER_CONTENT"
# Characters of an item id that may stand in a file name, and how many of them: file systems allow
# 255 bytes, of which the hash, the suffix and the name of a temporary file need 45.
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
NAME_LENGTH = 100
HASH_LENGTH = 16
# Errors of a file that is no GeoTIFF, or whose grid is not north-up.
_UNREADABLE: tuple[type[Exception], ...] = (*RASTER_ERRORS, ValueError)


def thumbnail_file_name(item_id: str) -> str:
    """Return a file name that no other item id has, on file systems that ignore case as well."""
    digest = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_LENGTH]
    return f"{_UNSAFE.sub('-', item_id)[:NAME_LENGTH]}.{digest}.tif"


def write_thumbnail_file(uri: str, thumbnail: SkyThumbnail, fingerprint: str) -> None:
    """Write a thumbnail, whole or not at all.

    Parameters
    ----------
    uri : str
        Path or ``s3://`` URI of the GeoTIFF: one uint8 band of codes of `PixelClass`, DEFLATE. Its
        bytes depend on neither the time nor the place of writing.
    thumbnail : SkyThumbnail
        Thumbnail of a scene.
    fingerprint : str
        Identity of what it was made from.

    Raises
    ------
    OutputError
        If the folder cannot be made or written.
    BadInputError
        If S3 refuses it.
    TryAgainError
        If the disk is full, or S3 is throttled, broken or out of reach.
    """
    # Encoded in memory first, because GDAL may not report that a disk is full.
    write_bytes(uri, _encoded(thumbnail, fingerprint))


def _encoded(thumbnail: SkyThumbnail, fingerprint: str) -> bytes:
    """Encode a thumbnail as GeoTIFF."""
    grid = thumbnail.grid
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype="uint8",
            count=1,
            height=grid.height,
            width=grid.width,
            crs=grid.crs,
            transform=grid.transform,
            compress="deflate",
            zlevel=1,
        ) as dataset:
            dataset.write(thumbnail.classes, 1)
            tags = {FINGERPRINT_TAG: fingerprint, CONTENT_TAG: _digest(thumbnail)}
            dataset.update_tags(**tags)
        return bytes(memory.read())


def read_thumbnail_file(uri: str, fingerprint: str) -> SkyThumbnail | None:
    """Read a thumbnail that `write_thumbnail_file` wrote.

    Parameters
    ----------
    uri : str
        Path or ``s3://`` URI of the GeoTIFF.
    fingerprint : str
        Identity of what it must have been made from.

    Returns
    -------
    SkyThumbnail or None
        None if there is no such file, it was made from something else, or it is damaged.
    """
    try:
        content = read_bytes(uri)
    except (BadInputError, TryAgainError):
        return None
    # `MemoryFile` would open an empty file for writing.
    return _thumbnail_in(content, fingerprint) if content else None


def _thumbnail_in(content: bytes, fingerprint: str) -> SkyThumbnail | None:
    """Read a thumbnail from the content of its file; None as of `read_thumbnail_file`."""
    try:
        with MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
            tags = dataset.tags()
            epsg = dataset.crs.to_epsg() if dataset.crs else None
            if tags.get(FINGERPRINT_TAG) != fingerprint or epsg is None or dataset.count != 1:
                return None
            grid = Grid.from_transform(
                f"EPSG:{epsg}", dataset.transform, width=dataset.width, height=dataset.height
            )
            thumbnail = SkyThumbnail(grid, dataset.read(1))
    except _UNREADABLE:
        return None
    return thumbnail if tags.get(CONTENT_TAG) == _digest(thumbnail) else None


def _digest(thumbnail: SkyThumbnail) -> str:
    """Return the identity of the content of a thumbnail."""
    digest = hashlib.sha256(repr(thumbnail.grid).encode())
    digest.update(thumbnail.classes.tobytes())
    return digest.hexdigest()
