"""Coordinate reference systems by text, and which of them a mosaic can have."""

import functools

import pyproj
from pyproj.exceptions import CRSError

from cloudbuster.core.projections.crs_text import HINT, check_crs_text
from cloudbuster.core.texts.names import shown

# Semi-major axes of the ellipsoids of the Earth, metres: 6 355 834 (Plessis) to 6 378 388
# (International 1924) in PROJ's list, with room.
EARTH_RADII_M = (6_300_000.0, 6_450_000.0)
# Metres per unit of a projected CRS (millimetre to kilometre), and radians per unit of a geographic
# one (arc-second to radian).
UNITS = {"Projected CRS": (1e-3, 1e3), "Geographic 2D CRS": (4.8e-6, 1.0)}
# Systems kept: parsing one takes a millisecond, and a run has a few.
KEPT = 256


@functools.lru_cache(maxsize=KEPT)
def _known_crs(text: str) -> pyproj.CRS:
    """Look a CRS up; raise ValueError if there is none of this name."""
    check_crs_text(text)
    try:
        return pyproj.CRS.from_user_input(text.strip())
    except CRSError as error:
        reason = shown(" ".join(str(error).split()), limit=200)
        msg = f"no CRS {shown(text)} exists ({reason}): {HINT}"
        raise ValueError(msg) from error


def parse_crs(text: str) -> pyproj.CRS:
    """Parse the CRS of a mosaic.

    Parameters
    ----------
    text : str
        Code of an authority (``EPSG:32633``, ``ESRI:102003``) or WKT.

    Returns
    -------
    pyproj.CRS
        Projected or geographic, with two axes, of the Earth.

    Raises
    ------
    ValueError
        If there is no such CRS, or a mosaic cannot have it: it is geocentric, vertical, compound,
        derived, of an engineering site or of another body; or its units are out of range.
    """
    crs = _known_crs(text)
    problem = _problem(crs)
    if problem is not None:
        wanted = "give one with two axes, projected or geographic, of the Earth"
        msg = f"CRS {shown(text)} ({crs.name[:80]}) {problem}: {wanted}"
        raise ValueError(msg)
    return crs


def _problem(crs: pyproj.CRS) -> str | None:
    """Return why a mosaic cannot have a CRS, as it follows its name; None if it can."""
    if crs.type_name not in UNITS or len(crs.axis_info) != 2:
        return f"is a {crs.type_name}"
    low, high = UNITS[crs.type_name]
    if not all(low <= axis.unit_conversion_factor <= high for axis in crs.axis_info):
        return "has units out of range"
    operation = crs.coordinate_operation
    if operation is not None and operation.method_name.upper().startswith("PROJ"):
        return "is defined by a PROJ string"
    ellipsoid = crs.ellipsoid
    radius_m = ellipsoid.semi_major_metre if ellipsoid is not None else 0.0
    if not EARTH_RADII_M[0] <= radius_m <= EARTH_RADII_M[1]:
        return f"is of a body with a radius of {radius_m / 1000:.6g} km"
    return None
