"""The contract: what a request takes and refuses, and its published schema."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from cloudbuster.models import MAX_INLINE_AOI_BYTES, GatherTask, MosaicRequest

SQUARE = {"type": "Polygon", "coordinates": [[[15, 45], [16, 45], [16, 46], [15, 46], [15, 45]]]}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "m",
        "aoi": SQUARE,
        "query": {"mindate": ["2023-01-01"], "maxdate": ["2023-02-01"]},
        **changes,
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
        "merge": {"composite": "first"},
        "limits": {"budget_usd": None, "max_rounds": 3, "min_success_fraction": 0.8},
        "output": None,
        "force": False,
    }
    assert (request.query.catalog, request.query.kind) == ("earth-search", "L2A")
    assert (request.query.maxclouds, request.query.limit) == (20, 1024)
    assert (request.filter.coverage_count, request.filter.max_uncovered) == (3, 0.0005)
    assert (request.gather.dilate_m, request.gather.gsd_m, request.gather.crs) == (50, 10, "utm")


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
        request.name = "other"  # type: ignore[misc]


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
