"""The radiometric offset of a scene: decided once, from its metadata and, in doubt, its pixels.

From processing baseline 04.00 (operational 2022-01-25, and in every later reprocessing of older
acquisitions) ESA adds 1000 to every valid DN so that slightly negative reflectances survive:
``reflectance = (DN + offset) / 10000`` with offset -1000 (Sentinel-2 Products Specification
Document, RADIO_ADD_OFFSET and BOA_ADD_OFFSET). Some providers subtract it again, and what their
metadata says of it is wrong in both directions, so that the pixels have the last word. Where the
pixels of one scene cannot tell (all cloud, all snow), those of overlapping scenes may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cloudbuster.core.grid import MosaicGrid
from cloudbuster.core.regrid import sample_nearest

NODATA = 0
SATURATED = 65535  # ESA Special_Values of the product metadata
OFFSET_DN = -1000  # RADIO_ADD_OFFSET and BOA_ADD_OFFSET of every band and baseline so far
FIRST_OFFSET_BASELINE = 4.0

# Bands of a look, the most telling first. B10 (L1C) is dark whatever lies below, cloud included;
# B12 is dark over water and snow; B02 and B04 over vegetation; B8A over water and in shadow.
LOOK_BANDS = ("B10", "B12", "B04", "B02", "B8A")
# Bands that are compared between scenes: the near infrared changes with the season by as much as
# the offset (measured between real dates of May to September), the others by 100 to 300 DN.
STEADY_BANDS = ("B02", "B03", "B04", "B11", "B12")

# With the offset in the pixels a DN under 1000 is a negative reflectance. Over open water the short
# wave infrared scatters about 0, so the limit leaves 0.01 of reflectance for that. Without the
# offset, shadow, water and dense vegetation are well under it in at least one band: a scene of
# which half a percent is so dark cannot carry the offset.
DARK_DN = 900
DARK_SHARE_WITHOUT_OFFSET = 0.005
# ... unless these are the tail of a pile about 1000, as over a sea of which the atmospheric
# correction makes negative reflectances: without the offset the dark pixels go on down to 0.
TAIL_TOP_DN = 1100
TAIL_RATIO = 0.2
# With the offset the dark ground of a scene (vegetation, water, shadow) lies just above 1000 in
# two bands at least: 2 to 61 % of the pixels of the ten real crops of Slovenia, shifted, and 4 to
# 32 % of those of the sample world's L2A scenes, which have up to 86 % cloud. Bright ground without
# it (cloud, snow, sand: its blue alone may be near 1000) is brighter in its second darkest band.
PILE_TOP_DN = 1300
# A pile of this share speaks against whatever the metadata says; a smaller one, down to the share
# that dark ground has at least, only confirms it. It must end where the offset begins: a tail that
# goes on below `DARK_DN` by this share of the pile is that of a cloudy scene without offset.
PILE_SHARE_DECISIVE = 0.01
EDGE_RATIO = 0.1
# No light from the ground comes back in the cirrus band: with the offset it is from 1000 to 1100
# wherever there is no cirrus, and counts as a pile by itself.
CIRRUS_BAND = "B10"
# Resampling mixes the zeros of a swath's edge into this many cells beside it (wavelet of JP2).
EDGE_CELLS = 2
# Scenes decided with confidence that one in doubt is compared with, at most.
MAX_REFERENCES = 4
# Half the offset less a margin: a difference within this of 0 or 1000 tells the two apart, and
# two clear dates of one place differ by less (89 DN in B02 two days apart on real crops).
SHIFT_TOLERANCE_DN = 400
# A look or a comparison counts from this many pixels. A comparison must have this share of them
# agree on one shift, and this many times more than on the other.
MIN_PIXELS = 100
MIN_SHIFT_SHARE = 0.1
MIN_SHIFT_RATIO = 4.0

Verdict = Literal["present", "removed", "none"]
Treatment = Literal["kept", "mixed"]
"""What a provider does with the offset: serves ESA's DN as they are, or sometimes removes it."""

