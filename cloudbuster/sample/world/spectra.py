"""Tables of the surfaces and the atmosphere of the sample world.

Reflectances are round numbers in the range of published spectra (ECOSTRESS and USGS libraries, by
surface type), tuned so that the real s2cloudless separates the surfaces from clouds.
"""

import numpy as np
import numpy.typing as npt

from cloudbuster.core.scenes.bands import BANDS_BY_KIND

# Bands of an L1C product, in the order of every table below.
BAND_NAMES = BANDS_BY_KIND["L1C"]

# Surface classes (indices into the table of spectra).
WATER, SNOW, SAND, ROOF, URBAN, BROADLEAF, CONIFER, SHADED, GRASS = range(9)
CROP = 9
CROP_KINDS = 16
CLASS_COUNT = CROP + CROP_KINDS

# Surface reflectance in the order of BAND_NAMES. B10 does not see the surface; its value is unused.
_SURFACE = {
    WATER: (0.032, 0.036, 0.036, 0.020, 0.016, 0.012, 0.012, 0.010, 0.009, 0.008, 0, 0.005, 0.004),
    SNOW: (0.84, 0.86, 0.86, 0.85, 0.84, 0.83, 0.81, 0.79, 0.77, 0.70, 0, 0.09, 0.07),
    SAND: (0.17, 0.20, 0.26, 0.32, 0.34, 0.35, 0.36, 0.37, 0.38, 0.38, 0, 0.45, 0.41),
    ROOF: (0.17, 0.21, 0.25, 0.29, 0.30, 0.31, 0.32, 0.33, 0.34, 0.34, 0, 0.38, 0.35),
    URBAN: (0.08, 0.09, 0.11, 0.12, 0.14, 0.17, 0.18, 0.19, 0.20, 0.20, 0, 0.20, 0.17),
    BROADLEAF: (0.02, 0.025, 0.048, 0.025, 0.075, 0.23, 0.30, 0.32, 0.34, 0.34, 0, 0.15, 0.07),
    CONIFER: (0.018, 0.02, 0.034, 0.02, 0.05, 0.14, 0.17, 0.18, 0.20, 0.20, 0, 0.085, 0.04),
    SHADED: (0.013, 0.014, 0.02, 0.012, 0.025, 0.06, 0.075, 0.08, 0.085, 0.085, 0, 0.035, 0.017),
    GRASS: (0.028, 0.038, 0.072, 0.045, 0.105, 0.25, 0.31, 0.33, 0.35, 0.35, 0, 0.21, 0.12),
}
_LUSH = (0.022, 0.03, 0.065, 0.034, 0.095, 0.29, 0.38, 0.40, 0.42, 0.42, 0, 0.19, 0.09)
_SOIL = (0.065, 0.08, 0.11, 0.145, 0.165, 0.18, 0.20, 0.22, 0.24, 0.24, 0, 0.31, 0.26)
_STRAW = (0.055, 0.072, 0.105, 0.135, 0.17, 0.21, 0.24, 0.26, 0.28, 0.28, 0, 0.32, 0.23)

# Two-way transmittance and path reflectance for L1C of a clear summer sky at mid-latitude
# (Rayleigh, aerosol 0.1, 2 cm of water vapour), as round numbers. For B10 the atmosphere is opaque
# below the height of cirrus.
TRANSMITTANCE = (0.78, 0.83, 0.86, 0.90, 0.92, 0.93, 0.94, 0.93, 0.96, 0.36, 0.003, 0.95, 0.93)
PATH = (0.098, 0.072, 0.040, 0.022, 0.017, 0.013, 0.011, 0.009, 0.008, 0.003, 0.0012, 0.002, 0.001)

