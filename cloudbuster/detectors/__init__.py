"""Cloud detectors, one module each, all with the interface `protocol.CloudDetector`.

Import `make_detector`, `check_detector`, `choose` and `resolved` from here; the modules of the
detectors are internal.
"""

import difflib
import logging
from dataclasses import dataclass
from importlib.util import find_spec

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.pixels.joined_masks import join_masks
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.core.scenes.bands import BANDS_BY_KIND, Kind
from cloudbuster.core.texts.detector_names import AUTO as AUTO_NAME
from cloudbuster.core.texts.detector_names import DetectorNames, Operator, parse_detectors
from cloudbuster.detectors.csmask import CsmaskDetector
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.omnicloudmask import OmniCloudMaskDetector
from cloudbuster.detectors.protocol import Checked, CloudDetector, Maker, SceneSource
from cloudbuster.detectors.pytorch import PytorchDetector
from cloudbuster.detectors.registered import registered_detectors
from cloudbuster.detectors.s2cloudless import S2CloudlessDetector
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.errors import MissingBandsError, RequestError
from cloudbuster.models import DetectorOptions

__all__ = [
    "Choice",
    "CloudDetector",
    "SceneSource",
    "check_detector",
    "choose",
    "make_detector",
    "resolved",
]

logger = logging.getLogger(__name__)

# Cells in which csmask sees cloud as it was trained to, about 30 m: there, on the real 10 m series,
# cloud that the scene classification alone finds is clear ground more often than not (cirrus on
# clear days, roofs). In cells of 120 m it misses haze, and overrules nothing.
FINE_CELL_M = 30 * 1.01


@dataclass(frozen=True)
class JoinedDetectors:
    """Several detectors whose masks are joined.

    Attributes
    ----------
    detectors : tuple of CloudDetector
        Two or more.
    operator : {"+", "&"}
        See `join_masks`.
    optional : tuple of CloudDetector
        Those of ``detectors`` that are left out for a scene without the bands that they need.
    doubtful : tuple of CloudDetector
        Those of ``detectors`` whose shadow needs a second opinion, and which overrule cloud of the
        others where their cells are at most `FINE_CELL_M`; see `join_masks`.
    """

    detectors: tuple[CloudDetector, ...]
    operator: Operator
    optional: tuple[CloudDetector, ...] = ()
    doubtful: tuple[CloudDetector, ...] = ()

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find cloud in ``area`` with all detectors, on the finest of their grids."""
        masks: list[DetectedMask] = []
        doubtful: list[int] = []
        for detector in self.detectors:
            try:
                masks.append(detector.detect(source, area))
                doubtful += [len(masks) - 1] if detector in self.doubtful else []
            except MissingBandsError as error:
                if detector not in self.optional or (detector == self.detectors[-1] and not masks):
                    raise
                extra = {"scene": source.scene.id, "error": str(error)}
                logger.warning("detector_left_out", extra=extra)
        fine = [place for place in doubtful if max(cell_size_m(masks[place].grid)) <= FINE_CELL_M]
        overruling = fine if len(masks) > len(doubtful) else []
        return join_masks(masks, self.operator, doubtful=doubtful, overruling=overruling)


@dataclass(frozen=True)
class Choice:
    """What ``auto`` stands for, and the reason.

    Attributes
    ----------
    names : DetectorNames
        Detectors that are used.
    reason : str
        Why, in a few words.
    """

    names: DetectorNames
    reason: str

    @property
    def seconded(self) -> tuple[str, ...]:
        """Detectors beside ``stock``: a scene does without those whose bands it lacks.

        Shadow that they find alone is of low rank; see docs/detectors.md.
        """
        names = self.names.names
        return tuple(name for name in names if name != "stock") if "stock" in names else ()


def choose(kind: Kind) -> Choice:
    """Choose the best detector for a level among those that are installed.

    Parameters
    ----------
    kind : {"L1C", "L2A"}
        Level of the scenes.

    Returns
    -------
    Choice
        The first of `AUTO` whose packages are installed; docs/detectors.md has the measurements
        behind the order.
    """
    ranked = AUTO[kind]
    for text in ranked:
        names = parse_detectors(text)
        missing = [name for name in names.names if not _is_installed(name)]
        if not missing:
            place = "the best" if text == ranked[0] else f"the best without {ranked[0]}"
            return Choice(names, f"{place} for {kind} of what is installed")
    names = parse_detectors(ranked[0])
    return Choice(names, f"the best for {kind}; nothing that can find its clouds is installed")


def resolved(options: DetectorOptions, kind: Kind) -> DetectorOptions:
    """Return options that name their detectors: neither ``auto`` nor ``also_stock`` is left.

    Parameters
    ----------
    options : DetectorOptions
        Detector options of a request.
    kind : {"L1C", "L2A"}
        Level of the scenes.

    Returns
    -------
    DetectorOptions

    Raises
    ------
    RequestError
        If no detector has one of the names.
    """
    names, changes = options.detectors, dict[str, object](also_stock=False)
    if AUTO_NAME in names.names:
        choice = choose(kind)
        logger.info(
            "detector_chosen", extra={"detector": str(choice.names), "reason": choice.reason}
        )
        names = names.replaced(AUTO_NAME, choice.names)
        changes |= {"optional": choice.seconded, "doubtful_shadow": choice.seconded}
    for name in names.names:
        _maker(name)
    return options.model_copy(update=changes | {"type": str(names)})


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
    RequestError
        If no detector has one of the names.
    MissingExtraError
        If an optional package is missing.
    UntrustedCodeError
        If the architecture of a model is not trusted.
    """
    known = resolved(options, kind)
    names = known.detectors
    made = {name: _maker(name)(known, kind) for name in names.names}
    if len(made) == 1:
        return made[names.names[0]]
    optional, doubtful = (
        tuple(made[name] for name in listed if name in made)
        for listed in (known.optional, known.doubtful_shadow)
    )
    return JoinedDetectors(tuple(made.values()), names.operator, optional, doubtful)


