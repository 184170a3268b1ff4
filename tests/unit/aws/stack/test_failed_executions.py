"""Executions that end without their last state: what is published, and what their status says."""

import json
from typing import Any

import pytest

from cloudbuster.aws.failures import FINISH_ERROR
from cloudbuster.aws.stack.failed_executions import FailedExecution, report_failed_execution
from cloudbuster.aws.stack.run_status import make_status
from cloudbuster.errors import TryAgainError
from cloudbuster.models import MosaicRequest, RunStatus
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout, run_id
from cloudbuster.storage.remote import s3
from tests.unit.aws.account import MACHINE
from tests.unit.aws.requests import REQUEST

pytestmark = pytest.mark.usefixtures("aws")

MOSAIC = MosaicRequest.model_validate(REQUEST)
RUN = run_id(MOSAIC)
STATUS_URI = RunLayout.in_bucket(MOSAIC, "s3://store").document("status.json")
NOT_REPORTED = {"error": FINISH_ERROR, "cause": "see the history"}


def event(name: str = RUN, state: str = "ABORTED", **detail: Any) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html."""
    execution = f"{MACHINE.replace('stateMachine', 'execution')}:{name}"
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "us-west-2",
        "resources": [execution],
        "detail": {
            "executionArn": execution,
            "stateMachineArn": MACHINE,
            "name": name,
            "status": state,
            "startDate": 1551225014968,
            "stopDate": 1551225017576,
            "input": json.dumps(REQUEST),
            "output": None,
            "inputDetails": {"included": True},
            "outputDetails": None,
            "error": None,
            "cause": None,
            **detail,
        },
    }


def write_status(execution: str = RUN, **values: Any) -> None:
    begun = {"state": "running", "stage": "gather", **values}
    write_document(STATUS_URI, make_status(MOSAIC, execution=execution, **begun))


def status() -> RunStatus:
    found = read_earlier(STATUS_URI, RunStatus)
    assert found is not None
    return found


class Outbox(list[dict[str, Any]]):
    """Published outcomes."""

    def report(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Report an execution; the outcome is published here."""
        return report_failed_execution(
            event, "s3://store", lambda _subject, message: self.append(json.loads(message))
        )


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.mark.parametrize(
    ("state", "detail", "code", "error"),
    [
        ("ABORTED", {}, 143, "Aborted: somebody stopped it; submit it again"),
        (
            "ABORTED",
            {"error": "Operator", "cause": "changed my mind"},
            143,
            "Aborted: somebody stopped it (Operator: changed my mind); submit it again",
        ),
        ("TIMED_OUT", {}, 75, "TimedOut: it took over two days; see its history"),
        (
            "FAILED",
            {"error": "States.Runtime", "cause": "no such path"},
            1,
            "WorkflowRuntime: no such path",
        ),
    ],
)
def test_an_execution_without_its_last_state_fails_its_run_and_is_published_once(
    outbox: Outbox, state: str, detail: dict[str, str], code: int, error: str
) -> None:
    write_status()
    outcome = outbox.report(event(state=state, **detail))
    assert outcome is not None
    assert outbox == [outcome]
    assert (outcome["run_id"], outcome["execution"], outcome["state"]) == (RUN, RUN, "failed")
    assert (outcome["exit_code"], outcome["stage"], outcome["duration_s"]) == (code, "gather", 2.6)
    assert f"{outcome['error']}: {outcome['cause']}" == error
    assert (status().state, status().stage, status().exit_code) == ("failed", "gather", code)
    assert status().error == error
    assert outbox.report(event(state=state, **detail)) is None
    assert len(outbox) == 1


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_an_outcome_that_the_last_state_published_is_not_published_again(
    outbox: Outbox, state: str
) -> None:
    write_status(state=state, exit_code=0, stage="merge")
    before = status()
    assert outbox.report(event(state="FAILED", error="KeyError", cause="'x'")) is None
    assert outbox == []
    assert status() == before


