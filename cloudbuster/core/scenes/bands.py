"""Sentinel-2 MSI bands: names, ground sampling distances and the order of each product level."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["L1C", "L2A"]


@dataclass(frozen=True)
class Band:
    """One spectral band of the MSI.

    Attributes
    ----------
    name : str
        ``B01`` to ``B12`` and ``B8A``.
    common_name : str
        Name in the STAC EO extension, version 1.1.
    gsd_m : int
        Native ground sampling distance, metres.
    center_wavelength_um, full_width_half_max_um : float
        Values of Sentinel-2A, micrometres (Sentinel-2 spectral response functions, ESA, version
        3.0, rounded as in the items of Earth Search).
    """

    name: str
    common_name: str
    gsd_m: int
    center_wavelength_um: float
    full_width_half_max_um: float


# Order and GSD: Sentinel-2 Products Specification Document, section on spectral bands.
BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        Band("B01", "coastal", 60, 0.443, 0.027),
        Band("B02", "blue", 10, 0.490, 0.098),
        Band("B03", "green", 10, 0.560, 0.045),
        Band("B04", "red", 10, 0.665, 0.038),
        Band("B05", "rededge", 20, 0.704, 0.019),
        Band("B06", "rededge", 20, 0.740, 0.018),
        Band("B07", "rededge", 20, 0.783, 0.028),
        Band("B08", "nir", 10, 0.842, 0.145),
        Band("B8A", "nir08", 20, 0.865, 0.033),
        Band("B09", "nir09", 60, 0.945, 0.026),
        Band("B10", "cirrus", 60, 1.3735, 0.075),
        Band("B11", "swir16", 20, 1.610, 0.143),
        Band("B12", "swir22", 20, 2.190, 0.242),
    )
}

# L2A has no B10: the atmospheric correction uses it up.
BANDS_BY_KIND: dict[Kind, tuple[str, ...]] = {
    "L1C": tuple(BANDS),
    "L2A": tuple(name for name in BANDS if name != "B10"),
}


def requested_bands(kind: Kind, bands: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the bands of a mosaic.

    Parameters
    ----------
    kind : {"L1C", "L2A"}
        Product level.
    bands : tuple of str or None
        Names as in `BANDS`, in output order; None for every reflectance band of the level.

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If the level does not have a band, a band is named twice, or ``bands`` is empty.
    """
    known = BANDS_BY_KIND[kind]
    if bands is None:
        return known
    unknown = [name for name in bands if name not in known]
    if unknown:
        msg = f"{kind} has no band {', '.join(unknown)}; it has {', '.join(known)}"
        raise ValueError(msg)
    if len(set(bands)) != len(bands) or not bands:
        msg = f"bands {', '.join(bands) or '(none)'}: name at least one, and each once"
        raise ValueError(msg)
    return bands
