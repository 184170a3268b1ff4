"""What is told of an execution that ended without its last state, and what its status says."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from cloudbuster.aws.failures import UNHEARD
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.outcomes import Stopped, enter, finish, outcome_message, status, teller
from cloudbuster.aws.stack.state import first_round
from cloudbuster.errors import TryAgainError
from cloudbuster.models import MosaicRequest, RunStatus
from cloudbuster.storage.documents import read_document, write_document
from cloudbuster.storage.run_layout import RunLayout, run_id
from tests.unit.aws.requests import REQUEST

Told = list[dict[str, Any]]
MOSAIC = MosaicRequest.model_validate(REQUEST)
RUN = run_id(MOSAIC)


def event(name: str = RUN, state: str = "ABORTED", **detail: Any) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html."""
    machine = "arn:aws:states:us-west-2:123456789012:stateMachine:CloudBuster"
    execution = f"{machine.replace('stateMachine', 'execution')}:{name}"
    content = json.dumps(REQUEST)
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
            "stateMachineArn": machine,
            "name": name,
            "status": state,
            "startDate": 1551225014968,
            "stopDate": 1551225017576,
            "input": content,
            "output": None,
            "inputDetails": {"included": True},
            "outputDetails": None,
            "error": None,
            "cause": None,
            **detail,
        },
    }


