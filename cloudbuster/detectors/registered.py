"""Detectors that other packages register by the entry point group ``cloudbuster.detectors``."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.texts.detector_names import NAME
from cloudbuster.detectors.protocol import CloudDetector, Maker, SceneSource
from cloudbuster.errors import BadInputError, CloudBusterError, MaskError, first_line
from cloudbuster.models import DetectorOptions

GROUP = "cloudbuster.detectors"


def registered_detectors() -> Mapping[str, Maker]:
    """Return the makers of the detectors that installed packages register, by their names.

    The code of a package is imported when its detector is made.
    """
    return {
        entry.name: _Registration(entry)
        for entry in entry_points(group=GROUP)
        if NAME.fullmatch(entry.name)
    }


@dataclass(frozen=True)
class _Registration:
    """Makes the detector of an entry point; see `Maker`."""

    entry: EntryPoint

    def __call__(self, options: DetectorOptions, kind: Kind) -> CloudDetector:
        """Make the detector; raise BadInputError if the code of its package fails."""
        # Code of somebody else may raise any exception.
        try:
            return _Guarded(self.entry.name, self.entry.load()(options, kind))
        except CloudBusterError:
            raise
        except Exception as error:
            msg = (
                f"detector {self.entry.name} ({self.entry.value}) cannot be made: "
                f"{type(error).__name__}: {first_line(error)}; ask the author of its package"
            )
            raise BadInputError(msg) from error


@dataclass(frozen=True)
class _Guarded:
    """A detector of another package, whose errors and masks are checked.

    Attributes
    ----------
    name : str
        Name of its entry point.
    detector : CloudDetector
        The detector itself.
    """

    name: str
    detector: CloudDetector

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find the clouds in ``area``; raise MaskError if the detector fails."""
        try:
            mask = self.detector.detect(source, area)
        except CloudBusterError:
            raise
        except Exception as error:
            msg = (
                f"{source.scene.id}: detector {self.name} failed: {type(error).__name__}: "
                f"{first_line(error)}"
            )
            raise MaskError(msg) from error
        fault = _fault(mask, area)
        if fault:
            msg = f"{source.scene.id}: detector {self.name} returned {fault}"
            raise MaskError(msg)
        return mask


def _fault(mask: Any, area: Grid) -> str | None:  # noqa: ANN401 -- of another package
    """Return what is wrong with a mask, if anything."""
    if not isinstance(mask, DetectedMask):
        return f"a {type(mask).__name__}, not a DetectedMask"
    if mask.grid.crs != area.crs:
        return f"a mask in {mask.grid.crs}, but the scene is in {area.crs}"
    for name, layer in mask.layers._asdict().items():
        if not isinstance(layer, np.ndarray) or layer.dtype != np.bool_:
            return f"{name} that is no array of bool"
        if layer.shape != mask.grid.shape:
            return f"{name} of shape {layer.shape} on a grid of {mask.grid.shape}"
    west, south, east, north = mask.grid.bounds
    if not (
        west <= area.bounds[0] + mask.grid.x_size / 2
        and south <= area.bounds[1] + mask.grid.y_size / 2
        and east >= area.bounds[2] - mask.grid.x_size / 2
        and north >= area.bounds[3] - mask.grid.y_size / 2
    ):
        return f"a mask of {mask.grid.bounds} that does not cover {area.bounds}"
    return None
