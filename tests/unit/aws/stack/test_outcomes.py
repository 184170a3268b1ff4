"""The outcome of a run that reaches the last state of its execution."""

import json
from typing import Any

import pytest

from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.outcomes import (
    CONNECT_S,
    READ_S,
    TRIES,
    finish,
    outcome_message,
    topic_publisher,
)
from cloudbuster.aws.stack.state import first_round
from cloudbuster.errors import AccessError, NotFoundError, TryAgainError
from cloudbuster.models import Assessment, JobError, MosaicRequest, RunStatus
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.remote.boto import aws_client
from tests.unit.aws.requests import REQUEST

pytestmark = pytest.mark.usefixtures("aws")

MOSAIC = MosaicRequest.model_validate(REQUEST)
RUN = RunLayout.in_bucket(MOSAIC, "s3://store")
COVERED = Assessment(
    area_km2=1,
    coverage=(),
    never_observed_fraction=0,
    never_clear_fraction=0,
    backstop_fraction=0,
    hole_fraction=0,
    scenes_selected=5,
    scenes_gathered=4,
    covered=True,
)


def payload(**state: Any) -> dict[str, Any]:
    """Payload of the last state."""
    times = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"}
    return {"state": state, "execution": RUN.id, **times}


def status() -> RunStatus:
    found = read_earlier(RUN.document("status.json"), RunStatus)
    assert found is not None
    return found


class Outbox(list[dict[str, Any]]):
    """Published outcomes."""

    def __call__(self, subject: str, message: str) -> None:
        self.append(json.loads(message))
        assert self[-1]["run_id"] in subject


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def unreachable(_subject: str, _message: str) -> None:
    msg = "cannot publish to arn:topic; try again"
    raise TryAgainError(msg)


def job_cause(job_id: str) -> str:
    """Description of a failed merge job as Step Functions report it."""
    job = {
        "JobName": f"{RUN.id}-merge",
        "JobId": job_id,
        "Parameters": {"task_uri": f"{RUN.tasks}/merge.json"},
        "Container": {"ExitCode": 5, "LogStreamName": "merge/default/1"},
        "StatusReason": "Essential container in task exited",
    }
    return json.dumps(job)


def test_the_cause_of_a_run_begins_with_the_own_error_of_its_job(outbox: Outbox) -> None:
    write_document(RUN.document("request.json"), MOSAIC)
    error = JobError(job_id="j-1", error="RasterError", message="m-07.tif ends", exit_code=5)
    write_document(f"{RUN.tasks}/merge.error.json", error)
    state = {"run": first_round(RUN), "plan": {}, "gathered": [], "assess": {}}
    failed = {"Error": "States.TaskFailed", "Cause": job_cause("j-1")}
    outcome = finish(payload(**state, error=failed), outbox)
    assert outcome["error"] == "JobBAD_INPUT"
    assert outcome["cause"].startswith(f"RasterError: m-07.tif ends; job {RUN.id}-merge exited")
    assert status().error == f"JobBAD_INPUT: {outcome['cause']}"
    other = {"Error": "States.TaskFailed", "Cause": job_cause("j-2")}
    assert finish(payload(**state, error=other), outbox)["cause"].startswith(f"job {RUN.id}-merge")


def test_a_run_that_failed_says_in_which_stage_and_why(outbox: Outbox) -> None:
    write_document(RUN.document("request.json"), MOSAIC)
    cause = json.dumps({"errorMessage": "no scene: widen"})
    error = {"Error": "NothingUsableError", "Cause": cause}
    outcome = finish(payload(run=first_round(RUN), error=error), outbox)
    assert outbox == [outcome]
    assert (outcome["error"], outcome["cause"]) == ("NothingUsableError", "no scene: widen")
    assert (outcome["state"], outcome["exit_code"], outcome["stage"]) == ("failed", 3, "filter")
    assert (outcome["run_id"], outcome["duration_s"]) == (RUN.id, 60)
    assert outcome["status_uri"] == RUN.document("status.json")
    assert (status().state, status().exit_code) == ("failed", 3)
    assert status().error == "NothingUsableError: no scene: widen"


def test_a_run_whose_request_was_refused_has_no_status(outbox: Outbox) -> None:
    error = {"Error": "RequestError", "Cause": "query: missing"}
    outcome = finish(payload(request={}, error=error), outbox)
    assert (outcome["run_id"], outcome["stage"], outcome["status_uri"]) == (RUN.id, "query", None)
    assert read_earlier(RUN.document("status.json"), RunStatus) is None


