"""Detector ``pytorch``: a segmentation model provided by the user."""

from typing import TYPE_CHECKING, Any

import numpy as np

from cloudbuster.core.arrays import BoolRaster
from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.windows import cells_of_size, context_windows, covering_grid, mirrored
from cloudbuster.core.pixels.masks import DetectedMask, valid_pixels
from cloudbuster.detectors.extras import require_package
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.detectors.torch_weights import (
    Model,
    fingerprint,
    load_model,
    require_trust,
)
from cloudbuster.errors import BadInputError, first_line

if TYPE_CHECKING:
    import torch

# Rows and columns of the windows given to the model, as in the original.
WINDOW_CELLS = 512
# Cells at each side of a window that are predicted but discarded, to avoid seams: more than the
# reach of a few strided layers. It leaves 384 of 512 rows and columns.
CONTEXT_CELLS = 64
# Key of the segmentation in a model's output, as in the original's models.
SEGMENTATION_KEY = "2seg"


class PytorchDetector:
    """Finds cloud by a model's answer.

    A model of one channel answers with logits: cloud is where they are above 0. A model of several
    channels answers with one value for each class, logits or probabilities: the class of a cell is
    that of the greatest value, the first of equal ones. A model may also answer with the classes
    themselves, as integers.

    Parameters
    ----------
    bands : tuple of str
        Input channels in order: every band of the level.
    weights : str
        URI of a state dict, a TorchScript archive or an exported program (whose input has the
        shape 1 x bands x 512 x 512).
    architecture : str or None
        URI of a Python file with ``make_model``; required for a state dict, otherwise ignored.
    trust_architecture : bool
        Whether the code of the architecture, or of a TorchScript or exported model, may run.
    mask_gsd_m : float or None
        Cell size of input and mask, metres; None uses that of the finest requested band.
    cloud_classes : tuple of int or None
        Classes that are cloud, from 0; required for a model of several classes.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    UntrustedCodeError
        If there is an architecture and it is not trusted.
    """

    def __init__(
        self,
        bands: tuple[str, ...],
        *,
        weights: str,
        architecture: str | None = None,
        trust_architecture: bool = False,
        mask_gsd_m: float | None = None,
        cloud_classes: tuple[int, ...] | None = None,
    ) -> None:
        """Check that torch is installed and the architecture trusted; nothing is loaded yet."""
        require_package("torch", detector="pytorch", extra="torch")
        if architecture is not None:
            require_trust(architecture, trusted=trust_architecture)
        self.bands = bands
        self.weights = weights
        self.architecture = architecture
        self.trust_architecture = trust_architecture
        self.mask_gsd_m = mask_gsd_m
        self.cloud_classes = cloud_classes
        self._loaded: tuple[Model, torch.device] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the model, which each process loads for itself."""
        return {**self.__dict__, "_loaded": None}

    def check(self) -> None:
        """Load the model and let it answer to one window of zeros, before any band is read.

        Raises
        ------
        BadInputError, TryAgainError
            If a file cannot be read, the weights do not fit, or the answer cannot be used.
        UntrustedCodeError
            If a file contains code that is not trusted.
        """
        self._predict(np.zeros((len(self.bands), WINDOW_CELLS, WINDOW_CELLS), dtype=np.float32))

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Find the clouds in ``area``; see `CloudDetector.detect`.

        Windows are laid out from the corner of the scene, which is mirrored at its edges, so that
        the result for a cell does not depend on ``area``.
        """
        cells = source.grid
        if self.mask_gsd_m is not None:
            cells = cells_of_size(source.grid, source.grid, self.mask_gsd_m)
        target = covering_grid(cells, area)
        wanted = cells.window_of(area.bounds)
        cloud = np.zeros(target.shape, dtype=np.bool_)
        defective = np.ones(target.shape, dtype=np.bool_)
        for window in context_windows(cells, wanted, size=WINDOW_CELLS, context=CONTEXT_CELLS):
            part = window.keep.shifted(-wanted.row, -wanted.col).slices
            cloud[part], defective[part] = self._detect_window(
                source, cells, window.read, window.keep
            )
        return DetectedMask(
            grid=target,
            cloud=cloud,
            defective=defective,
            low_rank=np.zeros_like(cloud),
            detector=self._description(cell_size_m(cells)[0]),
        )

    def _description(self, gsd_m: float) -> str:
        """Describe the detector for a scene's record."""
        classes = ",".join(map(str, self.cloud_classes or ()))
        return (
            f"pytorch weights={fingerprint(self.weights)} gsd_m={gsd_m:g}"
            f"{f' cloud_classes={classes}' if classes else ''}"
        )

    def _detect_window(
        self, source: SceneSource, cells: Grid, read: GridWindow, keep: GridWindow
    ) -> tuple[BoolRaster, BoolRaster]:
        """Cloud and defective masks of the cells ``keep`` of one window ``read``."""
        inside = read.intersection(cells.window)
        bands = source.read(self.bands, cells.crop(inside))
        valid = valid_pixels(bands)
        kept_inside = keep.shifted(-inside.row, -inside.col).slices
        if not valid[kept_inside].any():
            return np.zeros((keep.height, keep.width), dtype=np.bool_), ~valid[kept_inside]
        rows = mirrored(read.row - inside.row, read.height, inside.height)
        cols = mirrored(read.col - inside.col, read.width, inside.width)
        window = bands[:, rows[:, None], cols[None, :]].astype(np.float32)
        kept = keep.shifted(-read.row, -read.col).slices
        cloud, unknown = (layer[kept] for layer in self._predict(window))
        return cloud & valid[kept_inside], ~valid[kept_inside] | unknown

    def _predict(self, window: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[BoolRaster, ...]:
        """Masks of cloud, and of cells without an answer (NaN), of a window (band, y, x)."""
        import torch

        model, device = self._model()
        # Without these flags, results on a GPU may differ from run to run.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        try:
            with torch.inference_mode(), exact:
                answer = model(torch.from_numpy(window[None]).to(device))
        # The model is code of the user, and may raise anything.
        except Exception as error:
            shape = " x ".join(str(size) for size in (1, *window.shape))
            msg = f"{self.weights} does not accept a window of {shape}: {first_line(error)}"
            raise BadInputError(msg) from error
        layers = self._layers(answer, window.shape[1:])
        return self._cloud(layers).cpu().numpy(), torch.isnan(layers).any(dim=0).cpu().numpy()

    def _layers(self, answer: object, shape: tuple[int, ...]) -> "torch.Tensor":
        """Answer of a model, shape (class, y, x); raise BadInputError if it has another one."""
        import torch

        if isinstance(answer, dict):
            if SEGMENTATION_KEY not in answer:
                keys = ", ".join(str(key) for key in answer) or "nothing"
                msg = f"{self.weights} returns a dict of {keys}, without {SEGMENTATION_KEY!r}"
                raise BadInputError(msg)
            answer = answer[SEGMENTATION_KEY]
        if not isinstance(answer, torch.Tensor):
            msg = f"{self.weights} returns a {type(answer).__name__}, not a tensor"
            raise BadInputError(msg)
        if answer.is_complex():
            msg = f"{self.weights} returns complex numbers, not logits"
            raise BadInputError(msg)
        if tuple(answer.shape) == (1, *shape):
            answer = answer[:, None]
        if answer.ndim != 4 or (answer.shape[0], *answer.shape[2:]) != (1, *shape):
            msg = (
                f"{self.weights} returns shape {tuple(answer.shape)}, not {(1, 1, *shape)}: it "
                "must return one logit for each cell, or one value for each class"
            )
            raise BadInputError(msg)
        return answer[0]

    def _cloud(self, layers: "torch.Tensor") -> "torch.Tensor":
        """Mask of cloud in an answer of shape (class, y, x)."""
        import torch

        count, wanted = len(layers), self.cloud_classes
        if wanted is None:
            if count == 1:
                return layers[0] > 0
            msg = (
                f"{self.weights} returns {count} classes; say which of 0 to {count - 1} are cloud "
                "with --cloud-classes"
            )
            raise BadInputError(msg)
        if count == 1 and layers.is_floating_point():
            msg = f"{self.weights} returns one logit for each cell; leave out --cloud-classes"
            raise BadInputError(msg)
        if count > 1 and max(wanted) >= count:
            msg = f"{self.weights} returns classes 0 to {count - 1}, not {max(wanted)}"
            raise BadInputError(msg)
        classes = layers[0] if count == 1 else layers.to(torch.float64).argmax(dim=0)
        return torch.isin(classes, torch.tensor(wanted, device=classes.device))

    def _model(self) -> "tuple[Model, torch.device]":
        """Model and its device (the GPU if there is one), loaded once."""
        if self._loaded is None:
            import torch

            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            model = load_model(
                self.weights,
                architecture=self.architecture,
                trusted=self.trust_architecture,
                num_channels=len(self.bands),
                class_count=max(self.cloud_classes) + 1 if self.cloud_classes else 1,
                device=device,
            )
            self._loaded = (model, device)
        return self._loaded
