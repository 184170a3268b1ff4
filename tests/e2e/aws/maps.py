"""Distributed maps: the files that a map run writes to S3, and the effect of a failed child.

Moto reads the items and runs the children, but its manifest lists no results, and it treats a
failed child as one without an answer. A child here is a frame of its parent's execution and has no
history of its own.

The files are those that AWS documents for a map without ``Transformation``:
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (  # noqa: E501
    DistributedIterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.distributed_item_processor_worker import (  # noqa: E501
    DistributedItemProcessorWorker,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.resource_eval.resource_eval_s3 import (  # noqa: E501
    ResourceEvalS3,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.result_writer_decl import (  # noqa: E501
    ResultWriter,
)
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

from tests.e2e.aws.bed import Bed
from tests.e2e.aws.patches import replace, wrap

Child = dict[str, Any]
TOLERATED = "The specified tolerated failure threshold was exceeded"


def repair(_bed: Bed) -> None:
    """Let moto finish a distributed map."""
    _remember_children()
    _fail_with_a_child()
    _read_where_to_write()
    _write_results()


def _children_of(record: Any) -> list[Child]:
    """Finished children of a map run, in the order of their ends."""
    children: list[Child] = vars(record).setdefault("children", [])
    return children


def _remember_children() -> None:
    """Record input, times and status of each child; moto keeps its answer only."""

    @wrap(DistributedItemProcessorWorker, "_eval_input")
    def select(original: Any, worker: Any, env_frame: Any) -> None:
        original(worker, env_frame)
        env_frame.child_input = json.dumps(env_frame.states.get_input())

    @wrap(DistributedItemProcessorWorker, "_eval_job")
    def evaluate(original: Any, worker: Any, env: Any, job: Any) -> None:
        started = datetime.now(UTC)
        original(worker, env, job)
        record = worker._map_run_record
        _children_of(record).append(_child(record, env, job, started))


def _child(record: Any, env: Any, job: Any, started: datetime) -> Child:
    """Describe a finished child."""
    state = env.program_state()
    name = str(uuid.uuid4())
    status = "SUCCEEDED" if isinstance(state, ProgramEnded) else "ABORTED"
    answer: Child = {"Output": json.dumps(job.job_output), "OutputDetails": {"Included": True}}
    if isinstance(state, ProgramError):
        status, error = "FAILED", state.error or {}
        answer = {"Error": error.get("error"), "Cause": error.get("cause")}
    arn = record.map_state_machine_arn
    return {
        "ExecutionArn": f"{arn.replace(':stateMachine:', ':execution:')}:{name}",
        "Input": getattr(env, "child_input", "null"),
        "InputDetails": {"Included": True},
        "Name": name,
        **answer,
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE",
        "RedriveStatusReason": f"Execution is {status} and cannot be redriven",
        "StartDate": _text(started),
        "StateMachineArn": arn,
        "Status": status,
        "StopDate": _text(datetime.now(UTC)),
    }


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def _fail_with_a_child() -> None:
    """Fail a map with its first failed child, as AWS does without tolerated failures."""

    @wrap(DistributedIterationComponent, "_map_run")
    def run(original: Any, component: Any, env: Any, eval_input: Any) -> None:
        original(component, env, eval_input)
        if not any(
            child["Status"] == "FAILED" for child in _children_of(eval_input.map_run_record)
        ):
            return
        name = StatesErrorName(typ=StatesErrorNameType.StatesExceedToleratedFailureThreshold)
        details: Any = {"mapRunFailedEventDetails": {"error": name.error_name, "cause": TOLERATED}}
        raise FailureEventException(
            failure_event=FailureEvent(
                env=env,
                error_name=name,
                event_type=HistoryEventType.MapRunFailed,
                event_details=details,
            )
        )


def _read_where_to_write() -> None:
    """Evaluate paths of a ResultWriter on the state's input; moto uses the results."""

    def evaluate(writer: Any, env: Any) -> None:
        env.stack.append(env.states.get_input())
        writer.parargs.eval(env=env)
        asked = env.stack.pop()
        env.stack[-1] = asked
        writer.resource_eval.eval_resource(env=env)

    replace(ResultWriter, _eval_body=evaluate)


def _write_results() -> None:
    """Write the children to files by their status, and a manifest of the files."""

    def put(env: Any, resource_runtime_part: Any, _credentials: Any) -> None:
        asked = env.stack.pop()
        env.stack.pop()
        record = env.map_run_record_pool_manager.get_all()[-1]
        bucket, folder = asked["Bucket"], record.map_run_arn.rsplit(":", 1)[-1]
        prefix = f"{asked['Prefix'].rstrip('/')}/{folder}".lstrip("/")
        s3 = boto_client_for(service="s3", region=resource_runtime_part.region)
        files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        for status, listed in files.items():
            children = [child for child in _children_of(record) if child["Status"] == status]
            if children:
                key, content = f"{prefix}/{status}_0.json", json.dumps(children).encode()
                s3.put_object(Bucket=bucket, Key=key, Body=content)
                listed.append({"Key": key, "Size": len(content)})
        key = f"{prefix}/manifest.json"
        manifest = {
            "DestinationBucket": bucket,
            "MapRunArn": record.map_run_arn,
            "ResultFiles": files,
        }
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
        details = {"Bucket": bucket, "Key": key}
        env.stack.append({"MapRunArn": record.map_run_arn, "ResultWriterDetails": details})

    replace(ResourceEvalS3, _handle_put_object=staticmethod(put))
