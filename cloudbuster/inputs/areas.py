"""Areas of interest: from a file, a request or a stage's document to one geometry."""

from shapely.geometry.base import BaseGeometry

from cloudbuster.core.areas.aoi import ReadArea, read_area
from cloudbuster.core.areas.footprint import refuse_beyond_tiles
from cloudbuster.core.grids.mosaic_grid import project_area, resolve_crs
from cloudbuster.errors import AoiError, BadInputError, GridError, MissingExtraError
from cloudbuster.models import GatherOptions, Geometry, QueryOptions
from cloudbuster.storage.addresses.trust import own_trust
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.files.uri import read_bytes
from cloudbuster.storage.files.vector_file import is_vector_file, is_vector_path, read_vector_file

MAX_BYTES = 32 * 2**20
"""Greatest size of a file of an area: half a million positions with all digits."""


def load_aoi(source: str | Geometry) -> Geometry:
    """Read the GeoJSON object of an area.

    Parameters
    ----------
    source : str or dict
        URI or path of a file, ``{"uri": ..., "layer": ...}`` (the layer may be left out), or the
        GeoJSON object itself.

    Returns
    -------
    dict
        The GeoJSON object, unchecked: `request_area` checks it. That of a vector file names the
        CRS of the file.

    Raises
    ------
    AoiError
        If a file cannot be read, or is neither JSON nor a vector file.
    MissingExtraError
        If a vector file needs a package that is not installed.
    TryAgainError
        If a remote file could not be reached.
    """
    if isinstance(source, dict) and "uri" not in source:
        return source
    return _load_file(*_named(source)) if isinstance(source, dict) else _load_file(source, None)


def _named(source: Geometry) -> tuple[str, str | None]:
    """Return the URI and the layer that an object names; raise AoiError if they are no texts."""
    uri, layer = source["uri"], source.get("layer")
    if not isinstance(uri, str):
        msg = f"aoi.uri: {str(uri)[:80]} is no text; give the URI of a GeoJSON file"
        raise AoiError(msg)
    if layer is not None and not isinstance(layer, str):
        msg = f"aoi.layer: {layer!r} is no text; give the name of a layer of {uri}"
        raise AoiError(msg)
    return uri, layer


def _load_file(uri: str, layer: str | None) -> Geometry:
    """Read the features of a file; raise AoiError."""
    try:
        if is_vector_path(uri, own_trust()):
            return read_vector_file(uri, layer, trust=own_trust())
        content = read_bytes(uri, trust=own_trust(), max_bytes=MAX_BYTES)
        if is_vector_file(content):
            return read_vector_file(uri, layer, content=content)
        document = parse_json(content, source=uri)
    except (AoiError, MissingExtraError):
        raise
    except BadInputError as error:
        raise AoiError(str(error)) from error
    if not isinstance(document, dict):
        msg = f"{uri}: no GeoJSON object, but a {type(document).__name__}"
        raise AoiError(msg)
    if layer is not None:
        msg = f"{uri} is GeoJSON, which has no layer {layer!r}; leave the layer out"
        raise AoiError(msg)
    return document


def request_area(aoi: Geometry, options: QueryOptions) -> BaseGeometry:
    """Read the area of a request and scale it.

    Parameters
    ----------
    aoi : dict
        GeoJSON object, or ``{"uri": ...}`` as for `load_aoi`.
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
    return described_area(aoi, options).geometry


def described_area(aoi: Geometry, options: QueryOptions) -> ReadArea:
    """Read an area as `request_area`, and describe what was converted and repaired."""
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
    return _area(aoi).geometry


def _area(
    geojson: Geometry, *, scale: float | None = None, original_shape: bool = False
) -> ReadArea:
    """Parse an area and check its latitude; raise AoiError."""
    try:
        area = read_area(geojson, scale=scale, original_shape=original_shape)
        refuse_beyond_tiles(area.geometry)
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
