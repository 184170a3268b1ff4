"""Protocols of cloud detectors, and of the scenes they read."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from cloudbuster.core.arrays import UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.models import DetectorOptions


class SceneSource(Protocol):
    """Open scene, which provides harmonised pixels on any grid of its own CRS."""

    @property
    def scene(self) -> Scene:
        """Description of the scene by its catalog."""

    @property
    def grid(self) -> Grid:
        """Grid of the finest requested band: the whole tile, in the CRS of the scene."""

    def read(self, bands: tuple[str, ...], grid: Grid) -> UInt16Raster:
        """Read harmonised DN (0 is nodata), shape (band, y, x), on a grid in the scene's CRS.

        Finer bands are averaged over their valid pixels, coarser ones are interpolated. Cells
        outside the scene are 0. Raises RasterError if a band cannot be read.
        """

    def read_mask(self, name: str, grid: Grid, *, bands: int = 1) -> UInt8Raster:
        """Read a mask (``scl``, ``cld`` or ``classi``) at full resolution, by nearest neighbour.

        The shape is (bands, y, x); cells outside the mask are 0. Raises MaskError if the mask is
        missing or cannot be read.
        """

    def mask_grid(self, name: str) -> Grid:
        """Native grid of a mask; raise MaskError if it is missing or cannot be read."""

    def twin(self) -> "SceneSource | None":
        """Open the L1C twin of an L2A scene; None if none is known."""


class CloudDetector(Protocol):
    """Finds the clouds of one scene."""

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find the clouds in a part of a scene.

        Parameters
        ----------
        source : SceneSource
            Open scene.
        area : Grid
            Part of the grid of the source. It includes the margin that growing the mask and
            measuring distances need, and lies within the scene.

        Returns
        -------
        DetectedMask
            Mask at the detector's own cell size, on a grid that covers ``area``.

        Raises
        ------
        MaskError
            If the mask cannot be made. The scene is then rejected, never taken as clear.
        """


@runtime_checkable
class Checked(Protocol):
    """Detector that can find out before any band is read that it cannot work."""

    def check(self) -> None:
        """Raise the error that every scene would have."""


Maker = Callable[[DetectorOptions, Kind], CloudDetector]
"""Makes a detector from the options of a request and the level of the scenes."""
