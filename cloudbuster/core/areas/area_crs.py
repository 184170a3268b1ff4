"""The coordinate reference system of an area, and its conversion to longitude and latitude."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from pyproj.exceptions import CRSError

from cloudbuster.core.projections.crs_text import MAX_CRS_CHARS, check_crs_text
from cloudbuster.core.projections.transformers import LONLAT, transformer

Points = npt.NDArray[np.float64]
"""Coordinates x and y, shape (point, 2)."""

# Greatest distance between vertices of an edge that is straight in a projected CRS, metres: the
# edge's image in longitude and latitude then deviates from it by centimetres (see
# `cloudbuster.core.grids.mosaic_grid.EDGE_STEP_DEG`).
EDGE_STEP_M = 1000.0
# Greatest number of vertices that one ring is given so; its steps become longer instead.
MAX_ADDED_VERTICES = 10_000
# Greatest longitude and latitude, degrees. A projected area within these numbers would lie within a
# few hundred metres of the origin of its CRS.
DEGREES_AT_MOST = (360.0, 90.0)
# Greatest error of a position that is converted there and back: a metre.
RETURN_TOLERANCE_M, RETURN_TOLERANCE_DEG = 1.0, 1e-5
# Forms of URN and of URL that name a code: urn:ogc:def:crs:EPSG::32633,
# urn:x-ogc:def:crs:EPSG:6.9:32633, urn:ogc:def:crs:OGC:1.3:CRS84,
# http://www.opengis.net/def/crs/EPSG/0/32633.
_CODES = (
    re.compile(r"urn:(?:x-)?ogc:def:crs:(EPSG|OGC):(?:[\d.]*:)?(\w+)", re.IGNORECASE),
    re.compile(r"https?://www\.opengis\.net/def/crs/(EPSG|OGC)/[\d.]+/(\w+)", re.IGNORECASE),
)
# Beginning of the WKT of a compound CRS; that of its horizontal CRS follows.
_COMPOUND = re.compile(r'(?:COMPD_CS|COMPOUNDCRS)\s*[\[(]\s*"[^"]*"\s*,\s*', re.IGNORECASE)


@dataclass(frozen=True)
class AreaCrs:
    """A CRS other than longitude and latitude on WGS 84.

    Attributes
    ----------
    label : str
        Code and name for messages, for example ``EPSG:32633 (WGS 84 / UTM zone 33N)``.
    crs : pyproj.CRS
        The CRS itself.
    """

    label: str
    crs: pyproj.CRS

    def to_degrees(self, ring: Points) -> Points:
        """Convert a ring to longitude and latitude.

        Parameters
        ----------
        ring : ndarray of float64, shape (point, 2)
            Easting and northing (or longitude and latitude), whatever the order of the axes of the
            CRS. Closed. Not modified.

        Returns
        -------
        ndarray of float64, shape (point, 2)
            Degrees; with more points where a straight edge is long.

        Raises
        ------
        ValueError
            If a point is outside of the CRS, or the ring is in degrees already.
        """
        if self.crs.is_projected and (np.abs(ring) <= DEGREES_AT_MOST).all():
            x, y = ring[0]
            msg = (
                f"the position ({x:g}, {y:g}) looks like degrees, but its crs is {self.label}; "
                "correct one of them"
            )
            raise ValueError(msg)
        degrees = self._converted(ring)
        return degrees if self.crs.is_geographic else self._converted(self._densified(ring))

    def _converted(self, points: Points) -> Points:
        """Convert points; raise ValueError if one of them is not converted back to itself."""
        to_degrees = transformer(self.crs, LONLAT)
        degrees = np.column_stack(to_degrees.transform(*points.T))
        # Far outside of a projection PROJ may answer with a place that is projected elsewhere.
        back = np.column_stack(
            to_degrees.transform(degrees[:, 0], degrees[:, 1], direction="INVERSE")
        )
        error, most = np.abs(back - points), RETURN_TOLERANCE_M / self._metres_per_unit
        if self.crs.is_geographic:
            error, most = np.minimum(error, np.abs(360.0 - error)), RETURN_TOLERANCE_DEG
        wrong = ~(error <= most).all(axis=1)
        if wrong.any():
            x, y = points[wrong][0]
            msg = f"the position ({x:g}, {y:g}) is outside of {self.label}; correct it"
            raise ValueError(msg)
        return degrees

    @property
    def _metres_per_unit(self) -> float:
        """Metres per unit of the axes of a projected CRS."""
        return self.crs.axis_info[0].unit_conversion_factor if self.crs.axis_info else 1.0

    def _densified(self, ring: Points) -> Points:
        """Add points to long edges."""
        length = float(np.hypot(*np.diff(ring, axis=0).T).sum())
        step = max(EDGE_STEP_M / self._metres_per_unit, length / MAX_ADDED_VERTICES)
        dense: Points = shapely.get_coordinates(shapely.segmentize(shapely.LineString(ring), step))
        return dense


def _name_of(member: object) -> str:
    """Return the name in a member ``crs``; raise ValueError if it has none."""
    properties = member.get("properties") if isinstance(member, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str) or not name.strip():
        msg = (
            "its crs does not name a coordinate reference system; name one as "
            '{"type": "name", "properties": {"name": "EPSG:32633"}}, or leave it out for longitude '
            "and latitude"
        )
        raise ValueError(msg)
    return name.strip()


def area_crs(geojson: Mapping[str, Any]) -> AreaCrs | None:
    """Read the CRS that a GeoJSON object names.

    GeoJSON is in longitude and latitude on WGS 84 (RFC 7946, section 4); files in the form of 2008
    may name another CRS by the member ``crs``.

    Parameters
    ----------
    geojson : mapping
        GeoJSON object.

    Returns
    -------
    AreaCrs or None
        None for longitude and latitude on WGS 84.

    Raises
    ------
    ValueError
        If the name is unknown, or the CRS is not horizontal.
    """
    member = geojson.get("crs")
    if member is None:
        return None
    crs = _parsed(_name_of(member))
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    if not (crs.is_projected or crs.is_geographic):
        msg = f"its crs {crs.name} is a {crs.type_name}; save the area in a projected CRS"
        raise ValueError(msg)
    code = crs.to_authority(min_confidence=100)
    if code in (("EPSG", "4326"), ("OGC", "CRS84")):
        return None
    return AreaCrs(f"{':'.join(code)} ({crs.name})" if code else crs.name, crs)


def _parsed(name: str) -> pyproj.CRS:
    """Parse a code, in any of its forms, plain WKT or PROJJSON; raise ValueError for anything else.

    PROJ would also read PROJ strings, and open grids and files that they name.
    """
    match = next(filter(None, (form.fullmatch(name) for form in _CODES)), None)
    text = f"{match[1]}:{match[2]}" if match else name
    try:
        if name.startswith("{") and len(name) <= MAX_CRS_CHARS:
            text = pyproj.CRS.from_json(name).to_wkt()
        check_crs_text(_COMPOUND.sub("", text, count=1))
        return pyproj.CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        shown = " ".join(name.split())[:80]
        msg = f"its crs {shown!r} is not known; name one by its code, for example EPSG:32633"
        raise ValueError(msg) from error
