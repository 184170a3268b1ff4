"""The dashboard, the metrics that it draws from logs, and queries of these logs."""

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

# Width of a widget, of the 24 columns of a dashboard.
HALF = 12


@dataclass(frozen=True)
class LogMetric:
    """A metric that is made of the lines of a log group.

    Attributes
    ----------
    name : str
        Name of the metric.
    group : str
        Log group: ``jobs`` or ``filter``.
    event : str
        Event of the lines that count.
    value : str
        Member of the lines that is the value, or a constant.
    condition : str
        Further condition on the lines.
    """

    name: str
    group: str
    event: str
    value: str
    condition: str = ""

    @property
    def pattern(self) -> str:
        """Pattern of CloudWatch Logs."""
        return f'{{ $.event = "{self.event}"{self.condition} }}'


LOG_METRICS = (
    LogMetric("ScenesToGather", "filter", "round_planned", "$.todo_count"),
    LogMetric("ExpectedUsd", "filter", "run_expected", "$.usd"),
    LogMetric("JobSeconds", "jobs", "job_ended", "$.duration_s"),
    LogMetric("JobRetries", "jobs", "job_started", "1", " && $.attempt > 1"),
    LogMetric("BytesRead", "jobs", "scene_gathered", "$.read_bytes"),
)
"""Metrics of the logs. The names of events and members are those that functions and jobs log."""

QUERIES: Mapping[str, tuple[str, ...]] = {
    "errors-of-jobs": (
        "fields @timestamp, error, reason, exit_code, @logStream",
        'filter event = "failed"',
        "sort @timestamp desc",
    ),
    "slowest-scenes": (
        "fields scene, duration_s, decoded_pixels / 1000000 as mpx, read_bytes / 1000000 as mb",
        'filter event = "scene_gathered"',
        "sort duration_s desc",
    ),
    "bytes-and-seconds-by-hour": (
        'filter event = "scene_gathered"',
        "stats sum(read_bytes) / 1000000000 as gb, sum(duration_s) / 3600 as hours, count() by "
        "bin(1h)",
    ),
    "further-attempts": (
        "fields @timestamp, task, attempt, @logStream",
        'filter event = "job_started" and attempt > 1',
        "sort @timestamp desc",
    ),
}
"""Queries of the logs of jobs, by their names."""
FAILED_RUNS = (
    "fields @timestamp, run_id, error, cause, infrastructure",
    'filter event = "run_failed"',
    "sort @timestamp desc",
)
"""Query of the log of the last state."""


class Dashboard(Construct):
    """One page with the runs, their jobs, what they read, and what they are expected to cost."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.StateMachine,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
        jobs_log: logs.ILogGroup,
        filter_log: logs.ILogGroup,
        finish_log: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        self._name = cdk.Stack.of(self).stack_name
        groups = {"jobs": jobs_log, "filter": filter_log}
        found = {each.name: self._metric(each, groups[each.group]) for each in LOG_METRICS}
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=self._name,
            default_interval=cdk.Duration.days(7),
            widgets=[
                [_runs(machine), _durations(machine)],
                [
                    _graph("Scenes to gather, by round", found["ScenesToGather"]),
                    _graph("Expected costs, USD", found["ExpectedUsd"]),
                ],
                [
                    _graph("Seconds of jobs", found["JobSeconds"]),
                    _graph("Bytes read of scenes", found["BytesRead"]),
                ],
                [
                    _graph("Further attempts of jobs (spot, exit 75)", found["JobRetries"]),
                    _queues(requests, dead_letters),
                ],
            ],
        )
        for name, lines in QUERIES.items():
            self._query(name, lines, jobs_log)
        self._query("failed-runs", FAILED_RUNS, finish_log)

    def _metric(self, metric: LogMetric, group: logs.ILogGroup) -> cloudwatch.Metric:
        """Make a metric of the lines of a log group."""
        found = logs.MetricFilter(
            self,
            metric.name,
            log_group=group,
            filter_pattern=logs.FilterPattern.literal(metric.pattern),
            metric_namespace=f"CloudBuster/{self._name}",
            metric_name=metric.name,
            metric_value=metric.value,
        )
        return found.metric(statistic="Sum")

    def _query(self, name: str, lines: tuple[str, ...], group: logs.ILogGroup) -> None:
        """Save a query, under the name of the stack."""
        words = [word.capitalize() for word in name.split("-")]
        logs.CfnQueryDefinition(
            self,
            f"{''.join(words)}Query",
            name=f"{self._name}/{name}",
            query_string="\n| ".join(lines),
            log_group_names=[group.log_group_name],
        )


def _runs(machine: sfn.StateMachine) -> cloudwatch.IWidget:
    metrics = [
        machine.metric_started(),
        machine.metric_succeeded(),
        machine.metric_failed(),
        machine.metric_aborted(),
        machine.metric_timed_out(),
    ]
    return _graph("Runs", *metrics)


def _durations(machine: sfn.StateMachine) -> cloudwatch.IWidget:
    longest = machine.metric_time(statistic="Maximum", label="longest")
    return _graph("Duration of runs, milliseconds", machine.metric_time(label="mean"), longest)


def _queues(requests: sqs.IQueue, dead_letters: sqs.IQueue) -> cloudwatch.IWidget:
    return _graph(
        "Requests: age of the oldest one that waits, seconds; lost ones",
        requests.metric_approximate_age_of_oldest_message(label="age"),
        dead_letters.metric_approximate_number_of_messages_visible(label="lost"),
    )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=HALF)