# By bucket, container or host in an asset's href (facts of each provider): the COGs of Earth
# Search's `sentinel-2-l2a` are the only ones from which the offset was removed, mostly
# (cirrus-earth-search#33, earth-search#9, #66, #71).
PROVIDER_PLACES: dict[str, Treatment] = {
    "sentinel-s2-l2a-cogs": "mixed",
    "e84-earth-search-sentinel-data": "kept",
    "sentinel2l2a01": "kept",
    "eodata": "kept",
    "sentinel-s2-l2a": "kept",
    "sentinel-s2-l1c": "kept",
}
# By collection, for copies of the files at another place. `sentinel-2-l2a` is what Earth Search,
# the Planetary Computer and the Data Space all call theirs: Earth Search's is told by its flag.
PROVIDER_COLLECTIONS: dict[str, Treatment] = {
    "sentinel-2-c1-l2a": "kept",
    "sentinel-2-pre-c1-l2a": "kept",
    "sentinel-2-l1c": "kept",
    "sentinel-s2-l1c": "kept",
    "sentinel-s2-l2a": "kept",
    "sentinel-s2-l2a-cogs": "mixed",
}


@dataclass(frozen=True)
class OffsetMetadata:
    """What is said of a scene's offset, before anybody looks at its pixels.

    Attributes
    ----------
    baseline : str or None
        Processing baseline as ``05.09``; None where the catalog does not tell.
    removed_flag : bool or None
        Whether the provider says that it removed the offset (``earthsearch:boa_offset_applied``).
    declared_offset : float or None
        ``raster:bands`` offset, reflectance (-0.1 or 0). Of a provider that removes offsets it
        describes the product as ESA made it, and is only quoted.
    treatment : {"kept", "mixed"} or None
        What the provider does with the offset; None where the provider is not known.
    """

    baseline: str | None = None
    removed_flag: bool | None = None
    declared_offset: float | None = None
    treatment: Treatment | None = None

    @property
    def had_offset(self) -> bool | None:
        """Whether ESA made the product with the offset; None where the baseline is not known."""
        return None if self.baseline is None else float(self.baseline) >= FIRST_OFFSET_BASELINE

    @property
    def statements(self) -> dict[str, bool]:
        """Whether the offset is in the pixels, by each source that says so, the best one first."""
        made = self.had_offset
        said: dict[str, bool] = {}
        if self.treatment == "kept" and made is not None:
            said["provider"] = made
        if self.removed_flag:
            said["flag"] = False
        elif self.removed_flag is False and made is not None:
            said["flag"] = made
        if self.declared_offset is not None and self.treatment != "mixed":
            said["declared offset"] = self.declared_offset < 0
        if made is not None and (made is False or not said):
            said["baseline"] = made
        return said

    @property
    def words(self) -> tuple[str, ...]:
        """The same as evidence for people."""
        provider = {
            "kept": "provider serves the DN as ESA made them",
            "mixed": "provider removes the offset from some products",
            None: "provider unknown",
        }[self.treatment]
        return (
            f"baseline {self.baseline or 'unknown'}",
            f"boa_offset_applied {self.removed_flag}",
            f"declared offset {self.declared_offset}",
            provider,
        )


@dataclass(frozen=True)
class PixelEvidence:
    """What a low-resolution look at a scene says of its offset.

    Attributes
    ----------
    dark_share : float
        Share of the valid pixels whose darkest band is under `DARK_DN`.
    tail_share : float
        Share whose darkest band is from `DARK_DN` to `TAIL_TOP_DN`.
    pile_share : float
        Share whose second darkest band is under `PILE_TOP_DN`, or whose cirrus band is from
        `DARK_DN` to `TAIL_TOP_DN`.
    darkest_dn : float
        0.5 % quantile of the darkest band, DN.
    valid_count : int
        Pixels that were looked at.
    """

    dark_share: float
    tail_share: float
    pile_share: float
    darkest_dn: float
    valid_count: int

    @property
    def offset_in_pixels(self) -> bool | None:
        """Whether the offset is in the pixels; None where they cannot tell."""
        if self.valid_count < MIN_PIXELS:
            return None
        least = max(DARK_SHARE_WITHOUT_OFFSET, TAIL_RATIO * self.tail_share)
        if self.dark_share >= least:
            return False
        return True if self.pile_share >= DARK_SHARE_WITHOUT_OFFSET else None

    @property
    def is_decisive(self) -> bool:
        """Whether it outweighs metadata that say something else."""
        seen = self.offset_in_pixels
        piled = self.pile_share >= PILE_SHARE_DECISIVE
        return seen is False or (
            seen is True and piled and self.dark_share <= EDGE_RATIO * self.pile_share
        )

    @property
    def words(self) -> str:
        """The same as evidence for people."""
        return (
            f"{self.dark_share:.4f} of {self.valid_count} pixels under {DARK_DN} DN, "
            f"darkest half percent at {self.darkest_dn:.0f} DN, "
            f"{self.pile_share:.4f} piled up above {-OFFSET_DN} DN"
        )


