"""Step Functions: moto's interpreter, with repairs for ``batch:submitJob.sync``."""

import os
import time
from typing import Any

import botocore.session
import moto.stepfunctions.models
from botocore import xform_name
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (  # noqa: E501
    StateTaskService,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_batch import (  # noqa: E501
    StateTaskServiceBatch as BatchTask,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (  # noqa: E501
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
from moto.stepfunctions.parser.models import stepfunctions_parser_backends
from moto.stepfunctions.responses import StepFunctionResponse

from tests.e2e.aws.bed import Bed
from tests.e2e.aws.patches import replace, wrap

# Errors in the model of Batch; Step Functions rename every other one to AWSBatchException.
KNOWN_ERRORS = ("ClientException", "ServerException")


def repair(bed: Bed) -> None:
    """Let moto interpret the state machine."""
    os.environ["MOTO_PORT"] = str(bed.settings.port)
    _keep_machines_where_they_run()
    _spell_parameters()
    _name_errors_of_batch()
    _wait_for_jobs(bed)
    _wait_less_between_retries(bed)
    _end_stopped_executions_as_stopped()
    _keep_the_reason_of_a_stop()


def _keep_machines_where_they_run() -> None:
    """Put state machines of a template into the backend that executes them."""
    replace(moto.stepfunctions.models, stepfunctions_backends=stepfunctions_parser_backends)


def _spell_parameters() -> None:
    """Translate between ``JobName`` of Step Functions and ``jobName`` of boto3, both ways."""
    session = botocore.session.get_session()

    def operation(task: Any, service: str | None, action: str | None) -> Any:
        model = session.get_service_model(task._get_boto_service_name(service))
        wanted = task._get_boto_service_action(action)
        names = (name for name in model.operation_names if xform_name(name) == wanted)
        return model.operation_model(next(names))

    def to_boto(
        task: Any, parameters: Any, boto_service_name: Any = None, service_action_name: Any = None
    ) -> None:
        shape = operation(task, boto_service_name, service_action_name).input_shape
        task._to_boto_request(parameters, shape)

    def from_boto(
        task: Any, response: Any, boto_service_name: Any = None, service_action_name: Any = None
    ) -> None:
        shape = operation(task, boto_service_name, service_action_name).output_shape
        task._from_boto_response(response, shape)

    replace(StateTaskService, _normalise_parameters=to_boto, _normalise_response=from_boto)


def _name_errors_of_batch() -> None:
    """Name errors of Batch as Step Functions do."""

    @wrap(BatchTask, "_from_error")
    def from_error(original: Any, task: Any, env: Any, ex: Exception) -> Any:
        event = original(task, env, ex)
        if isinstance(ex, ClientError) and ex.response["Error"]["Code"] not in KNOWN_ERRORS:
            event.error_name = CustomErrorName("Batch.AWSBatchException")
            event.event_details["taskFailedEventDetails"]["error"] = "Batch.AWSBatchException"
        return event


def _wait_for_jobs(bed: Bed) -> None:
    """Wait for second submissions too, and terminate the job of a stopped execution."""

    @wrap(BatchTask, "_build_sync_resolver")
    def build_resolver(
        original: Any, task: Any, env: Any, resource_runtime_part: Any, **others: Any
    ) -> Any:
        job = env.stack[-1]["JobId"]
        resolver = original(task, env, resource_runtime_part, **others)

        def cancel() -> None:
            client = boto_client_for(service="batch", region=resource_runtime_part.region)
            client.terminate_job(jobId=job, reason="Execution aborted by Step Functions")

        resolver.cancel = cancel
        return resolver

    def wait(_task: Any, env: Any, sync_resolver: Any, **_others: Any) -> Any:
        while env.is_running():
            result = sync_resolver()
            if result:
                return result
            time.sleep(bed.settings.poll_s)
        sync_resolver.cancel()
        return None

    replace(StateTaskServiceCallback, _eval_sync=wait)


def _wait_less_between_retries(bed: Bed) -> None:
    """Shorten the waits, and record the waits that were asked for."""

    class Clock:
        @staticmethod
        def sleep(seconds: float) -> None:
            bed.journal.note("retry", seconds=seconds)
            time.sleep(seconds * bed.settings.wait_scale)

    replace(retrier_decl, time=Clock)


def _end_stopped_executions_as_stopped() -> None:
    """Ignore errors of the iterations of a stopped map, which would end it as failed."""

    @wrap(Environment, "set_error")
    def set_error(original: Any, env: Any, error: Any) -> None:
        if not isinstance(env.program_state(), ProgramStopped):
            original(env, error=error)


def _keep_the_reason_of_a_stop() -> None:
    """Keep the error and the cause with which an execution was stopped."""
    given: dict[str, tuple[str | None, str | None]] = {}

    @wrap(StepFunctionResponse, "stop_execution")
    def stop(original: Any, response: Any) -> Any:
        reasons = (response._get_param("error"), response._get_param("cause"))
        given[response._get_param("executionArn")] = reasons
        return original(response)

    @wrap(BaseExecutionWorkerCommunication, "_reflect_execution_status")
    def reflect(original: Any, communication: Any) -> None:
        original(communication)
        execution = communication.execution
        if execution.exec_arn in given and execution.status == "ABORTED":
            execution.error, execution.cause = given[execution.exec_arn]
