"""The state machine in Amazon States Language with JSONPath: pure functions that return dicts.

Entries of the state, with the state that adds each: ``request`` (Request; gone after Query, which
writes it to S3, so that nothing in a request is mistaken for another entry), ``run`` (Query),
``plan`` (Filter), ``job`` (jobs of an image, or of the merge), ``gathered`` (Gather), ``assess``
(Assess), ``merged`` (MergeParts), ``error`` (any Catch), ``not_notified`` (Finish). The state has
URIs and counts; scenes and the request are in S3.
"""

from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.failures import FINISH_ERROR, JOB_ERROR, TIMED_OUT_ERROR
from cloudbuster.aws.stack.state import ASSESS, NOT_NOTIFIED, PLAN, RUN
from infra.job_states import (
    FIRST_TRY,
    AslState,
    AslStates,
    SubmittedJob,
    first_try,
    job_states,
    retry,
)

LAMBDA_UNAVAILABLE = (
    # Lambda reclaims the image of a function that was not called for weeks, and rejects calls while
    # it optimises the image again; 40 to 106 s in public reports.
    # https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#images-lifecycle
    "Lambda.CodeArtifactUserPendingException",
    "Lambda.ResourceNotReadyException",
    "Lambda.ResourceConflictException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "TryAgainError",
)
INVOKE = "arn:aws:states:::lambda:invoke"
# An execution that runs for two days has a problem that no state foresees.
TIMEOUT_S = 48 * 3600
_TIMED_OUT = (
    "a job waited for a host, or ran, for too long, on spot and on on-demand hosts: cloudbuster "
    "doctor compares the quotas of the account with the stack; then submit the request again"
)


@dataclass(frozen=True)
class JobTarget:
    """Queues and size of one kind of job.

    Attributes
    ----------
    definition, queue, fallback : str
        ARNs of the definition and of the queues; ``fallback`` has on-demand hosts.
    memory_mib : int
        Memory of the first try; the second try after running out of it has twice as much.
    timeout_s : int
        Seconds after which a state gives up the job, waiting included.
    """

    definition: str
    queue: str
    fallback: str
    memory_mib: int
    timeout_s: int


@dataclass(frozen=True)
class Targets:
    """Functions and jobs that the states call.

    Attributes
    ----------
    query, filter, assess, finish : str
        ARNs of the functions.
    gather : dict of str to JobTarget
        Gather job of each image: ``base``, and ``torch`` if it is deployed.
    merge : JobTarget
        Merge job.
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
        Functions and jobs that the states call.
    concurrency : int
        Number of jobs of a map at a time.
    distributed : bool
        Whether the map of the scenes runs as child executions.
    """
    states: AslStates = {
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
        "Gather": _gather_map(targets, concurrency=concurrency, distributed=distributed),
        **_assess(targets.assess),
        **_merge(targets.merge, concurrency=concurrency),
        **_finish(targets.finish),
    }
    return {"StartAt": "Request", "TimeoutSeconds": TIMEOUT_S, "States": states}


def _catch_all(entry: str, *, then: str) -> dict[str, Any]:
    """Catch every error, put it into an entry of the state, and go on with another state."""
    return {"ErrorEquals": ["States.ALL"], "ResultPath": f"$.{entry}", "Next": then}


def _call_again() -> dict[str, Any]:
    """Make the retry of a function: waits of 10, 20, 40 and then 60 seconds, six minutes in all."""
    return retry(LAMBDA_UNAVAILABLE, interval_s=10, attempts=8, max_delay_s=60, at_random=False)


def _invoke(function: str, payload: dict[str, Any], **values: Any) -> AslState:  # noqa: ANN401 -- any field
    """Call a function; an error of it ends the run."""
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {"FunctionName": function, "Payload": payload},
        "Retry": [_call_again()],
        "Catch": [_catch_all("error", then="FinishFailed")],
        **values,
    }


def _budget(targets: Targets) -> AslStates:
    """Choose the jobs of the image that the detector needs; end a run over its budget."""
    images = {
        f"{image.capitalize()}Image": _set_job(job, then="Gather")
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
        # AWS does not document what a distributed map makes of a document without items.
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
                    "{} USD: raise {} or select fewer scenes', "
                    "$.plan.estimate_usd, $.plan.budget_usd, $.plan.budget_name)"
                ),
            },
            "ResultPath": "$.error",
            "Next": "FinishFailed",
        },
        **images,
    }


