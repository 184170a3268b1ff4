"""Documents by URI: what comes back, and which error names what."""

import json

import pytest
from pydantic import ValidationError

from cloudbuster.errors import ExitCode, NotFoundError, OutputError, RequestError
from cloudbuster.models import Candidates, CandidatesInfo, MosaicRequest, QueryOptions
from cloudbuster.storage.files.documents import (
    parse_candidates,
    parse_document,
    parse_json,
    parse_selection,
    read_document,
    validation_message,
    write_document,
)
from cloudbuster.storage.files.uri import read_bytes
from tests.stac_items import make_item, square

DATES = {"mindate": ["2020-05-01"], "maxdate": ["2020-06-01"]}
REQUEST = {
    "name": "test",
    "aoi": square(14.6, 45.6, 0.2),
    "query": DATES,
}
CANDIDATES = Candidates(
    features=(make_item(),),
    cloudbuster=CandidatesInfo(aoi=square(14.6, 45.6, 0.2), kind="L2A", catalog="test"),
)


def message_of(document, model=MosaicRequest):
    with pytest.raises(RequestError) as caught:
        parse_document(json.dumps(document).encode(), model, source="request.json")
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_query(**changes):
    return {**REQUEST, "query": {**DATES, **changes}}


def test_a_document_comes_back_from_its_file_as_it_was(tmp_path):
    uri = str(tmp_path / "deep" / "candidates.json")
    write_document(uri, CANDIDATES)
    assert read_document(uri, Candidates) == CANDIDATES
    assert parse_candidates(read_bytes(uri), source=uri) == CANDIDATES


@pytest.mark.parametrize("catalog", ["", " "])
def test_an_empty_catalog_is_not_the_default_one(catalog):
    assert message_of(with_query(catalog=catalog)) == (
        "request.json: query.catalog: is empty; leave it out for earth-search, or give a name, "
        "the URL of a STAC API, or a path"
    )


def test_an_unknown_field_is_named_with_the_one_that_is_meant():
    assert message_of(with_query(maxcluods=30)) == (
        "request.json: query.maxcluods: unknown field; did you mean maxclouds?"
    )
    assert message_of({**REQUEST, "gather": {"detector": {"treshold": 0.5}}}) == (
        "request.json: gather.detector.treshold: unknown field; did you mean threshold?"
    )
    assert message_of({**REQUEST, "shema": "x"}).endswith("did you mean schema?")


def test_an_unknown_field_unlike_any_is_named_with_the_known_ones():
    assert message_of({**REQUEST, "merge": {"zzz": 1}}) == (
        "request.json: merge.zzz: unknown field; known are haze_limit_dn, composite, layout, clip, "
        "self_check"
    )


def test_several_problems_are_one_line():
    document = with_query(maxclouds=200, mindte=["2020-05-01"])
    del document["name"]
    parts = message_of(document).removeprefix("request.json: ").split("; ")
    assert parts == [
        "name: is required",
        "query.maxclouds: Input should be less than or equal to 100",
        "query.mindte: unknown field",
        "did you mean mindate?",
    ]


def test_dates_in_the_wrong_order_are_refused_with_the_models_message():
    document = with_query(mindate=["2020-07-01"])
    assert message_of(document) == (
        "request.json: query: mindate 2020-07-01 is after maxdate 2020-06-01: swap them"
    )


def test_validation_message_of_another_model_of_the_contract():
    with pytest.raises(ValidationError) as caught:
        QueryOptions.model_validate({"mindate": ["2020-05-01"], "maxdate": ["2020-05-02"], "x": 1})
    assert validation_message(caught.value).startswith("x: unknown field; known are catalog, kind")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "request.json: the file is empty"),
        (b" \n", "request.json: the file is empty"),
        (b'{"name": "a",\n  "aoi" 3}', "request.json: not JSON at line 2, column 9"),
        (b'{"name": NaN}', "request.json: not JSON at line 1, column"),
        (b"\xff\xfe{}", "request.json: not JSON at line 1"),
        (b"[" * 3000, "request.json: not JSON at line 1"),
        (b"[]", "request.json: Input should be a valid dictionary"),
    ],
)
def test_content_that_is_no_json_object_is_refused_with_its_place(content, message):
    with pytest.raises(RequestError) as caught:
        parse_document(content, MosaicRequest, source="request.json")
    assert str(caught.value).startswith(message)


def test_a_byte_order_mark_is_left_out():
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', source="x") == {"a": 1}


def test_a_document_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"absent.json: No such file or directory; check"):
        read_document(str(tmp_path / "absent.json"), MosaicRequest)


def test_a_document_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OutputError, match=r"x\.json is a folder, and no file"):
        write_document(str(tmp_path / "x.json"), CANDIDATES)


def test_the_original_form_of_both_documents_is_read():
    record = {
        "name": "S2A_0000",
        "createdAt": "2020-05-09T10:00:31Z",
        "dataFootprint": square(14.5, 45.5),
        "sceneMetadata": {"cloudyPixelPercentage": 12.5, "path": "tiles/0"},
    }
    response = json.dumps({"aoi": square(14.6, 45.6), "results": [record]}).encode()
    candidates = parse_candidates(response, source="response.json", kind="L1C")
    assert candidates.cloudbuster.kind == "L1C"
    assert [item["id"] for item in candidates.features] == ["S2A_0000"]
    filtered = json.dumps({"bounds": [0, 0, 1, 1], "selections": [record]}).encode()
    selection = parse_selection(filtered, source="filtered.json")
    assert selection.cloudbuster.entries[0].item_id == "S2A_0000"


def test_a_broken_original_document_names_file_and_field():
    with pytest.raises(RequestError, match=r"r.json: results\[0\]: must be an object with a name"):
        parse_candidates(b'{"aoi": {}, "results": [1]}', source="r.json")
    with pytest.raises(RequestError, match=r"r.json: selections: must be a list"):
        parse_selection(b'{"bounds": [0, 0, 1, 1], "selections": 1}', source="r.json")


def test_a_document_of_another_kind_is_named():
    content = CANDIDATES.to_json()
    with pytest.raises(RequestError) as caught:
        parse_selection(content, source="c.json")
    assert str(caught.value) == (
        "c.json: no selection document, but cloudbuster.candidates/1; "
        "give what `cloudbuster filter` writes"
    )
    with pytest.raises(RequestError, match="neither of this package nor of the original"):
        parse_candidates(b'{"type": "FeatureCollection", "features": []}', source="c.json")
