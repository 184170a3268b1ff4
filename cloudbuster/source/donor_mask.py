"""A mask on its own, to be used for another gathering of the same scene."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.io import MemoryFile

from cloudbuster.core.arrays import UInt8Raster
from cloudbuster.core.grid import Grid
from cloudbuster.core.masks import DetectedMask
from cloudbuster.core.scene import Scene
from cloudbuster.errors import DonorError, RasterError
from cloudbuster.storage.raster_file import RasterFile
from cloudbuster.storage.uri import is_remote, local_path, write_bytes

# Each cell is the sum of what holds of it, so that the detector's answer comes back as it was,
# before any growth.
CLOUD_BIT = 1
DEFECTIVE_BIT = 2
LOW_RANK_BIT = 4
BAND_DESCRIPTION = "cloud 1, defective 2, low rank 4"
TILE_TAG = "CLOUDBUSTER_MGRS_TILE"
DATATAKE_TAG = "CLOUDBUSTER_DATATAKE"
DETECTOR_TAG = "CLOUDBUSTER_DETECTOR"
BLOCK_PIXELS = 256


@dataclass(frozen=True)
class SceneIdentity:
    """What makes two rasters the same look at the same place, whatever the product level.

    Attributes
    ----------
    mgrs_tile : str
        As ``33TWL``.
    datatake : str
        As ``S2A_20230818T100031``.
    """

    mgrs_tile: str
    datatake: str

    def __str__(self) -> str:
        """Tile and datatake, for a message."""
        return f"tile {self.mgrs_tile} of datatake {self.datatake}"


@dataclass(frozen=True, eq=False)
class DonatedMask:
    """A mask that was read, and whose it is.

    Attributes
    ----------
    mask : DetectedMask
        As the detector made it.
    identity : SceneIdentity
        Of its scene.
    """

    mask: DetectedMask
    identity: SceneIdentity


def identity_of(scene: Scene) -> SceneIdentity:
    """Tile and datatake of a scene.

    Raises
    ------
    DonorError
        Where the catalog does not tell both.
    """
    if scene.mgrs_tile is None or scene.datatake is None:
        missing = "datatake" if scene.mgrs_tile else "MGRS tile"
        msg = (
            f"{scene.id} has no {missing} in its item, so its mask can be told from no other; "
            "gather it without --donate-mask and --donor-mask"
        )
        raise DonorError(msg)
    return SceneIdentity(scene.mgrs_tile, scene.datatake)


def write_donor_mask(path: Path, mask: DetectedMask, scene: Scene) -> None:
    """Write a mask with its scene's identity: whole, or not at all.

    Parameters
    ----------
    path : Path
        Of the GeoTIFF (one uint8 band, tiled, DEFLATE; nothing in it depends on the time or place
        of writing).
    mask : DetectedMask
        What the detector found, not grown.
    scene : Scene
        Whose mask it is.

    Raises
    ------
    DonorError
        Where the scene has no tile or no datatake.
    OutputError, TryAgainError
        Where the file cannot be written.
    """
    identity = identity_of(scene)
    codes = mask.cloud * np.uint8(CLOUD_BIT)
    codes |= mask.defective * np.uint8(DEFECTIVE_BIT)
    codes |= mask.low_rank * np.uint8(LOW_RANK_BIT)
    # Made in memory first: GDAL may not tell that a disk was full.
    write_bytes(str(path), _encoded(codes, mask, identity))


def _encoded(codes: UInt8Raster, mask: DetectedMask, identity: SceneIdentity) -> bytes:
    """Make the GeoTIFF of a mask, tagged with the scene that it is of."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype="uint8",
            count=1,
            height=mask.grid.height,
            width=mask.grid.width,
            crs=mask.grid.crs,
            transform=mask.grid.transform,
            tiled=True,
            blockxsize=BLOCK_PIXELS,
            blockysize=BLOCK_PIXELS,
            compress="deflate",
        ) as dataset:
            dataset.write(codes, 1)
            dataset.set_band_description(1, BAND_DESCRIPTION)
            dataset.update_tags(
                **{
                    TILE_TAG: identity.mgrs_tile,
                    DATATAKE_TAG: identity.datatake,
                    DETECTOR_TAG: mask.detector,
                }
            )
        return bytes(memory.read())


def read_donor_mask(uri: str) -> DonatedMask:
    """Read a donated mask.

    Parameters
    ----------
    uri : str
        Path or URI of the GeoTIFF.

    Returns
    -------
    DonatedMask

    Raises
    ------
    DonorError
        Where it cannot be read, is no mask, or does not say whose it is.
    TryAgainError
        Where a remote one could not be reached.
    """
    try:
        with RasterFile(uri if is_remote(uri) else str(local_path(uri))) as dataset:
            tags = dataset.tags()
            described = dataset.count == 1 and dataset.descriptions[0] == BAND_DESCRIPTION
            codes = dataset.read(1) if described else None
            epsg = dataset.crs.to_epsg() if dataset.crs else None
            transform, width, height = dataset.transform, dataset.width, dataset.height
    except RasterError as error:
        msg = f"the mask cannot be read: {error}, or make it again with --donate-mask"
        raise DonorError(msg) from error
    if not (tags.get(TILE_TAG) and tags.get(DATATAKE_TAG)):
        msg = (
            f"{uri} does not say whose mask it is (no tags {TILE_TAG} and {DATATAKE_TAG}); "
            "make it with --donate-mask"
        )
        raise DonorError(msg)
    if codes is None or epsg is None:
        msg = f"{uri} is not a mask as --donate-mask makes it; make it again"
        raise DonorError(msg)
    try:
        grid = Grid.from_transform(f"EPSG:{epsg}", transform, width=width, height=height)
    except ValueError as error:
        msg = f"{uri}: {error}; make it again with --donate-mask"
        raise DonorError(msg) from error
    mask = DetectedMask(
        grid=grid,
        cloud=codes & CLOUD_BIT != 0,
        defective=codes & DEFECTIVE_BIT != 0,
        low_rank=codes & LOW_RANK_BIT != 0,
        detector=tags.get(DETECTOR_TAG, "unknown"),
    )
    return DonatedMask(mask, SceneIdentity(tags[TILE_TAG], tags[DATATAKE_TAG]))
