"""Stretch reflectance into a picture for the eye."""

import numpy as np

from cloudbuster.core.arrays import Raster, UInt8Raster

# Percentiles of the valid pixels that become black and white, so that haze and a few bright roofs
# do not determine the contrast.
DARK_PERCENTILE = 1.0
BRIGHT_PERCENTILE = 99.5
# Brightness below which a pixel is taken as land or water, DN: snow, cloud and bright sand, however
# much there is of them, must not determine how bright land is.
LAND_MAX_DN = 3000.0
# Tone of the median of land, 0 to 1: a little darker than medium grey, as forests and fields are.
LAND_TONE = 0.4
# Minimum brightness of that median and of white, DN, so that open water and the noise of an even
# scene are not exaggerated.
MIN_LAND_DN = 200.0
MIN_WHITE_DN = 500.0


def stretch(reflectance: Raster) -> UInt8Raster:
    """Stretch three bands of reflectance into a picture that shows both land and snow.

    The first percentile of each band becomes black, which removes haze. The brightness of a pixel,
    which is that of its brightest band, follows an inverse hyperbolic sine: linear in the dark and
    logarithmic in the light (Lupton et al. 2004, doi:10.1086/382245). All bands of a pixel are
    scaled alike, which keeps its colour.

    Parameters
    ----------
    reflectance : ndarray of uint16, shape (3, y, x)
        Harmonised DN of red, green and blue; 0 is nodata. Not modified.

    Returns
    -------
    ndarray of uint8, shape (4, y, x)
        Red, green, blue and opacity: 0 where any band is nodata, else 255.
    """
    valid = (reflectance != 0).all(axis=0)
    picture = np.zeros((4, *valid.shape), dtype=np.uint8)
    if not valid.any():
        return picture
    pixels = reflectance[:, valid].astype(np.float32)
    pixels -= np.percentile(pixels, DARK_PERCENTILE, axis=1)[:, np.newaxis]
    pixels = np.maximum(pixels, 0)
    brightness = pixels.max(axis=0)
    white = max(float(np.percentile(brightness, BRIGHT_PERCENTILE)), MIN_WHITE_DN)
    softness = _softness(_land_level(brightness), white)
    tones = np.arcsinh(np.minimum(brightness, white) / softness) / np.arcsinh(white / softness)
    pixels *= tones / np.maximum(brightness, 1)
    picture[:3, valid] = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    picture[3, valid] = 255
    return picture


def _land_level(brightness: Raster) -> float:
    """Return the median brightness of land and water; of all pixels if all are brighter."""
    land = brightness[brightness < LAND_MAX_DN]
    return max(float(np.median(land if land.size else brightness)), MIN_LAND_DN)


def _softness(land: float, white: float) -> float:
    """Return the DN where the curve turns from linear to logarithmic, for the tone of land.

    Where land would be lighter than `LAND_TONE`, the curve is linear.
    """
    softness = np.geomspace(white / 1e4, white * 10, 512)
    tones = np.arcsinh(land / softness) / np.arcsinh(white / softness)
    return float(softness[np.argmin(np.abs(tones - LAND_TONE))])
