"""Runs that are started by a request in S3."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cloudbuster.aws.admission import REQUEST_PREFIX, REQUEST_SUFFIX
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.inbox import TURN_KEY
from infra import policies
from infra.configuration.config import StackConfig
from infra.configuration.deliveries import deliver_to_queue
from infra.constructs.functions import Function
from infra.constructs.images import Image

# Failed deliveries after which a message goes to the dead-letter queue.
MAX_RECEIVES = 3


class Trigger(Construct):
    """``requests/*.json`` -> EventBridge -> queue -> function -> execution.

    EventBridge alone cannot name the execution, and may deliver an event more than once. The queue
    keeps requests beyond ``max_running_executions``.

    Attributes
    ----------
    requests, dead_letters : sqs.Queue
        Queue of requests, and queue of messages that could not be handled.
    starter : Function
        The function.
    settings : str
        JSON of the stack's settings, with the state machine and the queue.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        image: Image,
        config: StackConfig,
        machine: sfn.IStateMachine,
        settings: StackSettings,
    ) -> None:
        super().__init__(scope, construct_id)
        key = kms.Key.from_key_arn(self, "Key", config.kms_key_arn) if config.kms_key_arn else None
        self.dead_letters = self._queue("DeadLetters", key)
        self.requests = queue = self._queue("Requests", key, dead_letters=self.dead_letters)
        complete = settings.model_copy(
            update={"state_machine_arn": machine.state_machine_arn, "queue_url": queue.queue_url}
        )
        self.settings = cdk.Stack.of(self).to_json_string(complete.model_dump(mode="json"))
        self.starter = Function(
            self,
            "StartRun",
            config=config,
            image=image,
            module="start_run",
            settings=self.settings,
            statements=self._statements(
                bucket.bucket_arn, machine.state_machine_arn, str(settings.topic_arn), queue
            ),
        )
        self._poll(queue)
        self._send_to(queue, bucket.bucket_name)

    def _poll(self, queue: sqs.IQueue) -> None:
        """Invoke the function for each message of the queue."""
        self.starter.function.add_event_source_mapping(
            "Messages",
            event_source_arn=queue.queue_arn,
            # One message per invocation, so that a function that waits for its turn delays no
            # other message. Lambda polls with two functions at least, so they take turns. To
            # reserve a concurrency of one instead fails in new accounts, which may reserve none;
            # and a throttled message would count as a failed delivery.
            batch_size=1,
            max_concurrency=2,
            report_batch_item_failures=True,
        )

    def _send_to(self, queue: sqs.IQueue, bucket_name: str) -> None:
        """Let EventBridge send an event to the queue for each request."""
        events.Rule(
            self,
            "Rule",
            description="Requests that are dropped in the bucket",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [bucket_name]},
                    "object": {"key": [{"wildcard": f"{REQUEST_PREFIX}*{REQUEST_SUFFIX}"}]},
                },
            ),
            targets=[deliver_to_queue(queue, self.dead_letters)],
        )

    def _queue(
        self, name: str, key: kms.IKey | None, *, dead_letters: sqs.Queue | None = None
    ) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            name,
            enforce_ssl=True,
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            retention_period=cdk.Duration.days(14),
            # Six times the function's timeout, as AWS recommends.
            visibility_timeout=cdk.Duration.minutes(6),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=dead_letters, max_receive_count=MAX_RECEIVES
            )
            if dead_letters
            else None,
        )
        if dead_letters is None:
            policies.acknowledge(queue, "SQS3", "it is the dead-letter queue")
        return queue

    def _statements(
        self, bucket_arn: str, machine_arn: str, topic_arn: str, queue: sqs.IQueue
    ) -> list[policies.Statement]:
        stack = cdk.Stack.of(self)
        return [
            policies.read(bucket_arn, "requests/"),
            policies.write(bucket_arn, "rejected/", "aois/"),
            policies.list_bucket(bucket_arn),
            policies.allow(
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                on=[f"{bucket_arn}/{TURN_KEY}"],
            ),
            policies.allow("states:StartExecution", "states:ListExecutions", on=[machine_arn]),
            policies.allow(
                "states:DescribeExecution",
                on=[policies.machine_part(stack, "execution", "*")],
                reason="an execution is named after its request",
            ),
            policies.allow("sns:Publish", on=[topic_arn]),
            policies.allow(
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:GetQueueAttributes",
                "sqs:SendMessage",
                on=[queue.queue_arn],
            ),
        ]
