import json

import pytest
from shapely.geometry import box

from cloudbuster.errors import AoiError, GridError
from cloudbuster.inputs.areas import check_crs, document_area, load_aoi, request_area
from cloudbuster.models import GatherOptions, QueryOptions
from tests.stac_items import square

QUERY = QueryOptions.model_validate({"mindate": ["2020-05-01"], "maxdate": ["2020-06-01"]})


def test_load_aoi_takes_an_object_a_uri_object_or_a_uri(tmp_path):
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps(square(14.6, 45.6)))
    assert load_aoi(square(1, 2)) == square(1, 2)
    assert load_aoi({"uri": str(path)}) == square(14.6, 45.6)
    assert load_aoi(str(path)) == square(14.6, 45.6)
    assert load_aoi(path.as_uri()) == square(14.6, 45.6)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "the file is empty"), ("{,}", "not JSON at line 1, column 2"), ("[1]", "but a list")],
)
def test_load_aoi_says_what_is_wrong_with_a_file(tmp_path, content, message):
    path = tmp_path / "aoi.geojson"
    path.write_text(content)
    with pytest.raises(AoiError, match=message):
        load_aoi(str(path))


def test_load_aoi_of_nothing_is_an_aoi_error(tmp_path):
    with pytest.raises(AoiError, match="No such file"):
        load_aoi({"uri": str(tmp_path / "absent.geojson")})
    with pytest.raises(AoiError, match=r"aoi.uri: 3 is no text"):
        load_aoi({"uri": 3})


def test_the_area_of_a_request_is_read_from_its_file_and_scaled(tmp_path):
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps(square(14.6, 45.6, 0.2)))
    scaled = request_area({"uri": str(path)}, QUERY.model_copy(update={"scale": 2.0}))
    west, south, east, north = scaled.bounds
    assert (east - west, north - south) == pytest.approx((0.4, 0.4))


def test_the_area_of_a_document_is_taken_as_it_is():
    assert document_area(square(14.5, 45.5, 0.25)).equals(box(14.5, 45.5, 14.75, 45.75))


@pytest.mark.parametrize(
    ("aoi", "message"),
    [
        ({"type": "Point", "coordinates": [10, 45]}, "aoi: the geometry is a Point"),
        (square(10, 88, 0.2), "aoi: no tile of Sentinel-2 lies between 88.00 and 88.20"),
    ],
)
def test_requests_and_documents_refuse_an_area_with_the_same_words(aoi, message):
    with pytest.raises(AoiError) as of_request:
        request_area(aoi, QUERY)
    with pytest.raises(AoiError) as of_document:
        document_area(aoi)
    assert str(of_request.value) == str(of_document.value)
    assert str(of_request.value).startswith(message)


def test_a_crs_that_cannot_hold_the_area_is_refused():
    area = document_area(square(14.6, 45.6, 0.2))
    check_crs(GatherOptions(crs="EPSG:3035"), area)
    with pytest.raises(GridError, match="no CRS 'EPSG:1' exists"):
        check_crs(GatherOptions(crs="EPSG:1"), area)
