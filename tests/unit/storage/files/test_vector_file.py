"""Areas in vector files: every format, in several CRS, holds the same polygon."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely
from pyarrow import parquet
from pyogrio import raw

from cloudbuster.core.areas.aoi import each_feature
from cloudbuster.errors import AoiError, BadInputError, MissingExtraError
from cloudbuster.inputs.areas import load_aoi, request_area
from cloudbuster.models import QueryOptions
from cloudbuster.storage.addresses import archives
from cloudbuster.storage.addresses.trust import FOREIGN_REQUESTS_VARIABLE
from cloudbuster.storage.files import vector_file

WEST, SOUTH, EAST, NORTH = 15.0, 45.9, 15.1, 46.0
SQUARES = [shapely.box(WEST, SOUTH, EAST, NORTH), shapely.box(15.2, 45.9, 15.3, 46.0)]
NAMES = ["first", "second"]
# Degrees by which a polygon may move on its way through a file and a projection: a centimetre.
TOLERANCE_DEG = 1e-7


def in_crs(crs: str) -> list[shapely.Geometry]:
    """The squares in another CRS, with vertices every 0.01 degrees."""
    change = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    return [
        shapely.transform(
            shapely.segmentize(square, 0.01),
            lambda points: np.column_stack(change.transform(*points.T)),
        )
        for square in SQUARES
    ]


def ogr(suffix: str, driver: str, **options: Any) -> Callable[[Path, str], Path]:
    """Writer of the squares by one of GDAL's drivers."""

    def write(folder: Path, crs: str) -> Path:
        path = folder / f"area{suffix}"
        geometries = np.array(shapely.to_wkb(in_crs(crs)), dtype=object)
        raw.write(
            str(path),
            geometries,
            [np.array(NAMES, dtype=object), np.array([1.0, 2.0])],
            ["name", "size"],
            geometry_type="Polygon",
            crs=crs,
            driver=driver,
            **options,
        )
        return path

    return write


def zipped(folder: Path, crs: str) -> Path:
    parts = folder / "parts"
    parts.mkdir()
    shape = write_shapefile(parts, crs)
    path = folder / "area.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in parts.iterdir():
            archive.write(file, f"inner folder/{file.name}")
        archive.writestr("__MACOSX/inner folder/._area.shp", b"x")
    assert shape.exists()
    return path


def unzipped(folder: Path, crs: str) -> Path:
    parts = folder / "shapes"
    parts.mkdir()
    write_shapefile(parts, crs)
    return parts


def kmz(folder: Path, crs: str) -> Path:
    path = folder / "area.kmz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(write_kml(folder, crs), "doc.kml")
    return path


def geoparquet(folder: Path, crs: str) -> Path:
    path = folder / "area.parquet"
    table = pa.table({"name": NAMES, "geometry": list(shapely.to_wkb(in_crs(crs)))})
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"]}
    if crs != "EPSG:4326":
        column["crs"] = pyproj.CRS(crs).to_json_dict()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def unnamed_suffix(folder: Path, crs: str) -> Path:
    return write_geopackage(folder, crs).rename(folder / "area")


write_geopackage = ogr(".gpkg", "GPKG")
write_shapefile = ogr(".shp", "ESRI Shapefile")
write_kml = ogr(".kml", "KML", dataset_options={"NameField": "name"})
write_flatgeobuf = ogr(".fgb", "FlatGeobuf")


@pytest.mark.parametrize(
    ("write", "crs"),
    [
        *((write_geopackage, crs) for crs in ("EPSG:4326", "EPSG:32633", "EPSG:3857")),
        *((write_shapefile, crs) for crs in ("EPSG:4326", "EPSG:32633", "EPSG:3035", "EPSG:4258")),
        *((write_flatgeobuf, crs) for crs in ("EPSG:4326", "EPSG:3794")),
        *((geoparquet, crs) for crs in ("EPSG:4326", "EPSG:32633")),
        (write_kml, "EPSG:4326"),
        (kmz, "EPSG:4326"),
        (zipped, "EPSG:32633"),
        (unzipped, "EPSG:32633"),
        (unnamed_suffix, "EPSG:32633"),
    ],
)
def test_every_format_in_every_crs_is_the_same_area(
    tmp_path: Path, write: Callable[[Path, str], Path], crs: str
) -> None:
    path = write(tmp_path, crs)

    area = request_area({"uri": str(path)}, QueryOptions())

    assert area.hausdorff_distance(shapely.union_all(SQUARES)) < TOLERANCE_DEG


