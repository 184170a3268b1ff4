"""Detector ``csmask``: the networks of ukis-csmask, which find clouds and their shadows."""

import json
import logging
import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, UInt8Raster, UInt16Raster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.windows import (
    cells_of_size,
    context_windows,
    covering_grid,
    mirrored,
    nearest_multiple,
)
from cloudbuster.core.pixels.masks import DetectedMask, valid_pixels
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.detectors.extras import require_package
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.errors import MaskError, MissingBandsError, RasterError

if TYPE_CHECKING:
    import onnxruntime

logger = logging.getLogger(__name__)

PACKAGE = "ukis_csmask"
# Cell size, metres. The networks were trained at about 30 m (README of ukis-csmask); see
# docs/detectors.md for the measurement at 10, 20 and 30 m.
DEFAULT_GSD_M = 20.0
# Rows and columns of the networks' input, which is fixed in their files.
WINDOW_CELLS = 256
# Cells at each side of a window that are predicted but discarded; see docs/detectors.md for the
# measurement.
CONTEXT_CELLS = 32
# The networks take reflectance, 0 to 1.
QUANTIFICATION_VALUE = np.float32(10_000)
# Bands of the networks, in their order: blue, green, red, near infrared, and two of short-wave
# infrared for those of six bands.
VISIBLE = ("B02", "B03", "B04")
# B8A lies within B08, and is what Landsat's near infrared is.
NEAR_INFRARED = ("B08", "B8A")
SHORT_WAVE = ("B11", "B12")
CLOUD_CLASS = 1
SHADOW_CLASS = 2

Reflectance = npt.NDArray[np.float32]
_LOADING = threading.Lock()


@dataclass(frozen=True)
class CsmaskDetector:
    """Finds cloud and cloud shadow with the networks of ukis-csmask.

    The network of six bands is used if the scene has B11 and B12, otherwise that of four bands;
    each is of the level of the scene.

    Attributes
    ----------
    mask_gsd_m : float or None
        Cell size, metres; None uses 20 m. Cells are never finer than those of the scene.

    Raises
    ------
    MissingExtraError
        If a package is not installed.
    """

    mask_gsd_m: float | None = None

    def __post_init__(self) -> None:
        """Check that the packages are installed; they are imported with the first detection."""
        for package in (PACKAGE, "onnxruntime"):
            require_package(package, detector="csmask")

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find cloud and shadow in ``area``; see `CloudDetector.detect`.

        Windows are laid out from the corner of the scene, which is mirrored at its edges, so that
        the result for a cell does not depend on ``area``.
        """
        finest_m = cell_size_m(source.grid)[0]
        gsd_m = max(self.mask_gsd_m or nearest_multiple(DEFAULT_GSD_M, finest_m), finest_m)
        cells = cells_of_size(source.grid, source.grid, gsd_m)
        bands = _bands_of(source, cells)
        network = _Network(source.scene.kind, len(bands))
        target = covering_grid(cells, area)
        wanted = cells.window_of(area.bounds)
        classes = np.zeros(target.shape, dtype=np.uint8)
        defective = np.ones(target.shape, dtype=np.bool_)
        for window in context_windows(cells, wanted, size=WINDOW_CELLS, context=CONTEXT_CELLS):
            part = window.keep.shifted(-wanted.row, -wanted.col).slices
            inside = window.read.intersection(cells.window)
            pixels = source.read(bands, cells.crop(inside))
            valid = valid_pixels(pixels)
            kept = window.keep.shifted(-inside.row, -inside.col).slices
            defective[part] = ~valid[kept]
            if valid[kept].any():
                found = _window_classes(network, pixels, valid, inside, window.read)
                shown = window.keep.shifted(-window.read.row, -window.read.col).slices
                classes[part] = found[shown]
        return DetectedMask(
            grid=target,
            cloud=(classes == CLOUD_CLASS) & ~defective,
            defective=defective,
            low_rank=np.zeros_like(defective),
            detector=f"csmask {network.version} gsd_m={cell_size_m(cells)[0]:g}",
            shadow=(classes == SHADOW_CLASS) & ~defective,
        )


@dataclass(frozen=True)
class _Network:
    """One of the networks of the package, by which its files are found."""

    kind: Kind
    bands: int

    @property
    def path(self) -> Path:
        """Path of the network; a JSON document of the same name describes it."""
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            msg = f"the package {PACKAGE} is gone; install it again"
            raise MaskError(msg)
        folder = Path(spec.submodule_search_locations[0])
        return folder / f"model_{self.bands}b_{self.kind.lower()}.onnx"

    def classes(self, reflectance: Reflectance) -> UInt8Raster:
        """Class of each cell of a window (band, y, x): 0 clear, 1 cloud, 2 shadow."""
        loaded = _loaded(self)
        normal = (reflectance - loaded.mean) / loaded.deviation
        logits = loaded.session.run(None, {loaded.input_name: normal[None]})[0][0]
        found: UInt8Raster = np.asarray(logits).argmax(axis=0).astype(np.uint8)
        return found

    @property
    def version(self) -> str:
        """Version of the network, such as ``1.0.0-6BL2A``."""
        return _loaded(self).version


@dataclass(frozen=True)
class _Loaded:
    """A loaded network; mean and deviation normalise its bands, shape (band, 1, 1)."""

    session: "onnxruntime.InferenceSession"
    input_name: str
    mean: Reflectance
    deviation: Reflectance
    version: str


def _loaded(network: _Network) -> _Loaded:
    """Return a network, which is loaded once in each process, whatever its threads do."""
    with _LOADING:
        return _load(network)


@lru_cache(maxsize=4)
def _load(network: _Network) -> _Loaded:
    """Load a network; raise MaskError if its files are missing or are no such network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread, because several scenes are processed in parallel, and sums do not depend on it.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The arena would keep the greatest use of memory for as long as the process lives.
    options.enable_cpu_mem_arena = False
    path = network.path
    try:
        known = json.loads(path.with_suffix(".json").read_text())
        mean, deviation = known["data"]["dataset_statistics"]["img"]
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        return _Loaded(
            session,
            session.get_inputs()[0].name,
            np.array(mean, dtype=np.float32)[:, None, None],
            np.array(deviation, dtype=np.float32)[:, None, None],
            str(known["model"]["version"]),
        )
    except (OSError, ValueError, KeyError) as error:
        msg = f"network {path} of ukis-csmask cannot be read ({error}); install it again"
        raise MaskError(msg) from error


