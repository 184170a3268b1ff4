"""The Finish state."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Write down how a run ended, and tell it."""
    import boto3

    from cloudbuster import log
    from cloudbuster.aws.outcomes import Ending, conclude
    from cloudbuster.aws.runs import outcome_message
    from cloudbuster.aws.settings import StackSettings

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    outcome = conclude(Ending.of_event(event))
    subject, message = outcome_message(outcome)
    sns = boto3.client("sns")
    sns.publish(TopicArn=settings.topic_arn, Subject=subject, Message=message)
    return outcome
