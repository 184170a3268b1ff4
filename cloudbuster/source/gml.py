"""Read the cloud polygons of L1C products from before January 2022 (MSK_CLOUDS, in GML)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.errors import BadInputError, MaskError, UntrustedAddressError
from cloudbuster.storage.access import read_file
from cloudbuster.storage.trust import PROGRAM, Trust

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Mask types of MSK_CLOUDS (Sentinel-2 Products Specification Document, L1C quality indicators).
CLOUD_TYPES = ("OPAQUE", "CIRRUS")
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
    UntrustedAddressError
        If its giver may not have it opened.
    TryAgainError
        If a remote file cannot be reached.
    """
    try:
        content = read_file(uri, trust=trust, max_bytes=MAX_BYTES)
    except UntrustedAddressError:
        raise
    except BadInputError as error:
        raise MaskError(str(error)) from error
    try:
        root = fromstring(content)
    except (ParseError, DefusedXmlException) as error:
        msg = f"{uri} is not readable as GML ({error}); fetch it again or choose another detector"
        raise MaskError(msg) from error
    if _local_name(root.tag) != "Mask":
        msg = f"{uri} is a {_local_name(root.tag)}, not an MSK_CLOUDS mask; fetch it again"
        raise MaskError(msg)
    try:
        polygons = tuple(_cloud_polygons(root))
    except (ValueError, shapely.errors.GEOSException) as error:
        msg = f"{uri}: a polygon cannot be read ({error}); fetch it again"
        raise MaskError(msg) from error
    return CloudPolygons(_crs(root), polygons)


def _local_name(tag: str) -> str:
    """Name of an element without its namespace."""
    return tag.rpartition("}")[2]


def _descendants(element: "Element", name: str) -> "Iterator[Element]":
    """Elements of a local name, at any depth."""
    return (child for child in element.iter() if _local_name(child.tag) == name)


def _crs(root: "Element") -> str | None:
    """CRS of the first ``srsName``: EPSG:32632 for ``urn:ogc:def:crs:EPSG:8.7:32632``."""
    for element in root.iter():
        code = re.search(r"EPSG.*?(\d+)$", element.get("srsName", ""))
        if code:
            return f"EPSG:{code[1]}"
    return None


def _cloud_polygons(root: "Element") -> Iterator[shapely.Polygon]:
    """Yield the polygons of all features of a cloud type."""
    for feature in _descendants(root, "MaskFeature"):
        kinds = [(kind.text or "").strip().upper() for kind in _descendants(feature, "maskType")]
        if not set(kinds).isdisjoint(CLOUD_TYPES):
            for polygon in _descendants(feature, "Polygon"):
                yield _polygon(polygon)


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
    dimension = int(positions.get("srsDimension", "2"))
    numbers = [float(number) for number in (positions.text or "").split()]
    if dimension not in (2, 3) or len(numbers) % dimension:
        msg = f"{len(numbers)} numbers in {dimension} dimensions"
        raise ValueError(msg)
    return list(zip(numbers[0::dimension], numbers[1::dimension], strict=True))
