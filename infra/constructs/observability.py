"""Notifications, alarms and the budget."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cloudbuster.aws.stack.blocked_queues import BLOCKED
from infra import policies
from infra.configuration.config import StackConfig
from infra.configuration.deliveries import deliver_to_function
from infra.constructs.functions import Function

# Kind of spending, and percent of the budget above which the topic is notified.
BUDGET_ALARMS = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))


class Notifications(Construct):
    """The topic of outcomes, rejections and alarms, and the budget.

    Attributes
    ----------
    topic : sns.Topic
        Topic with a subscription for each address of ``notify_emails``.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StackConfig) -> None:
        super().__init__(scope, construct_id)
        key = kms.Key.from_key_arn(self, "Key", config.kms_key_arn) if config.kms_key_arn else None
        self.topic = sns.Topic(self, "Topic", enforce_ssl=True, master_key=key)
        for address in config.notify_emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
        policies.let_publish(self.topic, "AllowAlarms", "cloudwatch", "alarm:*")
        if config.monthly_budget_usd is not None:
            policies.let_publish(self.topic, "AllowBudget", "budgets", "*")
            self._budget(config.monthly_budget_usd)

    def _budget(self, monthly_usd: float) -> None:
        """Notify the topic when the account spends too much, or is about to.

        A budget of the stack alone would need a cost allocation tag, which the owner of the bill
        must activate, and would stay at zero without it.
        """
        topic = budgets.CfnBudget.SubscriberProperty(
            address=self.topic.topic_arn, subscription_type="SNS"
        )
        budget = budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=monthly_usd, unit="USD"),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[topic],
                )
                for kind, percent in BUDGET_ALARMS
            ],
        )
        # Budgets refuse a topic that they may not publish to.
        budget.node.add_dependency(self.topic)


class Alarms(Construct):
    """Alarms for failures of the stack itself; an area without scenes is an outcome, no alarm."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topic: sns.ITopic,
        machine: sfn.StateMachine,
        finish: Function,
        functions: Sequence[Function],
        dead_letters: sqs.IQueue,
        queue_arns: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._topic = topic
        self._alarm("RunsFailed", self._infrastructure_failures(finish.log_group))
        self._alarm("RunsTimedOut", machine.metric_timed_out())
        self._alarm("FinishFailed", finish.function.metric_errors())
        for function in functions:
            self._alarm(f"{function.node.id}Failed", function.function.metric_errors())
        self._alarm("RequestsLost", dead_letters.metric_approximate_number_of_messages_visible())
        self._queue_blocked(queue_arns, finish.function, dead_letters)

    def _infrastructure_failures(self, log_group: logs.ILogGroup) -> cloudwatch.Metric:
        """Count the failures that the last state logs as not caused by the request."""
        found = logs.MetricFilter(
            self,
            "InfrastructureFailures",
            log_group=log_group,
            filter_pattern=logs.FilterPattern.literal(
                '{ $.event = "run_failed" && $.infrastructure IS TRUE }'
            ),
            metric_namespace=f"CloudBuster/{cdk.Stack.of(self).stack_name}",
            metric_name="InfrastructureFailures",
            metric_value="1",
        )
        return found.metric(statistic="Sum")

    def _alarm(self, name: str, metric: cloudwatch.Metric) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))

    def _queue_blocked(
        self, queue_arns: Sequence[str], finish: lambda_.IFunction, dead_letters: sqs.IQueue
    ) -> None:
        """Publish events about a job at the head of a queue that no host can run.

        The function does it: EventBridge cannot use a topic whose policy has conditions, and
        without them any account's rule could (https://docs.aws.amazon.com/eventbridge/latest/
        userguide/eb-use-resource-based.html).
        """
        events.Rule(
            self,
            "QueueBlocked",
            description="A job that no host can run blocks a queue",
            event_pattern=events.EventPattern(
                source=["aws.batch"],
                detail_type=[BLOCKED],
                resources=list(queue_arns),
            ),
            targets=[deliver_to_function(finish, dead_letters)],
        )
