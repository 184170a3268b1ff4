"""Cloud detectors: one Protocol, and a table of those that exist."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cloudbuster.core.arrays import UInt8Raster, UInt16Raster
from cloudbuster.core.bands import BANDS_BY_KIND, Kind
from cloudbuster.core.grid import Grid
from cloudbuster.core.masks import DetectedMask, combine
from cloudbuster.core.scene import Scene
from cloudbuster.detectors import s2cloudless
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.pytorch import PytorchDetector
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.models import DetectorOptions


class SceneSource(Protocol):
    """A scene opened for reading; pixels come harmonised, on any grid of the scene's own CRS."""

    @property
    def scene(self) -> Scene:
        """What is known of the scene."""

    @property
    def grid(self) -> Grid:
        """Grid of the scene's finest requested band, in the scene's CRS, whole tile."""

    def read(self, bands: tuple[str, ...], grid: Grid) -> UInt16Raster:
        """Harmonised DN (0 nodata), shape (band, y, x), on ``grid`` (same CRS, aligned corner).

        Finer bands are averaged over valid pixels, coarser ones interpolated bilinearly. Cells
        outside of the scene are 0. RasterError names a band that cannot be read.
        """

    def read_mask(self, name: str, grid: Grid, *, bands: int = 1) -> UInt8Raster:
        """Read a mask asset (``scl``, ``cld``, ``classi``) at full resolution, nearest on ``grid``.

        Shape (bands, y, x), 0 outside of the scene. MaskError where it is missing or unreadable.
        """

    def mask_grid(self, name: str) -> Grid:
        """Native grid of a mask asset. MaskError where it is missing or unreadable."""

    def twin(self) -> "SceneSource | None":
        """Open the L1C twin of an L2A scene; None where none is known."""


class CloudDetector(Protocol):
    """Finds the clouds of one scene."""

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find cloud in ``area``.

        Parameters
        ----------
        source : SceneSource
            The opened scene.
        area : Grid
            Part of the source's grid that is wanted (in the scene's CRS; already grown by what the
            mask's growth and distances need, and clipped to the scene).

        Returns
        -------
        DetectedMask
            On a grid at the detector's own cell size that covers ``area``.

        Raises
        ------
        MaskError
            Where the mask cannot be made: the scene is then rejected, never taken as clear.
        """


@dataclass(frozen=True)
class WithStock:
    """Another detector and the product's own masks together, as the original used them.

    Attributes
    ----------
    detector, stock : CloudDetector
        Cloud is what either finds.
    """

    detector: CloudDetector
    stock: CloudDetector

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find cloud in ``area`` with both; on the finer of their two grids."""
        return combine(self.detector.detect(source, area), self.stock.detect(source, area))


def resolve_type(options: DetectorOptions, kind: Kind) -> str:
    """Tell which detector ``auto`` is: s2cloudless for L1C, stock for L2A."""
    return AUTO_TYPES[kind] if options.type == "auto" else options.type


def make_detector(options: DetectorOptions, kind: Kind) -> CloudDetector:
    """Make the detector that a request asks for.

    Parameters
    ----------
    options : DetectorOptions
        What the request says.
    kind : {"L1C", "L2A"}
        Level of the scenes it is for.

    Returns
    -------
    CloudDetector
        Picklable; it loads its model when it first detects.

    Raises
    ------
    MissingExtraError
        Where an optional package is missing.
    UntrustedCodeError
        Where a model's architecture may not run.
    """
    name = resolve_type(options, kind)
    detector = DETECTORS[name](options, kind)
    if options.also_stock and name != "stock":
        return WithStock(detector, _make_stock(options, kind))
    return detector


def _make_stock(options: DetectorOptions, kind: Kind) -> CloudDetector:
    return StockDetector(kind, options.preset, options.mask_gsd_m)


def _make_s2cloudless(options: DetectorOptions, _kind: Kind) -> CloudDetector:
    s2cloudless.check_installed()
    return s2cloudless.S2CloudlessDetector(
        threshold=options.threshold,
        average_over=options.average_over,
        dilation_size=options.dilation_size,
        mask_gsd_m=options.mask_gsd_m,
    )


def _make_pytorch(options: DetectorOptions, kind: Kind) -> CloudDetector:
    if options.weights is None:
        msg = "detector pytorch needs weights"
        raise ValueError(msg)
    return PytorchDetector(
        BANDS_BY_KIND[kind],
        weights=options.weights,
        architecture=options.architecture,
        trust_architecture=options.trust_architecture,
        mask_gsd_m=options.mask_gsd_m,
    )


def _make_donor(options: DetectorOptions, _kind: Kind) -> CloudDetector:
    if options.donor_mask is None:
        msg = "detector donor needs donor_mask"
        raise ValueError(msg)
    return DonorDetector(options.donor_mask, options.donor_mask_name, options.mask_gsd_m)


AUTO_TYPES: dict[Kind, str] = {"L1C": "s2cloudless", "L2A": "stock"}
DETECTORS: dict[str, Callable[[DetectorOptions, Kind], CloudDetector]] = {
    "stock": _make_stock,
    "s2cloudless": _make_s2cloudless,
    "pytorch": _make_pytorch,
    "donor": _make_donor,
}
