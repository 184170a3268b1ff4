"""Function that starts a run for each request that is dropped in S3."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Start the run of each message; SQS delivers a message again if that fails."""
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.inbox import Inbox
    from cloudbuster.processes import log

    log.configure(as_json=True, level="INFO")
    inbox = Inbox(StackSettings.of_environment(os.environ))
    failed = inbox.handle_messages(event.get("Records"))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
