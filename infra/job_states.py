"""The states around one Batch job: its submit, and a second try where that helps.

They read of the state ``$.try`` (queue and memory of the next submit) and ``$.job`` (queue, memory,
fallback and more_memory: what a second try would take), and write ``$.try``, ``$.done``,
``$.error`` (what was caught) and ``$.failed`` (what Batch said of the job).
"""

from typing import Any

State = dict[str, Any]
States = dict[str, State]

# A throttled SubmitJob has arrived as each of these (facts of other projects' incidents: a code
# that the service's model lacks becomes AWSBatchException).
THROTTLED = (
    "Batch.AWSBatchException",
    "Batch.BatchException",
    "Batch.TooManyRequestsException",
    "Batch.ServerException",
)
# SubmitJob itself was refused: neither a retry nor another queue helps.
REFUSED = (*THROTTLED, "Batch.ClientException")
# What Batch says of a job that finds no host, and of one that a queue cancelled for it.
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
# What a job is submitted with at first; `$.job` tells of its kind.
FIRST_TRY: State = {"queue.$": "$.job.queue", "memory.$": "$.job.memory", "second": False}
SUBMIT = "arn:aws:states:::batch:submitJob.sync"


def retry(names: tuple[str, ...], *, interval_s: int, attempts: int) -> dict[str, Any]:
    """Retry errors of these names, each wait a random part of twice the one before."""
    return {
        "ErrorEquals": list(names),
        "IntervalSeconds": interval_s,
        "BackoffRate": 2,
        "MaxAttempts": attempts,
        "MaxDelaySeconds": 600,
        "JitterStrategy": "FULL",
    }


def job_states(
    state: str,
    *,
    definition: dict[str, str],
    name: str,
    task: str,
    run: str,
    done: str,
    lost: str,
    refused: str,
) -> States:
    """Submit a job; where memory ran out or every spot host went, submit it once more.

    ``$.try`` holds queue and memory of the next submit, ``$.job`` what a second one would take.
    """
    never_twice = {"Variable": "$.try.second", "BooleanEquals": False}
    submit = _submit(state, definition, name=name, task=task, run=run, done=done, refused=refused)
    told = {"Variable": "$.error.Cause", "StringMatches": "{*", "Next": f"{state}Failed"}
    memory = {"Variable": "$.error.Cause", "StringMatches": "*OutOfMemory*"}
    reason = "$.failed.job.StatusReason"
    gone = [
        {"Variable": reason, "StringMatches": "Host EC2*"},
        {"Variable": reason, "StringMatches": f"*{NO_CAPACITY}*"},
    ]
    return {
        state: submit,
        f"{state}Told?": {"Type": "Choice", "Choices": [told], "Default": f"{state}Untold"},
        f"{state}Untold": {"Type": "Pass", "Result": {}, "ResultPath": "$.failed", "Next": lost},
        f"{state}Failed": {
            "Type": "Pass",
            "Parameters": {"job.$": "States.StringToJson($.error.Cause)"},
            "ResultPath": "$.failed",
            "Next": f"{state}Again?",
        },
        f"{state}Again?": {
            "Type": "Choice",
            "Choices": [
                {"And": [never_twice, memory], "Next": f"{state}MoreMemory"},
                {
                    "And": [never_twice, {"Variable": reason, "IsPresent": True}, {"Or": gone}],
                    "Next": f"{state}OnDemand",
                },
            ],
            "Default": lost,
        },
        f"{state}MoreMemory": _second_try("$.job.queue", "$.job.more_memory", state),
        f"{state}OnDemand": _second_try("$.job.fallback", "$.job.memory", state),
    }


def _submit(
    state: str,
    definition: dict[str, str],
    *,
    name: str,
    task: str,
    run: str,
    done: str,
    refused: str,
) -> State:
    """Submit a job to the queue and with the memory of ``$.try``, and wait for its end."""
    return {
        "Type": "Task",
        "Resource": SUBMIT,
        "Parameters": {
            "JobName.$": name,
            **definition,
            "JobQueue.$": "$.try.queue",
            "Parameters": {"task_uri.$": task},
            "ContainerOverrides": {
                "ResourceRequirements": [{"Type": "MEMORY", "Value.$": "$.try.memory"}]
            },
            "Tags": {"cloudbuster:run.$": run},
            "PropagateTags": True,
        },
        "ResultSelector": {"status.$": "$.Status"},
        "ResultPath": "$.done",
        "Retry": [retry(THROTTLED, interval_s=10, attempts=12)],
        # States.TaskFailed stands for any error, so those of the submit itself come first.
        "Catch": [
            {"ErrorEquals": list(REFUSED), "ResultPath": "$.error", "Next": refused},
            {
                "ErrorEquals": ["States.TaskFailed"],
                "ResultPath": "$.error",
                "Next": f"{state}Told?",
            },
        ],
        "Next": done,
    }


def first_try(state: str) -> State:
    """Set ``$.try`` for the job of ``state``."""
    return {"Type": "Pass", "Parameters": FIRST_TRY, "ResultPath": "$.try", "Next": state}


def _second_try(queue: str, memory: str, state: str) -> State:
    parameters = {"queue.$": queue, "memory.$": memory, "second": True}
    return {"Type": "Pass", "Parameters": parameters, "ResultPath": "$.try", "Next": state}
