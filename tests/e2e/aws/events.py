"""EventBridge, queues and pollers: events for objects and executions reach their functions."""

import copy
import itertools
import json
import math
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import moto.s3.notifications
from moto.awslambda.utils import get_backend
from moto.events.models import events_backends
from moto.sqs.models import Message, Queue, sqs_backends
from moto.stepfunctions.parser.backend.execution import (
    BaseExecutionWorkerCommunication,
    Execution,
)

from tests.e2e.aws.bed import Bed
from tests.e2e.aws.functions import invoke_later, run_function
from tests.e2e.aws.patches import replace, wrap

POLL_S = 0.1


def repair(bed: Bed) -> None:
    """Let moto deliver events."""
    _send_object_events(bed)
    _send_execution_events(bed)
    _poll_queues(bed)
    _wait_less_for_messages(bed)


def _send_object_events(bed: Bed) -> None:
    """Send events with an id and a sequencer of their own; moto's are all the same."""
    numbers = itertools.count(1)

    def send(account: str, bucket: Any, event_name: Any, key: Any) -> None:
        reason = event_name.value.split(":")[1]
        if not event_name.value.startswith("s3:ObjectCreated"):
            return
        detail = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": {
                "key": key.name,
                "size": key.size,
                "etag": key.etag.strip('"'),
                "sequencer": f"{next(numbers):018X}",
            },
            "reason": reason,
        }
        event = _event("aws.s3", "Object Created", account, bucket.region_name, detail)
        _deliver(bed, {**event, "resources": [bucket.arn]}, key=key.name)

    replace(moto.s3.notifications, _send_event_bridge_message=send)


def _send_execution_events(bed: Bed) -> None:
    """Send an event when an execution starts and when it ends; moto sends none."""

    def send(execution: Any) -> None:
        kind = "Step Functions Execution Status Change"
        place = (execution.account_id, execution.region_name)
        event = _event("aws.states", kind, *place, _execution_detail(execution))
        _deliver(bed, {**event, "resources": [execution.exec_arn]}, execution=execution.name)

    @wrap(Execution, "start")
    def start(original: Any, execution: Any) -> None:
        original(execution)
        send(execution)

    @wrap(BaseExecutionWorkerCommunication, "terminated")
    def terminated(original: Any, communication: Any) -> None:
        original(communication)
        send(communication.execution)


def _execution_detail(execution: Any) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html."""
    known = execution.to_describe_output()
    stop = known["stopDate"]
    return {
        "executionArn": known["executionArn"],
        "stateMachineArn": known["stateMachineArn"],
        "name": known["name"],
        "status": known["status"],
        "startDate": _milliseconds(known["startDate"]),
        "stopDate": _milliseconds(stop) if stop else None,
        "input": known["input"],
        "inputDetails": {"included": True},
        "output": known.get("output"),
        "outputDetails": {"included": True} if "output" in known else None,
        "error": known.get("error"),
        "cause": known.get("cause"),
    }


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _event(
    source: str, kind: str, account: str, region: str, detail: dict[str, Any]
) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": account,
        "time": datetime.now(UTC).timestamp(),
        "region": region,
        "resources": [],
        "detail": detail,
    }


def _deliver(bed: Bed, event: Any, **facts: str) -> None:
    """Send an event to the targets of matching rules, also to functions, which moto cannot."""
    account, region = event["account"], event["region"]
    buses = events_backends[account][region].event_buses.values()
    for rule in [rule for bus in buses for rule in bus.rules.values()]:
        if not rule.event_pattern.matches_event(event):
            continue
        bed.journal.note("event_sent", rule=rule.name, **facts)
        targets = {target["Arn"]: target for target in rule.targets}
        functions = [arn for arn in targets if ":lambda:" in arn]
        for arn in functions:
            time_text = datetime.fromtimestamp(event["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            function = get_backend(account, region).get_function(arn)
            invoke_later(bed, function, json.dumps({**event, "time": time_text}))
        others = copy.copy(rule)
        others.targets = [target for arn, target in targets.items() if arn not in functions]
        others.send_to_targets(event, transform_input=False)


def _poll_queues(bed: Bed) -> None:
    """Poll queues for their functions; moto invokes a function once, while a message is sent."""
    polled: set[str] = set()
    lock = threading.Lock()

    @wrap(Queue, "add_message")
    def add(original: Any, queue: Any, message: Any) -> None:
        mappings, queue.lambda_event_source_mappings = queue.lambda_event_source_mappings, {}
        try:
            original(queue, message)
        finally:
            queue.lambda_event_source_mappings = mappings
        for arn, mapping in mappings.items():
            with lock:
                if mapping.uuid in polled:
                    continue
                polled.add(mapping.uuid)
            arguments = (bed, queue, arn, mapping)
            threading.Thread(target=_poll, args=arguments, daemon=True).start()


def _wait_less_for_messages(bed: Bed) -> None:
    """Shorten the delay of messages, and record the delay that was asked for."""

    @wrap(Message, "delay")
    def delay(original: Any, message: Any, delay_seconds: int) -> None:
        bed.journal.note("delayed", seconds=delay_seconds)
        original(message, math.ceil(delay_seconds * bed.settings.wait_scale))


def _poll(bed: Bed, queue: Any, arn: str, mapping: Any) -> None:
    """Invoke a function with the messages of a queue until the mapping is deleted."""
    backend: Any = sqs_backends[queue.account_id][queue.region]
    while arn in queue.lambda_event_source_mappings:
        messages = backend.receive_message(
            queue.name, int(mapping.batch_size), 0, int(queue.visibility_timeout)
        )
        if not messages:
            time.sleep(POLL_S)
            continue
        function = get_backend(queue.account_id, queue.region).get_function(arn)
        event = {"Records": [_record(queue, message) for message in messages]}
        answer = run_function(bed, function, json.dumps(event))
        failed = _failed(answer, [message.id for message in messages])
        for message in messages:
            if message.id not in failed:
                backend.delete_message(queue.name, message.receipt_handle)
            else:  # Visible at once, to save the visibility timeout.
                backend.change_message_visibility(queue.name, message.receipt_handle, 0)


def _failed(answer: dict[str, Any], messages: list[str]) -> set[str]:
    """Ids of the messages that must be delivered again."""
    if "error" in answer:
        return set(messages)
    failures = (answer["result"] or {}).get("batchItemFailures", [])
    return {failure["itemIdentifier"] for failure in failures}


def _record(queue: Any, message: Any) -> dict[str, Any]:
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.approximate_receive_count)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.queue_arn,
        "awsRegion": queue.region,
    }
