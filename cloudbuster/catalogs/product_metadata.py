"""Read the metadata that Sentinel-2 products come with: XML of ESA, JSON of the public buckets.

Elements are found by their local names, because the namespaces change with every version of the
schemas (Sentinel-2 Products Specification Document, 2.x to 15.x) while the names stay.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.core.projections.transformers import transformer
from cloudbuster.core.scenes.bands import BANDS
from cloudbuster.errors import CatalogError
from cloudbuster.storage.files.documents import parse_json

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Names of one fact in the versions of the product's metadata, the most recent first.
PRODUCT_NAMES = ("PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C")
QUANTIFICATIONS = (
    "QUANTIFICATION_VALUE",
    "BOA_QUANTIFICATION_VALUE",
    "L1C_L2A_QUANTIFICATION_VALUE",
    "L2A_BOA_QUANTIFICATION_VALUE",
)
OFFSETS = ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET")
# DN of a reflectance of 1, where the metadata do not say it (Products Specification Document).
DEFAULT_QUANTIFICATION = 10_000.0
# Numbers of the bands in the metadata, `band_id`: their order in the instrument.
BAND_NUMBERS = dict(enumerate(BANDS))
# Longest edge of a footprint before it is converted to degrees, metres.
SEGMENT_M = 5000.0
DEGREE_DECIMALS = 7


@dataclass(frozen=True)
class ProductFacts:
    """Facts about a whole product.

    Attributes
    ----------
    properties : dict
        Item properties; those that the metadata do not hold are left out.
    footprint : dict or None
        GeoJSON polygon, degrees.
    quantification : float
        DN of a reflectance of 1.
    offsets_dn : dict of str to float
        DN that were added to the pixels of each band, negative (-1000); 0 for none.
    """

    properties: dict[str, Any]
    footprint: dict[str, Any] | None
    quantification: float
    offsets_dn: dict[str, float]


@dataclass(frozen=True)
class TileFacts:
    """Facts about a granule, which is one tile.

    Attributes
    ----------
    properties : dict
        As those of `ProductFacts`.
    epsg : int or None
        EPSG code of the rasters.
    corner : tuple of float or None
        Easting and northing of the upper left corner, metres.
    outline : dict or None
        GeoJSON polygon of the tile, degrees.
    """

    properties: dict[str, Any]
    epsg: int | None
    corner: tuple[float, float] | None
    outline: dict[str, Any] | None


def read_product_metadata(content: bytes, source: str) -> ProductFacts:
    """Read ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``, or an older file of the same content.

    Parameters
    ----------
    content : bytes
        XML.
    source : str
        Address for messages.

    Raises
    ------
    CatalogError
        If it is not readable.
    """
    root = _parsed(content, source)
    texts = _texts(root)
    quantification = next((texts[key] for key in QUANTIFICATIONS if key in texts), "")
    return ProductFacts(
        _known(_product_properties(root, texts)),
        _footprint(texts.get("EXT_POS_LIST", "")),
        _number(quantification) or DEFAULT_QUANTIFICATION,
        _offsets(root),
    )


def _product_properties(root: "Element", texts: Mapping[str, str]) -> dict[str, Any]:
    """Properties that the metadata of a product hold; None where they do not."""
    datatake = next(_elements(root, "Datatake"), None)
    return {
        "s2:product_uri": next((texts[key] for key in PRODUCT_NAMES if key in texts), None),
        "s2:product_type": texts.get("PRODUCT_TYPE"),
        "s2:processing_baseline": texts.get("PROCESSING_BASELINE"),
        "s2:generation_time": texts.get("GENERATION_TIME"),
        "s2:datatake_id": None if datatake is None else datatake.get("datatakeIdentifier"),
        "datetime": texts.get("PRODUCT_START_TIME"),
        "platform": texts.get("SPACECRAFT_NAME", "").lower() or None,
        "sat:relative_orbit": _number(texts.get("SENSING_ORBIT_NUMBER"), whole=True),
        "eo:cloud_cover": _number(texts.get("Cloud_Coverage_Assessment")),
    }


def read_tile_metadata(content: bytes, source: str) -> TileFacts:
    """Read ``MTD_TL.xml``, which the public buckets call ``metadata.xml``.

    Raises
    ------
    CatalogError
        If it is not readable.
    """
    root = _parsed(content, source)
    texts = _texts(root)
    sun = next(_elements(root, "Mean_Sun_Angle"), None)
    angles = {} if sun is None else _texts(sun)
    zenith = _number(angles.get("ZENITH_ANGLE"))
    epsg = _epsg(texts.get("HORIZONTAL_CS_CODE", ""))
    corner, size = _placing(root)
    properties = {
        "datetime": texts.get("SENSING_TIME"),
        "s2:tile_id": texts.get("TILE_ID"),
        "s2:datastrip_id": texts.get("DATASTRIP_ID"),
        "eo:cloud_cover": _number(texts.get("CLOUDY_PIXEL_PERCENTAGE")),
        "s2:nodata_pixel_percentage": _number(texts.get("NODATA_PIXEL_PERCENTAGE")),
        "view:sun_azimuth": _number(angles.get("AZIMUTH_ANGLE")),
        "view:sun_elevation": None if zenith is None else round(90.0 - zenith, 9),
    }
    outline = None
    if epsg is not None and corner is not None and size is not None:
        west, north = corner
        square = shapely.box(west, north - size[1], west + size[0], north)
        outline = _to_degrees(square, f"EPSG:{epsg}")
    return TileFacts(_known(properties), epsg, corner, outline)


def read_tile_info(content: bytes, source: str) -> ProductFacts:
    """Read ``tileInfo.json`` of the public buckets.

    Raises
    ------
    CatalogError
        If it is no JSON object.
    """
    document = parse_json(content, source=source)
    if not isinstance(document, dict):
        msg = f"{source}: no JSON object; fetch it again"
        raise CatalogError(msg)
    coverage = document.get("dataCoveragePercentage")
    properties = {
        "s2:product_uri": document.get("productName"),
        "datetime": document.get("timestamp"),
        "eo:cloud_cover": document.get("cloudyPixelPercentage"),
        "s2:nodata_pixel_percentage": 100 - coverage if isinstance(coverage, int | float) else None,
    }
    footprint = _info_footprint(document.get("tileDataGeometry"), source)
    return ProductFacts(_known(properties), footprint, DEFAULT_QUANTIFICATION, {})


def _parsed(content: bytes, source: str) -> "Element":
    """Parse XML; raise CatalogError if it is damaged or holds entities of its own."""
    try:
        root: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError) as error:
        msg = f"{source} is not readable as XML ({error}); fetch it again"
        raise CatalogError(msg) from error
    return root


def _local_name(element: "Element") -> str:
    """Name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _elements(root: "Element", name: str) -> Iterator["Element"]:
    """Yield the elements of a local name, at any depth."""
    return (element for element in root.iter() if _local_name(element) == name)


