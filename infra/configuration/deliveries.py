"""Targets of rules of EventBridge, with retries and a dead-letter queue."""

import aws_cdk as cdk
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

# The greatest values that AWS allows; after these an event goes to the dead-letter queue.
DELIVERIES = 185
DELIVERED_WITHIN = cdk.Duration.hours(24)


def deliver_to_function(
    function: lambda_.IFunction, dead_letters: sqs.IQueue
) -> targets.LambdaFunction:
    """Invoke a function with an event."""
    return targets.LambdaFunction(
        function,
        dead_letter_queue=dead_letters,
        retry_attempts=DELIVERIES,
        max_event_age=DELIVERED_WITHIN,
    )


def deliver_to_queue(queue: sqs.IQueue, dead_letters: sqs.IQueue) -> targets.SqsQueue:
    """Send an event to a queue."""
    return targets.SqsQueue(
        queue,
        dead_letter_queue=dead_letters,
        retry_attempts=DELIVERIES,
        max_event_age=DELIVERED_WITHIN,
    )
