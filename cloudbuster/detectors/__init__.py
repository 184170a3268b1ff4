"""Cloud detectors, one module each, all with the interface `protocol.CloudDetector`.

Import `make_detector`, `check_detector` and `resolve_type` from here; the modules of the detectors
are internal.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import DetectedMask, combine
from cloudbuster.core.scenes.bands import BANDS_BY_KIND, Kind
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.protocol import CloudDetector, SceneSource
from cloudbuster.detectors.pytorch import PytorchDetector
from cloudbuster.detectors.s2cloudless import S2CloudlessDetector
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.models import DetectorOptions

__all__ = ["CloudDetector", "SceneSource", "check_detector", "make_detector", "resolve_type"]


@dataclass(frozen=True)
class WithStock:
    """A detector combined with the masks of the product, as in the original.

    Attributes
    ----------
    detector, stock : CloudDetector
        A cell is cloud if either of them finds cloud.
    """

    detector: CloudDetector
    stock: CloudDetector

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find cloud in ``area`` with both detectors, on the finer of their grids."""
        return combine(self.detector.detect(source, area), self.stock.detect(source, area))


def resolve_type(options: DetectorOptions, kind: Kind) -> str:
    """Type of the detector; ``auto`` becomes s2cloudless for L1C and stock for L2A."""
    return AUTO_TYPES[kind] if options.type == "auto" else options.type


def make_detector(options: DetectorOptions, kind: Kind) -> CloudDetector:
    """Make the detector of a request.

    Parameters
    ----------
    options : DetectorOptions
        Detector options of the request.
    kind : {"L1C", "L2A"}
        Level of the scenes.

    Returns
    -------
    CloudDetector
        Picklable detector; a model is loaded with the first detection.

    Raises
    ------
    MissingExtraError
        If an optional package is missing.
    UntrustedCodeError
        If the architecture of a model is not trusted.
    """
    name = resolve_type(options, kind)
    detector = DETECTORS[name](options, kind)
    if options.also_stock and name != "stock":
        return WithStock(detector, _make_stock(options, kind))
    return detector


def check_detector(options: DetectorOptions, kind: Kind) -> None:
    """Check what can be known of a detector before any band is read.

    A PyTorch model is loaded and answers to one window, so that weights that do not fit are
    reported once and not for every scene.

    Raises
    ------
    CloudBusterError
        As `make_detector`, and as the detector would for every scene.
    """
    if resolve_type(options, kind) == "pytorch":
        _make_pytorch(options, kind).check()


def _make_stock(options: DetectorOptions, kind: Kind) -> CloudDetector:
    """Make the detector that uses the masks of the product."""
    return StockDetector(kind, options.preset, options.mask_gsd_m)


def _make_s2cloudless(options: DetectorOptions, _kind: Kind) -> CloudDetector:
    """Make the s2cloudless detector; raise MissingExtraError without its package."""
    return S2CloudlessDetector(
        threshold=options.threshold,
        average_over=options.average_over,
        dilation_size=options.dilation_size,
        mask_gsd_m=options.mask_gsd_m,
    )


def _make_pytorch(options: DetectorOptions, kind: Kind) -> PytorchDetector:
    """Make the detector that runs a PyTorch model on every band of the level."""
    if options.weights is None:
        msg = "detector pytorch needs weights"
        raise ValueError(msg)
    return PytorchDetector(
        BANDS_BY_KIND[kind],
        weights=options.weights,
        architecture=options.architecture,
        trust_architecture=options.trust_architecture,
        mask_gsd_m=options.mask_gsd_m,
        cloud_classes=options.cloud_classes,
    )


def _make_donor(options: DetectorOptions, _kind: Kind) -> CloudDetector:
    """Make the detector that uses a donated mask."""
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
