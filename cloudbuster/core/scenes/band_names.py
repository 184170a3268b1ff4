"""Which Sentinel-2 band a name, a description or a wavelength means.

Items and rasters describe bands in many words. A name that only counts the bands of a file
(``b1``, ``Band 2``) says nothing about which band it is.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cloudbuster.core.scenes.bands import BANDS

# Names in lower case: ESA's names (Planetary Computer, Earth Search v0, Data Space), the same
# without the zero (Earth Engine), and the common names of Earth Search v1 and of the EO extension
# 1.1 and 2.0. `rededge` is left out: it may be any of three bands.
BAND_ALIASES: dict[str, str] = {
    **{name.lower(): name for name in BANDS},
    **{name.lower().replace("b0", "b"): name for name in BANDS},
    **{band.common_name: name for name, band in BANDS.items() if band.common_name != "rededge"},
    **{"rededge1": "B05", "rededge2": "B06", "rededge3": "B07"},
    **{"rededge071": "B05", "rededge075": "B06", "rededge078": "B07"},
}
# Whole descriptions in words (ESA's user guides, Earth Engine, Earth Search), without punctuation.
DESCRIPTIONS: dict[str, str] = {
    "coastal aerosol": "B01",
    "red edge 1": "B05",
    "red edge 2": "B06",
    "red edge 3": "B07",
    "vegetation red edge 1": "B05",
    "vegetation red edge 2": "B06",
    "vegetation red edge 3": "B07",
    "near infrared": "B08",
    "nir 1": "B08",
    "narrow nir": "B8A",
    "nir narrow": "B8A",
    "narrow near infrared": "B8A",
    "vegetation red edge 4": "B8A",
    "red edge 4": "B8A",
    "nir 2": "B8A",
    "water vapour": "B09",
    "water vapor": "B09",
    "nir 3": "B09",
    "swir cirrus": "B10",
    "swir 1": "B11",
    "swir1": "B11",
    "swir 2": "B12",
    "swir2": "B12",
}
# Greatest difference of a centre wavelength from that of Sentinel-2A, micrometres: the satellites
# differ by 0.004 below 1 um and by 0.017 above, and B08 is given as 0.833 to 0.842.
WAVELENGTH_TOLERANCE_UM = {"visible": 0.012, "short wave": 0.03}
# Wavelengths above this are nanometres.
MAX_MICROMETRES = 100.0

_POSITION = re.compile(r"(?:b|band)?[ _-]?([1-9]\d?)", re.IGNORECASE)
_BAND = re.compile(r"(?<![a-z0-9])b(?:and)?[ _-]?0?(8a|1[0-2]|[1-9])(?![a-z0-9.])", re.IGNORECASE)
_FILE_BAND = re.compile(r"(?:^|[_.-])B(0[1-9]|1[0-2]|8A)(?=[_.-]|$)")
_WAVELENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(nm|um|µm|μm)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class BandText:
    """What an item or a raster says about one band of a file.

    Attributes
    ----------
    name, common_name, description : str
        Empty where there is none.
    wavelength : float or None
        Centre wavelength, micrometres or nanometres.
    """

    name: str = ""
    common_name: str = ""
    description: str = ""
    wavelength: float | None = None


def bands_of(texts: Sequence[BandText]) -> tuple[str | None, ...]:
    """Find out which Sentinel-2 band each band of a file is.

    Parameters
    ----------
    texts : sequence of BandText
        Description of each band, in the order of the file.

    Returns
    -------
    tuple of (str or None)
        Names in `cloudbuster.core.scenes.bands.BANDS`. None for a band that nothing names, for
        which statements disagree, or that has the same name as another band of the file.
    """
    names = [text.name for text in texts]
    descriptions = [text.description for text in texts]
    found = [
        _band_of(
            "" if _count_positions(names) else text.name,
            text.common_name,
            "" if _count_positions(descriptions) else text.description,
            text.wavelength,
        )
        for text in texts
    ]
    times = Counter(found)
    return tuple(band if times[band] == 1 else None for band in found)


def band_in_file_name(href: str) -> str | None:
    """Band that the name of a file holds (``T33TWL_20230818_B02_10m.jp2``); None if not one."""
    stem = href.rpartition("/")[2].partition("?")[0]
    found = {f"B{digits}" for digits in _FILE_BAND.findall(stem)}
    return found.pop() if len(found) == 1 else None


def are_positions(names: Sequence[str]) -> bool:
    """Whether some names are nothing but the numbers from 1 to their count, in any order.

    ``B01`` with its zero is a name of ESA's and no position.
    """
    numbers = sorted(_position(name) or 0 for name in names)
    return bool(numbers) and numbers == list(range(1, len(numbers) + 1))


def _count_positions(texts: Sequence[str]) -> bool:
    """Whether every text is only the position of its band in the file."""
    return all(_position(text) == place for place, text in enumerate(texts, start=1))


def _position(text: str) -> int | None:
    """Return the number in a text that may be a position; None for other texts."""
    match = _POSITION.fullmatch(text.strip())
    return int(match[1]) if match else None


def _band_of(name: str, common_name: str, description: str, wavelength: float | None) -> str | None:
    """Band of the name, or else the one on which the other statements agree."""
    named = BAND_ALIASES.get(name.strip().lower())
    if named is not None:
        return named
    named_as = {
        BAND_ALIASES.get(common_name.strip().lower()),
        _described(description),
        _at_wavelength(wavelength),
    } - {None}
    return named_as.pop() if len(named_as) == 1 else None


def _described(text: str) -> str | None:
    """Band that a description means: by its number, its words, or its wavelength."""
    bands = {f"b{digits.lower()}" for digits in _BAND.findall(text)}
    if bands:
        return BAND_ALIASES[bands.pop()] if len(bands) == 1 else None
    words = " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())
    known = BAND_ALIASES.get(words) or DESCRIPTIONS.get(words)
    match = _WAVELENGTH.search(text)
    return known or (_at_wavelength(float(match[1])) if match else None)


def _at_wavelength(wavelength: float | None) -> str | None:
    """Band at a centre wavelength, micrometres or nanometres; None if there is none."""
    if wavelength is None:
        return None
    length_um = wavelength / 1000 if wavelength > MAX_MICROMETRES else wavelength
    distances = {name: abs(band.center_wavelength_um - length_um) for name, band in BANDS.items()}
    nearest = min(distances, key=lambda name: distances[name])
    tolerance = WAVELENGTH_TOLERANCE_UM["visible" if length_um < 1 else "short wave"]
    return nearest if distances[nearest] <= tolerance else None
