"""Write the places of a mosaic that were never seen clear as GeoJSON."""

import numpy as np
import orjson
import pyproj
import shapely
from rasterio.features import shapes
from shapely.geometry import mapping, shape

from cloudbuster.core.projections.transformers import LONLAT, transformer
from cloudbuster.core.selection.holes import Holes
from cloudbuster.storage.files.uri import write_bytes

# Digits of a coordinate in degrees: a metre.
DIGITS = 5


def write_holes(uri: str, holes: Holes) -> None:
    """Write the holes of a mosaic, whole or not at all.

    Parameters
    ----------
    uri : str
        Path or ``s3://`` URI of the GeoJSON: a FeatureCollection of polygons in longitude and
        latitude, the largest first, with ``state`` (``no-value`` or ``never-clear``) and
        ``area_km2``, on the WGS 84 ellipsoid, of each. Outlines follow the cells of ``holes``.
    holes : Holes
        Places to write.

    Raises
    ------
    OutputError, TryAgainError
        If the file cannot be written.
    """
    to_lonlat = transformer(holes.grid.crs, LONLAT)
    ellipsoid = pyproj.Geod(ellps="WGS84")
    codes = holes.never_clear.astype("uint8")
    codes[holes.empty] = 2
    features = []
    for outline, code in shapes(codes, mask=codes > 0, transform=holes.grid.transform):
        polygon = shapely.transform(
            shape(outline), lambda xy: np.column_stack(to_lonlat.transform(*xy.T))
        )
        area_km2 = abs(ellipsoid.geometry_area_perimeter(polygon)[0]) / 1e6
        features.append(
            {
                "type": "Feature",
                "geometry": mapping(shapely.set_precision(polygon, 10**-DIGITS, mode="pointwise")),
                "properties": {
                    "state": "no-value" if code == 2 else "never-clear",
                    "area_km2": round(area_km2, 4),
                },
            }
        )
    features.sort(key=lambda feature: -feature["properties"]["area_km2"])
    write_bytes(uri, orjson.dumps({"type": "FeatureCollection", "features": features}))
