"""The radiometric offset of a scene: decided once, from its metadata and its pixels.

From processing baseline 04.00 (operational 2022-01-25, and in every later reprocessing of older
acquisitions) ESA adds 1000 to every valid DN so that slightly negative reflectances can be encoded:
``reflectance = (DN + offset) / 10000`` with offset -1000 (Sentinel-2 Products Specification
Document, RADIO_ADD_OFFSET and BOA_ADD_OFFSET). Some providers subtract it again, and their metadata
about it are wrong in both directions. Therefore the pixels overrule the metadata. If the pixels of
one scene leave it undecided (all cloud, all snow), overlapping scenes may decide it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cloudbuster.core.offsets.offset_metadata import OffsetMetadata
from cloudbuster.core.offsets.offset_neighbours import (
    NO_COMPARISON,
    SceneThumbnail,
    ShiftEstimate,
    shift_against,
)
from cloudbuster.core.offsets.offset_pixels import PixelEvidence
from cloudbuster.core.scenes.digital_numbers import OFFSET_DN

Verdict = Literal["present", "removed", "none"]


@dataclass(frozen=True)
class OffsetDecision:
    """Decision about the offset of one scene.

    Attributes
    ----------
    verdict : {"present", "removed", "none"}
        Whether the offset is in the pixels, was removed by the provider, or was never added.
    confident : bool
        Whether the pixels of this scene, or of overlapping scenes, confirm the verdict.
    conflict : bool
        Whether the metadata contradict each other or the pixels.
    evidence : tuple of str
        One text for each source.
    """

    verdict: Verdict
    confident: bool
    conflict: bool
    evidence: tuple[str, ...]

    @property
    def offset_dn(self) -> int:
        """Offset to add to each valid DN, -1000 or 0."""
        return OFFSET_DN if self.verdict == "present" else 0


def decide_offset(
    metadata: OffsetMetadata,
    *,
    pixels: PixelEvidence | None = None,
    neighbours: ShiftEstimate | None = None,
) -> OffsetDecision:
    """Decide whether the pixels of a scene contain the offset.

    The decision follows the scene's own pixels if they are decisive or agree with the metadata,
    else the overlapping scenes, else the metadata, in this last case without confidence.

    Parameters
    ----------
    metadata, pixels, neighbours : OffsetMetadata, PixelEvidence, ShiftEstimate
        Metadata; evidence in a thumbnail of the scene; comparison with overlapping scenes. The last
        two are None if they are not available.
    """
    statements = list(metadata.statements.values())
    declared = next(iter(statements), None)
    observed = _observed(declared, pixels, neighbours)
    answers = {*statements, declared if observed is None else observed}
    sources = [source.words for source in (pixels, neighbours) if source is not None]
    return OffsetDecision(
        verdict=_verdict(metadata, in_pixels=bool(declared if observed is None else observed)),
        confident=observed is not None,
        conflict=len(answers) > 1,
        evidence=(*metadata.words, *sources),
    )


def _observed(
    declared: bool | None, pixels: PixelEvidence | None, neighbours: ShiftEstimate | None
) -> bool | None:
    """Return whether pixels show the offset; None if neither source decides it."""
    seen = None if pixels is None else pixels.offset_in_pixels
    if pixels is not None and (pixels.is_decisive or (seen is not None and seen == declared)):
        return seen
    return None if neighbours is None else neighbours.offset_in_pixels


def _verdict(metadata: OffsetMetadata, *, in_pixels: bool) -> Verdict:
    """Name the decision; an offset that is not in the pixels was removed or never added."""
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
    """Decide the offset of a scene in doubt from overlapping scenes whose offset is decided.

    Parameters
    ----------
    metadata, pixels, thumbnail : OffsetMetadata, PixelEvidence, SceneThumbnail
        Scene in doubt.
    references : sequence of (SceneThumbnail, int)
        Decided scenes, each with the offset to add to its valid DN. Their order changes nothing
        but the median in the evidence.

    Returns
    -------
    OffsetDecision
        As `decide_offset` without neighbours if the references leave it undecided.
    """
    comparison = NO_COMPARISON
    for reference, offset_dn in references:
        comparison += shift_against(reference, thumbnail, reference_offset_dn=offset_dn)
    neighbours = comparison if comparison.common_count else None
    return decide_offset(metadata, pixels=pixels, neighbours=neighbours)
