"""The states around one Batch job: its submission, and a second try where that helps.

They read ``$.try`` (queue and memory of the next submission) and ``$.job`` (queue, memory,
fallback and more_memory, for a second try) from the state, and write ``$.try``, ``$.done``,
``$.error`` (the caught error) and ``$.failed`` (Batch's description of the failed job).
"""

from dataclasses import dataclass
from typing import Any

AslState = dict[str, Any]
"""A state in Amazon States Language."""
AslStates = dict[str, AslState]
"""States by their names."""

# Errors of a throttled SubmitJob, from incidents of other projects: a code that the model of the
# service lacks becomes AWSBatchException.
THROTTLED = (
    "Batch.AWSBatchException",
    "Batch.BatchException",
    "Batch.TooManyRequestsException",
    "Batch.ServerException",
)
# Errors of SubmitJob itself: neither a retry nor another queue helps then.
REFUSED = (*THROTTLED, "Batch.ClientException")
# Reason that Batch reports for a job without a host, and for one that a queue cancelled for it.
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
# Parameters of the first submission; `$.job` describes the kind of job.
FIRST_TRY: AslState = {"queue.$": "$.job.queue", "memory.$": "$.job.memory", "second": False}
# Condition of a choice: the job was submitted once.
ONCE: AslState = {"Variable": "$.try.second", "BooleanEquals": False}
SUBMIT = "arn:aws:states:::batch:submitJob.sync"


@dataclass(frozen=True)
class SubmittedJob:
    """Parameters of a submission, as expressions of Amazon States Language.

    Attributes
    ----------
    definition : dict
        Parameter with the job definition.
    name, task, run : str
        Name of the job, URI of its task, and id of the run.
    timeout_s : int
        Seconds from the submission to the end of the job, waiting included, after which the state
        gives it up.
    """

    definition: dict[str, str]
    name: str
    task: str
    run: str
    timeout_s: int


def retry(
    names: tuple[str, ...],
    *,
    interval_s: int,
    attempts: int,
    max_delay_s: int = 600,
    at_random: bool = True,
) -> dict[str, Any]:
    """Make the retry of these errors, with waits that double each time.

    Parameters
    ----------
    names : tuple of str
        Errors that are retried.
    interval_s, max_delay_s : int
        First wait and longest wait, seconds.
    attempts : int
        Number of further attempts.
    at_random : bool
        Wait a random part of each wait, so that many states do not try again at the same moment.
    """
    return {
        "ErrorEquals": list(names),
        "IntervalSeconds": interval_s,
        "BackoffRate": 2,
        "MaxAttempts": attempts,
        "MaxDelaySeconds": max_delay_s,
        "JitterStrategy": "FULL" if at_random else "NONE",
    }


def job_states(
    state: str, job: SubmittedJob, *, done: str, lost: str, refused: str, timed_out: str
) -> AslStates:
    """Make the states that submit a job, and submit it once more if that helps.

    The second try has twice the memory after the first ran out of it. It goes to on-demand hosts
    after the first lost every spot host, or took too long: a job that waits for a reason which
    Batch does not know is not cancelled by the limits of its queue
    (https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html).

    Parameters
    ----------
    state : str
        Name of the state that submits; the other names begin with it.
    job : SubmittedJob
        Parameters of the submission.
    done, lost, refused, timed_out : str
        States that follow a job that succeeded, one that failed, one that was not accepted, and
        one that took too long twice.
    """
    described = {
        "Variable": "$.error.Cause",
        "StringMatches": "{*",
        "Next": f"{state}Failed",
    }
    return {
        state: _submit(state, job, done=done, refused=refused),
        f"{state}TimedOut?": {
            "Type": "Choice",
            "Choices": [{**ONCE, "Next": f"{state}OnDemand"}],
            "Default": timed_out,
        },
        f"{state}Described?": {
            "Type": "Choice",
            "Choices": [described],
            "Default": f"{state}NotDescribed",
        },
        f"{state}NotDescribed": {
            "Type": "Pass",
            "Result": {},
            "ResultPath": "$.failed",
            "Next": lost,
        },
        f"{state}Failed": {
            "Type": "Pass",
            "Parameters": {"job.$": "States.StringToJson($.error.Cause)"},
            "ResultPath": "$.failed",
            "Next": f"{state}Again?",
        },
        f"{state}Again?": _again(state, lost=lost),
        f"{state}MoreMemory": _second_try("$.job.queue", "$.job.more_memory", state),
        f"{state}OnDemand": _second_try("$.job.fallback", "$.job.memory", state),
    }


def _again(state: str, *, lost: str) -> AslState:
    """Decide whether a job that failed is tried once more, and with what."""
    memory = {"Variable": "$.error.Cause", "StringMatches": "*OutOfMemory*"}
    reason = "$.failed.job.StatusReason"
    no_host = [
        {"Variable": reason, "StringMatches": "Host EC2*"},
        {"Variable": reason, "StringMatches": f"*{NO_CAPACITY}*"},
    ]
    return {
        "Type": "Choice",
        "Choices": [
            {"And": [ONCE, memory], "Next": f"{state}MoreMemory"},
            {
                "And": [ONCE, {"Variable": reason, "IsPresent": True}, {"Or": no_host}],
                "Next": f"{state}OnDemand",
            },
        ],
        "Default": lost,
    }


def _submit(state: str, job: SubmittedJob, *, done: str, refused: str) -> AslState:
    """Submit a job to the queue and with the memory of ``$.try``, and wait for its end."""
    return {
        "Type": "Task",
        "Resource": SUBMIT,
        # Step Functions terminate the job of a state that times out.
        "TimeoutSeconds": job.timeout_s,
        "Parameters": {
            "JobName.$": job.name,
            **job.definition,
            "JobQueue.$": "$.try.queue",
            "Parameters": {"task_uri.$": job.task},
            "ContainerOverrides": {
                "ResourceRequirements": [{"Type": "MEMORY", "Value.$": "$.try.memory"}]
            },
            "Tags": {"cloudbuster:run.$": job.run},
            "PropagateTags": True,
        },
        "ResultSelector": {"status.$": "$.Status"},
        "ResultPath": "$.done",
        "Retry": [retry(THROTTLED, interval_s=10, attempts=12)],
        # The errors of SubmitJob come first, since States.TaskFailed matches them too.
        "Catch": [
            {"ErrorEquals": list(REFUSED), "ResultPath": "$.error", "Next": refused},
            # States.TaskFailed matches any error but this one.
            {
                "ErrorEquals": ["States.Timeout"],
                "ResultPath": "$.error",
                "Next": f"{state}TimedOut?",
            },
            {
                "ErrorEquals": ["States.TaskFailed"],
                "ResultPath": "$.error",
                "Next": f"{state}Described?",
            },
        ],
        "Next": done,
    }


def first_try(state: str) -> AslState:
    """Set ``$.try`` for the first submission by ``state``."""
    return {"Type": "Pass", "Parameters": FIRST_TRY, "ResultPath": "$.try", "Next": state}


def _second_try(queue: str, memory: str, state: str) -> AslState:
    parameters = {"queue.$": queue, "memory.$": memory, "second": True}
    return {"Type": "Pass", "Parameters": parameters, "ResultPath": "$.try", "Next": state}