def _bands_of(source: SceneSource, cells: Grid) -> tuple[str, ...]:
    """Return the input bands that can be read, four or six.

    The two of short-wave infrared are left out if they lie on another server or disk than the
    others, as where only a part of a scene was copied, or if they are missing there. A server that
    does not answer is an error: which network is used must not depend on it.

    Parameters
    ----------
    source : SceneSource
        Open scene.
    cells : Grid
        Cells of the mask of the whole scene.

    Raises
    ------
    MissingBandsError
        If one of the four other bands is missing.
    """
    available = source.scene.bands
    infrared = next((name for name in NEAR_INFRARED if name in available), None)
    missing = [name for name in VISIBLE if name not in available]
    if missing or infrared is None:
        needed = ", ".join([*missing, *([] if infrared else ["B08 or B8A"])])
        msg = f"{source.scene.id} has no {needed}, which csmask needs; choose another detector"
        raise MissingBandsError(msg)
    four = (*VISIBLE, infrared)
    corner = cells.crop(GridWindow(0, 0, 1, 1))
    try:
        source.read(four, corner)
    except RasterError as error:
        msg = f"{error}; csmask needs it: choose another detector"
        raise MissingBandsError(msg) from error
    place = urlsplit(available[VISIBLE[0]].href)[:2]
    if any(
        name not in available or urlsplit(available[name].href)[:2] != place for name in SHORT_WAVE
    ):
        return four
    try:
        source.read(SHORT_WAVE, corner)
    except RasterError as error:
        extra = {"scene": source.scene.id, "error": str(error)}
        logger.warning("short_wave_infrared_missing", extra=extra)
        return four
    return (*four, *SHORT_WAVE)


def _window_classes(
    network: _Network, pixels: UInt16Raster, valid: BoolRaster, inside: GridWindow, read: GridWindow
) -> UInt8Raster:
    """Classes of the cells of a window ``read``; ``pixels`` are those ``inside`` the scene."""
    reflectance = _filled(pixels.astype(np.float32) / QUANTIFICATION_VALUE, valid)
    rows = mirrored(read.row - inside.row, read.height, inside.height)
    cols = mirrored(read.col - inside.col, read.width, inside.width)
    return network.classes(reflectance[:, rows[:, None], cols[None, :]])


def _filled(reflectance: Reflectance, valid: BoolRaster) -> Reflectance:
    """Mirror the values of a window into its cells without a value, of which some has one.

    The network takes zeros for shadow. Each cell is mirrored about the nearest one with a value,
    and takes the value of that one if there is none in its mirror image. Within 8 cells of the
    edge of a swath 3 to 5 % of the classes then differ from those of the whole picture, 8 to 22 %
    with zeros, 6 to 12 % with the nearest value alone (toa-labelled-dlr, cut in two).
    """
    if valid.all():
        return reflectance
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    height, width = valid.shape
    rows = 2 * nearest[0] - np.arange(height)[:, None]
    cols = 2 * nearest[1] - np.arange(width)[None, :]
    usable = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    usable[usable] = valid[rows[usable], cols[usable]]
    filled: Reflectance = reflectance[
        :, np.where(usable, rows, nearest[0]), np.where(usable, cols, nearest[1])
    ]
    return filled
