"""The area of a request: read and scaled, and whether the mosaic's CRS can hold it."""

from shapely.geometry.base import BaseGeometry

from cloudbuster.core.aoi import parse_aoi
from cloudbuster.core.footprint import refuse_beyond_tiles
from cloudbuster.core.mosaic_grid import project_area, resolve_crs
from cloudbuster.errors import AoiError, GridError
from cloudbuster.models import GatherOptions, Geometry, QueryOptions
from cloudbuster.storage.documents import load_aoi


def request_area(aoi: Geometry, options: QueryOptions) -> BaseGeometry:
    """Read and scale the area of a request; longitudes unwrapped.

    Raises
    ------
    AoiError
        Where it is no area, or lies where no scene ever will.
    """
    try:
        area = parse_aoi(load_aoi(aoi), scale=options.scale, original_shape=options.original_shape)
        refuse_beyond_tiles(area)
    except ValueError as error:
        msg = f"aoi: {error}"
        raise AoiError(msg) from error
    return area


def check_crs(options: GatherOptions, aoi: BaseGeometry) -> None:
    """Find out whether the CRS that is asked for can hold an area, before there are scenes.

    Parameters
    ----------
    options : GatherOptions
        ``crs``.
    aoi : shapely geometry
        Longitude (unwrapped) and latitude.

    Raises
    ------
    GridError
        Where the CRS does not exist, or cannot hold the area.
    """
    try:
        project_area(aoi, resolve_crs(options.crs, aoi))
    except ValueError as error:
        raise GridError(str(error)) from error
