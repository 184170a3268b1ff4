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

from cloudbuster.areas import load_aoi, request_area
from cloudbuster.core.aoi import each_feature
from cloudbuster.errors import AoiError, MissingExtraError
from cloudbuster.models import QueryOptions

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
    monkeypatch.setattr("cloudbuster.areas.read_bytes", {"s3://areas/one": content}.__getitem__)

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
        (broken_zip, "zip it again"),
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
    monkeypatch.setattr("cloudbuster.areas.read_bytes", {"s3://areas/a.shp": content}.__getitem__)

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
