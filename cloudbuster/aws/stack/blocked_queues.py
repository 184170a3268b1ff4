"""Jobs at the head of a queue that no host can run, which block the jobs behind them."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from cloudbuster.aws.executions import run_of_job
from cloudbuster.aws.stack.outcomes import MAX_SUBJECT, Publish

logger = logging.getLogger(__name__)

BLOCKED = "Batch Job Queue Blocked"
"""Type of the event that reports such a job."""
# Remedy by the beginning of the reason that Batch reports; see
# https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html.
REMEDIES = {
    "CAPACITY": "wait, or deploy with more of instance_classes",
    "MISCONFIGURATION": "see what cloudbuster doctor reports, correct it and deploy again",
}
OTHER = "see what cloudbuster doctor reports, above all quotas and the state of the hosts"


def report_blocked_queue(event: Mapping[str, Any], publish: Publish) -> dict[str, Any]:
    """Publish that a job blocks its queue.

    https://docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html

    Parameters
    ----------
    event, publish : mapping, callable
        `BLOCKED` event of EventBridge; publishes a subject and a text.

    Returns
    -------
    dict
        The text: ``state`` (blocked), ``job``, ``run_id``, ``queue``, ``reason`` and ``remedy``.
    """
    detail = event["detail"]
    job = str(detail.get("jobName", "unknown"))
    reason = str(detail.get("statusReason") or "Batch gives no reason")
    remedies = (text for start, text in REMEDIES.items() if reason.startswith(start))
    blocked = {
        "state": "blocked",
        "job": job,
        "run_id": run_of_job(job),
        "queue": str(detail.get("jobQueue", "")).rpartition("/")[2],
        "reason": reason,
        "remedy": next(remedies, OTHER),
    }
    publish(f"cloudbuster blocked: {job}"[:MAX_SUBJECT], json.dumps(blocked, indent=2))
    logger.warning("queue_blocked", extra={key: blocked[key] for key in ("job", "queue", "reason")})
    return blocked
