"""Publish the items of mosaics from the stack, with the token of the operator's secret."""

from collections.abc import Callable

from cloudbuster.aws.settings import StackSettings
from cloudbuster.mosaics.publishing import StacTarget, publish_item
from cloudbuster.storage.addresses.trust import server_trust
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors
from cloudbuster.storage.remote.http import Retries

# The three requests of an item end before the function's timeout of two minutes, even if each of
# them fails at first; the state machine calls the function again.
RETRIES, DEADLINE_S = Retries(count=2), 10.0
PublishItem = Callable[[str], str]
"""Function of the URI of an item that publishes it, and returns its URL in the STAC API."""


def item_publisher(settings: StackSettings) -> PublishItem | None:
    """Return the function that publishes items; None if the stack publishes none.

    The token is read with each item, so that a changed one holds from the next run on.
    """
    api, collection = settings.publish_api, settings.publish_collection
    if api is None or collection is None:
        return None

    def publish(uri: str) -> str:
        """Publish an item."""
        token = _token(settings.publish_secret_arn)
        target = StacTarget(
            api, collection, server_trust(api), token, retries=RETRIES, deadline_s=DEADLINE_S
        )
        return publish_item(uri, target)

    return publish


def _token(arn: str | None) -> str | None:
    """Read the token of the API; None if the stack has none."""
    if arn is None:
        return None
    with translate_boto_errors(f"read secret {arn}", hint="deploy with its secret_arn in publish"):
        found = aws_client("secretsmanager").get_secret_value(SecretId=arn)
    return str(found["SecretString"]).strip()
