"""What a STAC item states about a raster: its values, its bands, and where it lies on the ground.

The extensions raster 1.1 (``raster:bands``), EO 1.1 (``eo:bands``) and projection 1 and 2 are read,
and the common ``bands`` of STAC 1.1 with the fields of raster 2 and EO 2.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudbuster.catalogs.item_properties import first_number, projection_epsg
from cloudbuster.core.scenes.band_names import BandText
from cloudbuster.core.scenes.encoding import Declaration
from cloudbuster.core.scenes.scene import RasterMetadata

Fields = Mapping[str, Any]

# Values that JSON has no number for, as the raster extension writes them.
SPECIAL_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def band_texts(asset: Fields) -> list[BandText]:
    """Return what an asset says about each band of its file; empty if it describes none."""
    return [
        BandText(
            name=_text(band, ("name",)),
            common_name=_text(band, ("eo:common_name", "common_name")),
            description=_text(band, ("description",)),
            wavelength=first_number(band, ("eo:center_wavelength", "center_wavelength")),
        )
        for band in _described_bands(asset)
    ]


def described_count(asset: Fields) -> int:
    """Return the number of bands that an asset describes."""
    return len(_described_bands(asset))


@dataclass(frozen=True)
class Placing:
    """Projection fields of an item or of an asset.

    Attributes
    ----------
    crs, transform, shape
        As in `RasterMetadata`.
    """

    crs: str | None
    transform: tuple[float, ...] | None
    shape: tuple[int, int] | None

    @classmethod
    def of(cls, fields: Fields) -> "Placing":
        """Read the projection fields of an item's properties, or of an asset."""
        return cls(_crs(fields), _transform(fields), _shape(fields))


def raster_metadata(asset: Fields, band_index: int, item: Placing) -> RasterMetadata:
    """Collect what an item states about a band of an asset.

    Parameters
    ----------
    asset : mapping
        Asset of the item. Not modified.
    band_index : int
        1-based index of the band in the file.
    item : Placing
        Projection fields of the item, which hold for assets without their own.
    """
    holders = _holders(asset, band_index)
    own = Placing.of(asset)
    placed = own if own.transform is not None else item
    return RasterMetadata(
        values=Declaration(
            scale=_first(holders, ("scale", "raster:scale")),
            offset=_first(holders, ("offset", "raster:offset")),
            nodata=_nodata(holders),
        ),
        band_count=described_count(asset),
        crs=own.crs or item.crs,
        transform=placed.transform,
        shape=placed.shape,
        is_of_asset=placed is own,
    )


def _described_bands(asset: Fields) -> list[Fields]:
    """Descriptions of an asset's bands: ``eo:bands``, or ``bands`` of STAC 1.1."""
    return _mappings(asset.get("eo:bands")) or _mappings(asset.get("bands"))


def _holders(asset: Fields, band_index: int) -> list[Fields]:
    """Objects that may describe the values of a band, the most specific first."""
    holders: list[Fields] = []
    for key in ("raster:bands", "bands", "eo:bands"):
        described = _mappings(asset.get(key))
        if band_index <= len(described):
            holders.append(described[band_index - 1])
    return [*holders, asset]


def _mappings(value: object) -> list[Fields]:
    """Members of a list; those that are not JSON objects are replaced by empty ones."""
    members = value if isinstance(value, list) else []
    return [member if isinstance(member, Mapping) else {} for member in members]


def _text(fields: Fields, keys: Iterable[str]) -> str:
    """First of some fields that is text; empty if none is."""
    return next((fields[key] for key in keys if isinstance(fields.get(key), str)), "")


def _first(holders: Iterable[Fields], keys: tuple[str, ...]) -> float | None:
    """Return the number of the first object that has one of the fields."""
    for holder in holders:
        number = first_number(holder, keys)
        if number is not None:
            return number
    return None


def _nodata(holders: Iterable[Fields]) -> tuple[float, ...]:
    """Return the nodata value of the first object that has one; empty if none has."""
    for holder in holders:
        for key in ("nodata", "raster:nodata"):
            value = holder.get(key)
            if isinstance(value, str):
                value = SPECIAL_NUMBERS.get(value.lower())
            number = _float(value)
            if number is not None:
                return (number,)
    return ()


def _crs(fields: Fields) -> str | None:
    """CRS of the projection fields of an item or asset, as text that pyproj reads."""
    epsg = projection_epsg(fields)
    if epsg is not None:
        return f"EPSG:{epsg}"
    wkt = fields.get("proj:wkt2")
    return wkt if isinstance(wkt, str) and wkt else None


def _transform(fields: Fields) -> tuple[float, ...] | None:
    """First six numbers of ``proj:transform``; None if it is missing or malformed."""
    value = fields.get("proj:transform")
    if not isinstance(value, list) or len(value) not in (6, 9):
        return None
    numbers = tuple(map(_float, value[:6]))
    finite = tuple(each for each in numbers if each is not None and math.isfinite(each))
    return finite if len(finite) == 6 else None


def _shape(fields: Fields) -> tuple[int, int] | None:
    """``proj:shape`` as (rows, columns); None if it is missing or malformed."""
    value = fields.get("proj:shape")
    if isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) for n in value):
        return (value[0], value[1])
    return None


def _float(value: object) -> float | None:
    """Return a JSON number as a float; None for another value, or an integer that is too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return None
    return float(value)
