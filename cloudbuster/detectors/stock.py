"""Detector ``stock``: the masks that come with the product."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rasterio.features

from cloudbuster.core.grid import Grid
from cloudbuster.core.masks import (
    DetectedMask,
    MaskLayers,
    Preset,
    classes_to_mask,
    classification_to_mask,
    probability_to_mask,
)
from cloudbuster.core.windows import any_in_cells, cells_of_size, covering_grid, overhang_cells
from cloudbuster.errors import MaskError
from cloudbuster.source.gml import read_cloud_polygons

if TYPE_CHECKING:
    from cloudbuster.core.arrays import BoolRaster
    from cloudbuster.core.bands import Kind
    from cloudbuster.core.scene import Scene
    from cloudbuster.detectors import SceneSource

# MSK_CLOUDS is drawn along the edges of 60 m cells (seen in the mask of T32TNM, 2017-02-26).
GML_GSD_M = 60.0

# The original knew nothing but CLD; L1C products rarely have it, so there the others follow.
_ASSETS: dict[tuple[str, bool], tuple[str, ...]] = {
    ("L2A", False): ("scl",),
    ("L2A", True): ("cld",),
    ("L1C", False): ("classi", "gml", "cld"),
    ("L1C", True): ("cld", "classi", "gml"),
}


@dataclass(frozen=True)
class StockDetector:
    """Takes cloud from the product's own masks.

    On L2A the scene classification (SCL) by preset, or the cloud probability (CLD) with preset
    ``original``. On L1C the first there is of MSK_CLASSI (from January 2022), the polygons of
    MSK_CLOUDS (before), and CLD; preset ``original`` takes CLD first.

    Attributes
    ----------
    kind : {"L1C", "L2A"}
        Product level.
    preset : {"standard", "strict", "original"}
        Which classes are cloud.
    mask_gsd_m : float or None
        Cell size of the result: a cell that touches a cloudy one is cloudy. None, or anything
        finer than the mask, for the mask's own cells.
    """

    kind: "Kind"
    preset: Preset = "standard"
    mask_gsd_m: float | None = None

    def detect(self, source: "SceneSource", area: Grid) -> DetectedMask:
        """Find cloud in ``area``; see `cloudbuster.detectors.CloudDetector`."""
        name = self._asset(source.scene)
        native = _native_grid(source, name, area)
        detector = f"stock {name} {self.preset}" if name == "scl" else f"stock {name}"
        target = covering_grid(native, area)
        if self.mask_gsd_m is not None and self.mask_gsd_m > native.x_size:
            target = cells_of_size(source.grid, area, self.mask_gsd_m)
            detector = f"{detector} gsd_m={self.mask_gsd_m:g}"
        grid = covering_grid(native, target)
        layers = _LAYERS[name](source, grid, self.preset)
        # Beyond the mask's end nothing is known: that is for whole cells of the result to say, lest
        # a larger cell at the edge count as defective for the part that lies outside.
        inside = ~overhang_cells(native, grid)
        cloud, defective, low_rank = (
            any_in_cells(layer & inside, grid, target) if target != grid else layer & inside
            for layer in layers
        )
        defective |= overhang_cells(native, target)
        return DetectedMask(target, cloud, defective, low_rank, detector)

    def _asset(self, scene: "Scene") -> str:
        """Name of the mask to take; MaskError names the other ways where there is none."""
        wanted = _ASSETS[self.kind, self.preset == "original"]
        for name in wanted:
            if name in scene.masks:
                return name
        has = ", ".join(sorted(scene.masks)) or "none"
        msg = (
            f"{scene.id} has no mask {' or '.join(wanted)} (it has {has}); "
            "find its cloud with --s2cloudless or give --donor-mask"
        )
        raise MaskError(msg)


def _native_grid(source: "SceneSource", name: str, area: Grid) -> Grid:
    if name == "gml":
        return cells_of_size(source.grid, source.grid, GML_GSD_M)
    native = source.mask_grid(name)
    if native.crs != area.crs:
        msg = (
            f"{source.scene.id}: mask {name} is in {native.crs}, its pixels in {area.crs}; "
            "choose another detector"
        )
        raise MaskError(msg)
    return native


def _scl_layers(source: "SceneSource", grid: Grid, preset: Preset) -> MaskLayers:
    return classes_to_mask(source.read_mask("scl", grid)[0], preset)


def _classi_layers(source: "SceneSource", grid: Grid, _preset: Preset) -> MaskLayers:
    return classification_to_mask(source.read_mask("classi", grid, bands=3))


def _cld_layers(source: "SceneSource", grid: Grid, _preset: Preset) -> MaskLayers:
    return probability_to_mask(source.read_mask("cld", grid)[0])


def _gml_layers(source: "SceneSource", grid: Grid, _preset: Preset) -> MaskLayers:
    """Burn the cloud polygons of L1C; whatever they touch is cloud."""
    href = source.scene.masks["gml"].href
    clouds = read_cloud_polygons(href)
    if clouds.crs not in (None, grid.crs):
        msg = f"{href} is in {clouds.crs}, the scene in {grid.crs}; choose another detector"
        raise MaskError(msg)
    cloud: BoolRaster = np.zeros(grid.shape, dtype=np.bool_)
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
    return MaskLayers(cloud, nothing, nothing.copy())


_LAYERS: dict[str, Callable[["SceneSource", Grid, Preset], MaskLayers]] = {
    "scl": _scl_layers,
    "cld": _cld_layers,
    "classi": _classi_layers,
    "gml": _gml_layers,
}
