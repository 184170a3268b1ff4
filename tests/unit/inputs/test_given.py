"""Requests as people write them in Python."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import shapely
from pydantic import ValidationError

from cloudbuster.inputs.request_files import load_request, make_request
from cloudbuster.models import MosaicRequest, QueryOptions

RING = [[15.0, 46.0], [15.1, 46.0], [15.1, 46.1], [15.0, 46.1], [15.0, 46.0]]
POLYGON = {"type": "Polygon", "coordinates": [RING]}
DAY = date(2023, 5, 1)


@pytest.mark.parametrize(
    "given",
    [
        "2023-05-01",
        DAY,
        [DAY],
        ("2023-05-01",),
        datetime(2023, 5, 1, 10, 30),  # noqa: DTZ001 -- a naive time counts as UTC
        datetime(2023, 5, 1, 23, 30, tzinfo=UTC),
        datetime(2023, 5, 2, 1, 0, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=["text", "date", "list", "tuple", "naive", "UTC", "another zone"],
)
def test_a_day_is_given_in_any_form(given: object) -> None:
    options = QueryOptions.model_validate({"mindate": given, "maxdate": "2023-06-01"})
    assert options.periods == ((DAY, date(2023, 6, 1)),)


@pytest.mark.parametrize("given", ["2023-13-01", "May", 20230501, None, ["2023-05-01", 3.5j]])
def test_what_is_no_day_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="mindate"):
        QueryOptions.model_validate({"mindate": given, "maxdate": "2023-06-01"})


class Table:
    """A table of features with a CRS, as geopandas has them."""

    class crs:  # noqa: N801 -- an attribute
        srs = "EPSG:32633"

    __geo_interface__ = {  # noqa: RUF012 -- read only
        "type": "FeatureCollection",
        "features": ({"type": "Feature", "properties": {}, "geometry": POLYGON},),
    }


@pytest.mark.parametrize(
    ("given", "area"),
    [
        (POLYGON, POLYGON),
        ("area.geojson", {"uri": "area.geojson"}),
        (Path("area.geojson"), {"uri": "area.geojson"}),
        (
            (179, -17, -179, -16),
            {
                "type": "Feature",
                "properties": {},
                "geometry": None,
                "bbox": [179, -17, -179, -16],
            },
        ),
        (shapely.Polygon(RING), POLYGON),
        (
            Table(),
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "properties": {}, "geometry": POLYGON}],
                "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
            },
        ),
    ],
    ids=["GeoJSON", "text", "path", "box", "shapely", "table"],
)
def test_an_area_is_given_in_any_form(given: object, area: dict[str, Any]) -> None:
    request = MosaicRequest.model_validate({"name": "m", "aoi": given})
    assert request.aoi == area
    assert MosaicRequest.model_validate_json(request.to_json()) == request


@pytest.mark.parametrize("given", [3, None, [1, 2, 3], object()])
def test_what_is_no_area_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="aoi"):
        MosaicRequest.model_validate({"name": "m", "aoi": given})


def test_the_address_of_an_area_counts_from_the_folder_of_its_request(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"name": "m", "aoi": "area.geojson"}')
    assert load_request(str(file)).aoi == {"uri": str(tmp_path / "area.geojson")}
    assert make_request({"name": "m", "aoi": "a.json"}).aoi == {"uri": str(Path.cwd() / "a.json")}
