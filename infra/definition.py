"""The state machine as Amazon States Language with JSONPath. Pure: dicts in, dicts out.

What the state holds, by the state that puts it there: ``request`` (Request, until Query has it in
S3; nothing of it is ever taken for another entry), ``run`` (Query), ``plan`` (Filter), ``job``
(the jobs of an image, or of the merge), ``gathered`` (Gather), ``assess`` (Assess), ``merged``
(MergeParts), ``error`` (any Catch), ``untold`` (Finish). It holds URIs and counts; scenes and
request lie in S3.
"""

from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.failures import UNHEARD
from cloudbuster.aws.stack.state import ASSESS, PLAN, RUN
from infra.job_states import FIRST_TRY, State, States, first_try, job_states, retry

LAMBDA_UNAVAILABLE = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "TryAgainError",
)
INVOKE = "arn:aws:states:::lambda:invoke"
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
        Jobs at a time in a map.
    distributed : bool
        Whether the gathering map runs as child executions.
    """
    states: States = {
        "Request": {"Type": "Pass", "Parameters": {"request.$": "$"}, "Next": "Query"},
        "Query": _invoke(
            targets.query,
            {"request.$": "$.request", "execution.$": "$$.Execution.Name"},
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
        **_merge(targets.merge, concurrency=concurrency),
        **_finish(targets.finish),
    }
    return {"StartAt": "Request", "TimeoutSeconds": TIMEOUT_S, "States": states}


def _invoke(function: str, payload: dict[str, Any], **values: Any) -> State:  # noqa: ANN401 -- any field
    """Call a function; whatever it fails with ends the run."""
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {"FunctionName": function, "Payload": payload},
        "Retry": [retry(LAMBDA_UNAVAILABLE, interval_s=5, attempts=5)],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "FinishFailed"}],
        **values,
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
        {"Variable": "$.plan.todo_count", "NumericEquals": 0, "Next": "NothingToGather"},
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
        # What a distributed map makes of a document without items is written nowhere.
        "NothingToGather": {
            "Type": "Pass",
            "Result": [],
            "ResultPath": "$.gathered",
            "Next": "Assess",
        },
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
        "ItemSelector": _item_selector(),
        "ItemProcessor": {
            "ProcessorConfig": mode,
            "StartAt": "GatherScene",
            "States": _gather_scene(),
        },
        "ResultPath": "$.gathered",
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "FinishFailed"}],
        "Next": "Assess",
    }


def _item_selector() -> dict[str, Any]:
    """Tell the jobs of a map the number of their task, and where the task is."""
    return {
        "index.$": "$$.Map.Item.Value",
        "run_id.$": "$.run.id",
        "tasks.$": "$.run.tasks",
        "job.$": "$.job",
        "try": FIRST_TRY,
    }


def _gather_scene() -> States:
    """One scene: its job, a second try where that helps, and one word on how it ended."""
    job = job_states(
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
        "Refused": _fail_as_caught(),
    }


def _fail_as_caught() -> State:
    return {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}


def _item(status: dict[str, str]) -> State:
    """End an item with two words: whole job descriptions would outgrow the state."""
    return {"Type": "Pass", "Parameters": {"index.$": "$.index", **status}, "End": True}


def _merge(target: JobTarget, *, concurrency: int) -> States:
    """Merge in one job; a large mosaic part by part, between a survey and a last job."""
    definition = {"JobDefinition": target.definition}
    return {
        "PrepareMerge": {
            "Type": "Pass",
            "Result": {
                "definition": target.definition,
                "queue": target.queue,
                "fallback": target.fallback,
                "memory": str(target.memory_mib),
                "more_memory": str(2 * target.memory_mib),
            },
            "ResultPath": "$.job",
            "Next": "InParts?",
        },
        "InParts?": {
            "Type": "Choice",
            "Choices": [
                {
                    "Variable": "$.assess.part_count",
                    "NumericGreaterThan": 1,
                    "Next": "SurveyFirstTry",
                }
            ],
            "Default": "MergeFirstTry",
        },
        "SurveyFirstTry": first_try("Survey"),
        **_merge_job("Survey", definition, task="$.assess.survey_task_uri", done="MergeParts"),
        "MergeParts": _merge_parts(concurrency),
        "MergeFirstTry": first_try("Merge"),
        **_merge_job("Merge", definition, task="$.assess.merge_task_uri", done="Merged"),
        # A job that failed once and succeeded then has left an error that is none.
        "Merged": {"Type": "Pass", "Result": {}, "ResultPath": "$.error", "Next": "Finish"},
    }


def _merge_job(state: str, definition: dict[str, str], *, task: str, done: str) -> States:
    """One job on the whole mosaic, with a scene's second tries; what fails then ends the run."""
    return job_states(
        state,
        definition=definition,
        name=f"States.Format('{{}}-{state.lower()}', $.run.id)",
        task=task,
        run="$.run.id",
        done=done,
        lost="FinishFailed",
        refused="FinishFailed",
    )


def _merge_parts(concurrency: int) -> State:
    """Merge each part; a mosaic that lacks one is none, so that the first that fails ends it."""
    job = job_states(
        "MergePart",
        definition={"JobDefinition.$": "$.job.definition"},
        name="States.Format('{}-part-{}', $.run_id, $.index)",
        task="States.Format('{}/part-{}.json', $.tasks, $.index)",
        run="$.run_id",
        done="PartMerged",
        lost="PartFailed",
        refused="PartFailed",
    )
    return {
        "Type": "Map",
        "ItemsPath": "$.assess.parts",
        "MaxConcurrency": concurrency,
        "ItemSelector": _item_selector(),
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "MergePart",
            "States": {
                **job,
                "PartMerged": _item({"status": "SUCCEEDED"}),
                "PartFailed": _fail_as_caught(),
            },
        },
        "ResultPath": "$.merged",
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "FinishFailed"}],
        "Next": "MergeFirstTry",
    }


def _finish(function: str) -> States:
    """Tell how it ended; a run that failed fails, with an error that says why.

    The function writes it down before it tells it.
    """
    payload = {
        "state.$": "$",
        "execution.$": "$$.Execution.Name",
        "started.$": "$$.Execution.StartTime",
        "ended.$": "$$.State.EnteredTime",
    }
    everything = {"ErrorEquals": ["States.ALL"]}
    untold = [{**everything, "ResultPath": "$.untold", "Next": "FinishUntold"}]
    unheard = [{**everything, "ResultPath": "$.unheard", "Next": "Unheard"}]
    return {
        "Finish": _invoke(function, payload, OutputPath="$.Payload", End=True) | {"Catch": untold},
        # The mosaic is there: that nobody could be told makes it no failure. By the entry `untold`
        # the function knows that it answers in any case.
        "FinishUntold": _invoke(function, payload, OutputPath="$.Payload", End=True),
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
            "Error": UNHEARD,
            "Cause": "the run failed, and so did telling of it: see the history of the execution",
        },
    }
