"""Detector ``s2cloudless``: the pixel classifier of Sentinel Hub, which reads ten L1C bands."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.windows import cells_of_size, nearest_multiple, row_strips
from cloudbuster.core.pixels.masks import DetectedMask, valid_pixels
from cloudbuster.detectors.extras import require_package
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.errors import MaskError

# Input bands of the model, in order (MODEL_BANDS of s2cloudless 1.7.3).
MODEL_BANDS = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
# Reflectance is DN / 10000 in double precision. (The original divided by 1e5 and found no cloud.)
QUANTIFICATION_VALUE = 10_000.0
# Sentinel Hub computes its own cloud masks (CLM, CLP) at 160 m.
DEFAULT_GSD_M = 160.0
# Cells read at a time: ten bands take 80 MB; a tile at 160 m is one strip.
STRIP_CELLS = 4_000_000
# Pixels classified at a time: their reflectances take 21 MB in double precision.
CHUNK_PIXELS = 262_144
# Weight of an averaging disk, up to rounding, if all its cells have data.
WHOLE_WEIGHT = 1 - 1e-6

Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class S2CloudlessDetector:
    """Finds cloud with s2cloudless; for an L2A scene it reads the L1C twin.

    Attributes
    ----------
    threshold : float
        Averaged probability above which a cell is cloud.
    average_over : int
        Radius of the averaging disk, cells; 0 disables averaging.
    dilation_size : int
        Radius of the package's own dilation, cells; 0 disables it.
    mask_gsd_m : float or None
        Cell size, metres; None uses the multiple of the scene's pixel size nearest to 160 m.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """

    threshold: float = 0.4
    average_over: int = 4
    dilation_size: int = 1
    mask_gsd_m: float | None = None

    def __post_init__(self) -> None:
        """Check that the package is installed; it is imported with the first detection."""
        require_package("s2cloudless", detector="s2cloudless", extra="s2cloudless")

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find the clouds in ``area``; see `CloudDetector.detect`."""
        level1 = _l1c_source(source)
        if level1.grid.crs != area.crs:
            msg = f"{level1.scene.id} is in {level1.grid.crs}, not in {area.crs}"
            raise MaskError(msg)
        gsd_m = self.mask_gsd_m or nearest_multiple(DEFAULT_GSD_M, cell_size_m(level1.grid)[0])
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
                f"dilation_size={self.dilation_size} gsd_m={gsd_m:g}"
            ),
        )

    def _detect_strip(
        self, level1: SceneSource, cells: Grid, strip: GridWindow
    ) -> tuple[BoolRaster, BoolRaster]:
        """Cloud and defective masks of a strip, equal to those cut from the whole scene."""
        # The margin that averaging and dilation need; the edge of the scene is mirrored.
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


def cloud_probability(bands: UInt16Raster) -> Probability:
    """Cloud probability of each pixel, by the classifier of s2cloudless.

    Parameters
    ----------
    bands : ndarray of uint16, shape (10, y, x)
        Harmonised L1C DN of `MODEL_BANDS`. Not modified.

    Returns
    -------
    ndarray of float32, shape (y, x)
        Probability, 0 to 1; NaN where any band is nodata or saturated.
    """
    valid = valid_pixels(bands)
    pixels = bands[:, valid].T
    probabilities = np.empty(len(pixels), dtype=np.float32)
    for start in range(0, len(pixels), CHUNK_PIXELS):
        part = slice(start, start + CHUNK_PIXELS)
        reflectance = pixels[part] / QUANTIFICATION_VALUE
        # One thread, because several scenes are processed in parallel. The input must be 4-D.
        maps = _detector().get_cloud_probability_maps(reflectance[None, None], num_threads=1)
        probabilities[part] = maps[0, 0]
    probability = np.full(valid.shape, np.nan, dtype=np.float32)
    probability[valid] = probabilities
    return probability


def cloud_from_probability(
    probability: Probability, *, threshold: float, average_over: int, dilation_size: int
) -> BoolRaster:
    """Average probabilities over a disk, apply the threshold and dilate the mask.

    Parameters
    ----------
    probability : ndarray of float32, shape (y, x)
        Cloud probability; NaN without data. Cells without data are left out of averages. If there
        are none, the result equals that of ``S2PixelCloudDetector.get_mask_from_prob``.
    threshold : float
        Average above which a cell is cloud.
    average_over, dilation_size : int
        Radius of the disk, cells; 0 disables the step.

    Returns
    -------
    ndarray of bool, shape (y, x)
        True for cloud; False where there is no data.
    """
    detector = _detector(average_over, dilation_size)
    import cv2  # comes with s2cloudless

    valid = ~np.isnan(probability)
    average: Any = np.where(valid, probability, np.float32(0))
    if average_over:
        average = _disk_average(average, valid, detector.conv_filter)
    cloud: Any = ((average > threshold) & valid).astype(np.uint8)
    if dilation_size:
        cloud = cv2.dilate(cloud, detector.dilation_filter)
    result: BoolRaster = (cloud != 0) & valid
    return result


def _disk_average(values: Probability, valid: BoolRaster, disk: Probability) -> Probability:
    """Average valid cells with the weights of a disk; the edge of the array is mirrored."""
    import cv2

    average: Any = cv2.filter2D(values, -1, disk, borderType=cv2.BORDER_REFLECT)
    if not valid.all():
        weight = cv2.filter2D(valid.astype(np.float32), -1, disk, borderType=cv2.BORDER_REFLECT)
        partial = valid & (weight < WHOLE_WEIGHT)
        average[partial] /= weight[partial]
    return np.asarray(average, dtype=np.float32)


@lru_cache(maxsize=8)
def _detector(average_over: int = 0, dilation_size: int = 0) -> Any:  # noqa: ANN401 -- untyped
    """Make the detector of the package, which loads its model with the first classification."""
    from s2cloudless.cloud_detector import S2PixelCloudDetector

    return S2PixelCloudDetector(
        all_bands=False, average_over=average_over, dilation_size=dilation_size
    )


def _l1c_source(source: SceneSource) -> SceneSource:
    """Return the scene itself if it is L1C, else its L1C twin; MaskError if it has none."""
    if source.scene.kind == "L1C":
        return source
    twin = source.twin()
    if twin is None:
        msg = (
            f"{source.scene.id} is {source.scene.kind}; s2cloudless needs L1C (band B10), and no "
            "L1C twin is attached; give a mask made from L1C with --donor-mask, or use stock"
        )
        raise MaskError(msg)
    return twin
