"""What the pixels of one scene say of its radiometric offset, seen in low resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.digital_numbers import NODATA, OFFSET_DN, SATURATED

# Bands of a thumbnail, the most telling first. B10 (L1C) is dark whatever lies below it, cloud
# included; B12 is dark over water and snow; B02 and B04 over vegetation; B8A over water and in
# shadow.
THUMBNAIL_BANDS = ("B10", "B12", "B04", "B02", "B8A")

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
# A thumbnail, or a comparison of two, counts from this many pixels.
MIN_PIXELS = 100


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


def pixel_evidence(bands: UInt16Raster, names: Sequence[str]) -> PixelEvidence:
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
    pixels = bands[:, inner_pixels(bands)]
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


def inner_pixels(bands: UInt16Raster) -> BoolRaster:
    """Pixels valid in every band, away from those that are not; shape (y, x)."""
    valid = ((bands != NODATA) & (bands != SATURATED)).all(axis=0)
    inner: BoolRaster = ndimage.binary_erosion(
        valid, structure=np.ones((3, 3)), iterations=EDGE_CELLS, border_value=1
    )
    return inner