def _set_job(target: JobTarget, *, then: str) -> AslState:
    """Set ``$.job`` to the queues and sizes of a kind of job."""
    return {
        "Type": "Pass",
        "Result": {
            "definition": target.definition,
            "queue": target.queue,
            "fallback": target.fallback,
            "memory": str(target.memory_mib),
            "more_memory": str(2 * target.memory_mib),
        },
        "ResultPath": "$.job",
        "Next": then,
    }


def _gather_map(targets: Targets, *, concurrency: int, distributed: bool) -> AslState:
    """Gather each scene; the items of the map are the numbers of the tasks."""
    bucket = targets.bucket
    mode = (
        {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"} if distributed else {"Mode": "INLINE"}
    )
    items: AslState = {"ItemsPath": "$.plan.indices"}
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
    processor = {
        "ProcessorConfig": mode,
        "StartAt": "GatherScene",
        "States": _gather_scene(max(job.timeout_s for job in targets.gather.values())),
    }
    return {
        **_job_map(items, processor, concurrency),
        "ResultPath": "$.gathered",
        "Next": "Assess",
    }


def _job_map(items: AslState, processor: dict[str, Any], concurrency: int) -> AslState:
    """Make a map whose items are the numbers of tasks, each with a job of its own."""
    return {
        "Type": "Map",
        **items,
        "MaxConcurrency": concurrency,
        "ItemSelector": {
            "index.$": "$$.Map.Item.Value",
            "run_id.$": "$.run.id",
            "tasks.$": "$.run.tasks",
            "job.$": "$.job",
            "try": FIRST_TRY,
        },
        "ItemProcessor": processor,
        "Catch": [_catch_all("error", then="FinishFailed")],
    }


def _gather_scene(timeout_s: int) -> AslStates:
    """Run the job of one scene, with a second try where that helps, and end with its status."""
    job = SubmittedJob(
        definition={"JobDefinition.$": "$.job.definition"},
        name="States.Format('{}-gather-{}', $.run_id, $.index)",
        task="States.Format('{}/{}.json', $.tasks, $.index)",
        run="$.run_id",
        timeout_s=timeout_s,
    )
    return {
        **job_states(
            "GatherScene",
            job,
            done="Gathered",
            lost="Lost",
            refused="Refused",
            timed_out="TimedOut",
        ),
        "Gathered": _item({"status": "SUCCEEDED"}),
        # A scene that cannot be gathered does not stop the others: Assess counts them.
        "Lost": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.failed.job.Container.ExitCode", "IsPresent": True, "Next": "Exited"}
            ],
            "Default": "Vanished",
        },
        "Exited": _item({"status.$": "States.Format('EXIT_{}', $.failed.job.Container.ExitCode)"}),
        "Vanished": _item({"status": "FAILED"}),
        "TimedOut": _item({"status": "TIMED_OUT"}),
        "Refused": _fail_as_refused(),
    }


def _fail_as_refused() -> AslState:
    """Fail with the error of SubmitJob, which is none that Step Functions reserve for themselves.

    An execution whose Fail state has a reserved name (``States.``) ends as ``States.Runtime``.
    """
    return {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}


def _item(status: dict[str, str]) -> AslState:
    """End an item with its number and status: whole job descriptions would outgrow the state."""
    return {"Type": "Pass", "Parameters": {"index.$": "$.index", **status}, "End": True}


