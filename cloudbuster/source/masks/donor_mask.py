"""Write the mask of a scene to a file, and read it back for another gather of the same scene."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.io import MemoryFile

from cloudbuster.core.arrays import UInt8Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import DonorError, RasterError
from cloudbuster.storage.addresses.trust import own_trust
from cloudbuster.storage.files.uri import write_bytes
from cloudbuster.storage.rasters.raster_file import RasterFile

# Bits of a cell. They keep the result of the detector exactly, before the mask is grown.
CLOUD_BIT = 1
DEFECTIVE_BIT = 2
LOW_RANK_BIT = 4
UNOBSERVED_BIT = 8
SHADOW_BIT = 16
BAND_DESCRIPTION = "cloud 1, defective 2, low rank 4, unobserved 8, shadow 16"
AGREEMENT_DESCRIPTION = "agreement of detectors, percent; 0 for a single detector"
TILE_TAG = "CLOUDBUSTER_MGRS_TILE"
DATATAKE_TAG = "CLOUDBUSTER_DATATAKE"
DETECTOR_TAG = "CLOUDBUSTER_DETECTOR"
BLOCK_PIXELS = 256


@dataclass(frozen=True)
class SceneIdentity:
    """Identity of an acquisition of a tile, the same at both product levels.

    Attributes
    ----------
    mgrs_tile : str
        MGRS tile, such as ``33TWL``.
    datatake : str
        Platform and start of the datatake, such as ``S2A_20230818T100031``.
    """

    mgrs_tile: str
    datatake: str

    def __str__(self) -> str:
        """Tile and datatake in words, for messages."""
        return f"tile {self.mgrs_tile} of datatake {self.datatake}"


@dataclass(frozen=True, eq=False)
class DonatedMask:
    """A mask that was read from a file, and the scene it belongs to.

    Attributes
    ----------
    mask : DetectedMask
        Mask as the detector made it.
    identity : SceneIdentity
        Identity of the scene.
    """

    mask: DetectedMask
    identity: SceneIdentity


def scene_identity(scene: Scene) -> SceneIdentity:
    """Tile and datatake of a scene.

    Raises
    ------
    DonorError
        If the item of the scene lacks one of them.
    """
    if scene.mgrs_tile is None or scene.datatake is None:
        missing = "datatake" if scene.mgrs_tile else "MGRS tile"
        msg = (
            f"{scene.id} has no {missing} in its item, which would identify its mask; gather it "
            "without --donate-mask and --donor-mask"
        )
        raise DonorError(msg)
    return SceneIdentity(scene.mgrs_tile, scene.datatake)


def write_donor_mask(path: Path, mask: DetectedMask, scene: Scene) -> None:
    """Write a mask and the identity of its scene to a GeoTIFF, whole or not at all.

    Parameters
    ----------
    path : Path
        Path of the GeoTIFF: two uint8 bands, tiled, DEFLATE. Its bytes depend on neither the time
        nor the place of writing.
    mask : DetectedMask
        Mask from the detector, not grown.
    scene : Scene
        Scene of the mask.

    Raises
    ------
    DonorError
        If the scene has no tile or no datatake.
    OutputError, TryAgainError
        If the file cannot be written.
    """
    identity = scene_identity(scene)
    codes = mask.cloud * np.uint8(CLOUD_BIT)
    codes |= mask.defective * np.uint8(DEFECTIVE_BIT)
    codes |= mask.low_rank * np.uint8(LOW_RANK_BIT)
    codes |= mask.layers.unobserved * np.uint8(UNOBSERVED_BIT)
    codes |= mask.layers.shadow * np.uint8(SHADOW_BIT)
    # Encoded in memory first, because GDAL may not report that a disk is full.
    write_bytes(str(path), _encoded(codes, mask, identity))


def _encoded(codes: UInt8Raster, mask: DetectedMask, identity: SceneIdentity) -> bytes:
    """Encode a mask as a GeoTIFF, tagged with the identity of its scene."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype="uint8",
            count=2,
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
            agreement = np.zeros_like(codes) if mask.agreement is None else mask.agreement
            dataset.write(agreement, 2)
            dataset.descriptions = (BAND_DESCRIPTION, AGREEMENT_DESCRIPTION)
            dataset.update_tags(
                **{
                    TILE_TAG: identity.mgrs_tile,
                    DATATAKE_TAG: identity.datatake,
                    DETECTOR_TAG: mask.detector,
                }
            )
        return bytes(memory.read())


def read_donor_mask(uri: str) -> DonatedMask:
    """Read a mask that `write_donor_mask` wrote.

    Parameters
    ----------
    uri : str
        Path or URI of the GeoTIFF.

    Returns
    -------
    DonatedMask
        The mask and the identity of its scene.

    Raises
    ------
    DonorError
        If it cannot be read, is not such a mask, or does not name its scene.
    TryAgainError
        If a remote file cannot be reached.
    """
    try:
        with RasterFile(uri, own_trust()) as dataset:
            return _decoded(uri, dataset)
    except RasterError as error:
        msg = f"the mask cannot be read: {error}, or make it again with --donate-mask"
        raise DonorError(msg) from error


def _grid_of(uri: str, dataset: RasterFile) -> Grid:
    """Return the grid of an open mask; raise DonorError if it has none."""
    epsg = dataset.crs.to_epsg()
    try:
        return Grid.from_transform(
            f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(),
            dataset.transform,
            width=dataset.width,
            height=dataset.height,
        )
    except ValueError as error:
        msg = f"{uri}: {error}; make it again with --donate-mask"
        raise DonorError(msg) from error


def _decoded(uri: str, dataset: RasterFile) -> DonatedMask:
    """Decode the mask of an open GeoTIFF."""
    tags = dataset.tags()
    if not (tags.get(TILE_TAG) and tags.get(DATATAKE_TAG)):
        msg = (
            f"{uri} does not name the scene of its mask (tags {TILE_TAG} and {DATATAKE_TAG}); "
            "make it with --donate-mask"
        )
        raise DonorError(msg)
    described = (BAND_DESCRIPTION, AGREEMENT_DESCRIPTION)
    if dataset.crs is None or tuple(dataset.descriptions) != described:
        msg = f"{uri} is not a mask as --donate-mask makes it; make it again"
        raise DonorError(msg)
    codes, agreement = dataset.read([1, 2])
    mask = DetectedMask(
        grid=_grid_of(uri, dataset),
        cloud=codes & CLOUD_BIT != 0,
        defective=codes & DEFECTIVE_BIT != 0,
        low_rank=codes & LOW_RANK_BIT != 0,
        detector=tags.get(DETECTOR_TAG, "unknown"),
        unobserved=codes & UNOBSERVED_BIT != 0,
        shadow=codes & SHADOW_BIT != 0,
        agreement=agreement if agreement.any() else None,
    )
    return DonatedMask(mask, SceneIdentity(tags[TILE_TAG], tags[DATATAKE_TAG]))