def test_a_late_event_does_not_change_the_status_of_the_next_attempt(outbox: Outbox) -> None:
    write_status(execution=f"{RUN}-a2")
    outcome = outbox.report(event(RUN))
    assert outcome is not None
    assert outcome["status_uri"] is None
    assert status().state == "running"
    assert len(outbox) == 1


@pytest.mark.parametrize("content", [None, "{}", "not JSON", json.dumps({**REQUEST, "nme": 1})])
def test_a_run_is_found_by_the_name_of_its_execution_if_the_event_has_no_request(
    outbox: Outbox, content: str | None
) -> None:
    write_status(execution=f"{RUN}-a2")
    outcome = outbox.report(event(f"{RUN}-a2", input=content))
    assert outcome is not None
    assert outcome["run_id"] == RUN
    assert status().state == "failed"


def test_a_run_is_found_by_its_request_if_a_person_named_the_execution(outbox: Outbox) -> None:
    write_status(execution="by-hand")
    assert outbox.report(event("by-hand")) is not None
    assert status().exit_code == 143


def test_a_run_that_was_refused_before_its_documents_is_published_once(outbox: Outbox) -> None:
    refused = event("by-hand", "FAILED", input="{}", error="RequestError", cause="query: missing")
    assert outbox.report(refused) is None
    outcome = outbox.report(event("by-hand", "FAILED", input="{}", **NOT_REPORTED))
    assert outcome is not None
    assert (outcome["run_id"], outcome["stage"], outcome["exit_code"]) == ("by-hand", None, 1)
    assert len(outbox) == 1
    assert s3.object_names(f"s3://store/runs/{RUN}") == []


def test_a_failed_notification_leaves_the_work_for_the_next_delivery(outbox: Outbox) -> None:
    def unreachable(_subject: str, _message: str) -> None:
        msg = "cannot publish"
        raise TryAgainError(msg)

    write_status()
    with pytest.raises(TryAgainError, match="cannot publish"):
        report_failed_execution(event(), "s3://store", unreachable)
    assert status().state == "running"
    assert outbox.report(event()) is not None


def test_a_failure_that_the_last_state_wrote_and_could_not_publish_is_published(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    error = "NothingUsableError: no scene: widen"
    write_status(state="failed", exit_code=3, stage="filter", error=error)
    outcome = outbox.report(event(state="FAILED", **NOT_REPORTED))
    assert outcome is not None
    assert outbox == [outcome]
    assert (outcome["error"], outcome["cause"]) == ("NothingUsableError", "no scene: widen")
    assert (outcome["exit_code"], outcome["stage"]) == (3, "filter")
    assert status().error == error
    assert [record.__dict__["infrastructure"] for record in caplog.records] == [False]


def test_a_mosaic_whose_last_state_always_failed_ends_as_its_execution(outbox: Outbox) -> None:
    write_status(state="succeeded", exit_code=0, stage="merge")
    not_reported = event(state="FAILED", **NOT_REPORTED)
    assert outbox.report(not_reported) is not None
    assert (status().state, status().exit_code) == ("failed", 1)
    assert outbox.report(not_reported) is None


def test_an_execution_that_step_functions_ended_before_its_first_document_is_published(
    outbox: Outbox,
) -> None:
    large = event("by-hand", "FAILED", input=None, error="States.DataLimitExceeded", cause="size")
    outcome = outbox.report(large)
    assert outcome is not None
    assert (outcome["error"], outcome["run_id"]) == ("WorkflowDataLimitExceeded", "by-hand")


def test_a_failure_is_logged_for_its_alarm_and_a_stopped_run_is_not(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    write_status()
    outbox.report(event())
    write_status()
    outbox.report(event(state="FAILED", error="States.Runtime", cause="x"))
    stopped, failed = caplog.records
    assert (stopped.message, stopped.levelname) == ("run_stopped", "WARNING")
    assert (failed.message, failed.__dict__["infrastructure"]) == ("run_failed", True)


def test_an_event_without_error_and_input_is_read() -> None:
    bare = event(state="FAILED")
    del bare["detail"]["error"], bare["detail"]["cause"], bare["detail"]["input"]
    failed = FailedExecution.of_event(bare)
    assert (failed.failure.error, failed.request) == ("Unknown", None)
