"""The cloud polygons of L1C products before January 2022 (MSK_CLOUDS, GML)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.errors import BadInputError, MaskError
from cloudbuster.storage.access import read_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Mask types of MSK_CLOUDS (Sentinel-2 Products Specification Document, L1C quality indicators).
CLOUD_TYPES = ("OPAQUE", "CIRRUS")


@dataclass(frozen=True)
class CloudPolygons:
    """The polygons of one MSK_CLOUDS file.

    Attributes
    ----------
    crs : str or None
        ``EPSG:<code>``; None where the file names none, as one without polygons does.
    polygons : tuple of shapely.Polygon
        Opaque cloud and cirrus, in ``crs``.
    """

    crs: str | None
    polygons: tuple[shapely.Polygon, ...]


def read_cloud_polygons(uri: str) -> CloudPolygons:
    """Read a MSK_CLOUDS file.

    Parameters
    ----------
    uri : str
        Path or URI of the GML.

    Returns
    -------
    CloudPolygons
        None at all where the file holds no feature: the scene then has no cloud.

    Raises
    ------
    MaskError
        Where it cannot be read, or is not a mask of that kind.
    TryAgainError
        Where a remote one could not be reached.
    """
    try:
        content = read_file(uri)
    except BadInputError as error:
        raise MaskError(str(error)) from error
    try:
        root = fromstring(content)
    except (ParseError, DefusedXmlException) as error:
        msg = f"{uri} is not a readable GML ({error}); fetch it again or choose another detector"
        raise MaskError(msg) from error
    if _local(root.tag) != "Mask":
        msg = f"{uri} is a {_local(root.tag)}, not a MSK_CLOUDS mask; fetch it again"
        raise MaskError(msg)
    try:
        polygons = tuple(_cloud_polygons(root))
    except (ValueError, shapely.errors.GEOSException) as error:
        msg = f"{uri}: a polygon cannot be read ({error}); fetch it again"
        raise MaskError(msg) from error
    return CloudPolygons(_crs(root), polygons)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _named(element: "Element", name: str) -> "Iterator[Element]":
    return (child for child in element.iter() if _local(child.tag) == name)


def _crs(root: "Element") -> str | None:
    """CRS of the first ``srsName``; ``urn:ogc:def:crs:EPSG:8.7:32632`` is EPSG:32632."""
    for element in root.iter():
        code = re.search(r"EPSG.*?(\d+)$", element.get("srsName", ""))
        if code:
            return f"EPSG:{code[1]}"
    return None


def _cloud_polygons(root: "Element") -> Iterator[shapely.Polygon]:
    for feature in _named(root, "MaskFeature"):
        kinds = [(kind.text or "").strip().upper() for kind in _named(feature, "maskType")]
        if not set(kinds).isdisjoint(CLOUD_TYPES):
            for polygon in _named(feature, "Polygon"):
                yield _polygon(polygon)


def _polygon(element: "Element") -> shapely.Polygon:
    shells = [_ring(ring) for part in _named(element, "exterior") for ring in _rings(part)]
    holes = [_ring(ring) for part in _named(element, "interior") for ring in _rings(part)]
    if len(shells) != 1:
        msg = f"{len(shells)} exterior rings"
        raise ValueError(msg)
    return shapely.Polygon(shells[0], holes)


def _rings(element: "Element") -> "Iterator[Element]":
    return _named(element, "posList")


def _ring(positions: "Element") -> list[tuple[float, float]]:
    dimension = int(positions.get("srsDimension", "2"))
    numbers = [float(number) for number in (positions.text or "").split()]
    if dimension not in (2, 3) or len(numbers) % dimension:
        msg = f"{len(numbers)} numbers in {dimension} dimensions"
        raise ValueError(msg)
    return list(zip(numbers[0::dimension], numbers[1::dimension], strict=True))
