"""Detector ``s2cloudless``: Sentinel Hub's pixel classifier, which reads ten bands of L1C."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grid import Grid, GridWindow
from cloudbuster.core.masks import DetectedMask, valid_pixels
from cloudbuster.core.windows import cells_of_size, nearest_multiple, row_strips
from cloudbuster.errors import MaskError, MissingExtraError

if TYPE_CHECKING:
    from cloudbuster.detectors import SceneSource

# The bands that the model was trained on, in its order (MODEL_BANDS of s2cloudless 1.7.3).
MODEL_BANDS = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
# Reflectance is DN / 10000 in double precision; the original divided by 1e5 and saw no cloud.
QUANTIFICATION_VALUE = 10_000.0
# Sentinel Hub computes its own cloud masks (CLM, CLP) at 160 m.
DEFAULT_GSD_M = 160.0
# Cells in memory at once: ten bands of them take 80 MB; a tile at 160 m is one strip.
STRIP_CELLS = 4_000_000
# Pixels that are classified at once: their reflectances take 21 MB in double precision.
CHUNK_PIXELS = 262_144
# A window's weight this close to 1 holds no cell without data.
WHOLE_WEIGHT = 1 - 1e-6

Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class S2CloudlessDetector:
    """Finds cloud with s2cloudless; the L1C twin is read where the scene is L2A.

    Attributes
    ----------
    threshold : float
        Averaged probability above which a cell is cloud.
    average_over : int
        Radius of the averaging disk, cells; 0 for none.
    dilation_size : int
        Radius of the package's own dilation, cells; 0 for none.
    mask_gsd_m : float or None
        Cell size; None for the multiple of the scene's pixels nearest to 160 m.
    """

    threshold: float = 0.4
    average_over: int = 4
    dilation_size: int = 1
    mask_gsd_m: float | None = None

    def detect(self, source: "SceneSource", area: Grid) -> DetectedMask:
        """Find cloud in ``area``; see `cloudbuster.detectors.CloudDetector`."""
        level1 = _level1(source)
        if level1.grid.crs != area.crs:
            msg = f"{level1.scene.id} is in {level1.grid.crs}, not in {area.crs}"
            raise MaskError(msg)
        gsd_m = self.mask_gsd_m or nearest_multiple(DEFAULT_GSD_M, level1.grid.x_size)
        cells = cells_of_size(level1.grid, level1.grid, gsd_m)
        wanted = cells.window_of(area.bounds)
        cloud = np.zeros((wanted.height, wanted.width), dtype=np.bool_)
        defective = np.ones_like(cloud)
        inside = wanted.intersection(cells.window)
        for row, rows in row_strips(inside.height, inside.width, STRIP_CELLS):
            strip = GridWindow(inside.row + row, inside.col, rows, inside.width)
            target = strip.shifted(-wanted.row, -wanted.col).slices
            cloud[target], defective[target] = self._detect_strip(level1, cells, strip)
        return DetectedMask(
            grid=cells.crop(wanted),
            cloud=cloud,
            defective=defective,
            low_rank=np.zeros_like(cloud),
            detector=(
                f"s2cloudless threshold={self.threshold:g} average_over={self.average_over} "
                f"dilation_size={self.dilation_size} gsd_m={cells.x_size:g}"
            ),
        )

    def _detect_strip(
        self, level1: "SceneSource", cells: Grid, strip: GridWindow
    ) -> tuple[BoolRaster, BoolRaster]:
        """(cloud, defective) of a part of the scene, as they come out of the whole scene."""
        # What averaging and dilation see of the surroundings; the scene's own edge is mirrored.
        around = strip.grown(self.average_over + self.dilation_size).intersection(cells.window)
        bands = level1.read(MODEL_BANDS, cells.crop(around))
        probability = cloud_probability(bands)
        cloud = cloud_from_probability(
            probability,
            threshold=self.threshold,
            average_over=self.average_over,
            dilation_size=self.dilation_size,
        )
        part = strip.shifted(-around.row, -around.col).slices
        return cloud[part], np.isnan(probability[part])


def check_installed() -> None:
    """Raise MissingExtraError where the package is missing, without importing it."""
    if find_spec("s2cloudless") is None:
        msg = "detector s2cloudless needs a package: pip install 'cloudbuster[s2cloudless]'"
        raise MissingExtraError(msg)


def cloud_probability(bands: UInt16Raster) -> Probability:
    """Classify pixels, each by itself.

    Parameters
    ----------
    bands : ndarray of uint16, shape (10, y, x)
        Harmonised L1C DN of `MODEL_BANDS`. Not modified.

    Returns
    -------
    ndarray of float32, shape (y, x)
        Probability of cloud, 0 to 1, as the package computes it; NaN where any band is 0 or
        saturated.

    Raises
    ------
    MissingExtraError
        Where the package is not installed.
    """
    valid = valid_pixels(bands)
    pixels = bands[:, valid].T
    found = np.empty(len(pixels), dtype=np.float32)
    for start in range(0, len(pixels), CHUNK_PIXELS):
        part = slice(start, start + CHUNK_PIXELS)
        reflectance = pixels[part] / QUANTIFICATION_VALUE
        # One thread: scenes are what runs side by side. The package asks for 4 dimensions.
        maps = _detector().get_cloud_probability_maps(reflectance[None, None], num_threads=1)
        found[part] = maps[0, 0]
    probability = np.full(valid.shape, np.nan, dtype=np.float32)
    probability[valid] = found
    return probability


def cloud_from_probability(
    probability: Probability, *, threshold: float, average_over: int, dilation_size: int
) -> BoolRaster:
    """Average over a disk, apply the threshold, widen by a disk: as the package does.

    Parameters
    ----------
    probability : ndarray of float32, shape (y, x)
        NaN where there is no data; such a cell takes no part in its neighbours' averages.
        Without one, the result is that of ``S2PixelCloudDetector.get_mask_from_prob``.
    threshold : float
        Averages above it are cloud.
    average_over, dilation_size : int
        Radius of the disk, cells; 0 for none.

    Returns
    -------
    ndarray of bool, shape (y, x)
        True for cloud, never where there is no data.
    """
    detector = _detector(average_over, dilation_size)
    import cv2  # comes with s2cloudless

    valid = ~np.isnan(probability)
    average: Any = np.where(valid, probability, np.float32(0))
    if average_over:
        disk, border = detector.conv_filter, cv2.BORDER_REFLECT
        average = cv2.filter2D(average, -1, disk, borderType=border)
        if not valid.all():
            weight: Any = cv2.filter2D(valid.astype(np.float32), -1, disk, borderType=border)
            partial = valid & (weight < WHOLE_WEIGHT)
            average[partial] /= weight[partial]
    cloud: Any = ((average > threshold) & valid).astype(np.uint8)
    if dilation_size:
        cloud = cv2.dilate(cloud, detector.dilation_filter)
    result: BoolRaster = (cloud != 0) & valid
    return result


@lru_cache(maxsize=8)
def _detector(average_over: int = 0, dilation_size: int = 0) -> Any:  # noqa: ANN401 -- untyped
    """Make the package's detector; it loads its model when it first classifies."""
    check_installed()
    from s2cloudless.cloud_detector import S2PixelCloudDetector

    return S2PixelCloudDetector(
        all_bands=False, average_over=average_over, dilation_size=dilation_size
    )


def _level1(source: "SceneSource") -> "SceneSource":
    """Give the scene itself where it is L1C, else its L1C twin."""
    if source.scene.kind == "L1C":
        return source
    twin = source.twin()
    if twin is None:
        msg = (
            f"{source.scene.id} is {source.scene.kind} and s2cloudless reads L1C (band B10), but "
            "no L1C twin is attached; give a mask made from L1C with --donor-mask, or use stock"
        )
        raise MaskError(msg)
    return twin
