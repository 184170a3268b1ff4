"""``cloudbuster schema``: the published schema is that of the code."""

import json
from pathlib import Path

from cloudbuster.errors import ExitCode
from tests.unit.cli.conftest import Call

PUBLISHED = Path(__file__).resolve().parents[4] / "docs" / "schema" / "request.schema.json"


def test_the_published_schema_is_that_of_the_code(call: Call) -> None:
    """Golden: ``cloudbuster schema > docs/schema/request.schema.json`` writes it anew."""
    assert call("schema").out == PUBLISHED.read_text()


def test_every_document_has_a_schema_and_an_unknown_one_is_refused(call: Call) -> None:
    schema = json.loads(call("schema", "GatherTask").out)
    assert schema["properties"]["schema"]["const"] == "cloudbuster.task/1"
    ended = call("schema", "Nonsense")
    assert ended.code == ExitCode.BAD_INPUT
    assert ended.last_line.startswith("RequestError: no document 'Nonsense'; there is ")
