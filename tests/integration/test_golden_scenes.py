"""Every real STAC item, parsed: the table of what was read is the one that was looked at."""

import json
from pathlib import Path

import pytest

from tests.goldens import scenes

pytestmark = pytest.mark.real_data


def test_every_real_item_is_read_as_in_the_golden_table(test_data: Path) -> None:
    expected = json.loads(scenes.TABLE.read_text())
    found = scenes.table(test_data)
    assert list(found) == list(expected)
    for document, rows in expected.items():
        assert found[document] == rows, document


def test_every_real_item_is_parsed_or_refused_with_a_reason(test_data: Path) -> None:
    seen = 0
    for name, document in scenes.documents(test_data):
        ids = [item["id"] for item in scenes.items(document)]
        assert len(set(ids)) == len(ids), name
        seen += len(ids)
        for item in scenes.items(document):
            row = scenes.row(item)
            assert row.get("refused", "a reason")
            assert "refused" in row or (row["kind"] and row["tile"] and row["epsg"])
    assert seen == 86


def test_an_item_that_is_none_is_refused_with_a_reason() -> None:
    row = scenes.row({"type": "Feature", "id": "LC08_1", "properties": {"platform": "landsat-8"}})
    assert "is not a STAC item" in row["refused"]
