"""How the values of a raster file become digital numbers (DN) of Sentinel-2.

A file may hold DN, or reflectance in some other unit, in any data type. What it declares (scale,
offset, nodata) and what its item declares are reconciled here; values that cannot be understood
are refused with a ValueError, whose text completes "FILE ...". The radiometric offset of baseline
04.00 is no matter of the encoding: `cloudbuster.core.offsets.radiometry` decides it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cloudbuster.core.arrays import BoolRaster, Raster, UInt16Raster
from cloudbuster.core.scenes.digital_numbers import (
    DN_PER_REFLECTANCE,
    MAX_DN,
    NODATA,
    OFFSET_DN,
    SATURATED,
    has_value,
)

# Offset of reflectance that ESA adds, as STAC items and files declare it.
OFFSET_REFLECTANCE = OFFSET_DN / DN_PER_REFLECTANCE
# Tolerance of two scales or offsets that are the same.
SAME = 1e-3
# Greatest reflectance that 15 bits can hold.
MAX_REFLECTANCE = MAX_DN / DN_PER_REFLECTANCE
# Values from this on are DN: percent of reflectance ends at about 160 over bright cloud.
LEAST_CLEARLY_DN = 200
# Shares of a band's values that must, or may not, look like reflectance for the band to decide the
# unit: a fill value that is not declared must not be taken for the unit of the others.
REFLECTANCE_SHARE, OTHER_SHARE = 0.95, 0.05
# Greatest value of 8 bits. Imagery stretched for display keeps below it in every band, also after
# it was stored in a wider type; reflectance of a whole scene does not (see `VISIBLE`).
MAX_8_BIT = 255
# DN that the brightest pixel of any scene reaches: 0.005 of reflectance.
LEAST_BRIGHTEST_DN = 50
# Bands in which every ground and water has a reflectance well above 0, because of the atmosphere
# (L1C), or of scattering in water (L2A).
VISIBLE = ("B01", "B02", "B03", "B04")
# The cirrus band is 0 almost everywhere, whatever the unit.
DARK_BAND = "B10"

Look = Literal["reflectance", "dn", "unclear"]


@dataclass(frozen=True)
class Declaration:
    """What a file, or an item, declares about the values of a band.

    Attributes
    ----------
    scale, offset : float or None
        Reflectance is the value times ``scale`` plus ``offset``; None if not declared.
    nodata : tuple of float
        Values that mean no data; may hold NaN.
    """

    scale: float | None = None
    offset: float | None = None
    nodata: tuple[float, ...] = ()

    @property
    def is_neutral(self) -> bool:
        """Whether scale and offset are 1 and 0, which tools write where nothing is known."""
        return self.scale in (None, 1) and self.offset in (None, 0)

    @property
    def reflectance_offset(self) -> float | None:
        """Offset in reflectance; None if it is not declared. ESA's -1000 is -0.1."""
        if self.is_neutral or self.offset is None:
            return None
        return self.offset / DN_PER_REFLECTANCE if abs(self.offset) >= 1 else self.offset


