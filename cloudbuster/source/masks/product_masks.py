"""The masks that come with a product: which one to read, and the meaning of its values."""

from collections.abc import Callable

import numpy as np
import rasterio.features

from cloudbuster.core.arrays import UInt8Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import (
    MaskLayers,
    Preset,
    classes_to_mask,
    classification_to_mask,
    probability_to_mask,
)
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import MaskError
from cloudbuster.source.masks.gml import read_cloud_polygons
from cloudbuster.storage.addresses.trust import Trust

# The polygons of MSK_CLOUDS follow the edges of 60 m cells (seen in T32TNM of 2017-02-26).
GML_GSD_M = 60.0

# Masks by level and by whether the preset is `original`, in order of preference. The original used
# CLD alone, which L1C products rarely have.
_ASSETS: dict[tuple[Kind, bool], tuple[str, ...]] = {
    ("L2A", False): ("scl",),
    ("L2A", True): ("cld",),
    ("L1C", False): ("classi", "gml", "cld"),
    ("L1C", True): ("cld", "classi", "gml"),
}

# Opaque cloud, cirrus and snow of MSK_CLASSI are one band each.
_BAND_COUNTS = {"classi": 3}


def mask_names(kind: Kind, preset: Preset) -> tuple[str, ...]:
    """Return the names of the masks that detector ``stock`` may read, in order of preference."""
    return _ASSETS[kind, preset == "original"]


def mask_name(scene: Scene, kind: Kind, preset: Preset) -> str:
    """Return the name of the mask that detector ``stock`` reads.

    Parameters
    ----------
    scene : Scene
        Scene with its masks.
    kind : {"L1C", "L2A"}
        Product level.
    preset : {"standard", "strict", "original"}
        Selects the classes that count as cloud.

    Raises
    ------
    MaskError
        If the scene has no mask that is suitable.
    """
    names = mask_names(kind, preset)
    for name in names:
        if name in scene.masks:
            return name
    available = ", ".join(sorted(scene.masks)) or "none"
    msg = (
        f"{scene.id} has no mask {' or '.join(names)} (it has {available}); "
        "find its clouds with --s2cloudless or give --donor-mask"
    )
    raise MaskError(msg)


def mask_band_count(name: str) -> int:
    """Return the number of bands of the mask ``scl``, ``cld`` or ``classi``."""
    return _BAND_COUNTS.get(name, 1)


def mask_layers(name: str, values: UInt8Raster, preset: Preset) -> MaskLayers:
    """Derive a mask from the values of ``scl``, ``cld`` or ``classi``.

    Parameters
    ----------
    name : str
        ``scl``, ``cld`` or ``classi``.
    values : ndarray of uint8, shape (band, y, x)
        As many bands as `mask_band_count` says.
    preset : {"standard", "strict", "original"}
        Selects the classes of ``scl`` that count as cloud.

    Returns
    -------
    MaskLayers
        Of shape (y, x).
    """
    return _LAYERS[name](values, preset)


def polygon_layers(href: str, grid: Grid, trust: Trust) -> MaskLayers:
    """Rasterise the cloud polygons of L1C; every cell that they touch is cloud.

    Parameters
    ----------
    href : str
        Path or URI of an MSK_CLOUDS file.
    grid : Grid
        Grid of the result, in the CRS of the scene.
    trust : Trust
        What the giver of the address may refer to.

    Raises
    ------
    MaskError
        If the file cannot be read, or is in another CRS.
    TryAgainError
        If a remote file cannot be reached.
    """
    clouds = read_cloud_polygons(href, trust)
    if clouds.crs not in (None, grid.crs):
        msg = f"{href} is in {clouds.crs}, but the scene in {grid.crs}; choose another detector"
        raise MaskError(msg)
    cloud = np.zeros(grid.shape, dtype=np.bool_)
    if clouds.polygons:
        place = {"out_shape": grid.shape, "transform": grid.transform, "dtype": "uint8"}
        cloud = rasterio.features.rasterize(clouds.polygons, all_touched=True, **place) != 0
    nothing = np.zeros_like(cloud)
    return MaskLayers(cloud, *(nothing.copy() for _ in range(4)))


_LAYERS: dict[str, Callable[[UInt8Raster, Preset], MaskLayers]] = {
    "scl": lambda values, preset: classes_to_mask(values[0], preset),
    "cld": lambda values, _: probability_to_mask(values[0]),
    "classi": lambda values, _: classification_to_mask(values),
}