def _texts(root: "Element") -> dict[str, str]:
    """Text of the first element of each local name."""
    texts: dict[str, str] = {}
    for element in root.iter():
        text = (element.text or "").strip()
        if text:
            texts.setdefault(_local_name(element), text)
    return texts


def _known(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not known."""
    return {key: value for key, value in properties.items() if value is not None}


def _number(text: str | None, *, whole: bool = False) -> Any:  # noqa: ANN401 -- int or float
    """Finite number that a text holds; None if it holds none (``NaN`` in products without data)."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    if not np.isfinite(value):
        return None
    return int(value) if whole else value


def _offsets(root: "Element") -> dict[str, float]:
    """Offset of each band from its ``band_id``; 0 for a product without offsets."""
    offsets = dict.fromkeys(BANDS, 0.0)
    for key in OFFSETS:
        for element in _elements(root, key):
            number = _number(element.get("band_id"), whole=True)
            offset = _number(element.text)
            if number in BAND_NUMBERS and offset is not None:
                offsets[BAND_NUMBERS[number]] = offset
    return offsets


def _epsg(text: str) -> int | None:
    """EPSG code of ``EPSG:32633``."""
    code = text.upper().removeprefix("EPSG:")
    return int(code) if code.isdigit() else None


def _placing(root: "Element") -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Upper left corner and (width, height) of the tile, metres, from its 10 m grid."""
    place = next((e for e in _elements(root, "Geoposition") if e.get("resolution") == "10"), None)
    size = next((e for e in _elements(root, "Size") if e.get("resolution") == "10"), None)
    texts = {} if place is None else _texts(place)
    cells = {} if size is None else _texts(size)
    x, y = _number(texts.get("ULX")), _number(texts.get("ULY"))
    columns, rows = _number(cells.get("NCOLS")), _number(cells.get("NROWS"))
    return (
        None if x is None or y is None else (x, y),
        None if columns is None or rows is None else (10 * columns, 10 * rows),
    )


def _footprint(text: str) -> dict[str, Any] | None:
    """Footprint of a list of latitudes and longitudes, with heights or without.

    Products before 2016 list three numbers for each position. The first position is repeated at the
    end, which shows how many there are.
    """
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return None
    for count in (2, 3):
        if numbers and len(numbers) % count == 0 and numbers[:count] == numbers[-count:]:
            points = np.array(numbers).reshape(-1, count)[:, 1::-1]
            if len(points) >= 4:
                return {"type": "Polygon", "coordinates": [points.tolist()]}
    return None


def _info_footprint(geometry: object, source: str) -> dict[str, Any] | None:
    """Convert the footprint of ``tileInfo.json``, which is in the UTM zone that it names."""
    if not isinstance(geometry, dict) or not geometry.get("coordinates"):
        return None
    name = str(geometry.get("crs", {}).get("properties", {}).get("name", ""))
    code = name.rpartition(":")[2]
    try:
        polygon = shapely.geometry.shape(geometry)
    except (ValueError, TypeError, IndexError, shapely.errors.GEOSException) as error:
        msg = f"{source}: tileDataGeometry cannot be read ({error}); fetch it again"
        raise CatalogError(msg) from error
    if not code.isdigit() or polygon.is_empty:
        return None
    return _to_degrees(polygon, f"EPSG:{code}")


def _to_degrees(area: Any, crs: str) -> dict[str, Any]:  # noqa: ANN401 -- any shapely geometry
    """Convert an area to a GeoJSON geometry in degrees, with points on its long edges."""
    lonlat = transformer(crs, "OGC:CRS84")

    def convert(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Convert eastings and northings, shape (point, 2)."""
        return np.round(np.column_stack(lonlat.transform(*points.T)), DEGREE_DECIMALS)

    degrees = shapely.transform(shapely.segmentize(area, SEGMENT_M), convert)
    document: dict[str, Any] = _with_lists(shapely.geometry.mapping(degrees))
    return document


def _with_lists(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    """Replace tuples by lists at every depth."""
    if isinstance(value, Mapping):
        return {key: _with_lists(member) for key, member in value.items()}
    return [_with_lists(member) for member in value] if isinstance(value, list | tuple) else value