@dataclass(frozen=True)
class Encoding:
    """How the stored values of a band become DN.

    Attributes
    ----------
    dtype : str
        Data type of the file.
    dn_per_value : float
        DN per stored unit: 1 for DN, 10 000 for reflectance.
    nodata : tuple of float
        Values that mean no data.
    """

    dtype: str
    dn_per_value: float = 1.0
    nodata: tuple[float, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the stored values are DN as ESA stores them, with no other nodata than 0."""
        return (
            self.dtype == "uint16"
            and self.dn_per_value == 1
            and not any(1 <= value <= MAX_DN for value in self.nodata)
        )

    def decode(self, values: Raster, masked: BoolRaster | None = None) -> UInt16Raster:
        """Convert stored values to DN.

        Parameters
        ----------
        values : ndarray, any shape
            Values as stored. Not modified.
        masked : ndarray of bool, same shape, optional
            True where the mask of the file declares that there is no value.

        Returns
        -------
        ndarray of uint16, same shape
            0 where the value is 0; over `MAX_DN` where there is no value: declared as nodata,
            masked, not finite, or outside of what Sentinel-2 stores. Otherwise the DN, at least 1.
            The same object if there is nothing to convert.
        """
        if self.is_plain:
            return values if masked is None else np.where(masked, np.uint16(SATURATED), values)
        with np.errstate(invalid="ignore", over="ignore"):
            dn = np.floor(values.astype(np.float64) * self.dn_per_value + 0.5)
            usable = (dn >= OFFSET_DN) & (dn <= MAX_DN)
        for nodata in self.nodata:
            if nodata != NODATA:
                usable &= values != as_stored(nodata, values.dtype)
        if masked is not None:
            usable &= ~masked
        result = np.clip(np.where(usable, dn, SATURATED), 1, SATURATED).astype(np.uint16)
        result[usable & (values == 0)] = NODATA
        return result

    def __str__(self) -> str:
        """Describe the encoding for a scene's record."""
        unit = {1.0: "DN", float(DN_PER_REFLECTANCE): "reflectance"}.get(self.dn_per_value)
        unit = unit or f"reflectance x {DN_PER_REFLECTANCE / self.dn_per_value:g}"
        nodata = ", ".join(f"{value:g}" for value in self.nodata)
        return f"{self.dtype} {unit}{f', nodata {nodata}' if nodata else ''}"


def as_stored(value: float, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 -- a scalar of that type
    """Return a nodata value as a file of a data type stores it; NaN if it cannot."""
    if dtype.kind != "f":
        whole = math.isfinite(value) and value == int(value)
        info = np.iinfo(dtype)
        return dtype.type(int(value)) if whole and info.min <= value <= info.max else math.nan
    with np.errstate(over="ignore"):
        return dtype.type(value)


def check_type(dtype: str) -> None:
    """Raise ValueError for a data type that does not hold reflectance: 8 bits, complex numbers."""
    kind = np.dtype(dtype)
    if kind.kind not in "iuf":
        msg = f"holds {dtype}, and no real numbers; give the band as it was delivered"
        raise ValueError(msg)
    if kind.itemsize == 1:
        msg = (
            f"holds 8-bit values ({dtype}): imagery stretched for display and not reflectance; "
            "give the band as it was delivered"
        )
        raise ValueError(msg)


def _own_scale(name: str, declared: Declaration) -> list[float]:
    """Return the scale of one declaration, if it has any; raise ValueError if it is none."""
    if declared.scale is None or declared.scale == 1:
        return []
    if not (math.isfinite(declared.scale) and declared.scale > 0):
        msg = f"has a scale of {declared.scale:g} by its {name}; correct it"
        raise ValueError(msg)
    return [declared.scale]


def declared_scale(file: Declaration, item: Declaration) -> float | None:
    """Reconcile the scales that a file and its item declare.

    Parameters
    ----------
    file, item : Declaration
        What each declares.

    Returns
    -------
    float or None
        Reflectance per stored unit; None if neither declares it.

    Raises
    ------
    ValueError
        If they differ, or a scale or an offset is none of Sentinel-2.
    """
    scales: list[float] = []
    for name, declared in (("file", file), ("item", item)):
        if not declared.is_neutral:
            _check_offset(name, declared)
            scales += _own_scale(name, declared)
    if len(scales) == 2 and not math.isclose(*scales, rel_tol=SAME):
        msg = (
            f"has a scale of {scales[0]:g}, and its item says {scales[1]:g}: scaled twice? "
            "correct one of them"
        )
        raise ValueError(msg)
    return scales[0] if scales else None


def _check_offset(name: str, declared: Declaration) -> None:
    """Raise ValueError for an offset that is neither 0 nor that of Sentinel-2."""
    offset = declared.reflectance_offset
    if offset is None or any(
        abs(offset - known) <= SAME * abs(OFFSET_REFLECTANCE) for known in (0.0, OFFSET_REFLECTANCE)
    ):
        return
    msg = (
        f"has an offset of {declared.offset:g} by its {name}; reflectance of Sentinel-2 has 0 or "
        f"{OFFSET_REFLECTANCE:g}: correct it"
    )
    raise ValueError(msg)


def dn_per_stored_unit(scale: float | None) -> float:
    """Return the DN per stored unit of a scale; of integers without a scale, 1."""
    if scale is None:
        return 1.0
    factor = scale * DN_PER_REFLECTANCE
    return 1.0 if math.isclose(factor, 1, rel_tol=SAME) else factor


def same_offset(offsets: Iterable[float | None]) -> float | None:
    """Return the offset that several bands declare; None if they declare none.

    Raises
    ------
    ValueError
        If they differ.
    """
    known = sorted({round(offset, 4) for offset in offsets if offset is not None})
    if len(known) > 1:
        msg = f"declares offsets of {' and '.join(f'{each:g}' for each in known)} for its bands"
        raise ValueError(msg)
    return known[0] if known else None


def look_of(values: Raster) -> Look:
    """Decide whether floating point values look like reflectance or like DN.

    Parameters
    ----------
    values : ndarray of float, any shape
        Values that are not declared as nodata, at any resolution. Not modified.

    Returns
    -------
    {"reflectance", "dn", "unclear"}
        Unclear if there are too few of one kind, or if there are values.
    """
    seen = values[np.isfinite(values) & (values != 0) & (values >= -MAX_REFLECTANCE)]
    if not seen.size:
        return "unclear"
    small = float((seen <= MAX_REFLECTANCE).mean())
    large = float((seen >= LEAST_CLEARLY_DN).mean())
    if small >= REFLECTANCE_SHARE:
        return "reflectance"
    return "dn" if small <= OTHER_SHARE <= large else "unclear"


def stored_scale(looks: Mapping[str, Look], tops: Mapping[str, float]) -> float:
    """Decide the scale of floating point bands for which none is declared.

    Parameters
    ----------
    looks : mapping of str to {"reflectance", "dn", "unclear"}
        How the values of each band look; see `look_of`.
    tops : mapping of str to float
        Greatest value of each band, for the message.

    Returns
    -------
    float
        1 for reflectance, 0.0001 for DN.

    Raises
    ------
    ValueError
        If the bands disagree, or all are unclear.
    """
    clear = {look for name, look in looks.items() if name != DARK_BAND} - {"unclear"}
    if len(clear) == 1:
        return 1.0 if clear == {"reflectance"} else 1 / DN_PER_REFLECTANCE
    values = ", ".join(f"{name} up to {top:g}" for name, top in tops.items())
    msg = (
        f"holds floating point values ({values}) that are clearly neither reflectance (0 to 1) nor "
        f"DN (reflectance x {DN_PER_REFLECTANCE}); declare their scale and nodata in the file or "
        "in the item's raster:bands"
    )
    raise ValueError(msg)


def check_brightness(bands: Mapping[str, UInt16Raster], *, declared: bool) -> None:
    """Raise ValueError if the DN of a whole scene are too dark for Sentinel-2.

    They are if the brightest pixel fits into 8 bits and no scale is declared, or is hardly above 0.

    Parameters
    ----------
    bands : mapping of str to ndarray of uint16
        DN of each band as `Encoding.decode` returns them, at any resolution.
    declared : bool
        Whether file or item declares a scale, or the values are floating point.
    """
    tops = {
        name: int(known.max()) for name, dn in bands.items() if (known := dn[has_value(dn)]).size
    }
    if not tops:
        return
    name, top = max(tops.items(), key=lambda each: each[1])
    if not declared and top <= MAX_8_BIT and any(band in VISIBLE for band in tops):
        msg = (
            f"holds values up to {top} in {', '.join(tops)}: 8-bit imagery stretched for display? "
            "if they are reflectance x 10000, declare the scale 0.0001 in the file or in the "
            "item's raster:bands"
        )
        raise ValueError(msg)
    if declared and top < LEAST_BRIGHTEST_DN:
        hint = "scaled twice? correct the scale of the file or of the item's raster:bands"
        msg = (
            f"has a reflectance of {top / DN_PER_REFLECTANCE:g} at its brightest, in {name}: {hint}"
        )
        raise ValueError(msg)


def check_range(values: Raster, encoding: Encoding) -> None:
    """Raise ValueError if a band has values, and none of them is a DN of Sentinel-2.

    Parameters
    ----------
    values : ndarray, any shape
        Values as stored, without those that a mask declares as nodata. Not modified.
    encoding : Encoding
        How they are stored.
    """
    if has_value(encoding.decode(values)).any():
        return
    known = values[(values != NODATA) & np.isfinite(values)]
    for nodata in encoding.nodata:
        known = known[known != as_stored(nodata, values.dtype)]
    if known.size:
        msg = (
            f"holds values from {known.min():g} to {known.max():g}, which as {encoding} are "
            f"neither DN (0 to {MAX_DN}) nor reflectance (0 to {MAX_REFLECTANCE:g}); correct "
            "the file, or its scale and nodata"
        )
        raise ValueError(msg)
