"""The dashboard draws metrics that exist, of lines that functions and jobs log."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import cloudbuster
from infra.constructs.dashboard import LOG_METRICS, QUERIES, LogMetric
from tests.infra.templates import Template, flat, properties, resources

PACKAGE = Path(cloudbuster.__file__).parent
# Metrics that AWS makes by itself:
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html,
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
# sqs-available-cloudwatch-metrics.html
OF_AWS = {
    "AWS/States": {
        "ExecutionsStarted",
        "ExecutionsSucceeded",
        "ExecutionsFailed",
        "ExecutionsAborted",
        "ExecutionsTimedOut",
        "ExecutionTime",
    },
    "AWS/SQS": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
}


def drawn(template: Template) -> list[tuple[str, str]]:
    """Namespace and name of each metric on the dashboard."""
    body: dict[str, Any] = json.loads(
        flat(properties(template, "CloudWatch::Dashboard")["DashboardBody"])
    )
    return [
        (metric[0], metric[1])
        for widget in body["widgets"]
        for metric in widget["properties"].get("metrics", [])
    ]


def test_every_metric_on_the_dashboard_exists(template: Template) -> None:
    filters = {
        (change["MetricNamespace"], change["MetricName"])
        for entry in resources(template, "Logs::MetricFilter").values()
        for change in entry["Properties"]["MetricTransformations"]
    }
    metrics = drawn(template)
    assert len(metrics) >= 12
    for namespace, name in metrics:
        assert name in OF_AWS.get(namespace, ()) or (namespace, name) in filters, name
    made = {("CloudBuster/CloudBuster", each.name) for each in LOG_METRICS}
    assert made <= set(metrics)


@pytest.mark.parametrize("metric", LOG_METRICS, ids=lambda metric: metric.name)
def test_a_metric_of_logs_reads_an_event_and_members_that_are_logged(metric: LogMetric) -> None:
    logged = [
        text for path in PACKAGE.rglob("*.py") if f'"{metric.event}"' in (text := path.read_text())
    ]
    assert len(logged) == 1, metric.event
    for member in re.findall(r"\$\.(\w+)", f"{metric.value}{metric.condition}"):
        assert f'"{member}":' in logged[0], member


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_saved_for_the_log_of_jobs(template: Template, name: str) -> None:
    saved = [
        entry["Properties"]
        for entry in resources(template, "Logs::QueryDefinition").values()
        if entry["Properties"]["Name"] == f"CloudBuster/{name}"
    ]
    assert len(saved) == 1
    assert saved[0]["QueryString"] == "\n| ".join(QUERIES[name])
    (group,) = flat(saved[0]["LogGroupNames"])
    assert group.startswith("<JobsRolesLogs")


def test_failed_runs_are_queried_in_the_log_of_the_last_state(template: Template) -> None:
    saved = properties(template, "Logs::QueryDefinition", "FailedRuns")
    assert 'event = "run_failed"' in saved["QueryString"]
    assert flat(saved["LogGroupNames"])[0].startswith("<StagesFinishLogs")


def test_the_template_stays_below_four_hundred_resources(template: Template) -> None:
    assert len(template["Resources"]) <= 400
