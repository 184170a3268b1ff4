"""Runs that are submitted to the deployed stack."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws import DEFAULT_STACK
from cloudbuster.aws.client import submit
from cloudbuster.cli.main import cli
from cloudbuster.errors import ExitCode
from cloudbuster.storage.remote import s3
from tests.unit.aws.account import Invoke, end_execution, executions
from tests.unit.aws.requests import REQUEST

pytestmark = pytest.mark.usefixtures("stack")


def test_the_same_request_submitted_twice_is_one_execution(
    invoke: Invoke, request_file: Path
) -> None:
    first = invoke("submit", request_file)
    second = invoke("submit", request_file)
    assert (first[0], second[0]) == (0, 0)
    submitted = json.loads(first[1])
    assert submitted["state"] == "started"
    assert json.loads(second[1]) == {**submitted, "state": "running"}
    assert submitted["status_uri"] == f"s3://store/runs/{submitted['run_id']}/status.json"
    (execution,) = executions()
    assert execution["executionArn"] == submitted["execution"]
    assert execution["name"] == submitted["run_id"]
    end_execution(submitted["execution"], "FAILED", error="JobBUG", cause="x")
    again = json.loads(invoke("submit", request_file)[1])
    assert again["execution"] == f"{submitted['execution']}-a2"


def test_force_starts_at_every_submission(invoke: Invoke, request_file: Path) -> None:
    request_file.write_text(json.dumps({**REQUEST, "force": True}))
    first = json.loads(invoke("submit", request_file)[1])
    code, _, err = invoke("submit", request_file)
    assert code == ExitCode.TRY_AGAIN
    assert "is at work as" in err
    end_execution(first["execution"], "SUCCEEDED")
    assert invoke("submit", request_file)[0] == 0
    assert len(executions()) == 2


def test_an_area_in_a_file_becomes_part_of_the_request(
    invoke: Invoke, request_file: Path, tmp_path: Path
) -> None:
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(REQUEST["aoi"]))
    plain = json.loads(invoke("submit", request_file)[1])
    request_file.write_text(json.dumps({**REQUEST, "aoi": {"uri": "area.geojson"}}))
    # The same area is the same run, in the request or in a file.
    assert json.loads(invoke("submit", request_file)[1])["run_id"] == plain["run_id"]
    ring = [[0.001 * step, 0.0] for step in range(8000)] + [[4.0, 5.0], [0.0, 0.0]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    invoke("submit", request_file)
    uri = json.loads(executions()[-1]["input"])["aoi"]["uri"]
    assert uri.startswith("s3://store/aois/")
    assert json.loads(s3.read_object(uri)) == json.loads(area.read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "s3://elsewhere/x"}, "lies outside of s3://store/mosaics"),
        ({"output": "folder"}, "lies outside of"),
        (
            {"query": {**REQUEST["query"], "catalog": "my-catalog"}},
            "query.catalog: my-catalog lies",
        ),
        ({"quer": {}}, "did you mean query?"),
        ({"gather": {"detector": {"type": "pytorch", "weights": "s3://w"}}}, "torch_image"),
        ({"aoi": {"uri": "none.geojson"}}, "none.geojson"),
    ],
)
def test_a_request_that_the_stack_would_refuse_is_not_started(
    invoke: Invoke, request_file: Path, changes: dict[str, Any], message: str
) -> None:
    request_file.write_text(json.dumps({**REQUEST, **changes}))
    code, _, err = invoke("submit", request_file)
    assert code == ExitCode.BAD_INPUT
    assert message in err.splitlines()[-1]
    assert executions() == []


@pytest.mark.parametrize(
    ("query", "gather", "warning"),
    [
        ({}, {}, ""),
        (
            {"kind": "L1C"},
            {},
            "warning: L1C scenes lie in eu-central-1, the stack in us-west-2: reading them adds "
            "up to 0.016 USD a scene, and time\n",
        ),
        ({"kind": "L1C", "catalog": "cdse"}, {}, ""),
        ({"kind": "L1C", "asset_mirror": ["s3://sentinel-s2-l1c=s3://store/runs"]}, {}, ""),
        (
            {"catalog": "rasterfoundry"},
            {},
            "warning: L2A scenes lie in eu-central-1, the stack in us-west-2: reading them adds "
            "up to 0.020 USD a scene, and time\n",
        ),
        (
            {},
            {"detector": {"type": "s2cloudless"}},
            "warning: L1C scenes lie in eu-central-1, the stack in us-west-2: reading them adds "
            "up to 0.016 USD a scene, and time\n",
        ),
    ],
)
def test_the_price_of_scenes_in_another_region_is_a_warning(
    invoke: Invoke,
    request_file: Path,
    query: dict[str, Any],
    gather: dict[str, Any],
    warning: str,
) -> None:
    document = {**REQUEST, "query": {**REQUEST["query"], **query}, "gather": gather}
    request_file.write_text(json.dumps(document))
    code, out, err = invoke("submit", request_file)
    assert (code, err) == (0, warning)
    assert json.loads(out)["state"] == "started"


def test_a_stack_that_does_not_exist_is_named(invoke: Invoke, request_file: Path) -> None:
    code, _, err = invoke("submit", request_file, "--stack", "Nowhere")
    assert code == ExitCode.BAD_INPUT
    assert "Nowhere" in err.splitlines()[-1]
    assert "--stack" in err.splitlines()[-1]


def test_the_stack_is_called_as_the_configuration_calls_it() -> None:
    (stack,) = (flag for flag in cli.commands["submit"].params if flag.name == "stack")
    assert stack.default == DEFAULT_STACK


@pytest.mark.parametrize(
    ("status", "values", "code", "last"),
    [
        ("SUCCEEDED", {"output": {"exit_code": 0}}, 0, None),
        ("SUCCEEDED", {"output": {"exit_code": 4}}, 4, "NotCoveredError: "),
        ("FAILED", {"error": "NothingUsableError", "cause": "no scene"}, 3, "NothingUsableError: "),
        ("FAILED", {"error": "OverBudgetError", "cause": "9 USD"}, 6, "OverBudgetError: "),
        ("FAILED", {"error": "JobTRY_AGAIN", "cause": "job m"}, 75, "RunFailedError: "),
        ("FAILED", {"error": "JobFailed", "cause": "job m"}, 1, "RunFailedError: "),
        ("ABORTED", {}, 143, "RunFailedError: "),
        ("TIMED_OUT", {}, 75, "RunFailedError: "),
    ],
)
def test_waiting_exits_as_the_run_does(
    invoke: Invoke,
    request_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    values: dict[str, Any],
    code: int,
    last: str | None,
) -> None:
    arn = json.loads(invoke("submit", request_file)[1])["execution"]
    slept: list[float] = []
    if "output" in values:
        values = {"output": json.dumps(values["output"])}

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        end_execution(arn, status, **values)

    monkeypatch.setattr("cloudbuster.aws.client.submit.time.sleep", sleep)
    found, out, err = invoke("submit", request_file, "--wait")
    assert (found, slept) == (code, [submit.POLL_S])
    assert json.loads(out)["exit_code"] == code
    assert err == "" if last is None else err.splitlines()[-1].startswith(last)
