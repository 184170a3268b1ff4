"""Function of the state Finish, and of EventBridge.

EventBridge invokes it for executions that ended without that state, and for blocked queues.
"""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
    """Write the status of a run that has ended, and publish its outcome; or a blocked queue."""
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.blocked_queues import BLOCKED, report_blocked_queue
    from cloudbuster.aws.stack.failed_executions import report_failed_execution
    from cloudbuster.aws.stack.item_publisher import item_publisher
    from cloudbuster.aws.stack.outcomes import finish, topic_publisher
    from cloudbuster.processes import log

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    publish = topic_publisher(settings)
    if event.get("detail-type") == BLOCKED:
        return report_blocked_queue(event, publish)
    if "detail" in event:
        return report_failed_execution(event, settings.root, publish)
    return finish(event, publish, item_publisher(settings))
