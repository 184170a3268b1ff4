"""Areas in vector files: GeoPackage, Shapefile, KML, FlatGeobuf, File Geodatabase, GeoParquet.

The format is recognised by a file's content, whatever its name, so that nothing but these is
opened: GDAL would open virtual layers and descriptions of services too, which read other files and
make requests. Files in a zip are unpacked, within a bound, before they are opened.
"""

import json
import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloudbuster.errors import AoiError, BadInputError, MissingExtraError
from cloudbuster.models import Geometry
from cloudbuster.storage.addresses.archives import open_zip, unpacked
from cloudbuster.storage.addresses.trust import PROGRAM, Trust, admitted, file_path
from cloudbuster.storage.files.uri import is_remote, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = "GeoJSON, GeoPackage, Shapefile (also zipped), KML, KMZ, FlatGeobuf or GeoParquet"
# First bytes of a file by format (the specifications of each).
GEOPACKAGE, SHAPEFILE, FLATGEOBUF = b"SQLite format 3\x00", b"\x00\x00\x27\x0a", b"fgb\x03fgb"
PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
SUFFIXES = {GEOPACKAGE: ".gpkg", SHAPEFILE: ".shp", FLATGEOBUF: ".fgb"}
# Application ids at byte 68 of the SQLite files that are GeoPackages (OGC 12-128, requirement 2).
GEOPACKAGE_IDS = (b"GPKG", b"GP10", b"GP11")
# Files of a Shapefile that are read.
SHAPEFILE_SUFFIXES = (".shp", ".shx", ".dbf", ".prj", ".cpg")
# Bytes in which the root element of a KML file is looked for.
XML_HEAD_BYTES = 4096
# Geometry types of layers that may hold areas; `Unknown` is any mixture.
AREA_TYPES = ("Polygon", "MultiPolygon", "Unknown", "GeometryCollection", "Curve")
# Greatest number of features of an area; the union of more would take minutes.
MAX_FEATURES = 100_000
MAX_WKB_BYTES = 32 * 2**20
"""Greatest size of all geometries: over twice `cloudbuster.core.areas.aoi.MAX_POSITIONS`."""
MAX_KML_BYTES = 32 * 2**20
MAX_UNPACKED_BYTES = 256 * 2**20
"""Greatest size of what is unpacked of a zip, or of the columns of a GeoParquet file."""
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


def is_vector_path(uri: str, trust: Trust = PROGRAM) -> bool:
    """Whether a local path is a folder, or a file in one of the formats of this module.

    Raises
    ------
    UntrustedAddressError
        If its giver may not have it opened.
    """
    if is_remote(uri):
        return False
    address = admitted(uri, trust)
    path = file_path(address)
    try:
        return path.is_dir() or (path.is_file() and is_vector_file(_head(path, XML_HEAD_BYTES)))
    except OSError:
        # Reading the file as a document will report why it cannot be read.
        return False


def read_vector_file(
    uri: str,
    layer: str | None = None,
    *,
    content: bytes | None = None,
    trust: Trust = PROGRAM,
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
    trust : Trust
        What its giver may refer to; by default the address is one of this program.

    Returns
    -------
    dict
        GeoJSON FeatureCollection in the CRS of the file, which its member ``crs`` names.

    Raises
    ------
    AoiError
        If the file cannot be read, names no CRS, is over a bound, or has several layers and none
        is chosen.
    UntrustedAddressError
        If its giver may not have it opened.
    MissingExtraError
        If it needs pyogrio or pyarrow.
    """
    if content is not None and content.startswith(SHAPEFILE):
        msg = f"{uri}: a Shapefile is several files; zip them together, and give the zip"
        raise AoiError(msg)
    with _on_disk(uri, content, trust) as path:
        table = _read_parquet(uri, path) if _head(path) == PARQUET else _read_ogr(uri, path, layer)
    _check_table(uri, table)
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": properties, "geometry": _geojson(uri, wkb)}
            for wkb, properties in zip(table.geometries, table.properties, strict=True)
        ],
        "crs": {"type": "name", "properties": {"name": table.crs}},
    }


def _check_table(uri: str, table: _Table) -> None:
    """Raise AoiError if a file names no CRS, or holds too much."""
    if table.crs is None:
        msg = (
            f"{uri} does not say which coordinate reference system it is in; save it with one (a "
            "Shapefile needs its .prj)"
        )
        raise AoiError(msg)
    if len(table.geometries) > MAX_FEATURES:
        raise _too_many(uri)
    size = sum(len(wkb) for wkb in table.geometries if wkb is not None)
    if size > MAX_WKB_BYTES:
        msg = (
            f"{uri} holds {size / 2**20:.0f} MiB of geometries; {MAX_WKB_BYTES // 2**20} MiB are "
            "the most that are read; simplify them"
        )
        raise AoiError(msg)


def _too_many(uri: str) -> AoiError:
    """Make the error for a file with too many features."""
    return AoiError(f"{uri} holds over {MAX_FEATURES} features; dissolve them")


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
def _on_disk(uri: str, content: bytes | None, trust: Trust) -> Iterator[Path]:
    """Yield the path of a file with the area; what is remote or zipped, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="cloudbuster-") as folder:
        if content is None:
            path = file_path(admitted(uri, trust))
        else:
            suffix = next((SUFFIXES[magic] for magic in SUFFIXES if content.startswith(magic)), "")
            suffix = suffix or (".zip" if content.startswith(ZIP) else ".kml")
            path = Path(folder, f"area{suffix}")
            path.write_bytes(content)
        if path.is_dir() and path.suffix.lower() != ".gdb":
            path /= _only(uri, [file.name for file in path.iterdir()], (".shp",))
        yield _unpacked(uri, path, Path(folder, "zip")) if _head(path) == ZIP else path