def _assess(function: str) -> AslStates:
    """Count what was gathered; go on to the merge, or to another round."""
    return {
        "Assess": _invoke(
            function,
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
    }


def _merge(target: JobTarget, *, concurrency: int) -> AslStates:
    """Merge in one job; a large mosaic in parts, between a survey and a last job."""
    in_parts = {
        "Variable": "$.assess.part_count",
        "NumericGreaterThan": 1,
        "Next": "SurveyFirstTry",
    }
    return {
        "PrepareMerge": _set_job(target, then="InParts?"),
        "InParts?": {"Type": "Choice", "Choices": [in_parts], "Default": "MergeFirstTry"},
        "SurveyFirstTry": first_try("Survey"),
        **_merge_job("Survey", target, task="$.assess.survey_task_uri", done="MergeParts"),
        "MergeParts": _merge_parts(concurrency, target.timeout_s),
        "MergeFirstTry": first_try("Merge"),
        **_merge_job("Merge", target, task="$.assess.merge_task_uri", done="Merged"),
        "MergeTimedOut": {
            "Type": "Pass",
            "Result": {"Error": TIMED_OUT_ERROR, "Cause": _TIMED_OUT},
            "ResultPath": "$.error",
            "Next": "FinishFailed",
        },
        # Remove the error of a job whose second try succeeded.
        "Merged": {"Type": "Pass", "Result": {}, "ResultPath": "$.error", "Next": "Finish"},
    }


def _merge_job(state: str, target: JobTarget, *, task: str, done: str) -> AslStates:
    """Run one job on the whole mosaic, with a second try; its failure ends the run."""
    job = SubmittedJob(
        definition={"JobDefinition": target.definition},
        name=f"States.Format('{{}}-{state.lower()}', $.run.id)",
        task=task,
        run="$.run.id",
        timeout_s=target.timeout_s,
    )
    return job_states(
        state,
        job,
        done=done,
        lost="FinishFailed",
        refused="FinishFailed",
        timed_out="MergeTimedOut",
    )


def _merge_parts(concurrency: int, timeout_s: int) -> AslState:
    """Merge each part; the first failure ends the run, since a mosaic needs all of its parts."""
    job = SubmittedJob(
        definition={"JobDefinition.$": "$.job.definition"},
        name="States.Format('{}-part-{}', $.run_id, $.index)",
        task="States.Format('{}/part-{}.json', $.tasks, $.index)",
        run="$.run_id",
        timeout_s=timeout_s,
    )
    processor = {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "MergePart",
        "States": {
            **job_states(
                "MergePart",
                job,
                done="PartMerged",
                lost="PartFailed",
                refused="PartRefused",
                timed_out="PartTimedOut",
            ),
            "PartMerged": _item({"status": "SUCCEEDED"}),
            # The cause describes the job, from which the last state makes the error of the run.
            "PartFailed": {"Type": "Fail", "Error": JOB_ERROR, "CausePath": "$.error.Cause"},
            "PartRefused": _fail_as_refused(),
            "PartTimedOut": {"Type": "Fail", "Error": TIMED_OUT_ERROR, "Cause": _TIMED_OUT},
        },
    }
    return {
        **_job_map({"ItemsPath": "$.assess.parts"}, processor, concurrency),
        "ResultPath": "$.merged",
        "Next": "MergeFirstTry",
    }


def _finish(function: str) -> AslStates:
    """Report how the run ended; an execution fails with the error of its run.

    The function writes ``status.json`` before it publishes the outcome.
    """
    payload = {
        "state.$": "$",
        "execution.$": "$$.Execution.Name",
        "started.$": "$$.Execution.StartTime",
        "ended.$": "$$.State.EnteredTime",
    }
    output = {"OutputPath": "$.Payload", "End": True}
    return {
        "Finish": _invoke(function, payload, **output)
        | {"Catch": [_catch_all(NOT_NOTIFIED, then="FinishNotNotified")]},
        # The mosaic is finished, so a failed notification does not fail the run. The entry
        # `not_notified` makes the function return the output in any case.
        "FinishNotNotified": _invoke(function, payload, **output),
        "FinishFailed": _invoke(
            function,
            payload,
            ResultSelector={"error.$": "$.Payload.error", "cause.$": "$.Payload.cause"},
            ResultPath="$.finish",
            Next="Failed",
        )
        | {"Catch": [_catch_all("not_reported", then="NotReported")]},
        "Failed": {"Type": "Fail", "ErrorPath": "$.finish.error", "CausePath": "$.finish.cause"},
        "NotReported": {
            "Type": "Fail",
            "Error": FINISH_ERROR,
            "Cause": "the run failed, and so did its report: see the history of the execution",
        },
    }
