"""Areas in vector files: GeoPackage, Shapefile, KML, FlatGeobuf, File Geodatabase, GeoParquet.

The format is recognised by a file's first bytes, so that nothing but these is opened.
"""

import json
import math
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely

from cloudbuster.errors import AoiError, MissingExtraError
from cloudbuster.models import Geometry
from cloudbuster.storage.uri import is_remote, local_path

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = "GeoJSON, GeoPackage, Shapefile (also zipped), KML, KMZ, FlatGeobuf or GeoParquet"
# First bytes of a file by format (the specifications of each).
GEOPACKAGE, SHAPEFILE, FLATGEOBUF = b"SQLite format 3\x00", b"\x00\x00\x27\x0a", b"fgb"
PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
SUFFIXES = {GEOPACKAGE: ".gpkg", SHAPEFILE: ".shp", FLATGEOBUF: ".fgb"}
# Bytes in which the root element of a KML file is looked for.
XML_HEAD_BYTES = 4096
# Geometry types of layers that may hold areas; `Unknown` is any mixture.
AREA_TYPES = ("Polygon", "MultiPolygon", "Unknown", "GeometryCollection", "Curve")
# Greatest number of features of an area; the union of more would take minutes.
MAX_FEATURES = 100_000
# CRS of GeoParquet files that name none, and of KML (their specifications).
DEGREES = "OGC:CRS84"


@dataclass(frozen=True)
class _Table:
    """Features of one layer.

    Attributes
    ----------
    geometries : list of bytes or None
        WKB; None for a feature without a geometry.
    properties : list of dict
        JSON values of each feature.
    crs : str or None
        Text that pyproj reads.
    """

    geometries: list[bytes | None]
    properties: list[dict[str, Any]]
    crs: str | None


def is_vector_file(content: bytes) -> bool:
    """Whether a file is in one of the formats of this module, by its first bytes."""
    return content.startswith((*SUFFIXES, PARQUET, ZIP)) or _is_kml(content)


def is_vector_path(uri: str) -> bool:
    """Whether a local path is a folder, or a file in one of the formats of this module."""
    if is_remote(uri):
        return False
    path = local_path(uri)
    try:
        return path.is_dir() or (path.is_file() and is_vector_file(_head(path, XML_HEAD_BYTES)))
    except OSError:
        # Reading the file as a document will report why it cannot be read.
        return False


def read_vector_file(
    uri: str, layer: str | None = None, *, content: bytes | None = None
) -> Geometry:
    """Read the features of a vector file.

    Parameters
    ----------
    uri : str
        Path or URI. A zipped Shapefile is found in its zip; a folder may hold one Shapefile.
    layer : str, optional
        Layer to read; it may be left out if the file has one layer of polygons.
    content : bytes, optional
        Content of a remote file.

    Returns
    -------
    dict
        GeoJSON FeatureCollection in the CRS of the file, which its member ``crs`` names.

    Raises
    ------
    AoiError
        If the file cannot be read, names no CRS, or has several layers and none is chosen.
    MissingExtraError
        If it needs pyogrio or pyarrow.
    """
    if content is not None and content.startswith(SHAPEFILE):
        msg = f"{uri}: a Shapefile is several files; zip them together, and give the zip"
        raise AoiError(msg)
    with _on_disk(uri, content) as path:
        table = _read_parquet(uri, path) if _head(path) == PARQUET else _read_ogr(uri, path, layer)
    if table.crs is None:
        msg = (
            f"{uri} does not say which coordinate reference system it is in; save it with one (a "
            "Shapefile needs its .prj)"
        )
        raise AoiError(msg)
    if len(table.geometries) > MAX_FEATURES:
        msg = f"{uri} holds {len(table.geometries)} features, over {MAX_FEATURES}; dissolve them"
        raise AoiError(msg)
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": properties, "geometry": _geojson(uri, wkb)}
            for wkb, properties in zip(table.geometries, table.properties, strict=True)
        ],
        "crs": {"type": "name", "properties": {"name": table.crs}},
    }


def _head(path: Path, count: int = 4) -> bytes:
    """First bytes of a file; none of a folder."""
    if path.is_dir():
        return b""
    with path.open("rb") as file:
        return file.read(count)


def _is_kml(head: bytes) -> bool:
    """Whether the beginning of a file is that of a KML document."""
    text = head[:XML_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"<") and b"kml" in text and b"<!DOCTYPE" not in text


@contextmanager
def _on_disk(uri: str, content: bytes | None) -> Iterator[Path]:
    """Yield the path of a file; a remote one's content is written to a temporary file."""
    if content is None:
        yield local_path(uri)
        return
    suffix = next((SUFFIXES[magic] for magic in SUFFIXES if content.startswith(magic)), "")
    suffix = suffix or (".zip" if content.startswith(ZIP) else ".kml")
    with tempfile.TemporaryDirectory(prefix="cloudbuster-") as folder:
        copy = Path(folder, f"area{suffix}")
        copy.write_bytes(content)
        yield copy


def _read_ogr(uri: str, path: Path, layer: str | None) -> _Table:
    """Read the features of a file with GDAL's vector drivers."""
    try:
        import pyogrio
        from pyogrio import errors, raw
    except ImportError as error:
        msg = f"{uri}: vector files need pyogrio; pip install 'cloudbuster[vector]'"
        raise MissingExtraError(msg) from error
    refusals = (
        *(errors.DataSourceError, errors.DataLayerError, errors.CRSError),
        *(errors.FeatureError, errors.FieldError, errors.GeometryError, ValueError),
    )
    place = _member(uri, path)
    try:
        with warnings.catch_warnings():
            # What GDAL warns of (a suffix, the winding of rings) is no loss here.
            warnings.simplefilter("ignore", RuntimeWarning)
            tables = [
                _table(raw.read(place, layer=name, datetime_as_string=True))
                for name in _layers(uri, pyogrio.list_layers(place).tolist(), layer)
            ]
    except refusals as error:
        msg = f"{uri}: {str(error).splitlines()[0]}; give {FORMATS}"
        raise AoiError(msg) from error
    return _Table(
        [wkb for table in tables for wkb in table.geometries],
        [row for table in tables for row in table.properties],
        tables[0].crs,
    )