def _unpacked(uri: str, path: Path, folder: Path) -> Path:
    """Unpack the only area in a zip into a new folder; return its path there."""
    folder.mkdir()
    try:
        with open_zip(path, uri) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
            chosen = _only(uri, names, (".shp", ".kml", ".gpkg", ".fgb"))
            left = MAX_UNPACKED_BYTES
            for name in [chosen, *_beside(chosen, names)]:
                content = unpacked(archive, name, uri, max_bytes=left)
                left -= len(content)
                (folder / f"area{Path(name).suffix.lower()}").write_bytes(content)
    except AoiError:
        raise
    except BadInputError as error:
        raise AoiError(str(error)) from error
    return folder / f"area{Path(chosen).suffix.lower()}"


def _beside(chosen: str, names: list[str]) -> list[str]:
    """Other files of a Shapefile, by the path of its ``.shp``; none of another format."""
    stem, suffix = chosen[:-4], chosen[-4:].lower()
    return [
        name
        for name in names
        if suffix == ".shp"
        and name != chosen
        and name[:-4] == stem
        and name[-4:].lower() in SHAPEFILE_SUFFIXES
    ]


def _check_content(uri: str, path: Path) -> None:
    """Refuse a file that GDAL might open as something else than its format; raise AoiError.

    GDAL looks for the words of virtual layers and of services in the text at the beginning of a
    file, up to its first zero byte.
    """
    if path.is_dir():
        return
    head = _head(path, XML_HEAD_BYTES)
    if head.startswith(SHAPEFILE):
        return
    if head.startswith(GEOPACKAGE) and head[68:72] in GEOPACKAGE_IDS:
        return
    # The size of the header, at byte 8, is below 16 MiB: a zero byte follows.
    if head.startswith(FLATGEOBUF) and head[11:12] == b"\x00":
        return
    if not _is_kml(head):
        msg = f"{uri} is in another format than its name or its first bytes say; give {FORMATS}"
        raise AoiError(msg)
    try:
        root = fromstring(read_bytes(str(path), max_bytes=MAX_KML_BYTES))
    except (ParseError, DefusedXmlException, ValueError) as error:
        msg = f"{uri} is not readable as KML ({error}); export it again"
        raise AoiError(msg) from error
    if root.tag.rpartition("}")[2] != "kml":
        msg = f"{uri} is XML, but no KML; give {FORMATS}"
        raise AoiError(msg)


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
    _check_content(uri, path)
    place = str(path)
    try:
        with warnings.catch_warnings():
            # What GDAL warns of (a suffix, the winding of rings) is no loss here.
            warnings.simplefilter("ignore", RuntimeWarning)
            tables = [
                _table(_read_layer(raw, place, name))
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


def _read_layer(raw: Any, place: str, name: str) -> Any:  # noqa: ANN401 -- pyogrio has no types
    """Read a layer, and one feature more than there may be."""
    return raw.read(place, layer=name, datetime_as_string=True, max_features=MAX_FEATURES + 1)


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
        _check_size(uri, file.metadata)
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


def _check_size(uri: str, metadata: Any) -> None:  # noqa: ANN401 -- pyarrow has no types
    """Refuse a GeoParquet file that would take too much memory, before it is read."""
    if metadata.num_rows > MAX_FEATURES:
        raise _too_many(uri)
    groups = range(metadata.num_row_groups)
    size = sum(metadata.row_group(number).total_byte_size for number in groups)
    if size > MAX_UNPACKED_BYTES:
        msg = (
            f"{uri} holds {size / 2**20:.0f} MiB; {MAX_UNPACKED_BYTES // 2**20} MiB are the most "
            "that are read; keep the geometries alone"
        )
        raise AoiError(msg)


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
        document: Geometry = orjson.loads(shapely.to_geojson(flat))
    except (shapely.errors.GEOSException, TypeError, orjson.JSONDecodeError) as error:
        msg = f"{uri}: a geometry cannot be read ({error}); simplify its curves"
        raise AoiError(msg) from error
    return document
