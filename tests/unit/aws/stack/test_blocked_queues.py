"""Reports of jobs that block their queue."""

import json
from typing import Any

import pytest

from cloudbuster.aws.stack.blocked_queues import BLOCKED, report_blocked_queue

QUEUE = "arn:aws:batch:us-west-2:123456789012:job-queue/Main"
RUN = "denver-2020-0123456789abcdef"


def event(**detail: Any) -> dict[str, Any]:
    return {"detail-type": BLOCKED, "detail": {"jobQueue": QUEUE, **detail}}


@pytest.mark.parametrize(
    ("job", "run"),
    [
        (f"{RUN}-gather-7", RUN),
        (f"{RUN}-merge", RUN),
        (f"{RUN}-part-3", RUN),
        (f"{RUN}-survey", RUN),
        (f"{RUN}-a2-gather-7", RUN),
    ],
)
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the request",
            "wait, or deploy with more of instance_classes",
        ),
        (
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - no host is large enough",
            "see what cloudbuster doctor reports, correct it and deploy again",
        ),
        (
            "UNDETERMINED - Batch job is blocked, root cause is undetermined",
            "see what cloudbuster doctor reports, above all quotas and the state of the hosts",
        ),
    ],
)
def test_a_blocked_queue_is_published_with_its_run_reason_and_remedy(
    job: str, run: str, reason: str, remedy: str
) -> None:
    published: list[tuple[str, str]] = []
    report = report_blocked_queue(
        event(jobName=job, statusReason=reason), lambda *words: published.append(words)
    )
    ((subject, text),) = published
    assert subject == f"cloudbuster blocked: {job}"
    assert json.loads(text) == report
    assert (report["state"], report["job"], report["queue"]) == ("blocked", job, "Main")
    assert (report["reason"], report["remedy"]) == (reason, remedy)
    assert report["run_id"] == run


def test_an_event_without_a_reason_is_published_too() -> None:
    published: list[tuple[str, str]] = []
    report_blocked_queue(event(), lambda *words: published.append(words))
    ((subject, text),) = published
    assert subject == "cloudbuster blocked: unknown"
    assert json.loads(text)["reason"] == "Batch gives no reason"
