"""Detector ``stock``: the masks that come with the product."""

from dataclasses import dataclass

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.windows import (
    any_in_cells,
    cells_of_size,
    covering_grid,
    overhang_cells,
)
from cloudbuster.core.pixels.masks import DetectedMask, MaskLayers, Preset
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.errors import MaskError
from cloudbuster.source.masks.product_masks import (
    GML_GSD_M,
    mask_band_count,
    mask_layers,
    mask_name,
    polygon_layers,
)
from cloudbuster.storage.addresses.trust import catalog_trust

# Class of the scene classification that claims no cloud: 6.6 % of the ground is of it on the 32
# clear dates of the real 10 m series, .1 % of the classes of cloud.
UNCLASSIFIED = 7


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
        name = mask_name(source.scene, self.kind, self.preset)
        native = _native_grid(source, name, area)
        detector = f"stock {name} {self.preset}" if name == "scl" else f"stock {name}"
        target = covering_grid(native, area)
        if self.mask_gsd_m is not None and self.mask_gsd_m > cell_size_m(native)[0]:
            target = cells_of_size(source.grid, area, self.mask_gsd_m)
            detector = f"{detector} gsd_m={self.mask_gsd_m:g}"
        grid = covering_grid(native, target)
        layers, sure = _read_layers(source, name, grid, self.preset)
        # Cells outside the mask are defective. This is decided for whole cells of the result, so
        # that a larger cell at the edge is not defective for the part of it that lies outside.
        inside = ~overhang_cells(native, grid)
        cloud, defective, low_rank, shadow = (
            any_in_cells(layer & inside, grid, target) if target != grid else layer & inside
            for layer in (layers.cloud, layers.defective, layers.low_rank, layers.shadow)
        )
        defective |= overhang_cells(native, target)
        unobserved = layers.unobserved & inside
        if target != grid:
            # A larger cell is no observation only if no part of it is one.
            unobserved = ~any_in_cells(~layers.unobserved | ~inside, grid, target)
        if name != "scl":
            # The other masks do not know shadow, nor how sure their cloud is.
            return DetectedMask(target, cloud, defective, low_rank, detector, unobserved)
        sure &= inside
        firm = any_in_cells(sure, grid, target) if target != grid else sure
        return DetectedMask(
            target, cloud, defective, low_rank, detector, unobserved, shadow, firm_cloud=firm
        )


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


def _read_layers(
    source: SceneSource, name: str, grid: Grid, preset: Preset
) -> tuple[MaskLayers, BoolRaster]:
    """Read a mask of the product on a grid, and where it is sure of cloud."""
    if name == "gml":
        scene = source.scene
        trust = catalog_trust(scene.catalog, scene.asset_mirror)
        layers = polygon_layers(scene.masks[name].href, grid, trust)
        return layers, layers.cloud
    values = source.read_mask(name, grid, bands=mask_band_count(name))
    return mask_layers(name, values, preset), values[0] != UNCLASSIFIED
