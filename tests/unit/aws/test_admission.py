"""Admission of requests."""

import json
from typing import Any

import pytest

from cloudbuster.aws.admission import admit, parse_request, stored_aoi
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import AoiError, CloudBusterError, GridError, RequestError
from tests.unit.aws.requests import REQUEST, SQUARE, STACK, request


def parsed(content: object, source: str = "s3://stack/requests/a.json", **stack: Any) -> Any:
    settings = STACK.model_copy(update=stack)
    return parse_request(json.dumps(content).encode(), source=source, settings=settings)


@pytest.mark.parametrize(
    "output", ["s3://stack/mosaics/x", "s3://stack/mosaics", "s3://ours", "s3://ours/deep/er/"]
)
def test_outputs_in_the_allowed_buckets_are_admitted(output: str) -> None:
    assert request(output=output).output == output


@pytest.mark.parametrize(
    "output",
    ["s3://stack/runs/x", "s3://oursnot/x", "s3://theirs/x", "folder/x", "s3://ours/../x"],
)
def test_other_outputs_are_refused(output: str) -> None:
    with pytest.raises(RequestError, match="lies outside of s3://stack/mosaics, s3://ours"):
        request(output=output)


def test_pytorch_needs_a_stack_with_its_image() -> None:
    gather = {"detector": {"type": "pytorch", "weights": "s3://stack/models/m.pt"}}
    with pytest.raises(RequestError, match="torch_image"):
        request(gather=gather)
    with_torch = STACK.model_copy(update={"torch": True, "model_roots": ("s3://stack/models",)})
    found = admit({**REQUEST, "gather": gather}, source="test", settings=with_torch)
    assert found.gather.detector.type == "pytorch"


@pytest.mark.parametrize(
    ("document", "kind"),
    [([], "list"), ("text", "str"), (5, "int"), (None, "null"), (True, "bool")],
)
def test_a_document_that_is_no_object_is_refused_with_what_a_request_is(
    document: object, kind: str
) -> None:
    with pytest.raises(
        RequestError, match=f"^x: {kind} is no request: give a JSON object with name"
    ):
        admit(document, source="x", settings=STACK)


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"aoi": box(0, 40, 20, 41)}, GridError, "20.00 degrees of longitude wide, a UTM zone 6"),
        ({"gather": {"crs": "utm-each"}}, GridError, "one mosaic per zone"),
        ({"gather": {"crs": "EPSG:1"}}, GridError, "no CRS 'EPSG:1' exists"),
        ({"aoi": box(10, -89, 11, -88)}, AoiError, "aoi: "),
        ({"aoi": {"type": "Point", "coordinates": [0, 0]}}, AoiError, "aoi: "),
    ],
)
def test_an_area_that_no_mosaic_can_hold_is_refused_before_a_run_starts(
    changes: dict[str, Any], error: type[CloudBusterError], message: str
) -> None:
    with pytest.raises(error, match=f"^test: .*{message}"):
        request(**changes)


def test_an_area_in_a_file_is_not_read_on_admission() -> None:
    assert request(aoi={"uri": "s3://ours/a.geojson"}).aoi == {"uri": "s3://ours/a.geojson"}


def test_an_unknown_field_is_named_with_the_one_that_is_meant() -> None:
    with pytest.raises(RequestError, match=r"requests/a\.json: .*did you mean filter"):
        parsed({**REQUEST, "filtre": {}})


def test_a_bare_geojson_gets_the_name_of_its_file_and_the_defaults() -> None:
    found = parsed(SQUARE, "s3://stack/requests/my area (é).json")
    assert found.name == "my-area"
    assert found.aoi == SQUARE
    assert found.query.mindate[0].isoformat() == "2020-05-01"


def test_a_bare_geojson_without_defaults_is_refused() -> None:
    with pytest.raises(RequestError, match="default_request"):
        parsed(SQUARE, default_request=None)


def test_a_large_geojson_becomes_a_reference_named_after_its_content() -> None:
    ring = [[x / 10_000, 0.123456789] for x in range(4000)]
    area = {"type": "Polygon", "coordinates": [[*ring, [0.2, 1], ring[0]]]}
    content = json.dumps(area).encode()
    found = parse_request(content, source="s3://stack/requests/a.json", settings=STACK)
    assert found.aoi == {"uri": stored_aoi(content, "s3://stack")}
    assert stored_aoi(content, "s3://stack") != stored_aoi(content + b" ", "s3://stack")


def test_a_request_that_is_too_large_for_an_execution_is_refused() -> None:
    settings = StackSettings(
        root="s3://b", topic_arn="arn:t", gather_usd_per_hour=0.1, merge_usd_per_hour=0.1
    )
    square = [[15, 45], [16, 45], [16, 46], [15, 46], [15, 45]]
    document = {
        "name": "m",
        "aoi": {"type": "Polygon", "coordinates": [square]},
        "query": {
            "mindate": ["2023-01-01"] * 12_000,
            "maxdate": ["2023-02-01"] * 12_000,
        },
    }
    with pytest.raises(RequestError, match="over 220000 bytes"):
        admit(document, source="requests/m.json", settings=settings)
