"""Areas of interest: from a file, a request or a stage's document to one geometry."""

from shapely.geometry.base import BaseGeometry

from cloudbuster.core.aoi import parse_aoi
from cloudbuster.core.footprint import refuse_beyond_tiles
from cloudbuster.core.mosaic_grid import project_area, resolve_crs
from cloudbuster.errors import AoiError, BadInputError, GridError
from cloudbuster.models import GatherOptions, Geometry, QueryOptions
from cloudbuster.storage.documents import parse_json
from cloudbuster.storage.trust import own_trust
from cloudbuster.storage.uri import read_bytes

MAX_BYTES = 32 * 2**20
"""Greatest size of a file of an area: half a million positions with all digits."""


def load_aoi(source: str | Geometry) -> Geometry:
    """Read the GeoJSON object of an area.

    Parameters
    ----------
    source : str or dict
        URI or path of a file, ``{"uri": ...}``, or the GeoJSON object itself.

    Returns
    -------
    dict
        The GeoJSON object, unchecked: `request_area` checks it.

    Raises
    ------
    AoiError
        If a file cannot be read, is not JSON, or does not contain an object.
    TryAgainError
        If a remote file could not be reached.
    """
    if isinstance(source, dict) and "uri" not in source:
        return source
    uri = source["uri"] if isinstance(source, dict) else source
    if not isinstance(uri, str):
        msg = f"aoi.uri: {str(uri)[:80]} is no text; give the URI of a GeoJSON file"
        raise AoiError(msg)
    return _load_file(uri)


def _load_file(uri: str) -> Geometry:
    """Read a JSON object from a file; raise AoiError."""
    try:
        content = read_bytes(uri, trust=own_trust(), max_bytes=MAX_BYTES)
        document = parse_json(content, source=uri)
    except BadInputError as error:
        raise AoiError(str(error)) from error
    if not isinstance(document, dict):
        msg = f"{uri}: no GeoJSON object, but a {type(document).__name__}"
        raise AoiError(msg)
    return document


def request_area(aoi: Geometry, options: QueryOptions) -> BaseGeometry:
    """Read the area of a request and scale it.

    Parameters
    ----------
    aoi : dict
        GeoJSON object in longitude and latitude, or ``{"uri": ...}``.
    options : QueryOptions
        ``scale`` and ``original_shape`` are used.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Valid, not empty, degrees; longitudes unwrapped.

    Raises
    ------
    AoiError
        If the area cannot be read or used, or no tile of Sentinel-2 reaches it.
    """
    return _area(load_aoi(aoi), scale=options.scale, original_shape=options.original_shape)


def document_area(aoi: Geometry) -> BaseGeometry:
    """Make the geometry of the area in a stage's document, which is scaled already.

    Parameters
    ----------
    aoi : dict
        GeoJSON geometry in longitude and latitude.

    Returns
    -------
    shapely Polygon or MultiPolygon
        As from `request_area`.

    Raises
    ------
    AoiError
        If the area cannot be used, or no tile of Sentinel-2 reaches it.
    """
    return _area(aoi)


def _area(
    geojson: Geometry, *, scale: float | None = None, original_shape: bool = False
) -> BaseGeometry:
    """Parse an area and check its latitude; raise AoiError."""
    try:
        area = parse_aoi(geojson, scale=scale, original_shape=original_shape)
        refuse_beyond_tiles(area)
    except ValueError as error:
        msg = f"aoi: {error}"
        raise AoiError(msg) from error
    return area


def check_crs(options: GatherOptions, aoi: BaseGeometry) -> None:
    """Check that the requested CRS can hold an area, before any scene is known.

    Parameters
    ----------
    options : GatherOptions
        ``crs`` is used.
    aoi : shapely geometry
        Longitude (unwrapped) and latitude.

    Raises
    ------
    GridError
        If the CRS does not exist, or cannot hold the area.
    """
    try:
        project_area(aoi, resolve_crs(options.crs, aoi))
    except ValueError as error:
        raise GridError(str(error)) from error
