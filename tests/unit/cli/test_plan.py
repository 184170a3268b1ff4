"""``cloudbuster plan``."""

import json
from pathlib import Path

import pytest

from tests.half_tiles import request_of, write_candidates
from tests.unit.cli.conftest import Call


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    write_candidates(tmp_path)
    path = tmp_path / "request.json"
    path.write_text(request_of(tmp_path).model_dump_json(by_alias=True))
    return path


def test_a_plan_is_printed_as_text_and_as_json(call: Call, request_file: Path) -> None:
    text = call("plan", request_file)
    assert text.code == 0
    assert "round expected" in text.out
    found = json.loads(call("plan", request_file, "--json", "--region", "eu-central-1").out)
    assert (found["schema"], found["region"]) == ("cloudbuster.plan/1", "eu-central-1")
    names = {line["name"]: line for line in found["costs"]}
    assert names["transfer between regions"]["amount"] == 0
    assert not (request_file.parent / "run").exists()


def test_too_little_money_exits_as_over_budget(call: Call, request_file: Path) -> None:
    ended = call("plan", request_file, "--max-usd", "0.0001")
    assert ended.code == 6
    assert ended.last_line.startswith("OverBudgetError: the cheapest run")


def test_a_stack_has_its_own_region(call: Call, request_file: Path) -> None:
    ended = call("plan", request_file, "--stack", "S", "--region", "eu-west-1")
    assert ended.code == 2
