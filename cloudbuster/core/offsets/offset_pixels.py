"""Evidence of the radiometric offset in the pixels of one scene, at low resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cloudbuster.core.arrays import BoolRaster, UInt16Raster
from cloudbuster.core.pixels.masks import valid_pixels
from cloudbuster.core.scenes.digital_numbers import OFFSET_DN

# Bands of a thumbnail, the most informative first. B10 (L1C) is dark over any ground and cloud; B12
# is dark over water and snow; B02 and B04 over vegetation; B8A over water and in shadow.
THUMBNAIL_BANDS = ("B10", "B12", "B04", "B02", "B8A")

# With the offset in the pixels, a DN under 1000 is a negative reflectance. The limit is 0.01 of
# reflectance lower, because over open water the short wave infrared scatters about 0. Without the
# offset, shadow, water and dense vegetation are well under the limit in at least one band: a scene
# with half a percent of such dark pixels does not contain the offset.
DARK_DN = 900
DARK_SHARE_WITHOUT_OFFSET = 0.005
# An exception are dark pixels that are the tail of a peak about 1000, for example over sea, where
# the atmospheric correction produces negative reflectances. Without the offset, the dark pixels
# extend down to 0 instead.
TAIL_TOP_DN = 1100
TAIL_RATIO = 0.2
# With the offset, the dark ground of a scene (vegetation, water, shadow) is just above 1000 in two
# bands or more: 2 to 61 % of the pixels of ten real crops of Slovenia with the offset added, and 4
# to 32 % of those of the sample world's L2A scenes, which have up to 86 % cloud. Bright ground
# without the offset (cloud, snow, sand) may be near 1000 in blue, but is brighter in its second
# darkest band.
PILE_TOP_DN = 1300
# A peak of this share overrules the metadata. A smaller peak, down to the least share of dark
# ground, can only confirm them. The peak must end where the offset starts: if the pixels below
# `DARK_DN` are more than this ratio of the peak, the scene is cloudy and without the offset.
PILE_SHARE_DECISIVE = 0.01
EDGE_RATIO = 0.1
# The cirrus band receives no light from the ground. With the offset it is 1000 to 1100 wherever
# there is no cirrus, which counts as a peak by itself.
CIRRUS_BAND = "B10"
# Number of cells beside a swath's edge into which resampling mixes zeros (wavelet of JPEG 2000).
EDGE_CELLS = 2
# Least width of a dark feature that is no undershoot of that wavelet, cells.
UNDERSHOOT_CELLS = 3
# Least number of pixels of a thumbnail, or of a comparison of two, for a decision.
MIN_PIXELS = 100


@dataclass(frozen=True)
class PixelEvidence:
    """Evidence of the offset in the pixels of a thumbnail.

    Attributes
    ----------
    dark_share : float
        Share of the valid pixels whose darkest band is under `DARK_DN`.
    tail_share : float
        Share whose darkest band is from `DARK_DN` to `TAIL_TOP_DN`.
    pile_share : float
        Share whose second darkest band is under `PILE_TOP_DN`, or whose cirrus band is from
        `DARK_DN` to `TAIL_TOP_DN`: the peak of dark ground just above the offset.
    darkest_dn : float
        0.5 % quantile of the darkest band, DN.
    valid_count : int
        Number of valid pixels.
    """

    dark_share: float
    tail_share: float
    pile_share: float
    darkest_dn: float
    valid_count: int

    @property
    def offset_in_pixels(self) -> bool | None:
        """Whether the pixels contain the offset; None if that is undecided."""
        if self.valid_count < MIN_PIXELS:
            return None
        least = max(DARK_SHARE_WITHOUT_OFFSET, TAIL_RATIO * self.tail_share)
        if self.dark_share >= least:
            return False
        return True if self.pile_share >= DARK_SHARE_WITHOUT_OFFSET else None

    @property
    def is_decisive(self) -> bool:
        """Whether the evidence overrules metadata that contradict it."""
        seen = self.offset_in_pixels
        piled = self.pile_share >= PILE_SHARE_DECISIVE
        return seen is False or (
            seen is True and piled and self.dark_share <= EDGE_RATIO * self.pile_share
        )

    @property
    def words(self) -> str:
        """The evidence as text for a scene's record."""
        return (
            f"{self.dark_share:.4f} of {self.valid_count} pixels under {DARK_DN} DN, "
            f"darkest half percent at {self.darkest_dn:.0f} DN, "
            f"{self.pile_share:.4f} piled up above {-OFFSET_DN} DN"
        )


def pixel_evidence(
    bands: UInt16Raster, names: Sequence[str], *, rim_cells: int = 0
) -> PixelEvidence:
    """Measure the dark pixels of a thumbnail.

    Parameters
    ----------
    bands : ndarray of uint16, shape (band, y, x)
        DN as delivered, 0 is nodata; any low resolution. Not modified.
    names : sequence of str
        Names of the bands, as in `cloudbuster.core.scenes.bands.BANDS`.
    rim_cells : int
        Cells to which a rim of low values beside nodata may reach. They are left out if enough
        pixels remain.

    Returns
    -------
    PixelEvidence
        Measured over the pixels for which `inner_pixels` is True.
    """
    inner = inner_pixels(bands, max(rim_cells, EDGE_CELLS))
    if np.count_nonzero(inner) < MIN_PIXELS:
        inner = inner_pixels(bands)
    pixels = bands[:, inner]
    if not pixels.size:
        return PixelEvidence(0.0, 0.0, 0.0, 0.0, 0)
    darkest, second = np.sort(pixels, axis=0)[[0, min(1, len(pixels) - 1)]]
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


def without_undershoots(dn: UInt16Raster) -> UInt16Raster:
    """Raise the dark pixels that the reduced resolutions of JPEG 2000 have beside bright ones.

    The low-pass of its wavelet undershoots at the edges of clouds: at a quarter of the resolution
    of the sample's scenes by up to 1000 DN, over 0.1 to 0.6 % of the pixels. Such pixels are one or
    two wide; dark features of less than three pixels are filled (grey closing).

    Parameters
    ----------
    dn : ndarray of uint16, shape (y, x)
        A band at reduced resolution; 0 is nodata. Not modified.

    Returns
    -------
    ndarray of uint16, shape (y, x)
        With the same nodata.
    """
    closed = ndimage.grey_closing(dn, size=(UNDERSHOOT_CELLS, UNDERSHOOT_CELLS))
    return np.where(dn == 0, dn, closed)


def inner_pixels(bands: UInt16Raster, cells: int = EDGE_CELLS) -> BoolRaster:
    """Return which pixels are valid in every band and not near an invalid one; shape (y, x).

    Near is within ``cells``. Resampling mixes zeros into the pixels within `EDGE_CELLS`.
    """
    inner: BoolRaster = ndimage.binary_erosion(
        valid_pixels(bands), structure=np.ones((3, 3)), iterations=cells, border_value=1
    )
    return inner
