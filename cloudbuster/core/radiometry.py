"""The radiometric offset of a scene: decided once, from its metadata and, in doubt, its pixels.

From processing baseline 04.00 (operational 2022-01-25, and in every later reprocessing of older
acquisitions) ESA adds 1000 to every valid DN so that slightly negative reflectances survive:
``reflectance = (DN + offset) / 10000`` with offset -1000 (Sentinel-2 Products Specification
Document, RADIO_ADD_OFFSET and BOA_ADD_OFFSET). Some providers subtract it again, and what their
metadata says of it is wrong in both directions, so that the pixels have the last word. Where the
pixels of one scene cannot tell (all cloud, all snow), those of overlapping scenes may.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cloudbuster.core.digital_numbers import OFFSET_DN
from cloudbuster.core.offset_metadata import OffsetMetadata
from cloudbuster.core.offset_neighbours import (
    NO_COMPARISON,
    SceneThumbnail,
    ShiftEstimate,
    shift_against,
)
from cloudbuster.core.offset_pixels import PixelEvidence

Verdict = Literal["present", "removed", "none"]


@dataclass(frozen=True)
class OffsetDecision:
    """The offset of one scene, and why.

    Attributes
    ----------
    verdict : {"present", "removed", "none"}
        Still in the pixels, removed by the provider, or never added.
    confident : bool
        True where the pixels, of this scene or against others, confirm the verdict.
    conflict : bool
        Whether the sources of metadata disagree with each other or with the pixels.
    evidence : tuple of str
        What each source said.
    """

    verdict: Verdict
    confident: bool
    conflict: bool
    evidence: tuple[str, ...]

    @property
    def offset_dn(self) -> int:
        """What is added to each valid DN, -1000 or 0."""
        return OFFSET_DN if self.verdict == "present" else 0


def decide_offset(
    metadata: OffsetMetadata,
    *,
    pixels: PixelEvidence | None = None,
    neighbours: ShiftEstimate | None = None,
) -> OffsetDecision:
    """Decide whether a scene's pixels carry the offset.

    Parameters
    ----------
    metadata : OffsetMetadata
        What is said of it.
    pixels : PixelEvidence or None
        A look at the scene; None where none was taken.
    neighbours : ShiftEstimate or None
        Comparison with overlapping scenes whose offset is known.

    Returns
    -------
    OffsetDecision
        What the scene's own pixels say where they are decisive, or say the same as the metadata;
        else what the neighbours say; else what the metadata say, without confidence.
    """
    statements = metadata.statements
    told = next(iter(statements.values()), None)
    observed = _observed(told, pixels, neighbours)
    in_pixels = observed if observed is not None else bool(told)
    voices = {*statements.values()} | ({observed} if observed is not None else set())
    evidence = list(metadata.words)
    if pixels is not None:
        evidence.append(pixels.words)
    if neighbours is not None:
        evidence.append(neighbours.words)
    return OffsetDecision(
        verdict=_verdict(metadata, in_pixels=in_pixels),
        confident=observed is not None,
        conflict=len(voices) > 1,
        evidence=tuple(evidence),
    )


def _observed(
    told: bool | None, pixels: PixelEvidence | None, neighbours: ShiftEstimate | None
) -> bool | None:
    """Whether the offset is in the pixels as far as anybody saw it; None if nobody could."""
    seen = None if pixels is None else pixels.offset_in_pixels
    if pixels is not None and (pixels.is_decisive or (seen is not None and seen == told)):
        return seen
    return None if neighbours is None else neighbours.offset_in_pixels


def _verdict(metadata: OffsetMetadata, *, in_pixels: bool) -> Verdict:
    """Tell an offset that was removed from one that never was."""
    if in_pixels:
        return "present"
    had_offset = metadata.had_offset
    if had_offset is False or (had_offset is None and not metadata.removed_flag):
        return "none"
    return "removed"


def settle_by_neighbours(
    metadata: OffsetMetadata,
    pixels: PixelEvidence,
    thumbnail: SceneThumbnail,
    references: Sequence[tuple[SceneThumbnail, int]],
) -> OffsetDecision:
    """Decide a scene in doubt by overlapping scenes that are decided.

    Parameters
    ----------
    metadata : OffsetMetadata
        Of the scene in doubt.
    pixels : PixelEvidence
        Of the scene in doubt.
    thumbnail : SceneThumbnail
        The scene in doubt.
    references : sequence of (SceneThumbnail, int)
        Decided scenes, each with what is added to its valid DN. Their order does not matter but
        for the quoted median.

    Returns
    -------
    OffsetDecision
        The single-scene decision where the neighbours cannot tell either.
    """
    comparison = NO_COMPARISON
    for reference, offset_dn in references:
        comparison += shift_against(reference, thumbnail, reference_offset_dn=offset_dn)
    neighbours = comparison if comparison.common_count else None
    return decide_offset(metadata, pixels=pixels, neighbours=neighbours)
