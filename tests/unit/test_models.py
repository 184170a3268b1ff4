"""The contract: what a request accepts and refuses, and the schema of every document."""

from collections.abc import Iterator
from datetime import date
from types import UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import orjson
import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from cloudbuster.core.grids.grid import Grid
from cloudbuster.models import (
    DOCUMENTS,
    MAX_INLINE_AOI_BYTES,
    Delivery,
    Document,
    GatherTask,
    GridDocument,
    MosaicRequest,
)
from cloudbuster.storage.files.documents import validation_message

SQUARE = {"type": "Polygon", "coordinates": [[[15, 45], [16, 45], [16, 46], [15, 46], [15, 45]]]}
# Numbers that have no range: coordinates of a grid, and cloud cover as a catalog gives it.
WITHOUT_RANGE = {
    # DN by band.
    ("Explanation", "values"),
    ("GridDocument", "west"),
    ("GridDocument", "north"),
    ("SceneRecord", "cloud_cover"),
}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "m",
        "aoi": SQUARE,
        "query": {"mindate": ["2023-01-01"], "maxdate": ["2023-02-01"]},
        **changes,
    }


def members(annotation: Any) -> Iterator[Any]:
    """All types in an annotation like ``tuple[Model, ...] | None``."""
    yield annotation
    for member in get_args(annotation):
        yield from members(member)


def nested(field: FieldInfo) -> type[Document] | None:
    """The document that a field holds, by itself or in a list."""
    found = (member for member in members(field.annotation) if isinstance(member, type))
    return next((member for member in found if issubclass(member, Document)), None)


def is_list(field: FieldInfo) -> bool:
    annotation = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = get_args(annotation)[0]
    return get_origin(annotation) is tuple


def misspelt(model: type[Document], field: str) -> str:
    """A field's name in JSON with one letter too many, which is no field of the model itself."""
    return f"{model.model_fields[field].alias or field}x"


