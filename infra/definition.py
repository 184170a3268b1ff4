"""The state machine as Amazon States Language with JSONPath. Pure: dicts in, dicts out.

What the state holds, by the state that puts it there: ``run`` (Query), ``plan`` (Filter), ``job``
(the image's jobs), ``gathered`` (Gather), ``assess`` (Assess), ``error`` (any Catch). It holds URIs
and counts; the scenes and the request lie in S3.
"""

from dataclasses import dataclass, fields
from typing import Any

from cloudbuster.aws.runs import ASSESS, PLAN, RunPlaces

State = dict[str, Any]
States = dict[str, State]
RUN = tuple(field.name for field in fields(RunPlaces))

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
LAMBDA_UNAVAILABLE = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "TryAgainError",
)
# What Batch says of a job that finds no host, and of one that a queue cancelled for it.
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
INVOKE = "arn:aws:states:::lambda:invoke"
SUBMIT = "arn:aws:states:::batch:submitJob.sync"
# An execution that ran two days has met something that no state foresaw.
TIMEOUT_S = 48 * 3600


@dataclass(frozen=True)
class JobTarget:
    """Where one kind of job goes.

    Attributes
    ----------
    definition, queue, fallback : str
        ARNs; ``fallback`` is the queue of on-demand hosts.
    memory_mib : int
        Of the first try; the second after running out has twice that.
    """

    definition: str
    queue: str
    fallback: str
    memory_mib: int


@dataclass(frozen=True)
class Targets:
    """What the states call.

    Attributes
    ----------
    query, filter, assess, finish : str
        ARNs of the functions.
    gather : dict of str to JobTarget
        By image: ``base``, and ``torch`` where it is deployed.
    merge : JobTarget
        The merge job.
    bucket : str
        Name of the stack's bucket.
    """

    query: str
    filter: str
    assess: str
    finish: str
    gather: dict[str, JobTarget]
    merge: JobTarget
    bucket: str


def definition(targets: Targets, *, concurrency: int, distributed: bool) -> dict[str, Any]:
    """Make the state machine.

    Parameters
    ----------
    targets : Targets
        What the states call.
    concurrency : int
        Gather jobs at a time.
    distributed : bool
        Whether the gathering map runs as child executions.
    """
    states: States = {
        "Query": _invoke(
            targets.query,
            {"request.$": "$", "execution.$": "$$.Execution.Name"},
            ResultPath="$",
            ResultSelector={"run.$": "$.Payload"},
            Next="Filter",
        ),
        "Filter": _invoke(
            targets.filter,
            {"run.$": "$.run"},
            ResultPath="$.plan",
            ResultSelector={f"{key}.$": f"$.Payload.{key}" for key in PLAN},
            Next="WithinBudget",
        ),
        **_budget(targets),
        "Gather": _map(targets.bucket, concurrency=concurrency, distributed=distributed),
        "Assess": _invoke(
            targets.assess,
            {"run.$": "$.run", "plan.$": "$.plan", "gathered.$": "$.gathered"},
            ResultPath="$.assess",
            ResultSelector={f"{key}.$": f"$.Payload.{key}" for key in ASSESS},
            Next="Covered?",
        ),
        "Covered?": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.assess.more_rounds", "BooleanEquals": True, "Next": "NextRound"}
            ],
            "Default": "PrepareMerge",
        },
        "NextRound": {
            "Type": "Pass",
            "Parameters": {
                **{f"{key}.$": f"$.run.{key}" for key in RUN},
                "round.$": "States.MathAdd($.run.round, 1)",
            },
            "ResultPath": "$.run",
            "Next": "Filter",
        },
        **_merge(targets.merge),
        **_finish(targets.finish),
    }
    return {"StartAt": "Query", "TimeoutSeconds": TIMEOUT_S, "States": states}


def _invoke(function: str, payload: dict[str, Any], **values: Any) -> State:  # noqa: ANN401 -- any field
    """Call a function; whatever it fails with ends the run."""
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {"FunctionName": function, "Payload": payload},
        "Retry": [_retry(LAMBDA_UNAVAILABLE, interval_s=5, attempts=5)],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "FinishFailed"}],
        **values,
    }


def _retry(names: tuple[str, ...], *, interval_s: int, attempts: int) -> dict[str, Any]:
    return {
        "ErrorEquals": list(names),
        "IntervalSeconds": interval_s,
        "BackoffRate": 2,
        "MaxAttempts": attempts,
        "MaxDelaySeconds": 600,
        "JitterStrategy": "FULL",
    }


def _budget(targets: Targets) -> States:
    """Go on to Gather with the jobs of the image that the detector needs, or stop."""
    images = {
        f"{image.capitalize()}Image": {
            "Type": "Pass",
            "Result": {
                "definition": job.definition,
                "queue": job.queue,
                "fallback": job.fallback,
                "memory": str(job.memory_mib),
                "more_memory": str(2 * job.memory_mib),
            },
            "ResultPath": "$.job",
            "Next": "Gather",
        }
        for image, job in targets.gather.items()
    }
    choices = [
        {"Variable": "$.plan.within_budget", "BooleanEquals": False, "Next": "OverBudget"},
        *(
            {
                "Variable": "$.plan.image",
                "StringEquals": image,
                "Next": f"{image.capitalize()}Image",
            }
            for image in targets.gather
            if image != "base"
        ),
    ]
    return {
        "WithinBudget": {"Type": "Choice", "Choices": choices, "Default": "BaseImage"},
        "OverBudget": {
            "Type": "Pass",
            "Parameters": {
                "Error": "OverBudgetError",
                "Cause.$": (
                    "States.Format('gathering and merging would cost up to {} USD, the budget is "
                    "{} USD: raise limits.budget_usd or select fewer scenes', "
                    "$.plan.estimate_usd, $.plan.budget_usd)"
                ),
            },
            "ResultPath": "$.error",
            "Next": "FinishFailed",
        },
        **images,
    }


