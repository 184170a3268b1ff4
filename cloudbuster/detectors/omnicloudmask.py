"""Detector ``omnicloudmask``: the networks of OmniCloudMask, which find cloud and cloud shadow."""

import csv
import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cloudbuster.core.arrays import BoolRaster, UInt8Raster
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
from cloudbuster.detectors.extras import require_package
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.errors import BadInputError, MaskError, MissingBandsError, first_line
from cloudbuster.storage.files.uri import is_remote, local_path

# Cell size, metres. The networks are made for 10 to 50 m (README of OmniCloudMask); 20 m is that of
# detector csmask, and a quarter of the work of 10 m.
DEFAULT_GSD_M = 20.0
# Rows and columns of a window: about the default patch of the package (1000), in multiples of 32,
# which the encoders halve five times. Each window is normalised by its own mean and deviation, so
# that a window must hold more than one cloud.
WINDOW_CELLS, LEAST_WINDOW_CELLS, STEP_CELLS = 1024, 256, 32
# Cells at each side of a window that are predicted but discarded. S2Mosaic overlaps its patches by
# 50 cells.
CONTEXT_CELLS = 64
VISIBLE = ("B04", "B03")
# Near infrared, the band that the package reads of Sentinel-2 first.
NEAR_INFRARED = ("B8A", "B08")
# Classes of the networks: 0 clear, 1 thick cloud, 2 thin cloud, 3 cloud shadow.
CLOUD_CLASSES, SHADOW_CLASS = (1, 2), 3


