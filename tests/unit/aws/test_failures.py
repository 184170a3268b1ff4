"""Why a run failed, from the reports of Step Functions and Batch."""

import json

import pytest

from cloudbuster.aws.failures import check_success, exit_code_of, failure_of
from cloudbuster.errors import (
    CloudBusterError,
    ExitCode,
    JobsFailedError,
    JobsTryAgainError,
    NothingUsableError,
    TryAgainError,
)


def test_the_error_of_too_few_scenes_counts_them() -> None:
    check_success("run", failed={2: "EXIT_3"}, selected=5, least=0.8)
    with pytest.raises(NothingUsableError, match="3 of 5 scenes of run were gathered"):
        check_success("run", failed={2: "EXIT_3", 3: "EXIT_5"}, selected=5, least=0.8)
    with pytest.raises(NothingUsableError, match="0 of 0"):
        check_success("run", failed={}, selected=0, least=0)


@pytest.mark.parametrize(
    ("ends", "least", "error", "message"),
    [
        # Enough would have been gathered with the scenes that may succeed later.
        ("75 75 0 0 0", 0.8, JobsTryAgainError, "others: 2 EXIT_75; submit it again; .* --scene 1"),
        ("3 75 0 0 0", 0.8, JobsTryAgainError, "others: 1 EXIT_3, 1 EXIT_75; .* --scene 2 "),
        ("75 75", 0, JobsTryAgainError, "0 of 2"),
        ("- 75 0 0 0", 0.8, JobsTryAgainError, "--scene 2 "),
        # No host, a bug, no memory, a signal: failures of the stack.
        ("- - - - -", 0.8, JobsFailedError, "0 of 5 .* others: 5 FAILED; .* doctor .* --scene 1 "),
        ("1 1 0 0 0", 0.8, JobsFailedError, "2 EXIT_1"),
        ("137 137 0 0 0", 0.8, JobsFailedError, "2 EXIT_137"),
        ("143 139 0 0 0", 0.8, JobsFailedError, "1 EXIT_143, 1 EXIT_139"),
        ("75 - - - 0", 0.8, JobsFailedError, "3 FAILED, 1 EXIT_75; .* --scene 2 "),
        # Failures of the scenes themselves, whatever happened to the others.
        ("3 5 - 0 0", 0.8, NothingUsableError, "--scene 1 "),
        ("3 3 75 75 -", 0.8, NothingUsableError, "2 EXIT_3, 2 EXIT_75, 1 FAILED"),
        ("75 3 3 0 0", 0.8, NothingUsableError, "--scene 2 "),
        ("3 3", 0, NothingUsableError, "0 of 2"),
    ],
)
def test_the_error_of_too_few_scenes_depends_on_why_they_failed(
    ends: str, least: float, error: type[CloudBusterError], message: str
) -> None:
    statuses = ["FAILED" if end == "-" else f"EXIT_{end}" for end in ends.split()]
    failed = {n: status for n, status in enumerate(statuses, start=1) if status != "EXIT_0"}
    with pytest.raises(error, match=message) as caught:
        check_success("run", failed=failed, selected=len(statuses), least=least)
    assert type(caught.value) is error
    # Failures of the stack raise the alarm, and the state machine does not repeat the function.
    cause = json.dumps({"errorMessage": str(caught.value)})
    failure = failure_of({"Error": error.__name__, "Cause": cause})
    assert failure.is_infrastructure is (error is not NothingUsableError)
    assert failure.exit_code is error.exit_code
    assert error is not TryAgainError


JOB = {"JobName": "x-merge", "StatusReason": "Essential container in task exited"}


@pytest.mark.parametrize(
    ("error", "name", "code", "infrastructure"),
    [
        (
            {"Error": "NothingUsableError", "Cause": '{"errorMessage": "no scene"}'},
            "NothingUsableError",
            ExitCode.NOTHING_USABLE,
            False,
        ),
        (
            {"Error": "OverBudgetError", "Cause": "12 USD"},
            "OverBudgetError",
            ExitCode.OVER_BUDGET,
            False,
        ),
        ({"Error": "ValueError", "Cause": "{}"}, "ValueError", ExitCode.BUG, True),
        (
            {"Error": "States.Timeout", "Cause": ""},
            "WorkflowTimeout",
            ExitCode.TRY_AGAIN,
            True,
        ),
        (
            {"Error": "JobTimedOut", "Cause": "a job waited for a host"},
            "JobTimedOut",
            ExitCode.TRY_AGAIN,
            True,
        ),
        (
            {"Error": "JobFailed", "Cause": json.dumps({**JOB, "Container": {"ExitCode": 75}})},
            "JobTRY_AGAIN",
            ExitCode.TRY_AGAIN,
            True,
        ),
        (
            {
                "Error": "States.TaskFailed",
                "Cause": json.dumps({**JOB, "Container": {"ExitCode": 5}}),
            },
            "JobBAD_INPUT",
            ExitCode.BAD_INPUT,
            False,
        ),
        (
            {"Error": "States.TaskFailed", "Cause": json.dumps(JOB)},
            "JobFailed",
            ExitCode.BUG,
            True,
        ),
        (
            {"Error": "Batch.AWSBatchException", "Cause": "Too Many Requests"},
            "Batch.AWSBatchException",
            ExitCode.BUG,
            True,
        ),
    ],
)
def test_a_caught_error_becomes_a_failure(
    error: dict[str, str], name: str, code: ExitCode, *, infrastructure: bool
) -> None:
    failure = failure_of(error)
    assert (failure.error, failure.exit_code) == (name, code)
    assert failure.is_infrastructure is infrastructure
    assert failure.message
    assert not failure.error.startswith("States.")


def test_a_failed_job_names_its_log() -> None:
    container = {"ExitCode": 137, "Reason": "OutOfMemoryError", "LogStreamName": "merge/default/1"}
    cause = json.dumps({**JOB, "Container": container})
    message = failure_of({"Error": "States.TaskFailed", "Cause": cause}).message
    assert message.startswith("job x-merge exited with 137: OutOfMemoryError")
    assert message.endswith("log stream merge/default/1")


def test_exit_codes_are_read_from_the_status_of_a_job() -> None:
    assert exit_code_of("EXIT_3") is ExitCode.NOTHING_USABLE
    assert exit_code_of("EXIT_9") is None
    assert exit_code_of("FAILED") is None
