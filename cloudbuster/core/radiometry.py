"""The radiometric offset of a scene: decided once, from its metadata and, in doubt, its pixels.

From processing baseline 04.00 (operational 2022-01-25, and in every later reprocessing of older
acquisitions) ESA adds 1000 to every valid DN so that slightly negative reflectances survive:
``reflectance = (DN + offset) / 10000`` with offset -1000 (Sentinel-2 Products Specification
Document, RADIO_ADD_OFFSET and BOA_ADD_OFFSET). Some providers subtract it again, and what their
metadata says of it is wrong in both directions, so that the pixels have the last word.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

NODATA = 0
SATURATED = 65535  # ESA Special_Values of the product metadata
OFFSET_DN = -1000  # RADIO_ADD_OFFSET and BOA_ADD_OFFSET of every band and baseline so far
FIRST_OFFSET_BASELINE = 4.0

# With the offset in the pixels a DN under 1000 is a negative reflectance. Over open water the short
# wave infrared scatters about 0, so the limit leaves 0.01 of reflectance for that. Without the
# offset, shadow, water and dense vegetation are well under it in at least one band: a scene of
# which half a percent is so dark cannot carry the offset.
DARK_DN = 900
DARK_SHARE_WITHOUT_OFFSET = 0.005
# The darkest half percent of a scene that carries the offset lies just above 1000; where it is
# brighter than this (all cloud, all snow), the pixels say nothing.
DARKEST_DN_WITH_OFFSET = 1500

Verdict = Literal["present", "removed", "none"]


@dataclass(frozen=True)
class PixelEvidence:
    """What a low-resolution look at a scene says of its offset.

    Attributes
    ----------
    dark_share : float
        Share of the valid pixels whose darkest band is under `DARK_DN`.
    darkest_dn : float
        0.5 % quantile of the darkest band, DN.
    valid_count : int
        Pixels that were looked at.
    """

    dark_share: float
    darkest_dn: float
    valid_count: int

    @property
    def offset_in_pixels(self) -> bool | None:
        """Whether the offset is in the pixels; None where they cannot tell."""
        if self.valid_count == 0:
            return None
        if self.dark_share >= DARK_SHARE_WITHOUT_OFFSET:
            return False
        return True if self.darkest_dn < DARKEST_DN_WITH_OFFSET else None


@dataclass(frozen=True)
class OffsetDecision:
    """The offset of one scene, and why.

    Attributes
    ----------
    verdict : {"present", "removed", "none"}
        Still in the pixels, removed by the provider, or never added.
    confident : bool
        False where the sources disagree and the pixels cannot tell.
    evidence : tuple of str
        What each source said.
    """

    verdict: Verdict
    confident: bool
    evidence: tuple[str, ...]

    @property
    def offset_dn(self) -> int:
        """What is added to each valid DN, -1000 or 0."""
        return OFFSET_DN if self.verdict == "present" else 0


def pixel_evidence(bands: npt.NDArray[np.uint16]) -> PixelEvidence:
    """Measure how dark a scene is.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        DN as delivered, 0 nodata; any low resolution. Not modified.

    Returns
    -------
    PixelEvidence
        Over the pixels that are valid in every band.
    """
    valid = ((bands != NODATA) & (bands != SATURATED)).all(axis=0)
    darkest = bands.min(axis=0)[valid]
    if not darkest.size:
        return PixelEvidence(0.0, 0.0, 0)
    quantile = float(np.quantile(darkest, DARK_SHARE_WITHOUT_OFFSET))
    return PixelEvidence(float((darkest < DARK_DN).mean()), quantile, int(darkest.size))


def decide_offset(
    baseline: str | None,
    *,
    removed_flag: bool | None = None,
    declared_offset: float | None = None,
    pixels: PixelEvidence | None = None,
) -> OffsetDecision:
    """Decide whether a scene's pixels carry the offset.

    Parameters
    ----------
    baseline : str or None
        Processing baseline as ``05.09``; None where the catalog does not tell.
    removed_flag : bool or None
        Whether the provider says that it removed the offset (``earthsearch:boa_offset_applied``).
    declared_offset : float or None
        ``raster:bands`` offset, reflectance (-0.1 or 0). It describes the product as ESA made it
        and is only quoted.
    pixels : PixelEvidence or None
        A look at the scene; None where none was taken.

    Returns
    -------
    OffsetDecision
        What the pixels say where they say something, else what baseline and flag say.
    """
    had_offset = None if baseline is None else float(baseline) >= FIRST_OFFSET_BASELINE
    told = _told_by_metadata(had_offset, removed_flag)
    seen = None if pixels is None else pixels.offset_in_pixels
    in_pixels, confident = _weigh(told, seen, had_offset=had_offset)
    if in_pixels:
        verdict: Verdict = "present"
    elif had_offset is False or (had_offset is None and not removed_flag):
        verdict = "none"
    else:
        verdict = "removed"
    evidence = [
        f"baseline {baseline or 'unknown'}",
        f"boa_offset_applied {removed_flag}",
        f"declared offset {declared_offset}",
    ]
    if pixels is not None:
        evidence.append(
            f"{pixels.dark_share:.4f} of {pixels.valid_count} pixels under {DARK_DN} DN, "
            f"darkest half percent at {pixels.darkest_dn:.0f} DN"
        )
    return OffsetDecision(verdict, confident, tuple(evidence))


def _told_by_metadata(had_offset: bool | None, removed_flag: bool | None) -> bool | None:
    """Whether the offset is in the pixels as baseline and flag have it; None if they are silent."""
    if removed_flag:
        return False
    return had_offset


def _weigh(told: bool | None, seen: bool | None, *, had_offset: bool | None) -> tuple[bool, bool]:
    """(offset in the pixels, confident): dark pixels prove its absence, the rest is judgement."""
    if seen is None:
        return bool(told), told is not None
    if seen and had_offset is False:
        # No product before 04.00 has the offset; merely bright ground looks the same.
        return False, False
    return seen, True


def harmonise(bands: npt.NDArray[np.uint16], offset_dn: int) -> npt.NDArray[np.uint16]:
    """Make DN mean reflectance times 10 000, whatever the baseline.

    Parameters
    ----------
    bands : ndarray of uint16, any shape
        DN, 0 nodata. Not modified.
    offset_dn : int
        -1000 where the offset is in the pixels, else 0.

    Returns
    -------
    ndarray of uint16
        0 where `bands` is 0 or saturated (65535); elsewhere DN plus offset, at least 1, so that
        dark ground never turns into nodata.
    """
    valid = (bands != NODATA) & (bands != SATURATED)
    shifted = np.maximum(bands.astype(np.int32) + offset_dn, 1).astype(np.uint16)
    return np.where(valid, shifted, np.uint16(NODATA))