# Reflectance of an opaque cloud, at the top of the atmosphere and after atmospheric correction.
CLOUD_L1C = (0.70, 0.70, 0.69, 0.70, 0.71, 0.72, 0.72, 0.71, 0.73, 0.42, 0.006, 0.52, 0.42)
CLOUD_L2A = (0.74, 0.76, 0.76, 0.76, 0.76, 0.76, 0.76, 0.76, 0.76, 0.76, 0, 0.56, 0.46)
# Reflectance of ice cloud at 9 km. It is above nearly all water vapour, and so bright in B09, B10.
CIRRUS_L1C = (0.62, 0.60, 0.58, 0.58, 0.58, 0.58, 0.58, 0.58, 0.58, 0.50, 0.16, 0.36, 0.28)
CIRRUS_L2A = (0.58, 0.58, 0.57, 0.57, 0.57, 0.57, 0.57, 0.57, 0.57, 0.55, 0, 0.36, 0.28)
# Reflectance added by the strongest haze: below 0.02, so that haze alone affects no pixel.
HAZE_L1C = (0.016, 0.013, 0.010, 0.008, 0.007, 0.006, 0.005, 0.005, 0.004, 0.002, 0, 0.002, 0.001)
HAZE_L2A = (0.010, 0.008, 0.006, 0.005, 0.005, 0.004, 0.004, 0.003, 0.003, 0.003, 0, 0.001, 0.001)
# Share of the light that a full shadow removes: that of direct sunlight, lower in the blue.
SHADOW = (0.45, 0.50, 0.57, 0.62, 0.65, 0.67, 0.69, 0.71, 0.72, 0.72, 0, 0.78, 0.80)

# Scene class (SCL) of each surface class: 2 dark, 4 vegetation, 5 bare, 6 water, 11 snow.
SCL_OF_CLASS = np.array([6, 11, 5, 5, 5, 4, 4, 2, 4, *[4] * CROP_KINDS], np.uint8)
# Green share below which a field is classified as bare: its NDVI is below about 0.4.
BARE_BELOW = 0.42


def green_share(day: int) -> npt.NDArray[np.float32]:
    """Green share of each kind of crop on a day of the year.

    Parameters
    ----------
    day : int
        Day of the year, 1 to 366.

    Returns
    -------
    ndarray of float32, shape (CROP_KINDS,)
        Share from 0, bare, to 1, lush. Each kind peaks at another date. The amplitude is moderate,
        so that scenes can be compared with the truth, which is of the middle of the season.
    """
    kind = np.arange(CROP_KINDS)
    peak = 130 + (kind * 37) % 100
    base = 0.35 + 0.45 * ((kind * 5) % CROP_KINDS) / (CROP_KINDS - 1)
    swing = 0.16 + 0.02 * (kind % 5)
    share = base + swing * (1 - np.minimum(np.abs(day - peak) / 60.0, 2.0))
    limited: npt.NDArray[np.float32] = np.clip(share, 0.0, 1.0).astype(np.float32)
    return limited


def surface_table(day: int) -> npt.NDArray[np.float32]:
    """Surface reflectance of each class on a day of the year.

    Parameters
    ----------
    day : int
        Day of the year.

    Returns
    -------
    ndarray of float32, shape (CLASS_COUNT, band)
        Reflectance, with the bands in the order of `BAND_NAMES`.
    """
    table = np.zeros((CLASS_COUNT, len(BAND_NAMES)), np.float32)
    for index, spectrum in _SURFACE.items():
        table[index] = spectrum
    # Leaves unfold in May and darken slowly after midsummer.
    season = np.float32(1 - 0.0006 * abs(day - 175))
    table[BROADLEAF] *= season
    table[GRASS] *= season
    share = green_share(day)[:, np.newaxis]
    straw = (np.arange(CROP_KINDS) % 3 == 0)[:, np.newaxis]
    bare = np.where(straw, np.asarray(_STRAW, np.float32), np.asarray(_SOIL, np.float32))
    table[CROP:] = share * np.asarray(_LUSH, np.float32) + (1 - share) * bare
    return table


def scene_classes(day: int) -> npt.NDArray[np.uint8]:
    """Scene class (SCL) of each surface class on a day of the year, shape (CLASS_COUNT,)."""
    classes = SCL_OF_CLASS.copy()
    classes[CROP:][green_share(day) < BARE_BELOW] = 5
    return classes
