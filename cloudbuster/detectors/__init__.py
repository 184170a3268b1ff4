"""Cloud detectors: one Protocol, and a table of those that exist."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from cloudbuster.core.grid import MosaicGrid
from cloudbuster.core.masks import DetectedMask
from cloudbuster.core.scene import Scene


class SceneSource(Protocol):
    """A scene opened for reading; pixels come harmonised, on any grid of the scene's own CRS."""

    @property
    def scene(self) -> Scene:
        """What is known of the scene."""

    @property
    def grid(self) -> MosaicGrid:
        """Grid of the scene's finest requested band, in the scene's CRS, whole tile."""

    def read(self, bands: tuple[str, ...], grid: MosaicGrid) -> npt.NDArray[np.uint16]:
        """Harmonised DN (0 nodata), shape (band, y, x), on ``grid`` (same CRS, aligned corner).

        Finer bands are averaged over valid pixels, coarser ones interpolated bilinearly. Cells
        outside of the scene are 0. RasterError names a band that cannot be read.
        """

    def read_mask(self, name: str, grid: MosaicGrid, *, bands: int = 1) -> npt.NDArray[np.uint8]:
        """A mask asset (``scl``, ``cld``, ``classi``) at full resolution put on ``grid`` nearest.

        Shape (bands, y, x), 0 outside of the scene. MaskError where it is missing or unreadable.
        """

    def mask_grid(self, name: str) -> MosaicGrid:
        """Native grid of a mask asset. MaskError where it is missing or unreadable."""

    def twin(self) -> "SceneSource | None":
        """The L1C twin of an L2A scene, opened; None where none is known."""


class CloudDetector(Protocol):
    """Finds the clouds of one scene."""

    def detect(self, source: SceneSource, area: MosaicGrid) -> DetectedMask:
        """Find cloud in ``area``.

        Parameters
        ----------
        source : SceneSource
            The opened scene.
        area : MosaicGrid
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