@pytest.mark.parametrize(
    ("write", "key"),
    [
        (write_geopackage, "name"),
        (write_shapefile, "name"),
        (write_flatgeobuf, "name"),
        (write_kml, "Name"),
        (geoparquet, "name"),
    ],
)
def test_the_properties_of_features_are_kept(
    tmp_path: Path, write: Callable[[Path, str], Path], key: str
) -> None:
    document = load_aoi(str(write(tmp_path, "EPSG:4326")))

    # FlatGeobuf sorts its features by place.
    assert sorted(name for name, _ in each_feature(document, key)) == NAMES


@pytest.mark.parametrize("write", [write_geopackage, write_kml, kmz, geoparquet, zipped])
def test_a_vector_file_in_a_bucket_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], Path]
) -> None:
    content = write(tmp_path, "EPSG:4326").read_bytes()
    monkeypatch.setattr("cloudbuster.inputs.areas.read_bytes", lambda _uri, **_bounds: content)

    area = request_area({"uri": "s3://areas/one"}, QueryOptions())

    assert area.hausdorff_distance(shapely.union_all(SQUARES)) < TOLERANCE_DEG


def two_layers(folder: Path) -> Path:
    path = write_geopackage(folder, "EPSG:32633")
    square = np.array(shapely.to_wkb(SQUARES[:1]), dtype=object)
    for layer, kind, geometry in (
        ("fields", "Polygon", square),
        ("wells", "Point", np.array(shapely.to_wkb([shapely.Point(15, 46)]), dtype=object)),
    ):
        raw.write(
            str(path),
            geometry,
            [],
            [],
            layer=layer,
            geometry_type=kind,
            crs="EPSG:4326",
            append=False,
        )
    return path


def test_a_layer_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = two_layers(tmp_path)

    area = request_area({"uri": str(path), "layer": "fields"}, QueryOptions())

    assert area.equals_exact(SQUARES[0], 1e-9, normalize=True)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (None, "holds 2 layers of polygons; name one with --layer: area, fields"),
        ("roads", "has no layer 'roads'; it has area, fields, wells"),
        ("wells", "feature 1 is a Point; only Polygon and MultiPolygon have an area"),
    ],
)
def test_a_layer_that_is_in_doubt_is_refused(
    tmp_path: Path, layer: str | None, message: str
) -> None:
    path = two_layers(tmp_path)

    with pytest.raises(AoiError, match=message):
        request_area({"uri": str(path), "layer": layer}, QueryOptions())


def without_crs(folder: Path) -> Path:
    path = write_shapefile(folder, "EPSG:32633")
    path.with_suffix(".prj").unlink()
    return path


def cut_short(folder: Path) -> Path:
    path = write_geopackage(folder, "EPSG:4326")
    path.write_bytes(path.read_bytes()[:500])
    return path


def plain_parquet(folder: Path) -> Path:
    path = folder / "table.parquet"
    parquet.write_table(pa.table({"name": NAMES}), path)
    return path


def empty_zip(folder: Path) -> Path:
    path = folder / "area.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    return path


def broken_zip(folder: Path) -> Path:
    path = folder / "area.zip"
    path.write_bytes(b"PK\x03\x04" + b"0" * 100)
    return path


def empty_folder(folder: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (without_crs, "does not say which coordinate reference system it is in"),
        (cut_short, "area.gpkg"),
        (plain_parquet, "is a Parquet file without geometries"),
        (empty_zip, "holds no file of .shp, .kml, .gpkg, .fgb"),
        (broken_zip, "fetch the zip again"),
        (empty_folder, "holds no file of .shp"),
    ],
)
def test_a_file_that_holds_no_usable_area_is_refused_by_name(
    tmp_path: Path, write: Callable[[Path], Path], message: str
) -> None:
    path = write(tmp_path)

    with pytest.raises(AoiError, match=message) as refused:
        request_area({"uri": str(path)}, QueryOptions())
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("write", "module", "package"),
    [(write_geopackage, "pyogrio", "pyogrio"), (geoparquet, "pyarrow", "pyarrow")],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, str], Path],
    module: str,
    package: str,
) -> None:
    path = write(tmp_path, "EPSG:4326")
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"{package}; pip install 'cloudbuster\[vector\]'"):
        load_aoi(str(path))


def test_a_shapefile_alone_in_a_bucket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_shapefile(tmp_path, "EPSG:4326").read_bytes()
    monkeypatch.setattr("cloudbuster.inputs.areas.read_bytes", lambda _uri, **_bounds: content)

    with pytest.raises(AoiError, match="a Shapefile is several files; zip them together"):
        load_aoi("s3://areas/a.shp")


def test_a_geometry_collection_in_a_layer_of_any_type_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mixed.gpkg"
    mixed = [SQUARES[0], shapely.MultiPolygon([SQUARES[1]]), shapely.GeometryCollection(SQUARES)]
    raw.write(
        str(path),
        np.array(shapely.to_wkb(mixed), dtype=object),
        [],
        [],
        geometry_type="Unknown",
        crs="EPSG:4326",
    )

    area = request_area({"uri": str(path)}, QueryOptions())

    assert area.equals_exact(shapely.union_all(SQUARES), 1e-9, normalize=True)


