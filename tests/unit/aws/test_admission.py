"""Admission of requests."""

import json
import math
import re
from typing import Any

import pytest

from cloudbuster.aws.admission import admit, parse_request, stored_aoi
from cloudbuster.aws.settings import StackSettings
from cloudbuster.errors import AoiError, CloudBusterError, GridError, RequestError
from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.run_layout import request_fingerprint, run_id
from tests.unit.aws.requests import REQUEST, SQUARE, STACK, request


def parsed(content: object, source: str = "s3://stack/requests/a.json", **stack: Any) -> Any:
    settings = STACK.model_copy(update=stack)
    return parse_request(json.dumps(content).encode(), source=source, settings=settings)


@pytest.mark.parametrize(
    "output", ["s3://stack/mosaics/x", "s3://stack/mosaics/x/", "s3://ours/x", "s3://ours/deep/er/"]
)
def test_outputs_in_the_allowed_buckets_are_admitted(output: str) -> None:
    assert request(output=output).output == output


@pytest.mark.parametrize(
    "output",
    [
        *("s3://stack/runs/x", "s3://oursnot/x", "s3://theirs/x", "folder/x", "s3://ours/../x"),
        # All runs write below these.
        *("s3://stack/mosaics", "s3://stack/mosaics/", "s3://stack", "s3://ours", "s3://ours/"),
        *("s3://ours/./x", "s3://ours/x/..", "s3://ours//x", "s3://stack/mosaics/../runs/x"),
        *("S3://ours/x", "s3://stack/mosaicsx", "/mosaics/x", "s3:/ours/x", "file:///ours/x"),
    ],
)
def test_other_outputs_are_refused(output: str) -> None:
    with pytest.raises(RequestError, match="lies outside of s3://stack/mosaics, s3://ours"):
        request(output=output)


def test_the_stacks_bucket_holds_outputs_below_mosaics_only() -> None:
    settings = STACK.model_copy(update={"output_roots": ("s3://stack", "s3://ours")})
    with pytest.raises(RequestError, match="output s3://stack/runs/x lies outside"):
        admit({**REQUEST, "output": "s3://stack/runs/x"}, source="test", settings=settings)


def with_detector(document: dict[str, Any], **stack: Any) -> Any:
    settings = STACK.model_copy(update={"torch": True, **stack})
    gather = {"detector": {"type": "pytorch", "weights": "s3://stack/models/m.pth", **document}}
    return admit({**REQUEST, "gather": gather}, source="test", settings=settings).gather.detector


@pytest.mark.parametrize("word", [{}, {"trust_architecture": False}, {"trust_architecture": True}])
def test_models_in_the_stacks_prefixes_are_trusted_whatever_the_request_says(
    word: dict[str, bool],
) -> None:
    known = with_detector({"architecture": "s3://stack/models/deep/net.py", **word})
    assert known.trust_architecture
    elsewhere = {"weights": "s3://theirs/v1/m.pt", **word}
    assert with_detector(elsewhere, model_roots=("s3://theirs/v1/",)).trust_architecture


def test_trust_without_a_model_means_nothing() -> None:
    detector = {"type": "stock", "trust_architecture": True}
    assert not request(gather={"detector": detector}).gather.detector.trust_architecture


@pytest.mark.parametrize("field", ["architecture", "weights"])
@pytest.mark.parametrize(
    "uri",
    [
        *("s3://theirs/models/m.pth", "s3://stack/aois/m.pth", "s3://stack/modelsx/m.pth"),
        *("s3://stack/models", "s3://stack/models/../aois/m.pth", "s3://stack/models//m.pth"),
        *(
            "s3://stack/models/./../aois/m",
            "https://stack/models/m.pth",
            "/opt/app/lambdas/query.py",
        ),
        *("file:///s3://stack/models/m", "models/m.pth", "S3://stack/models/m.pth"),
    ],
)
def test_models_from_elsewhere_are_refused_whatever_the_request_says(field: str, uri: str) -> None:
    with pytest.raises(
        RequestError,
        match=rf"^test: gather.detector.{field} {re.escape(uri)} lies outside of what this stack "
        r"allows \(s3://stack/models\): copy it there, or deploy with its prefix in model_prefixes",
    ):
        with_detector({field: uri, "trust_architecture": True})


def test_an_operator_may_allow_no_model_and_another_prefix() -> None:
    with pytest.raises(RequestError, match=r"allows \(nothing\)"):
        with_detector({}, model_roots=())
    with pytest.raises(RequestError, match=r"allows \(s3://theirs/v1/\)"):
        with_detector({}, model_roots=("s3://theirs/v1/",))


def test_models_are_refused_for_other_detectors_as_well() -> None:
    detector = {"type": "stock", "weights": "/etc/passwd"}
    with pytest.raises(RequestError, match=r"gather\.detector\.weights /etc/passwd lies outside"):
        request(gather={"detector": detector})


