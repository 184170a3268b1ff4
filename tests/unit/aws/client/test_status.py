"""The state of a run on the deployed stack."""

import json
from pathlib import Path

import pytest

from cloudbuster.errors import ExitCode
from cloudbuster.storage.remote import s3
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.account import MACHINE, Invoke, end_execution
from tests.unit.aws.conftest import Break

pytestmark = pytest.mark.usefixtures("stack")


def test_status_describes_the_last_attempt(invoke: Invoke, request_file: Path) -> None:
    first = json.loads(invoke("submit", request_file)[1])
    name = first["run_id"]
    found = json.loads(invoke("status", name)[1])
    assert (found["state"], found["run_id"], found["status"]) == ("running", name, None)
    end_execution(first["execution"], "FAILED", error="NothingUsableError", cause="no scene")
    found = json.loads(invoke("status", first["execution"])[1])
    assert (found["state"], found["error"], found["exit_code"]) == (
        *("failed", "NothingUsableError", 3),
    )
    invoke("submit", request_file)
    document = {"name": "denver-2020", "state": "running", "stage": "query"}
    content = json.dumps({**document, "request_fingerprint": "f"}).encode()
    s3.write_object(first["status_uri"], content)
    found = json.loads(invoke("status", name)[1])
    assert found["execution"] == f"{first['execution']}-a2"
    assert (found["run_id"], found["state"]) == (name, "running")
    assert found["status"]["stage"] == "query"


def test_a_run_that_does_not_exist_is_named(invoke: Invoke) -> None:
    code, _, err = invoke("status", "no-such-run")
    assert code == ExitCode.BAD_INPUT
    last = err.splitlines()[-1]
    assert last.startswith("NotFoundError: no execution of no-such-run on stack CloudBuster")
    assert "give the run_id or the execution" in last


def test_status_describes_the_last_attempt_forced_or_not(
    invoke: Invoke, request_file: Path
) -> None:
    content = json.loads(request_file.read_text())
    request_file.write_text(json.dumps({**content, "force": True}))
    forced = json.loads(invoke("submit", request_file)[1])
    name = forced["run_id"]
    # A run that was started by force alone has no execution of its own name.
    found = json.loads(invoke("status", name)[1])
    assert (found["execution"], found["run_id"]) == (forced["execution"], name)
    end_execution(forced["execution"], "FAILED", error="KeyError", cause="'x'")
    request_file.write_text(json.dumps(content))
    plain = json.loads(invoke("submit", request_file)[1])
    assert json.loads(invoke("status", name)[1])["execution"] == plain["execution"]
    end_execution(plain["execution"], "SUCCEEDED")
    request_file.write_text(json.dumps({**content, "force": True}))
    last = json.loads(invoke("submit", request_file)[1])["execution"]
    found = json.loads(invoke("status", name)[1])
    assert (found["execution"], found["state"]) == (last, "running")
    # Each of them is still found by its own name.
    states = [
        json.loads(invoke("status", each)[1])["state"] for each in (forced["execution"], last)
    ]
    assert states == ["failed", "running"]
    short = last.rsplit(":", 1)[1]
    assert json.loads(invoke("status", short)[1])["execution"] == last
    # An execution of another run is no attempt of this one.
    states_client = aws_client("stepfunctions")
    states_client.start_execution(stateMachineArn=MACHINE, name="another", input="{}")
    assert json.loads(invoke("status", name)[1])["execution"] == last


def test_status_without_the_permission_does_not_say_that_the_run_is_missing(
    invoke: Invoke, request_file: Path, break_service: Break
) -> None:
    name = json.loads(invoke("submit", request_file)[1])["run_id"]
    break_service("stepfunctions", "DescribeExecution", "AccessDeniedException")
    code, _, err = invoke("status", name)
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[-1].startswith("AccessError: ")