def layer_of(secret: Path) -> str:
    """Virtual layer that reads another file."""
    return (
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    )


def disguises(layer: str) -> dict[str, bytes]:
    """Virtual layers that look like the formats that are read."""
    text = layer.encode()
    return {
        "comment.kml": b"<!-- kml -->" + text,
        "second.kml": b'<kml xmlns="http://www.opengis.net/kml/2.2"></kml>' + text,
        "root.kml": text.replace(b"<OGRVRTLayer", b"<!-- kml --><OGRVRTLayer"),
        "layer.shp": text,
        "layer.gpkg": text,
        "layer.fgb": b"fgb" + text,
        "text.fgb": b"fgb\x03fgb\x01" + text,
        "other.gpkg": b"SQLite format 3\x00" + text.ljust(1000, b" "),
        "layer.vrt": text,
        "doctype.kml": b'<!DOCTYPE kml [<!ENTITY e SYSTEM "file:///etc/passwd">]><kml>&e;</kml>',
    }


@pytest.mark.parametrize("name", disguises(""))
@pytest.mark.parametrize("place", ["file", "zip", "folder", "remote"])
def test_a_virtual_layer_in_the_place_of_an_area_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    secret = write_geopackage(tmp_path, "EPSG:4326")
    content = disguises(layer_of(secret))[name]
    folder = tmp_path / "shapes"
    folder.mkdir()
    path = folder / name
    path.write_bytes(content)
    uri = str(folder if place == "folder" else path)
    if place == "zip":
        uri = str(tmp_path / "area.zip")
        with zipfile.ZipFile(uri, "w") as archive:
            archive.write(path, name)
    if place == "remote":
        uri = "s3://areas/one"
        monkeypatch.setattr("cloudbuster.inputs.areas.read_bytes", lambda _uri, **_bounds: content)

    with pytest.raises(AoiError):
        load_aoi(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "ESRIJSON:http://127.0.0.1/x",
        "GeoJSON:/etc/secret.json",
        "PG:dbname=x",
        "MVT:http://127.0.0.1/x",
        "/vsicurl/http://127.0.0.1/x.shp",
        "/vsizip//etc/a.zip/x.shp",
        "<OGRVRTDataSource/>",
        "file://otherhost/area.gpkg",
        "zip:///etc/a.zip!/../x.shp",
    ],
)
def test_drivers_and_virtual_files_of_gdal_are_no_area(uri: str) -> None:
    for read in (load_aoi, vector_file.read_vector_file):
        with pytest.raises(BadInputError, match=r"neither a path|virtual file|machine|leads out"):
            read(uri)


def test_others_name_no_vector_file_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOREIGN_REQUESTS_VARIABLE, "1")
    for path in (write_geopackage(tmp_path, "EPSG:4326"), unzipped(tmp_path, "EPSG:4326")):
        with pytest.raises(AoiError, match="may not name one"):
            load_aoi({"uri": str(path)})


@pytest.mark.parametrize(
    "write", [write_geopackage, write_shapefile, write_flatgeobuf, write_kml, geoparquet]
)
def test_too_many_features_or_positions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], Path]
) -> None:
    path = write(tmp_path, "EPSG:4326")
    monkeypatch.setattr(vector_file, "MAX_WKB_BYTES", 100)
    with pytest.raises(AoiError, match="of geometries"):
        load_aoi(str(path))
    monkeypatch.setattr(vector_file, "MAX_FEATURES", 1)
    with pytest.raises(AoiError, match="over 1 features"):
        load_aoi(str(path))


def test_a_geoparquet_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_file, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(AoiError, match="are the most that are read"):
        load_aoi(str(geoparquet(tmp_path, "EPSG:4326")))


@pytest.mark.parametrize("write", [kmz, zipped])
def test_a_zip_is_unpacked_no_further_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], Path]
) -> None:
    path = write(tmp_path, "EPSG:4326")
    with monkeypatch.context() as patch:
        patch.setattr(vector_file, "MAX_UNPACKED_BYTES", 300)
        with pytest.raises(AoiError, match="the most that is read"):
            load_aoi(str(path))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 0)
    with pytest.raises(AoiError, match="0 are the most that are read"):
        load_aoi(str(path))


def test_a_zip_with_a_path_out_of_it_is_no_area(tmp_path: Path) -> None:
    path = zipped(tmp_path, "EPSG:4326")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../area.prj", "x")

    with pytest.raises(AoiError, match="leads out of the zip"):
        load_aoi(str(path))
