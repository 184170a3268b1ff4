"""Detector ``stock``: the masks that come with the product."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rasterio.features

from cloudbuster.core.bands import Kind
from cloudbuster.core.grid import Grid
from cloudbuster.core.ground import cell_size_m
from cloudbuster.core.masks import (
    DetectedMask,
    MaskLayers,
    Preset,
    classes_to_mask,
    classification_to_mask,
    probability_to_mask,
)
from cloudbuster.core.scene import Scene
from cloudbuster.core.windows import any_in_cells, cells_of_size, covering_grid, overhang_cells
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.errors import MaskError
from cloudbuster.source.gml import read_cloud_polygons
from cloudbuster.storage.trust import catalog_trust

# The polygons of MSK_CLOUDS follow the edges of 60 m cells (seen in T32TNM of 2017-02-26).
GML_GSD_M = 60.0

# Masks by level and by whether the preset is `original`, in order of preference. The original used
# CLD alone, which L1C products rarely have.
_ASSETS: dict[tuple[str, bool], tuple[str, ...]] = {
    ("L2A", False): ("scl",),
    ("L2A", True): ("cld",),
    ("L1C", False): ("classi", "gml", "cld"),
    ("L1C", True): ("cld", "classi", "gml"),
}


@dataclass(frozen=True)
class StockDetector:
    """Reads cloud from the masks of the product.

    For L2A these are the scene classification (SCL), or the cloud probability (CLD) with the preset
    ``original``. For L1C it is the first available of MSK_CLASSI (from January 2022), the polygons
    of MSK_CLOUDS (before), and CLD; the preset ``original`` prefers CLD.

    Attributes
    ----------
    kind : {"L1C", "L2A"}
        Product level.
    preset : {"standard", "strict", "original"}
        Selects the classes that count as cloud.
    mask_gsd_m : float or None
        Cell size of the result, metres; a cell is cloud if it touches a cloudy cell of the mask.
        None, or a size finer than the mask's, keeps the cells of the mask.
    """

    kind: Kind
    preset: Preset = "standard"
    mask_gsd_m: float | None = None

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find the clouds in ``area``; see `CloudDetector.detect`."""
        name = self._mask_name(source.scene)
        native = _native_grid(source, name, area)
        detector = f"stock {name} {self.preset}" if name == "scl" else f"stock {name}"
        target = covering_grid(native, area)
        if self.mask_gsd_m is not None and self.mask_gsd_m > cell_size_m(native)[0]:
            target = cells_of_size(source.grid, area, self.mask_gsd_m)
            detector = f"{detector} gsd_m={self.mask_gsd_m:g}"
        grid = covering_grid(native, target)
        layers = _LAYERS[name](source, grid, self.preset)
        # Cells outside the mask are defective. This is decided for whole cells of the result, so
        # that a larger cell at the edge is not defective for the part of it that lies outside.
        inside = ~overhang_cells(native, grid)
        cloud, defective, low_rank = (
            any_in_cells(layer & inside, grid, target) if target != grid else layer & inside
            for layer in layers[:3]
        )
        defective |= overhang_cells(native, target)
        unobserved = layers.unobserved & inside
        if target != grid:
            # A larger cell is no observation only if no part of it is one.
            unobserved = ~any_in_cells(~layers.unobserved | ~inside, grid, target)
        return DetectedMask(target, cloud, defective, low_rank, detector, unobserved)

    def _mask_name(self, scene: Scene) -> str:
        """Name of the mask to read; raise MaskError if the scene has none that is suitable."""
        names = _ASSETS[self.kind, self.preset == "original"]
        for name in names:
            if name in scene.masks:
                return name
        available = ", ".join(sorted(scene.masks)) or "none"
        msg = (
            f"{scene.id} has no mask {' or '.join(names)} (it has {available}); "
            "find its clouds with --s2cloudless or give --donor-mask"
        )
        raise MaskError(msg)


def _native_grid(source: SceneSource, name: str, area: Grid) -> Grid:
    """Grid of a mask; polygons get the cells of 60 m that they were drawn on."""
    if name == "gml":
        return cells_of_size(source.grid, source.grid, GML_GSD_M)
    native = source.mask_grid(name)
    if native.crs != area.crs:
        msg = (
            f"{source.scene.id}: mask {name} is in {native.crs}, but its bands in {area.crs}; "
            "choose another detector"
        )
        raise MaskError(msg)
    return native


def _scl_layers(source: SceneSource, grid: Grid, preset: Preset) -> MaskLayers:
    """Read the scene classification of L2A."""
    return classes_to_mask(source.read_mask("scl", grid)[0], preset)


def _classi_layers(source: SceneSource, grid: Grid, _preset: Preset) -> MaskLayers:
    """Read MSK_CLASSI of L1C: opaque cloud, cirrus and snow, one band each."""
    return classification_to_mask(source.read_mask("classi", grid, bands=3))


def _cld_layers(source: SceneSource, grid: Grid, _preset: Preset) -> MaskLayers:
    """Read the cloud probability."""
    return probability_to_mask(source.read_mask("cld", grid)[0])


def _gml_layers(source: SceneSource, grid: Grid, _preset: Preset) -> MaskLayers:
    """Rasterise the cloud polygons of L1C; every cell that they touch is cloud."""
    scene = source.scene
    href = scene.masks["gml"].href
    clouds = read_cloud_polygons(href, catalog_trust(scene.catalog, scene.asset_mirror))
    if clouds.crs not in (None, grid.crs):
        msg = f"{href} is in {clouds.crs}, but the scene in {grid.crs}; choose another detector"
        raise MaskError(msg)
    cloud = np.zeros(grid.shape, dtype=np.bool_)
    if clouds.polygons:
        cloud = (
            rasterio.features.rasterize(
                clouds.polygons,
                out_shape=grid.shape,
                transform=grid.transform,
                all_touched=True,
                dtype="uint8",
            )
            != 0
        )
    nothing = np.zeros_like(cloud)
    return MaskLayers(cloud, nothing, nothing.copy(), nothing.copy())


_LAYERS: dict[str, Callable[[SceneSource, Grid, Preset], MaskLayers]] = {
    "scl": _scl_layers,
    "cld": _cld_layers,
    "classi": _classi_layers,
    "gml": _gml_layers,
}
