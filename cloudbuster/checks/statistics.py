"""Compute the statistic of a synthetic composite at some cells again, in the plainest way.

Nothing here is shared with the code that merges: the medians and percentiles are numpy's, and the
geometric median is iterated until it stands still.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import UInt8Raster, UInt16Raster
from cloudbuster.core.pixels.masks import PixelClass

Floats = npt.NDArray[np.float64]

# Weiszfeld's iteration ends when it moves by less than this, DN, or after so many steps.
STEP_DN = 1e-3
MAX_STEPS = 2000
# A look nearer than this to the estimate counts as if it were this far away, DN.
LEAST_DISTANCE_DN = 1e-6


@dataclass(frozen=True, eq=False)
class Look:
    """What one scene shows of a window.

    Attributes
    ----------
    datatake : str
        Name of its datatake: scenes of one datatake are one look.
    values : ndarray of uint16, shape (band, y, x)
        Harmonised DN; 0 where it is not clear.
    classes : ndarray of uint8, shape (y, x)
        Codes of `PixelClass`.
    """

    datatake: str
    values: UInt16Raster
    classes: UInt8Raster


def statistic_of(composite: str) -> Callable[[Floats], Floats] | None:
    """Return the function of a synthetic composite; None if this version does not know it.

    It takes looks of shape (look, band) and returns values of shape (band).
    """
    name, _, percent = composite.partition(":")
    if name == "percentile":
        return lambda looks: np.asarray(np.percentile(looks, float(percent), axis=0))
    return {
        "median": lambda looks: np.asarray(np.median(looks, axis=0)),
        "geomedian": _geomedian,
    }.get(name)


def _geomedian(looks: Floats) -> Floats:
    """Iterate the geometric median of looks, shape (look, band)."""
    estimate = looks.mean(axis=0)
    for _ in range(MAX_STEPS):
        distance = np.maximum(np.linalg.norm(looks - estimate, axis=1), LEAST_DISTANCE_DN)
        after = (looks / distance[:, None]).sum(axis=0) / (1 / distance).sum()
        if np.linalg.norm(after - estimate) < STEP_DN:
            return np.asarray(after)
        estimate = after
    return np.asarray(estimate)


def recomputed(
    looks: Sequence[Look], statistic: Callable[[Floats], Floats], bands: int
) -> UInt16Raster:
    """Compute a statistic of the looks at a window.

    Parameters
    ----------
    looks : sequence of Look
        Scenes in the order of preference.
    statistic : callable
        From `statistic_of`.
    bands : int
        Number of bands.

    Returns
    -------
    ndarray of uint16, shape (band, y, x)
        Rounded values; 0 where no scene is clear.
    """
    shape = looks[0].classes.shape
    result = np.zeros((bands, *shape), dtype=np.uint16)
    for row, col in np.ndindex(shape):
        chosen = _looks_at(looks, row, col)
        if chosen:
            result[:, row, col] = np.rint(statistic(np.array(chosen, dtype=np.float64)))
    return result


def _looks_at(looks: Sequence[Look], row: int, col: int) -> list[UInt16Raster]:
    """Return the looks that count at a cell: one for each datatake, of the best class."""
    best: dict[str, Look] = {}
    for look in looks:
        code = look.classes[row, col]
        before = best.get(look.datatake)
        if code >= PixelClass.LOW_RANK and (before is None or code > before.classes[row, col]):
            best[look.datatake] = look
    highest = max((look.classes[row, col] for look in best.values()), default=0)
    return [look.values[:, row, col] for look in best.values() if look.classes[row, col] == highest]