def test_the_word_about_trust_is_no_part_of_a_runs_identity() -> None:
    detector = {"type": "pytorch", "weights": "w.pth"}
    plain, trusting = (
        MosaicRequest.model_validate({**REQUEST, "gather": {"detector": {**detector, **word}}})
        for word in ({}, {"trust_architecture": True})
    )
    assert run_id(plain) == run_id(trusting)
    assert request_fingerprint(plain) == request_fingerprint(trusting)


def test_pytorch_needs_a_stack_with_its_image() -> None:
    gather = {"detector": {"type": "pytorch", "weights": "s3://stack/models/m.pt"}}
    with pytest.raises(RequestError, match="torch_image"):
        request(gather=gather)
    with_torch = STACK.model_copy(update={"torch": True})
    found = admit({**REQUEST, "gather": gather}, source="test", settings=with_torch)
    assert found.gather.detector.type == "pytorch"


def test_joined_detectors_are_held_to_the_same_rules() -> None:
    gather = {"detector": {"type": "stock+pytorch", "weights": "s3://stack/models/m.pt"}}
    with pytest.raises(RequestError, match="torch_image"):
        request(gather=gather)
    with pytest.raises(RequestError, match="no image of a stack holds detector omnicloudmask"):
        request(gather={"detector": {"type": "csmask+omnicloudmask"}})


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"{", "not JSON at line 1"),
        (b"{\x00}\x00", "not JSON"),
        (b"\xff\xfe{\x00", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "is required"),
        ('{"name": "é"}'.encode("latin-1"), "not JSON"),
        (b'{"name": "\\ud800"}', "not JSON"),
        (b"[" * 100 + b"]" * 100, "nested over 64 levels"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 80 + b"1" + b"}" * 80, "nested over 64 levels"),
        (b'{"name": 1e400}', "not JSON"),
        (b'{"name": NaN}', "not JSON"),
        (b'{"name": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"name": "a", "name": "b"}', "member 'name' twice"),
        (b'{"name": "a", "aoi": {"type": "Polygon", "type": "Point"}}', "member 'type' twice"),
        (b'{"type": ["Polygon"]}', "type: unknown field"),
        (b'{"type": {"a": 1}}', "type: unknown field"),
        (b"1", "int is no request"),
    ],
)
def test_a_text_that_is_no_plain_json_object_is_refused_with_the_reason(
    content: bytes, words: str
) -> None:
    with pytest.raises(RequestError, match=f"^s3://stack/requests/a.json: .*{words}"):
        parse_request(content, source="s3://stack/requests/a.json", settings=STACK)


NUMBERS: tuple[Any, ...] = (1e308, -1e308, 1e200, 2**63, 361, -361, None, "1", True, [], {})


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("place", [(0, 0), (2, 1), None])
def test_a_coordinate_that_is_none_is_refused(
    number: object, place: tuple[int, int] | None
) -> None:
    ring: list[Any] = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    if place is None:
        ring[2] = number
    else:
        ring[place[0]] = list(ring[place[0]])
        ring[place[0]][place[1]] = number
    area = {"type": "Polygon", "coordinates": [ring]}
    for document in (area, {**REQUEST, "aoi": area}):
        with pytest.raises(AoiError, match=r"^s3://stack/requests/a\.json: aoi: "):
            parsed(document)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(2**70)])
def test_numbers_that_json_has_not_are_refused_in_an_executions_input(value: float) -> None:
    ring = [[0, 0], [1, 0], [value, 1], [0, 1], [0, 0]]
    for changes in (
        {"aoi": {"type": "Polygon", "coordinates": [ring]}},
        {"query": {"maxclouds": value}},
        {"query": {"limit": value}},
        {"gather": {"gsd_m": value}},
        {"name": value},
    ):
        with pytest.raises((RequestError, AoiError), match=r"^test: "):
            request(**changes)


@pytest.mark.parametrize("text", ["\ud800", "a\0", "a\nb", "x" * 100_000])
def test_texts_that_name_nothing_are_refused_in_an_executions_input(text: str) -> None:
    for changes in (
        {"name": text},
        {"output": f"s3://ours/{text}"},
        {"query": {"catalog": f"https://example.com/{text}"}},
        {"query": {"asset_mirror": [f"s3://a=/{text}"]}},
        {"gather": {"detector": {"donor_mask": f"s3://ours/{text}"}}},
        {"gather": {"detector": {"donor_mask_name": text}}},
        {"gather": {"crs": text}},
    ):
        with pytest.raises((RequestError, GridError), match=r"^test: ") as caught:
            request(**changes)
        assert len(str(caught.value)) < 1000


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
        "query": {"asset_mirror": [f"s3://a/{number}={'x' * 3000}" for number in range(100)]},
    }
    with pytest.raises(RequestError, match="over 220000 bytes"):
        admit(document, source="requests/m.json", settings=settings)
