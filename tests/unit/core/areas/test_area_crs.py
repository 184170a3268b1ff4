"""Areas in other coordinate reference systems than longitude and latitude."""

import json
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from shapely.geometry import Polygon, box

from cloudbuster.core.areas.antimeridian import split
from cloudbuster.core.areas.aoi import ReadArea, parse_aoi, read_area
from cloudbuster.core.areas.area_crs import area_crs

BERGAMO = box(9.6, 45.65, 9.75, 45.75)


def document(area: Polygon, crs: str, name: str | None = None) -> dict[str, Any]:
    """An area as GeoJSON in another CRS, its edges followed in steps of a hundredth of a degree."""
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    ring = shapely.get_coordinates(shapely.segmentize(area, 0.01))
    points = np.column_stack(transformer.transform(*ring.T)).tolist()
    member = {"type": "name", "properties": {"name": name or crs}}
    return {"type": "Polygon", "coordinates": [points], "crs": member}


PROJJSON = json.dumps(pyproj.CRS("EPSG:32632").to_json_dict())


@pytest.mark.parametrize(
    ("crs", "name", "label"),
    [
        ("EPSG:32632", None, "EPSG:32632 (WGS 84 / UTM zone 32N)"),
        ("EPSG:32632", "urn:ogc:def:crs:EPSG::32632", "EPSG:32632 (WGS 84 / UTM zone 32N)"),
        ("EPSG:32632", "urn:x-ogc:def:crs:EPSG:6.9:32632", "EPSG:32632 (WGS 84 / UTM zone 32N)"),
        ("EPSG:32632", PROJJSON, "EPSG:32632 (WGS 84 / UTM zone 32N)"),
        ("EPSG:3857", None, "EPSG:3857 (WGS 84 / Pseudo-Mercator)"),
        ("EPSG:3035", None, "EPSG:3035 (ETRS89-extended / LAEA Europe)"),
        ("EPSG:2056", None, "EPSG:2056 (CH1903+ / LV95)"),
        ("EPSG:4258", None, "EPSG:4258 (ETRS89)"),
    ],
)
def test_an_area_in_another_crs_is_reprojected_and_said(
    crs: str, name: str | None, label: str
) -> None:
    read = read_area(document(BERGAMO, crs, name))
    assert read.notes == (f"reprojected from {label}",)
    # A hundred-thousandth of a degree is a metre: the Swiss datum is known to that.
    assert read.geometry.hausdorff_distance(BERGAMO) < 2e-5


@pytest.mark.parametrize(
    "name", ["EPSG:4326", "urn:ogc:def:crs:EPSG::4326", "urn:ogc:def:crs:OGC:1.3:CRS84"]
)
def test_names_of_longitude_and_latitude_change_nothing(name: str) -> None:
    area = {**shapely.geometry.mapping(BERGAMO), "crs": {"properties": {"name": name}}}
    assert read_area(area) == ReadArea(parse_aoi(shapely.geometry.mapping(BERGAMO)))


def test_a_null_crs_is_longitude_and_latitude() -> None:
    assert read_area({**shapely.geometry.mapping(BERGAMO), "crs": None}).notes == ()


def test_a_long_edge_is_followed_as_it_runs_in_its_own_crs() -> None:
    # A straight edge of 900 km on the map of Europe bends by kilometres in degrees.
    crs = {"type": "name", "properties": {"name": "EPSG:3035"}}
    square = [[4e6, 3e6], [4.9e6, 3e6], [4.9e6, 3.1e6], [4e6, 3.1e6], [4e6, 3e6]]
    area = parse_aoi({"type": "Polygon", "coordinates": [square], "crs": crs})
    middle = pyproj.Transformer.from_crs("EPSG:3035", "OGC:CRS84", always_xy=True)
    point = shapely.Point(middle.transform(4.45e6, 3e6))
    assert shapely.distance(shapely.get_exterior_ring(area), point) < 1e-6