def typos(model: type[Document], depth: int = 0) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield (document, place of a misspelt field, name meant) for a model and all in it."""
    for name, field in model.model_fields.items():
        wrong, meant = misspelt(model, name), field.alias or name
        yield {wrong: 1}, wrong, meant
        inner = nested(field)
        if inner is None or depth == 3:
            continue
        for content, place, inner_meant in typos(inner, depth + 1):
            value = [content] if is_list(field) else content
            middle = f"{meant}.0" if is_list(field) else meant
            yield {meant: value}, f"{middle}.{place}", inner_meant


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_misspelt_field_gets_did_you_mean_in_every_document(name: str) -> None:
    model = DOCUMENTS[name]
    for content, place, meant in typos(model):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(content)
        message = validation_message(caught.value)
        assert f"{place}: unknown field; did you mean {meant}?" in message


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_field_has_a_description_and_every_number_a_range(name: str) -> None:
    for field_name, field in DOCUMENTS[name].model_fields.items():
        assert field.description, field_name
        is_number = any(member in (int, float) for member in members(field.annotation))
        has_range = any(isinstance(entry, Ge | Gt | Le | Lt) for entry in field.metadata)
        if is_number and not is_list(field) and (name, field_name) not in WITHOUT_RANGE:
            assert has_range, field_name


def test_every_document_that_crosses_a_process_has_a_schema() -> None:
    schemas = {
        orjson.dumps(model.model_json_schema(by_alias=True)["properties"]["schema"]["const"])
        for model in DOCUMENTS.values()
        if "schema_" in model.model_fields
    }
    assert {schema.decode().strip('"') for schema in schemas} == {
        "cloudbuster.assessment/1",
        "cloudbuster.candidates/1",
        "cloudbuster.claim/1",
        "cloudbuster.gathered-tasks/1",
        "cloudbuster.job-error/1",
        "cloudbuster.explanation/1",
        "cloudbuster.merge-task/1",
        "cloudbuster.merged-part/1",
        "cloudbuster.plan/1",
        "cloudbuster.request/1",
        "cloudbuster.scene/1",
        "cloudbuster.selection/1",
        "cloudbuster.status/1",
        "cloudbuster.task-scenes/1",
        "cloudbuster.task/1",
        "cloudbuster.verification/1",
        "cloudbuster.wanted-scenes/1",
    }


def test_defaults_are_those_of_the_contract() -> None:
    request = MosaicRequest.model_validate(document())
    assert request.model_dump(mode="json", by_alias=True) == {
        "schema": "cloudbuster.request/1",
        "name": "m",
        "aoi": SQUARE,
        "query": request.query.model_dump(mode="json"),
        "filter": request.filter.model_dump(mode="json"),
        "gather": request.gather.model_dump(mode="json"),
        "merge": {
            "composite": "best",
            "haze_limit_dn": 260.0,
            "layout": "multi-band",
            "clip": False,
            "self_check": False,
        },
        "limits": {"budget_usd": None, "max_rounds": 3, "min_success_fraction": 0.8},
        "output": None,
        "force": False,
        "refresh": False,
    }
    assert (request.query.catalog, request.query.kind) == ("earth-search", "L2A")
    assert (request.query.maxclouds, request.query.limit) == (20, 1024)
    assert (request.filter.coverage_count, request.filter.max_uncovered) == (3, 0.0005)
    assert (request.filter.strategy, request.filter.max_never_clear) == ("clear", 0.01)
    assert (request.filter.score, request.filter.target_date) == (
        ("date", "sun", "orbit", "nodata"),
        None,
    )
    assert (request.gather.dilate_m, request.gather.gsd_m, request.gather.crs) == (50, None, "utm")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "backstop-x"},
        {"name": "mask-x"},
        {"name": "a b"},
        {"name": "../x"},
        {"name": "x\n"},
        {"name": ""},
        {"surprise": 1},
        {"query": {"mindate": ["2023-01-01", "2024-01-01"], "maxdate": []}},
        {"query": {"mindate": ["2023-01-01", "2024-01-01"], "maxdate": ["2023-02-01"]}},
        {"query": {"mindate": ["2023-03-01"], "maxdate": ["2023-02-01"]}},
        {"query": {"mindate": ["2023-01-01"], "maxdate": ["2023-02-01"], "maxclouds": 101}},
        {"filter": {"name_regexp": "S2A("}},
        {"gather": {"bands": ["B10"]}},
        {"gather": {"bands": ["B02", "B02"]}},
        {"gather": {"bands": []}},
        {"gather": {"detector": {"type": "pytorch"}}},
        {"gather": {"detector": {"type": "donor"}}},
        {"aoi": {"type": "Polygon", "coordinates": [[[1.5, 2.5]] * MAX_INLINE_AOI_BYTES]}},
    ],
)
def test_what_breaks_the_contract_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MosaicRequest.model_validate(document(**changes))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("S2A(", "position 3"), ("*2020", "position 0"), ("a{99999999999}", "simplify it")],
)
@pytest.mark.parametrize("field", ["name_regexp", "date_regexp"])
def test_a_malformed_regular_expression_breaks_the_contract(
    field: str, pattern: str, words: str
) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        MosaicRequest.model_validate(document(filter={field: pattern}))
    assert caught.value.errors()[0]["loc"] == ("filter", field)


def test_dates_that_are_left_out_are_those_of_the_mission() -> None:
    start, end = date(2015, 6, 23), date(2100, 1, 1)
    first, last = date(2023, 1, 1), date(2023, 2, 1)
    for given, periods in (
        ({}, ((start, end),)),
        ({"mindate": ["2023-01-01"]}, ((first, end),)),
        ({"maxdate": ["2023-02-01"]}, ((start, last),)),
        ({"mindate": ["2023-01-01"], "maxdate": ["2023-02-01"]}, ((first, last),)),
    ):
        assert MosaicRequest.model_validate(document(query=given)).query.periods == periods
    assert MosaicRequest(name="m", aoi=SQUARE).query.periods == ((start, end),)


def test_documents_are_frozen() -> None:
    request = MosaicRequest.model_validate(document())
    with pytest.raises(ValidationError):
        request.name = "other"  # type: ignore[misc]  # what is tested


def test_a_task_needs_an_index() -> None:
    with pytest.raises(ValidationError, match="index"):
        GatherTask.model_validate(
            {
                "name": "m",
                "kind": "L2A",
                "catalog": "c",
                "item": {},
                "index": None,
                "backstop_index": None,
                "bands": ["B02"],
                "grid": {
                    "crs": "EPSG:32633",
                    "west": 0,
                    "north": 0,
                    "x_size": 10,
                    "y_size": 10,
                    "width": 1,
                    "height": 1,
                },
                "detector": {},
                "dilate_m": 50,
                "output": "o",
            }
        )


@pytest.mark.parametrize("width", [1, 3, 4, 5, 8, 17])
def test_a_delivery_is_the_parts_it_was_made_of(width: int) -> None:
    needed = np.random.default_rng(width).random((7, width)) < 0.5
    needed[2:5] = needed[1]
    made = Delivery.of(Grid("EPSG:32633", 0, 0, 640, 640, width, 7), needed)
    again = Delivery.model_validate_json(made.model_dump_json(by_alias=True))
    np.testing.assert_array_equal(again.needed(), needed)


def test_a_delivery_has_one_text_for_equal_rows() -> None:
    needed = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 1, 1, 1, 0]], dtype=bool)
    made = Delivery.of(Grid("EPSG:32633", 0, 0, 640, 640, 5, 3), needed)
    assert made.rows == ("2*18", "1*f0")


@pytest.mark.parametrize(
    "rows", [(), ("2*18",), ("4*18",), ("3*1",), ("3*181",), ("3*zz",), ("0*18", "3*18"), ("18",)]
)
def test_a_delivery_whose_rows_do_not_fit_its_grid_is_refused(rows: tuple[str, ...]) -> None:
    grid = GridDocument.of(Grid("EPSG:32633", 0, 0, 640, 640, 5, 3))
    with pytest.raises(ValidationError, match="rows must be 3, of 2 hexadecimal digits each"):
        Delivery(grid=grid, rows=rows)


@pytest.mark.parametrize(
    ("merge", "layers"),
    [
        ({}, 3),
        ({"composite": "first"}, 1),
        ({"composite": "first", "self_check": True}, 2),
        ({"composite": "median"}, 3),
        ({"composite": "percentile:20.0", "self_check": True}, 4),
    ],
)
def test_a_request_says_how_often_places_are_delivered(merge: dict[str, Any], layers: int) -> None:
    aoi = {"type": "Point", "coordinates": [0, 0]}
    request = MosaicRequest.model_validate({"name": "m", "aoi": aoi, "merge": merge})
    assert request.delivered_layers == layers
    assert request.merge.composite in ("best", "first", "median", "percentile:20")
