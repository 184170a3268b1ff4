"""Executions that end without reaching their last state."""

from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.configuration.deliveries import deliver_to_function

# Ends of an execution that its last state may not have reported.
UNREPORTED = ("ABORTED", "TIMED_OUT", "FAILED")
# The greatest values that AWS allows; after these an event goes to the dead-letter queue.
INVOCATIONS_AGAIN = 2
INVOKED_WITHIN_S = 6 * 3600


class Endings(Construct):
    """EventBridge invokes the function of the last state for executions that ended without it.

    Somebody stops an execution, it takes too long, or the last state fails. Otherwise
    ``status.json`` would say for ever that the run is running.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.IStateMachine,
        finish: lambda_.IFunction,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        self._invoke_again(finish, dead_letters)
        events.Rule(
            self,
            "Rule",
            description="Executions that were stopped, timed out or failed",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [machine.state_machine_arn],
                    "status": list(UNREPORTED),
                },
            ),
            targets=[deliver_to_function(finish, dead_letters)],
        )

    def _invoke_again(self, finish: lambda_.IFunction, dead_letters: sqs.IQueue) -> None:
        """Send an event to the dead-letter queue if the function fails with it."""
        permission = iam.PolicyStatement(
            actions=["sqs:SendMessage"], resources=[dead_letters.queue_arn]
        )
        policy = iam.Policy(self, "ToDeadLetters", statements=[permission])
        if finish.role is not None:
            policy.attach_to_role(finish.role)
        on_failure = lambda_.CfnEventInvokeConfig.OnFailureProperty(
            destination=dead_letters.queue_arn
        )
        again = lambda_.CfnEventInvokeConfig(
            self,
            "Again",
            function_name=finish.function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=INVOCATIONS_AGAIN,
            maximum_event_age_in_seconds=INVOKED_WITHIN_S,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=on_failure
            ),
        )
        # Lambda refuses a destination if the function's role is not allowed to send to it.
        again.node.add_dependency(policy)
