from pathlib import Path

import pytest
from shapely.geometry import box

from cloudbuster.core.areas.aoi import geometry_document, parse_aoi
from cloudbuster.errors import (
    ExitCode,
    GridError,
    NotCoveredError,
    NothingUsableError,
    RequestError,
    TryAgainError,
)
from cloudbuster.models import GatherOptions, MosaicRequest, QueryOptions
from cloudbuster.runs.subruns import SubRun, wants_each_zone, worst_error, zone_name, zone_requests


def make_request(area, *, name="denver", **query):
    dates = {"mindate": ["2023-05-01"], "maxdate": ["2023-05-31"]}
    return MosaicRequest(
        name=name,
        aoi=geometry_document(area),
        query=QueryOptions.model_validate(dates | query),
        gather=GatherOptions(crs="UTM-each", dilate_m=30),
        output="runs/here",
    )


def test_a_request_is_cut_into_one_request_for_each_zone():
    request = make_request(box(-109, 39, -104, 40))
    assert wants_each_zone(request)
    west, east = zone_requests(request)
    assert (west.name, east.name) == ("denver-12n", "denver-13n")
    assert (west.gather.crs, east.gather.crs) == ("EPSG:32612", "EPSG:32613")
    assert east.output == str(Path("runs/here/denver-13n").absolute())
    assert east.gather.dilate_m == 30
    assert parse_aoi(east.aoi).equals(box(-108, 39, -104, 40))
    assert not wants_each_zone(east)


def test_the_area_is_scaled_once():
    parts = zone_requests(make_request(box(-109, 39, -107, 40), scale=0.5))
    assert [part.query.scale for part in parts] == [None, None]
    assert parse_aoi(parts[0].aoi).equals(box(-108.5, 39.25, -108, 39.75))


def test_the_names_of_zones_sort_and_show_the_hemisphere():
    assert [zone_name(crs) for crs in ("EPSG:32601", "EPSG:32760")] == ["01n", "60s"]


def test_a_name_without_room_for_the_zone_is_refused():
    with pytest.raises(RequestError, match=r"part n+-12n: name: "):
        zone_requests(make_request(box(-109, 39, -107, 40), name="n" * 126))


def test_an_area_beyond_utm_is_refused():
    with pytest.raises(GridError, match="UTM ends at 84 and -80"):
        zone_requests(make_request(box(10, 83, 11, 85)))


def test_the_worst_error_names_every_part():
    requests = zone_requests(make_request(box(-120, 39, -98, 40)))
    errors = [NotCoveredError("holes"), None, NothingUsableError("none"), TryAgainError("busy")]
    runs = [SubRun(*pair) for pair in zip(requests, [None] * 4, errors, strict=False)]
    worst = worst_error(runs)
    assert type(worst) is TryAgainError
    assert str(worst) == (
        "3 of 4 parts: denver-11n: NotCoveredError: holes; denver-13n: NothingUsableError: none; "
        "denver-14n: TryAgainError: busy"
    )
    assert worst_error(runs[1:2]) is None
    assert runs[2].document().exit_code == ExitCode.NOTHING_USABLE