def check_detector(options: DetectorOptions, kind: Kind) -> None:
    """Check what can be known of a detector before any band is read.

    A PyTorch model is loaded and answers to one window, so that weights that do not fit are
    reported once and not for every scene.

    Raises
    ------
    CloudBusterError
        As `make_detector`, and as the detector would for every scene.
    """
    known = resolved(options, kind)
    for name in known.detectors.names:
        made = _maker(name)(known, kind)
        if isinstance(made, Checked):
            made.check()


def _maker(name: str) -> Maker:
    """Return the function that makes a detector: a built-in one, or one of another package.

    Raises
    ------
    RequestError
        If there is none of that name.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    registered = registered_detectors()
    if name in registered:
        return registered[name]
    available = [*DETECTORS, *registered]
    close = difflib.get_close_matches(name, available, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(available)}"
    msg = f"no detector is called {name!r}; {hint}"
    raise RequestError(msg)


def _is_installed(name: str) -> bool:
    """Return whether the packages of a built-in detector are installed."""
    return all(find_spec(package) is not None for package in PACKAGES.get(name, ()))


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


def _make_csmask(options: DetectorOptions, _kind: Kind) -> CloudDetector:
    """Make the csmask detector; raise MissingExtraError without its packages."""
    return CsmaskDetector(options.mask_gsd_m)


def _make_omnicloudmask(options: DetectorOptions, _kind: Kind) -> CloudDetector:
    """Make the omnicloudmask detector; raise MissingExtraError without its package."""
    return OmniCloudMaskDetector(options.weights, options.mask_gsd_m)


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


AUTO: dict[Kind, tuple[str, ...]] = {
    "L1C": ("csmask", "s2cloudless"),
    "L2A": ("csmask+stock", "stock"),
}
"""What ``auto`` may stand for, the best first."""
PACKAGES = {
    "s2cloudless": ("s2cloudless",),
    "csmask": ("ukis_csmask", "onnxruntime"),
}
"""Packages that the detectors of `AUTO` need."""
DETECTORS: dict[str, Maker] = {
    "stock": _make_stock,
    "s2cloudless": _make_s2cloudless,
    "csmask": _make_csmask,
    "omnicloudmask": _make_omnicloudmask,
    "pytorch": _make_pytorch,
    "donor": _make_donor,
}
