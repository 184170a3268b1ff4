"""The function that starts a run for each request that is dropped in S3."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Start the run of each message; a message that could not be handled is delivered again."""
    import boto3

    from cloudbuster import log
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.starting import Starter

    log.configure(as_json=True, level="INFO")
    starter = Starter(StackSettings.of_environment(os.environ), boto3.client)
    failed = starter.start_messages(event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