@pytest.mark.parametrize(("covered", "code"), [(True, 0), (False, 4)])
def test_a_finished_mosaic_says_whether_the_area_is_covered(
    outbox: Outbox, *, covered: bool, code: int
) -> None:
    write_document(RUN.document("request.json"), MOSAIC)
    assessment = COVERED.model_copy(update={"covered": covered})
    write_document(RUN.document("assessment.json"), assessment)
    scenes = {"selected": 5, "gathered": 4, "failed": 1}
    done = payload(
        run=first_round(RUN), plan={"estimate_usd": 0.3}, gathered=[], assess={"scenes": scenes}
    )
    outcome = finish(done, outbox)
    assert (outcome["state"], outcome["covered"], outcome["exit_code"]) == (
        *("succeeded", covered, code),
    )
    assert (outcome["scenes"], outcome["estimate_usd"]) == (scenes, 0.3)
    assert (status().state, status().stage, status().exit_code) == ("succeeded", "merge", code)


def test_a_failed_notification_fails_the_function_after_the_status_is_written() -> None:
    write_document(RUN.document("request.json"), MOSAIC)
    error = {"Error": "NothingUsableError", "Cause": "no scene"}
    with pytest.raises(TryAgainError, match="cannot publish"):
        finish(payload(run=first_round(RUN), error=error), unreachable)
    assert (status().state, status().exit_code) == ("failed", 3)


def test_a_finished_mosaic_is_no_failure_if_nobody_can_be_notified(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    write_document(RUN.document("request.json"), MOSAIC)
    done = payload(run=first_round(RUN), plan={}, gathered=[], assess={})
    # The function fails, which raises its alarm, and the state machine tries again.
    with pytest.raises(TryAgainError, match="cannot publish"):
        finish(done, unreachable)
    assert status().state == "succeeded"
    # At last the state machine only wants the output of the execution.
    done["state"]["not_notified"] = {"Error": "TryAgainError", "Cause": "{}"}
    outcome = finish(done, unreachable)
    assert outcome["state"] == "succeeded"
    assert [record.message for record in caplog.records] == 2 * ["outcome_not_published"]
    assert finish(done, outbox) == outcome
    assert outbox == [outcome]


def test_a_status_without_a_readable_request_is_not_written(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = finish(payload(run=first_round(RUN), error={"Error": "KeyError"}), outbox)
    assert outcome["exit_code"] == 1
    assert read_earlier(RUN.document("status.json"), RunStatus) is None
    assert "request_unreadable" in caplog.text


@pytest.mark.parametrize(
    ("error", "infrastructure"), [("KeyError", True), ("NothingUsableError", False)]
)
def test_a_failure_of_the_stack_is_logged_for_its_alarm(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, error: str, *, infrastructure: bool
) -> None:
    finish(payload(error={"Error": error, "Cause": "x"}), outbox)
    (record,) = (record for record in caplog.records if record.message == "run_failed")
    assert record.__dict__["infrastructure"] is infrastructure


def test_an_outcome_is_published_to_the_topic_of_the_stack() -> None:
    sqs, sns = aws_client("sqs"), aws_client("sns")
    url = sqs.create_queue(QueueName="mail")["QueueUrl"]
    asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topic = sns.create_topic(Name="outcomes")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])
    topic_publisher(StackSettings(root="s3://store", topic_arn=topic))("a", "b")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    body = json.loads(message["Body"])
    assert (body["Subject"], body["Message"]) == ("a", "b")


def test_a_topic_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = "arn:aws:sns:us-west-2:123456789012:gone"
    with pytest.raises((NotFoundError, AccessError), match=f"cannot publish to {gone}: NotFound"):
        topic_publisher(StackSettings(root="s3://store", topic_arn=gone))("a", "b")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:9")
    monkeypatch.setattr("cloudbuster.aws.stack.outcomes.TRIES", 1)
    with pytest.raises(TryAgainError, match=f"cannot publish to {gone}: .*127.0.0.1:9"):
        topic_publisher(StackSettings(root="s3://store", topic_arn=gone))("a", "b")


def test_all_attempts_to_publish_end_before_the_timeout_of_the_function() -> None:
    assert TRIES * (CONNECT_S + READ_S) < 60


def test_subjects_fit_sns() -> None:
    subject, text = outcome_message({"state": "failed", "run_id": "é" * 200})
    assert len(subject) == 100
    assert subject.isascii()
    assert json.loads(text)["state"] == "failed"