def _map(bucket: str, *, concurrency: int, distributed: bool) -> State:
    """Gather each scene: the items are the numbers of the tasks."""
    mode = (
        {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"} if distributed else {"Mode": "INLINE"}
    )
    items: State = {"ItemsPath": "$.plan.indices"}
    if distributed:
        items = {
            "Label": "Gather",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": bucket, "Key.$": "$.plan.indices_key"},
            },
            "ResultWriter": {
                "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": {
                    "Bucket": bucket,
                    "Prefix.$": "States.Format('scratch/{}/results', $.run.id)",
                },
            },
        }
    return {
        "Type": "Map",
        **items,
        "MaxConcurrency": concurrency,
        "ItemSelector": {
            "index.$": "$$.Map.Item.Value",
            "run_id.$": "$.run.id",
            "tasks.$": "$.run.tasks",
            "job.$": "$.job",
            "try": {"queue.$": "$.job.queue", "memory.$": "$.job.memory", "second": False},
        },
        "ItemProcessor": {
            "ProcessorConfig": mode,
            "StartAt": "GatherScene",
            "States": _gather_scene(),
        },
        "ResultPath": "$.gathered",
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "FinishFailed"}],
        "Next": "Assess",
    }


def _gather_scene() -> States:
    """One scene: its job, a second try where that helps, and one word on how it ended."""
    job = _job(
        "GatherScene",
        definition={"JobDefinition.$": "$.job.definition"},
        name="States.Format('{}-gather-{}', $.run_id, $.index)",
        task="States.Format('{}/{}.json', $.tasks, $.index)",
        run="$.run_id",
        done="Gathered",
        lost="Lost",
        refused="Refused",
    )
    return {
        **job,
        "Gathered": _item({"status": "SUCCEEDED"}),
        # A scene that cannot be gathered does not stop the others: assess counts them.
        "Lost": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.failed.job.Container.ExitCode", "IsPresent": True, "Next": "Exited"}
            ],
            "Default": "Vanished",
        },
        "Exited": _item({"status.$": "States.Format('EXIT_{}', $.failed.job.Container.ExitCode)"}),
        "Vanished": _item({"status": "FAILED"}),
        "Refused": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
    }


def _item(status: dict[str, str]) -> State:
    """End an item with two words: whole job descriptions would outgrow the state."""
    return {"Type": "Pass", "Parameters": {"index.$": "$.index", **status}, "End": True}


def _merge(target: JobTarget) -> States:
    """Merge with the same second tries as a scene has; what fails then ends the run."""
    first = {"queue": target.queue, "memory": str(target.memory_mib), "second": False}
    more = {"fallback": target.fallback, "more_memory": str(2 * target.memory_mib)}
    return {
        "PrepareMerge": {
            "Type": "Pass",
            "Result": {"queue": target.queue, "memory": first["memory"], **more},
            "ResultPath": "$.job",
            "Next": "FirstTry",
        },
        "FirstTry": {"Type": "Pass", "Result": first, "ResultPath": "$.try", "Next": "Merge"},
        **_job(
            "Merge",
            definition={"JobDefinition": target.definition},
            name="States.Format('{}-merge', $.run.id)",
            task="$.assess.merge_task_uri",
            run="$.run.id",
            done="Merged",
            lost="FinishFailed",
            refused="FinishFailed",
        ),
        # A job that failed once and succeeded then has left an error that is none.
        "Merged": {"Type": "Pass", "Result": {}, "ResultPath": "$.error", "Next": "Finish"},
    }


def _job(
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
        "Retry": [_retry(THROTTLED, interval_s=10, attempts=12)],
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


def _second_try(queue: str, memory: str, state: str) -> State:
    parameters = {"queue.$": queue, "memory.$": memory, "second": True}
    return {"Type": "Pass", "Parameters": parameters, "ResultPath": "$.try", "Next": state}


def _finish(function: str) -> States:
    """Tell how it ended; a run that failed fails, with an error that says why."""
    payload = {
        "state.$": "$",
        "execution.$": "$$.Execution.Name",
        "started.$": "$$.Execution.StartTime",
        "ended.$": "$$.State.EnteredTime",
    }
    unheard = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unheard", "Next": "Unheard"}]
    return {
        "Finish": _invoke(function, payload, OutputPath="$.Payload", End=True),
        "FinishFailed": _invoke(
            function,
            payload,
            ResultSelector={"error.$": "$.Payload.error", "cause.$": "$.Payload.cause"},
            ResultPath="$.finish",
            Next="Failed",
        )
        | {"Catch": unheard},
        "Failed": {"Type": "Fail", "ErrorPath": "$.finish.error", "CausePath": "$.finish.cause"},
        "Unheard": {
            "Type": "Fail",
            "Error": "FinishError",
            "Cause": "the run failed, and so did telling of it: see the history of the execution",
        },
    }
