"""The Finish state, and what is told of executions that ended without it."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
    """Write down how a run ended, and tell it: its last state, or EventBridge, says that it did."""
    import boto3

    from cloudbuster import log
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.outcomes import finish, teller

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    return finish(event, settings, teller(settings, boto3.client))
