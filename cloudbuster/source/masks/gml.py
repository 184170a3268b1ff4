"""Read the cloud polygons of L1C products from before January 2022 (MSK_CLOUDS, in GML)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.core.texts.names import shown
from cloudbuster.errors import BadInputError, MaskError, UntrustedAddressError
from cloudbuster.storage.addresses.trust import PROGRAM, Trust
from cloudbuster.storage.rasters.access import read_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Mask types of MSK_CLOUDS (Sentinel-2 Products Specification Document, L1C quality indicators).
CLOUD_TYPES = ("OPAQUE", "CIRRUS")
# Files of ESA declare UTF-8, of which ASCII is a part.
ENCODINGS = ("utf-8", "us-ascii")
ENCODING = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})"
)
# Names of a CRS: EPSG:32632, urn:ogc:def:crs:EPSG:8.7:32632, .../def/crs/EPSG/0/32632.
SRS_NAME = re.compile(r".*EPSG(?:.*[^0-9])?([0-9]{4,6})")
MAX_SRS_NAME = 100
# Levels of elements: ESA's files have seven.
MAX_DEPTH = 32
# Greatest coordinate of a mask, metres: UTM ends at 10 000 km.
MAX_COORDINATE_M = 1e8
# Greatest size of a file: ESA's have up to 3 MB. Coordinates take 15 times their text in memory.
MAX_BYTES = 16 * 2**20
# GML element that holds the coordinates of a ring.
RING = "posList"


@dataclass(frozen=True)
class CloudPolygons:
    """Polygons of one MSK_CLOUDS file.

    Attributes
    ----------
    crs : str or None
        ``EPSG:<code>``; None if the file names none, as files without polygons do.
    polygons : tuple of shapely.Polygon
        Opaque cloud and cirrus, in ``crs``.
    """

    crs: str | None
    polygons: tuple[shapely.Polygon, ...]


def _mask_in(uri: str, content: bytes) -> "Element":
    """Parse a file; raise MaskError if it is no mask."""
    try:
        root = fromstring(_text(content), forbid_dtd=True)
        _check_depth(root)
    except (ParseError, DefusedXmlException, ValueError) as error:
        msg = f"{uri} is not readable as GML ({error}); fetch it again or choose another detector"
        raise MaskError(msg) from error
    if _local_name(root.tag) != "Mask":
        msg = f"{uri} is a {_local_name(root.tag)[:80]}, not an MSK_CLOUDS mask; fetch it again"
        raise MaskError(msg)
    return root


def read_cloud_polygons(uri: str, trust: Trust = PROGRAM) -> CloudPolygons:
    """Read an MSK_CLOUDS file.

    Parameters
    ----------
    uri : str
        Path or URI of the GML file.
    trust : Trust
        What its giver may refer to; by default the address is one of this program.

    Returns
    -------
    CloudPolygons
        Empty if the file has no features: the scene then has no clouds.

    Raises
    ------
    MaskError
        If the file cannot be read or is not an MSK_CLOUDS mask.
    UntrustedAddressError, TryAgainError
        If its giver may not have it opened, or a remote file cannot be reached.
    """
    try:
        content = read_file(uri, trust=trust, max_bytes=MAX_BYTES)
    except UntrustedAddressError:
        raise
    except BadInputError as error:
        raise MaskError(str(error)) from error
    root = _mask_in(uri, content)
    try:
        return CloudPolygons(_crs(root), tuple(_cloud_polygons(root)))
    except (ValueError, shapely.errors.GEOSException) as error:
        msg = f"{uri}: a polygon cannot be read ({error}); fetch it again"
        raise MaskError(msg) from error


def _text(content: bytes) -> str:
    """Decode a GML file; raise ValueError if its encoding is another than UTF-8.

    The parser would also take what a file declares, and decode it by any codec of Python.
    """
    declared = ENCODING.match(content)
    name = declared[1].decode("ascii").lower() if declared else ENCODINGS[0]
    if name not in ENCODINGS:
        msg = f"its encoding is {name}, not UTF-8"
        raise ValueError(msg)
    text = content.decode("utf-8-sig")
    if "\0" in text:
        msg = "it holds zero bytes, and is not UTF-8"
        raise ValueError(msg)
    return text


def _check_depth(root: "Element") -> None:
    """Raise ValueError if elements are nested too deep: each feature is searched for its parts."""
    level: list[Element] = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return
    msg = f"its elements are nested deeper than {MAX_DEPTH} levels"
    raise ValueError(msg)


def _local_name(tag: str) -> str:
    """Name of an element without its namespace."""
    return tag.rpartition("}")[2]


def _descendants(element: "Element", name: str) -> "Iterator[Element]":
    """Elements of a local name, at any depth."""
    return (child for child in element.iter() if _local_name(child.tag) == name)


def _crs(root: "Element") -> str | None:
    """Return the one CRS that all ``srsName`` have; None if there is none.

    Raises
    ------
    ValueError
        If there are several, or one that is not of EPSG.
    """
    names = {element.get("srsName", "") for element in root.iter()} - {""}
    codes = {_epsg(name) for name in names}
    if len(codes) > 1:
        msg = f"it has {len(codes)} coordinate reference systems"
        raise ValueError(msg)
    return next((f"EPSG:{code}" for code in codes), None)


def _epsg(name: str) -> int:
    """Return the EPSG code in a ``srsName``, as in `SRS_NAME`; raise ValueError without one."""
    match = SRS_NAME.fullmatch(name) if len(name) <= MAX_SRS_NAME else None
    if match is None:
        msg = f"its CRS {shown(name)} is not of EPSG"
        raise ValueError(msg)
    return int(match[1])


def _cloud_polygons(root: "Element") -> Iterator[shapely.Polygon]:
    """Yield the polygons of all features of a cloud type; raise ValueError for one without."""
    for feature in _descendants(root, "MaskFeature"):
        kinds = {(kind.text or "").strip().upper() for kind in _descendants(feature, "maskType")}
        if not kinds:
            msg = "a feature has no maskType"
            raise ValueError(msg)
        if not kinds.isdisjoint(CLOUD_TYPES):
            polygons = [_polygon(polygon) for polygon in _descendants(feature, "Polygon")]
            if not polygons:
                msg = "a cloud has no polygon"
                raise ValueError(msg)
            yield from polygons


def _polygon(element: "Element") -> shapely.Polygon:
    """Parse a GML polygon; raise ValueError unless it has one exterior ring."""
    shells, holes = (
        [_ring(ring) for part in _descendants(element, role) for ring in _descendants(part, RING)]
        for role in ("exterior", "interior")
    )
    if len(shells) != 1:
        msg = f"{len(shells)} exterior rings"
        raise ValueError(msg)
    return shapely.Polygon(shells[0], holes)


def _ring(positions: "Element") -> list[tuple[float, float]]:
    """Parse the (x, y) coordinates of a ``posList``; a third coordinate is ignored."""
    dimension = positions.get("srsDimension", "2").strip()
    numbers = [float(number) for number in (positions.text or "").split()]
    if dimension not in ("2", "3") or len(numbers) % int(dimension):
        msg = f"{len(numbers)} numbers in {dimension[:20]} dimensions"
        raise ValueError(msg)
    if not all(abs(number) <= MAX_COORDINATE_M for number in numbers):
        msg = f"a coordinate is not a number up to {MAX_COORDINATE_M:g}"
        raise ValueError(msg)
    step = int(dimension)
    return list(zip(numbers[0::step], numbers[1::step], strict=True))
