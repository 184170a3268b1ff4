"""Evidence of a scene's radiometric offset from overlapping scenes whose offset is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.offsets.offset_pixels import MIN_PIXELS, inner_pixels
from cloudbuster.core.scenes.digital_numbers import OFFSET_DN

# Bands that are compared between scenes. They change with the season by 100 to 300 DN; the near
# infrared changes by as much as the offset (measured between real dates from May to September).
STEADY_BANDS = ("B02", "B03", "B04", "B11", "B12")
# Greatest number of confidently decided scenes that a scene in doubt is compared with.
MAX_REFERENCES = 4
# Tolerance of a difference of 0 or 1000 DN: half the offset less a margin. Two clear dates of one
# place differ by less (89 DN in B02 two days apart on real crops).
SHIFT_TOLERANCE_DN = 400
# Least share of the compared pixels that must agree on one of the two differences, and least ratio
# of their number to that of the pixels that agree on the other.
MIN_SHIFT_SHARE = 0.1
MIN_SHIFT_RATIO = 4.0


@dataclass(frozen=True)
class SceneThumbnail:
    """A scene in low resolution.

    Attributes
    ----------
    grid : Grid
        Grid of the arrays.
    names : tuple of str
        Names of the bands, as in `cloudbuster.core.scenes.bands.BANDS`.
    dn : ndarray of uint16, shape (band, y, x)
        DN as delivered; 0 is nodata.
    clear : ndarray of bool, shape (y, x)
        True where the product's own classes say clear ground or water.
    """

    grid: Grid
    names: tuple[str, ...]
    dn: UInt16Raster
    clear: BoolRaster


@dataclass(frozen=True)
class ShiftEstimate:
    """Difference in brightness between a scene and others of the same ground.

    Attributes
    ----------
    common_count : int
        Number of pixels that are clear in both scenes, over all comparisons.
    level_count, shifted_count : int
        Number of these whose difference is near 0, or near 1000 DN, in every band.
    shift_dn : float
        Median difference of the last comparison over the pixels, then over the bands, DN.
    """

    common_count: int
    level_count: int
    shifted_count: int
    shift_dn: float

    @property
    def offset_in_pixels(self) -> bool | None:
        """Whether the scene has an offset that the references do not have; None if undecided."""
        winner = max(self.level_count, self.shifted_count)
        loser = min(self.level_count, self.shifted_count)
        if self.common_count < MIN_PIXELS or winner < MIN_SHIFT_SHARE * self.common_count:
            return None
        if winner < MIN_SHIFT_RATIO * loser:
            return None
        return self.shifted_count > self.level_count

    @property
    def words(self) -> str:
        """The evidence as text for a scene's record."""
        return (
            f"against overlapping scenes {self.shift_dn:.0f} DN brighter; of {self.common_count} "
            f"common pixels {self.level_count} level, {self.shifted_count} shifted by {-OFFSET_DN}"
        )

    def __add__(self, other: "ShiftEstimate") -> "ShiftEstimate":
        """Combine two comparisons."""
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
    """Compare a scene of unknown offset with one whose offset is decided.

    Parameters
    ----------
    reference, scene : SceneThumbnail
        Scene whose offset is decided, and scene in doubt.
    reference_offset_dn : int
        Offset to add to the valid DN of the reference, -1000 or 0.

    Returns
    -------
    ShiftEstimate
        `NO_COMPARISON` if the scenes do not overlap, differ in CRS or share no band of
        `STEADY_BANDS`.
    """
    names = [name for name in STEADY_BANDS if name in scene.names and name in reference.names]
    if not names or reference.grid.crs != scene.grid.crs:
        return NO_COMPARISON
    known, seen = _bands(reference, names), _bands(scene, names)
    usable = reference.clear & inner_pixels(known)
    common = sample_nearest(usable, reference.grid, scene.grid, fill=0)
    common &= scene.clear & inner_pixels(seen)
    if not common.any():
        return NO_COMPARISON
    level = np.stack([sample_nearest(band, reference.grid, scene.grid, fill=0) for band in known])
    difference = seen[:, common].astype(np.int32) - level[:, common].astype(np.int32)
    return _estimate(difference - reference_offset_dn)


def _bands(thumbnail: SceneThumbnail, names: Sequence[str]) -> UInt16Raster:
    """Return the bands ``names`` of a thumbnail, in that order."""
    return thumbnail.dn[[thumbnail.names.index(name) for name in names]]


def _estimate(difference: npt.NDArray[np.int32]) -> ShiftEstimate:
    """Make an estimate of the differences of the common pixels, shape (band, pixel), DN."""
    return ShiftEstimate(
        common_count=difference.shape[1],
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
    """Choose the decided scenes that a scene in doubt is compared with.

    Parameters
    ----------
    place_of : mapping of str to (str or None, float)
        Tile, and time of acquisition in seconds, of each scene by its id.
    doubtful : str
        Id of the scene in doubt.
    decided : sequence of str
        Ids of the scenes that may overlap it, in any order.

    Returns
    -------
    tuple of str
        At most `MAX_REFERENCES`: scenes of the same tile first, then the nearest in time.
    """
    tile, time = place_of[doubtful]
    ranked = sorted(
        decided, key=lambda name: (place_of[name][0] != tile, abs(place_of[name][1] - time), name)
    )
    return tuple(ranked[:MAX_REFERENCES])