@dataclass(frozen=True)
class OmniCloudMaskDetector:
    """Finds cloud and cloud shadow in red, green and near infrared, at either level.

    Attributes
    ----------
    weights : str or None
        Folder of the weights of the networks; None is the folder to which the package downloads
        them. Nothing is downloaded.
    mask_gsd_m : float or None
        Cell size, metres; None uses 20 m. Cells are never finer than those of the scene.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """

    weights: str | None = None
    mask_gsd_m: float | None = None

    def __post_init__(self) -> None:
        """Check that the package is installed; it is imported with the first detection."""
        require_package("omnicloudmask", detector="omnicloudmask", extra="omnicloudmask")

    def check(self) -> None:
        """Load the networks; raise BadInputError if they are not there or do not fit."""
        _networks(self.weights)

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find cloud and shadow in ``area``; see `CloudDetector.detect`.

        Windows are laid out from the corner of the scene, which is mirrored at its edges, so that
        the result for a cell does not depend on ``area``.
        """
        bands = _bands_of(source)
        networks = _networks(self.weights)
        finest_m = cell_size_m(source.grid)[0]
        gsd_m = max(self.mask_gsd_m or nearest_multiple(DEFAULT_GSD_M, finest_m), finest_m)
        cells = cells_of_size(source.grid, source.grid, gsd_m)
        target = covering_grid(cells, area)
        wanted = cells.window_of(area.bounds)
        classes = np.zeros(target.shape, dtype=np.uint8)
        defective = np.ones(target.shape, dtype=np.bool_)
        size = _window_size(cells)
        for window in context_windows(cells, wanted, size=size, context=CONTEXT_CELLS):
            part = window.keep.shifted(-wanted.row, -wanted.col).slices
            classes[part], defective[part] = _window_classes(
                networks, source, cells, bands, window.read, window.keep
            )
        return DetectedMask(
            grid=target,
            cloud=np.isin(classes, CLOUD_CLASSES) & ~defective,
            defective=defective,
            low_rank=np.zeros_like(defective),
            detector=(
                f"omnicloudmask weights={networks.fingerprint} gsd_m={cell_size_m(cells)[0]:g}"
            ),
            shadow=(classes == SHADOW_CLASS) & ~defective,
        )


def _bands_of(source: SceneSource) -> tuple[str, ...]:
    """Return the input bands that a scene has; raise MissingBandsError if it lacks one."""
    available = source.scene.bands
    infrared = next((name for name in NEAR_INFRARED if name in available), None)
    missing = [name for name in VISIBLE if name not in available]
    if missing or infrared is None:
        needed = ", ".join([*missing, *([] if infrared else ["B8A or B08"])])
        msg = f"{source.scene.id} has no {needed}, which omnicloudmask needs; choose another"
        raise MissingBandsError(msg)
    return (*VISIBLE, infrared)


def _window_size(cells: Grid) -> int:
    """Side of the windows of a scene: smaller ones for a scene that fills no whole window."""
    side = STEP_CELLS * -(-max(cells.shape) // STEP_CELLS)
    return max(LEAST_WINDOW_CELLS, min(WINDOW_CELLS, side))


def _window_classes(
    networks: "_Networks",
    source: SceneSource,
    cells: Grid,
    bands: tuple[str, ...],
    read: GridWindow,
    keep: GridWindow,
) -> tuple[UInt8Raster, BoolRaster]:
    """Classes and defective cells of the cells ``keep`` of one window ``read``."""
    inside = read.intersection(cells.window)
    pixels = source.read(bands, cells.crop(inside))
    valid = valid_pixels(pixels)
    kept = keep.shifted(-inside.row, -inside.col).slices
    if not valid[kept].any():
        return np.zeros((keep.height, keep.width), dtype=np.uint8), ~valid[kept]
    rows = mirrored(read.row - inside.row, read.height, inside.height)
    cols = mirrored(read.col - inside.col, read.width, inside.width)
    # The package leaves zeros out of the mean and takes them for the mean.
    window = (pixels * valid)[:, rows[:, None], cols[None, :]].astype(np.float32)
    found = networks.classes(window)[keep.shifted(-read.row, -read.col).slices]
    return found, ~valid[kept]


class _Networks(NamedTuple):
    """Loaded networks, whose mean decides, and the fingerprint of their weights."""

    models: tuple[Any, ...]
    fingerprint: str

    def classes(self, window: "np.ndarray[Any, np.dtype[np.float32]]") -> UInt8Raster:
        """Class of each cell of a window (band, y, x); raise MaskError if the package fails."""
        import omnicloudmask

        with warnings.catch_warnings():
            # The package warns where it makes its patch smaller, as where much has no data.
            warnings.simplefilter("ignore", UserWarning)
            try:
                found = omnicloudmask.predict_from_array(
                    window,
                    patch_size=window.shape[1],
                    patch_overlap=STEP_CELLS,
                    custom_models=list(self.models),
                )
            except (ValueError, RuntimeError) as error:
                msg = f"omnicloudmask failed: {first_line(error)}; choose another detector"
                raise MaskError(msg) from error
        result: UInt8Raster = np.asarray(found)[0].astype(np.uint8)
        return result


@lru_cache(maxsize=2)
def _networks(weights: str | None) -> _Networks:
    """Load the networks of the latest version that the package knows, once in each process.

    Raises
    ------
    BadInputError
        If the weights are not in the folder, or do not fit.
    """
    from omnicloudmask.download_models import (
        get_latest_model_version,
        get_model_data_dir,
        model_index_path,
    )
    from omnicloudmask.model_utils import default_device, load_model_from_weights

    if weights is not None and is_remote(weights):
        msg = f"{weights} is no folder on this machine; copy the weights of omnicloudmask to one"
        raise BadInputError(msg)
    folder = Path(get_model_data_dir()) if weights is None else local_path(weights)
    latest = get_latest_model_version()
    with model_index_path.open() as index:
        rows = [row for row in csv.DictReader(index) if float(row["version"]) == latest]
    models, digest = [], hashlib.sha256()
    for row in rows:
        path = folder / row["file_name"]
        if not path.is_file():
            msg = (
                f"{path} does not exist; download the weights of omnicloudmask once (python -c "
                "'from omnicloudmask.download_models import get_models; get_models()'), or name "
                "their folder with --weights"
            )
            raise BadInputError(msg)
        digest.update(path.read_bytes())
        # Whatever a broken file leads torch and safetensors to raise.
        try:
            models.append(
                load_model_from_weights(
                    model_name=row["timm_model_name"],
                    weights_path=path,
                    model_library=row["model_library"],
                    device=default_device(),
                )
            )
        except Exception as error:
            msg = f"{path} holds no weights of omnicloudmask: {first_line(error)}; download it anew"
            raise BadInputError(msg) from error
    return _Networks(tuple(models), digest.hexdigest()[:12])
