"""What overlapping scenes whose offset is known say of that of a scene in doubt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.digital_numbers import OFFSET_DN
from cloudbuster.core.grid import Grid
from cloudbuster.core.offset_pixels import MIN_PIXELS, inner_pixels
from cloudbuster.core.regrid import sample_nearest

# Bands that are compared between scenes: the near infrared changes with the season by as much as
# the offset (measured between real dates of May to September), the others by 100 to 300 DN.
STEADY_BANDS = ("B02", "B03", "B04", "B11", "B12")
# Scenes decided with confidence that one in doubt is compared with, at most.
MAX_REFERENCES = 4
# Half the offset less a margin: a difference within this of 0 or 1000 tells the two apart, and
# two clear dates of one place differ by less (89 DN in B02 two days apart on real crops).
SHIFT_TOLERANCE_DN = 400
# This share of the pixels compared must agree on one shift, and this many times more than on the
# other.
MIN_SHIFT_SHARE = 0.1
MIN_SHIFT_RATIO = 4.0


@dataclass(frozen=True)
class SceneThumbnail:
    """A scene in low resolution.

    Attributes
    ----------
    grid : Grid
        Where its cells lie.
    names : tuple of str
        Bands, as in `cloudbuster.core.bands.BANDS`.
    dn : ndarray of uint16, shape (band, y, x)
        As delivered, 0 nodata.
    clear : ndarray of bool, shape (y, x)
        False where the product's own classes call a cell anything but clear ground or water.
    """

    grid: Grid
    names: tuple[str, ...]
    dn: UInt16Raster
    clear: BoolRaster


@dataclass(frozen=True)
class ShiftEstimate:
    """By how much a scene is brighter than others of the same ground.

    Attributes
    ----------
    common_count : int
        Clear pixels of both, over all comparisons.
    level_count, shifted_count : int
        Those whose difference is near 0, or near 1000 DN, in every band.
    shift_dn : float
        Median difference, DN: over the pixels, then over the bands, of the last comparison.
    """

    common_count: int
    level_count: int
    shifted_count: int
    shift_dn: float

    @property
    def offset_in_pixels(self) -> bool | None:
        """Whether the scene carries an offset that the references do not; None if it is unclear."""
        winner = max(self.level_count, self.shifted_count)
        loser = min(self.level_count, self.shifted_count)
        if self.common_count < MIN_PIXELS or winner < MIN_SHIFT_SHARE * self.common_count:
            return None
        if winner < MIN_SHIFT_RATIO * loser:
            return None
        return self.shifted_count > self.level_count

    @property
    def words(self) -> str:
        """The same as evidence for people."""
        return (
            f"against overlapping scenes {self.shift_dn:.0f} DN brighter; of {self.common_count} "
            f"common pixels {self.level_count} level, {self.shifted_count} shifted by {-OFFSET_DN}"
        )

    def __add__(self, other: "ShiftEstimate") -> "ShiftEstimate":
        """Take two comparisons together."""
        return ShiftEstimate(
            self.common_count + other.common_count,
            self.level_count + other.level_count,
            self.shifted_count + other.shifted_count,
            other.shift_dn if other.common_count else self.shift_dn,
        )


NO_COMPARISON = ShiftEstimate(0, 0, 0, 0.0)


def shift_against(
    reference: SceneThumbnail, scene: SceneThumbnail, *, reference_offset_dn: int
) -> ShiftEstimate:
    """Compare a scene of unknown offset with one that is decided.

    Parameters
    ----------
    reference : SceneThumbnail
        The decided one.
    scene : SceneThumbnail
        The one in doubt.
    reference_offset_dn : int
        What is added to the valid DN of the reference, -1000 or 0.

    Returns
    -------
    ShiftEstimate
        Without common pixels where the scenes do not overlap, differ in CRS or share no band of
        `STEADY_BANDS`.
    """
    names = [name for name in STEADY_BANDS if name in scene.names and name in reference.names]
    if not names or reference.grid.crs != scene.grid.crs:
        return NO_COMPARISON
    target = scene.grid
    known = reference.dn[[reference.names.index(name) for name in names]]
    seen = scene.dn[[scene.names.index(name) for name in names]]
    usable = reference.clear & inner_pixels(known)
    common = sample_nearest(usable, reference.grid, target, fill=0)
    common &= scene.clear & inner_pixels(seen)
    if not common.any():
        return NO_COMPARISON
    level = np.stack([sample_nearest(band, reference.grid, target, fill=0) for band in known])
    difference = (
        seen[:, common].astype(np.int32) - level[:, common].astype(np.int32) - reference_offset_dn
    )
    return ShiftEstimate(
        common_count=int(common.sum()),
        level_count=_near(difference, 0),
        shifted_count=_near(difference, -OFFSET_DN),
        shift_dn=float(np.median(np.median(difference, axis=1))),
    )


def _near(difference: npt.NDArray[np.int32], shift_dn: int) -> int:
    """Count the pixels whose difference is near ``shift_dn`` in every band."""
    return int((np.abs(difference - shift_dn) <= SHIFT_TOLERANCE_DN).all(axis=0).sum())


def choose_references(
    place_of: Mapping[str, tuple[str | None, float]], doubtful: str, decided: Sequence[str]
) -> tuple[str, ...]:
    """Choose the decided scenes that one in doubt is compared with.

    Parameters
    ----------
    place_of : mapping of str to (str or None, float)
        Tile, and time of acquisition in seconds, of each scene by its id.
    doubtful : str
        Id of the scene in doubt.
    decided : sequence of str
        Ids of the scenes that may overlap it. Their order does not matter.

    Returns
    -------
    tuple of str
        At most `MAX_REFERENCES`: those of its tile first, then the nearest in time.
    """
    tile, time = place_of[doubtful]
    ranked = sorted(
        decided, key=lambda name: (place_of[name][0] != tile, abs(place_of[name][1] - time), name)
    )
    return tuple(ranked[:MAX_REFERENCES])