def _member(uri: str, path: Path) -> str:
    """Path for GDAL of the file that holds the area: in a zip or a folder, its only Shapefile."""
    if path.is_dir():
        if path.suffix.lower() == ".gdb":
            return str(path)
        return str(path / _only(uri, [file.name for file in path.iterdir()], (".shp",)))
    if _head(path) != ZIP:
        return str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    except (zipfile.BadZipFile, OSError) as error:
        msg = f"{uri}: {error}; zip it again"
        raise AoiError(msg) from error
    return f"/vsizip/{{{path.absolute()}}}/{_only(uri, names, ('.shp', '.kml', '.gpkg', '.fgb'))}"


def _only(uri: str, names: list[str], suffixes: tuple[str, ...]) -> str:
    """Return the only one of some names that has one of the suffixes."""
    found = [name for name in names if name.lower().endswith(suffixes)]
    if len(found) != 1:
        what = f"{len(found)} files ({', '.join(found)})" if found else "no file"
        msg = f"{uri} holds {what} of {', '.join(suffixes)}; give one with one such file"
        raise AoiError(msg)
    return found[0]


def _layers(uri: str, layers: list[list[str | None]], wanted: str | None) -> list[str]:
    """Names of the layers to read: the wanted one, the only one of polygons, or all of a KML."""
    names = [str(name) for name, _ in layers]
    if wanted is not None:
        if wanted not in names:
            msg = f"{uri} has no layer {wanted!r}; it has {', '.join(names) or 'none'}"
            raise AoiError(msg)
        return [wanted]
    areal = [
        str(name) for name, kind in layers if kind and any(part in kind for part in AREA_TYPES)
    ]
    # The layers of a KML file are the folders of one drawing.
    if len(areal) > 1 and not uri.lower().endswith((".kml", ".kmz")):
        msg = f"{uri} holds {len(areal)} layers of polygons; name one with --layer: "
        raise AoiError(msg + ", ".join(areal))
    if not (areal or names):
        msg = f"{uri} holds no layer; draw a polygon"
        raise AoiError(msg)
    return areal or names[:1]


def _table(answer: tuple[dict[str, Any], Any, Any, list[Any]]) -> _Table:
    """Make the table of what pyogrio answers."""
    meta, _, geometries, columns = answer
    names = list(meta["fields"])
    rows = zip(*(column.tolist() for column in columns), strict=True) if names else ()
    properties: list[dict[str, Any]] = [
        dict(zip(names, map(_json_value, row), strict=True)) for row in rows
    ]
    count = 0 if geometries is None else len(geometries)
    wkb = [] if geometries is None else list(geometries)
    return _Table(wkb, properties or [{} for _ in range(count)], meta["crs"])


def _read_parquet(uri: str, path: Path) -> _Table:
    """Read the features of a GeoParquet file, which GDAL in pyogrio's wheel cannot."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        msg = f"{uri}: GeoParquet needs pyarrow; pip install 'cloudbuster[vector]'"
        raise MissingExtraError(msg) from error
    try:
        file = parquet.ParquetFile(path)
        geo = orjson.loads((file.schema_arrow.metadata or {})[b"geo"])
        name = geo["primary_column"]
        column = geo["columns"][name]
        if column["encoding"] != "WKB":
            msg = f"{uri}: encoding {column['encoding']} is not read; save it as WKB"
            raise AoiError(msg)
        table = file.read(columns=[name, *_plain_columns(file.schema_arrow, name)])
    except (KeyError, TypeError, orjson.JSONDecodeError) as error:
        msg = f"{uri} is a Parquet file without geometries; give {FORMATS}"
        raise AoiError(msg) from error
    except (OSError, pa.ArrowException) as error:
        msg = f"{uri}: {str(error).splitlines()[0]}; the file is damaged"
        raise AoiError(msg) from error
    crs = column.get("crs", DEGREES)
    rows = table.drop([name]).to_pylist() if table.num_columns > 1 else [{}] * table.num_rows
    return _Table(
        table[name].to_pylist(),
        [{key: _json_value(value) for key, value in row.items()} for row in rows],
        json.dumps(crs) if isinstance(crs, dict) else crs,
    )


def _plain_columns(schema: "pa.Schema", geometry: str) -> list[str]:
    """Names of the columns of texts, numbers and times."""
    from pyarrow import types

    return [
        field.name
        for field in schema
        if field.name != geometry
        and not (types.is_nested(field.type) or types.is_binary(field.type))
    ]


def _json_value(value: object) -> object:
    """Convert a value of a table to one that JSON has."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _geojson(uri: str, wkb: bytes | None) -> Geometry | None:
    """Convert WKB to a GeoJSON geometry, without heights."""
    if wkb is None:
        return None
    try:
        flat = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="fix"))
    except (shapely.errors.GEOSException, TypeError) as error:
        msg = f"{uri}: a geometry cannot be read ({error}); simplify its curves"
        raise AoiError(msg) from error
    document: Geometry = orjson.loads(shapely.to_geojson(flat))
    return document