@dataclass(frozen=True)
class SceneLook:
    """A scene in low resolution.

    Attributes
    ----------
    grid : MosaicGrid
        Where its cells lie.
    names : tuple of str
        Bands, as in `cloudbuster.core.bands.BANDS`.
    dn : ndarray of uint16, shape (band, y, x)
        As delivered, 0 nodata.
    clear : ndarray of bool, shape (y, x)
        False where the product's own classes call a cell anything but clear ground or water.
    """

    grid: MosaicGrid
    names: tuple[str, ...]
    dn: npt.NDArray[np.uint16]
    clear: npt.NDArray[np.bool_]


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


def provider_treatment(
    collection: str | None, href: str, removed_flag: bool | None
) -> Treatment | None:
    """Tell what the provider of a scene does with the offset.

    Parameters
    ----------
    collection : str or None
        Collection of the item.
    href : str
        Of one of its bands.
    removed_flag : bool or None
        ``earthsearch:boa_offset_applied``, which items of Earth Search alone carry.

    Returns
    -------
    {"kept", "mixed"} or None
        None where none of these tells.
    """
    for place, treatment in PROVIDER_PLACES.items():
        if f"/{place}/" in href or f"/{place}." in href:
            return treatment
    if removed_flag is not None:
        return "mixed"
    return PROVIDER_COLLECTIONS.get(collection or "")


def pixel_evidence(bands: npt.NDArray[np.uint16], names: Sequence[str]) -> PixelEvidence:
    """Measure how dark a scene is.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        DN as delivered, 0 nodata; any low resolution. Not modified.
    names : sequence of str
        Bands, as in `cloudbuster.core.bands.BANDS`.

    Returns
    -------
    PixelEvidence
        Over the pixels that are valid in every band and not at an edge of the data, where
        resampling mixes zeros in.
    """
    pixels = bands[:, _inner(bands)]
    if not pixels.size:
        return PixelEvidence(0.0, 0.0, 0.0, 0.0, 0)
    darkness = np.sort(pixels, axis=0)
    darkest, second = darkness[0], darkness[min(1, len(darkness) - 1)]
    pile = second < PILE_TOP_DN
    if CIRRUS_BAND in names:
        cirrus = pixels[names.index(CIRRUS_BAND)]
        pile |= (cirrus >= DARK_DN) & (cirrus <= TAIL_TOP_DN)
    return PixelEvidence(
        dark_share=float((darkest < DARK_DN).mean()),
        tail_share=float(((darkest >= DARK_DN) & (darkest <= TAIL_TOP_DN)).mean()),
        pile_share=float(pile.mean()),
        darkest_dn=float(np.quantile(darkest, DARK_SHARE_WITHOUT_OFFSET)),
        valid_count=int(darkest.size),
    )


def _inner(bands: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Pixels valid in every band, away from those that are not; shape (y, x)."""
    valid = ((bands != NODATA) & (bands != SATURATED)).all(axis=0)
    inner: npt.NDArray[np.bool_] = ndimage.binary_erosion(
        valid, structure=np.ones((3, 3)), iterations=EDGE_CELLS, border_value=1
    )
    return inner


def shift_against(
    reference: SceneLook, scene: SceneLook, *, reference_offset_dn: int
) -> ShiftEstimate:
    """Compare a scene of unknown offset with one that is decided.

    Parameters
    ----------
    reference : SceneLook
        The decided one.
    scene : SceneLook
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
    usable = reference.clear & _inner(known)
    common = sample_nearest(usable, reference.grid, target, fill=0)
    common &= scene.clear & _inner(seen)
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
    look: SceneLook,
    references: Sequence[tuple[SceneLook, int]],
) -> OffsetDecision:
    """Decide a scene in doubt by overlapping scenes that are decided.

    Parameters
    ----------
    metadata : OffsetMetadata
        Of the scene in doubt.
    pixels : PixelEvidence
        Of the scene in doubt.
    look : SceneLook
        The scene in doubt.
    references : sequence of (SceneLook, int)
        Decided scenes, each with what is added to its valid DN. Their order does not matter but
        for the quoted median.

    Returns
    -------
    OffsetDecision
        The single-scene decision where the neighbours cannot tell either.
    """
    comparison = NO_COMPARISON
    for reference, offset_dn in references:
        comparison += shift_against(reference, look, reference_offset_dn=offset_dn)
    neighbours = comparison if comparison.common_count else None
    return decide_offset(metadata, pixels=pixels, neighbours=neighbours)


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