def test_an_area_across_the_antimeridian_in_utm_is_whole() -> None:
    across = box(179.5, -17, 180.5, -16.5)
    area = parse_aoi(document(across, "EPSG:32701"))
    assert area.symmetric_difference(across).area < 1e-4
    assert split(area).geom_type == "MultiPolygon"


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ({"type": "name", "properties": {"name": "EPSG:1"}}, "its crs 'EPSG:1' is not known"),
        ({"type": "name", "properties": {"name": "my grid"}}, "its crs 'my grid' is not known"),
        ({"type": "name", "properties": {}}, "its crs does not name a coordinate reference"),
        ({"type": "link", "properties": {"href": "http://x"}}, "its crs does not name"),
        (3, "its crs does not name"),
        ({"properties": {"name": "EPSG:5773"}}, "is a Vertical CRS; save the area in a projected"),
        ({"properties": {"name": "EPSG:4978"}}, "is a Geocentric CRS; save the area"),
        ({"properties": {"name": "EPSG:32633"}}, r"\(9.75, 45.65\) looks like degrees, but its"),
    ],
)
def test_a_crs_that_cannot_be_used_is_refused(crs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_aoi({**shapely.geometry.mapping(BERGAMO), "crs": crs})


def test_a_position_outside_of_the_crs_is_named() -> None:
    area = document(BERGAMO, "EPSG:3035")
    area["coordinates"][0][1] = [9e9, 9e9]
    with pytest.raises(ValueError, match=r"position \(9e\+09, 9e\+09\) is outside of EPSG:3035"):
        parse_aoi(area)


def test_a_bounding_box_in_another_crs_is_a_plain_rectangle() -> None:
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    box = {"type": "Feature", "geometry": None, "bbox": [500_000, 5_000_000, 510_000, 5_010_000]}

    area = parse_aoi({**box, "crs": crs})

    # The central meridian of zone 33 is 15 degrees east, where the easting is 500 000 m.
    assert area.bounds[0] == pytest.approx(15.0, abs=1e-9)
    assert area.bounds[2] == pytest.approx(15.127, abs=1e-3)
    with pytest.raises(ValueError, match="give west, south, east, north in this order"):
        parse_aoi({**box, "bbox": [510_000, 5_000_000, 500_000, 5_010_000], "crs": crs})


@pytest.mark.parametrize(
    "name",
    [
        "+proj=utm +zone=33 +nadgrids=/etc/passwd",
        "+proj=pipeline +step +proj=utm +zone=33",
        "+init=/etc/passwd:1",
        "http://127.0.0.1/crs",
        'PROJCS["x",EXTENSION["PROJ4","+proj=merc +nadgrids=/etc/passwd"]]',
        'COMPD_CS["x",PROJCS["y",EXTENSION["PROJ4","+proj=merc +nadgrids=/etc/passwd"]]]',
        '{"type": "BoundCRS"}',
        "EPSG:" + "9" * 20_000,
    ],
)
def test_a_text_by_which_proj_opens_files_is_no_crs(name):
    with pytest.raises(ValueError, match="is not known"):
        area_crs({"crs": {"type": "name", "properties": {"name": name}}})


@pytest.mark.parametrize(
    "name",
    [
        "urn:ogc:def:crs:EPSG::32633",
        "http://www.opengis.net/def/crs/EPSG/0/32633",
        pyproj.CRS("EPSG:32633").to_wkt(),
        pyproj.CRS("EPSG:32633").to_json(),
        pyproj.CRS("EPSG:32633+5773").to_wkt(),
        pyproj.CRS("EPSG:32633+5773").to_wkt("WKT1_GDAL"),
    ],
)
def test_a_code_is_known_in_any_of_its_forms(name):
    found = area_crs({"crs": {"type": "name", "properties": {"name": name}}})
    assert found is not None
    assert found.crs == pyproj.CRS("EPSG:32633")