class Stack:
    """A stack with a folder for its bucket, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.settings = StackSettings(root=str(folder))
        self.run = RunLayout.in_bucket(MOSAIC, str(folder))
        self.told: Told = []

    def write(self, execution: str = RUN, **values: Any) -> None:
        begun = {"state": "running", "stage": "gather", **values}
        uri = self.run.document("status.json")
        write_document(uri, status(MOSAIC, execution=execution, **begun))

    def read(self) -> RunStatus:
        return read_document(self.run.document("status.json"), RunStatus)

    def handle(self, told: dict[str, Any]) -> dict[str, Any] | None:
        def tell(_subject: str, message: str) -> None:
            self.told.append(json.loads(message))

        return finish(told, self.settings, tell)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


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
def test_a_run_that_could_not_tell_its_end_is_failed_and_told(
    stack: Stack, state: str, detail: dict[str, str], code: int, error: str
) -> None:
    stack.write()
    outcome = stack.handle(event(state=state, **detail))
    assert outcome is not None
    (told,) = stack.told
    assert told == outcome
    assert (told["run_id"], told["execution"], told["state"]) == (RUN, RUN, "failed")
    assert (told["exit_code"], told["stage"], told["duration_s"]) == (code, "gather", 2.6)
    assert f"{told['error']}: {told['cause']}" == error
    written = stack.read()
    assert (written.state, written.stage, written.exit_code) == ("failed", "gather", code)
    assert written.error == error
    assert stack.handle(event(state=state, **detail)) is None
    assert len(stack.told) == 1


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_what_the_last_state_has_told_is_left_alone(stack: Stack, state: str) -> None:
    stack.write(state=state, exit_code=0, stage="merge")
    before = stack.read()
    assert stack.handle(event(state="FAILED", error="KeyError", cause="'x'")) is None
    assert stack.told == []
    assert stack.read() == before


def test_a_late_event_leaves_the_next_attempt_alone(stack: Stack) -> None:
    stack.write(execution=f"{RUN}-a2")
    outcome = stack.handle(event(RUN))
    assert outcome is not None
    assert outcome["status_uri"] is None
    assert stack.read().state == "running"
    assert len(stack.told) == 1


@pytest.mark.parametrize("content", [None, "{}", "not JSON", json.dumps({**REQUEST, "nme": 1})])
def test_a_run_is_found_by_its_execution_where_the_request_is_not_told(
    stack: Stack, content: str | None
) -> None:
    stack.write(execution=f"{RUN}-a2")
    outcome = stack.handle(event(f"{RUN}-a2", input=content))
    assert outcome is not None
    assert outcome["run_id"] == RUN
    assert stack.read().state == "failed"


def test_an_execution_that_somebody_named_is_found_by_its_request(stack: Stack) -> None:
    stack.write(execution="by-hand")
    assert stack.handle(event("by-hand")) is not None
    assert stack.read().exit_code == 143


def test_a_run_that_was_refused_before_its_documents_is_told_once(stack: Stack) -> None:
    refused = event("by-hand", "FAILED", input="{}", error="RequestError", cause="query: missing")
    assert stack.handle(refused) is None
    unheard = event("by-hand", "FAILED", input="{}", error=UNHEARD, cause="see the history")
    outcome = stack.handle(unheard)
    assert outcome is not None
    assert (outcome["run_id"], outcome["stage"], outcome["exit_code"]) == ("by-hand", None, 1)
    assert len(stack.told) == 1
    assert not list(Path(stack.settings.root).rglob("*.json"))


def test_telling_that_fails_is_done_again(stack: Stack) -> None:
    stack.write()

    def tell(_subject: str, _message: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        finish(event(), stack.settings, tell)
    assert stack.read().state == "running"
    assert stack.handle(event()) is not None


def last_state(**state: Any) -> dict[str, Any]:
    """Payload of the last state."""
    times = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"}
    return {"state": state, "execution": RUN, **times}


def unreachable(_subject: str, _message: str) -> None:
    msg = "sns publish: out of reach; try again"
    raise TryAgainError(msg)


def test_a_failure_that_the_last_state_could_not_tell_is_told_as_it_is(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    write_document(stack.run.document("request.json"), MOSAIC)
    cause = json.dumps({"errorMessage": "no scene: widen"})
    failed = last_state(
        run=first_round(stack.run), error={"Error": "NothingUsableError", "Cause": cause}
    )
    with pytest.raises(TryAgainError, match="sns publish"):
        finish(failed, stack.settings, unreachable)
    assert (stack.read().state, stack.read().exit_code) == ("failed", 3)
    unheard = event(state="FAILED", error=UNHEARD, cause="see the history")
    with pytest.raises(TryAgainError, match="sns publish"):
        finish(unheard, stack.settings, unreachable)
    caplog.clear()
    outcome = stack.handle(unheard)
    assert outcome is not None
    assert stack.told == [outcome]
    assert (outcome["error"], outcome["cause"]) == ("NothingUsableError", "no scene: widen")
    assert (outcome["exit_code"], outcome["stage"]) == (3, "filter")
    assert stack.read().error == "NothingUsableError: no scene: widen"
    assert [record.__dict__["infrastructure"] for record in caplog.records] == [False]


def test_a_mosaic_that_nobody_could_be_told_of_is_no_failure(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    write_document(stack.run.document("request.json"), MOSAIC)
    done = last_state(run=first_round(stack.run), plan={}, gathered=[], assess={})
    # The function fails, which raises its alarm, and is tried again.
    with pytest.raises(TryAgainError, match="sns publish"):
        finish(done, stack.settings, unreachable)
    assert stack.read().state == "succeeded"
    # Then the machine asks for what the execution answers.
    done["state"]["untold"] = {"Error": "TryAgainError", "Cause": "{}"}
    outcome = finish(done, stack.settings, unreachable)
    assert outcome is not None
    assert outcome["state"] == "succeeded"
    assert [record.message for record in caplog.records] == 2 * ["outcome_untold"]
    assert stack.handle(done) == outcome
    assert stack.told == [outcome]


def test_a_mosaic_of_which_every_telling_died_ends_as_its_execution(stack: Stack) -> None:
    stack.write(state="succeeded", exit_code=0, stage="merge")
    unheard = event(state="FAILED", error=UNHEARD, cause="see the history")
    assert stack.handle(unheard) is not None
    assert (stack.read().state, stack.read().exit_code) == ("failed", 1)
    assert stack.handle(unheard) is None


def test_an_execution_that_step_functions_ended_before_its_first_document_is_told(
    stack: Stack,
) -> None:
    large = event("by-hand", "FAILED", input=None, error="States.DataLimitExceeded", cause="size")
    outcome = stack.handle(large)
    assert outcome is not None
    assert (outcome["error"], outcome["run_id"]) == ("WorkflowDataLimitExceeded", "by-hand")


def test_the_topic_is_told_and_what_it_answers_is_worth_another_try(stack: Stack) -> None:
    published: list[dict[str, str]] = []

    class Topic:
        def publish(self, **message: str) -> None:
            published.append(message)
            if len(published) > 1:
                raise EndpointConnectionError(endpoint_url="https://sns")

    def client(_service: str, *, config: Any) -> Topic:
        # Three tries of 15 s are over before the function's two minutes.
        assert config.retries["total_max_attempts"] * (config.connect_timeout + 10) < 60
        return Topic()

    settings = stack.settings.model_copy(update={"topic_arn": "arn:topic"})
    tell = teller(settings, client)
    tell("a", "b")
    assert published == [{"TopicArn": "arn:topic", "Subject": "a", "Message": "b"}]
    with pytest.raises(TryAgainError, match=r"sns publish: .*https://sns.*; try again"):
        tell("a", "b")


def test_an_alarm_is_raised_for_a_failure_and_not_for_who_stops_a_run(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    stack.write()
    stack.handle(event())
    stack.write()
    stack.handle(event(state="FAILED", error="States.Runtime", cause="x"))
    stopped, failed = caplog.records
    assert (stopped.message, stopped.levelname) == ("run_stopped", "WARNING")
    assert (failed.message, failed.__dict__["infrastructure"]) == ("run_failed", True)


def test_an_event_without_an_error_is_one_of_which_nothing_is_known() -> None:
    told = event(state="FAILED")
    del told["detail"]["error"], told["detail"]["cause"], told["detail"]["input"]
    stopped = Stopped.of_event(told)
    assert (stopped.failure.error, stopped.request) == ("Unknown", None)


def test_entering_a_stage_never_revives_a_run(stack: Stack) -> None:
    enter(stack.run, "filter")
    assert not Path(stack.run.document("status.json")).exists()
    stack.write(stage="query")
    enter(stack.run, "filter")
    assert (stack.read().stage, stack.read().execution) == ("filter", RUN)
    stack.handle(event())
    enter(stack.run, "gather")
    assert (stack.read().state, stack.read().stage) == ("failed", "filter")
    Path(stack.run.document("status.json")).write_text("{")
    enter(stack.run, "gather")


def test_subjects_fit_sns() -> None:
    subject, text = outcome_message({"state": "failed", "run_id": "é" * 200})
    assert len(subject) == 100
    assert subject.isascii()
    assert json.loads(text)["state"] == "failed"
