"""Credentials of catalogs for the stack's functions, from its secret; Batch gives them to jobs."""

import os
from collections.abc import Sequence

import orjson

from cloudbuster.aws.settings import StackSettings
from cloudbuster.catalogs.rasterfoundry import TOKEN_VARIABLE
from cloudbuster.errors import CredentialsError
from cloudbuster.storage.rasters.access import CDSE_KEY_VARIABLES
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors
from cloudbuster.storage.remote.sas import SUBSCRIPTION_VARIABLE

VARIABLES = (TOKEN_VARIABLE, *CDSE_KEY_VARIABLES, SUBSCRIPTION_VARIABLE)
"""Environment variables that catalogs read their credentials from."""


def load_catalog_secret(settings: StackSettings) -> None:
    """Copy the members of the stack's secret, if it has one, into the environment.

    Batch passes secrets to a job, Lambda passes none to a function. The function reads the secret
    at each event, so that a changed one holds from the next event on. The values go nowhere else.

    Parameters
    ----------
    settings : StackSettings
        Names the secret and its members.

    Raises
    ------
    CredentialsError
        If the secret lacks a member that the stack was deployed with.
    NotFoundError, AccessError
        If the secret does not exist, or may not be read.
    TryAgainError
        If Secrets Manager is throttled, broken or out of reach.
    """
    arn = settings.catalog_secret_arn
    if arn is None:
        return
    with translate_boto_errors(
        f"read the secret {arn}", hint="check catalog_secret in the stack's configuration"
    ):
        found = aws_client("secretsmanager").get_secret_value(SecretId=arn)
    os.environ.update(_members(str(found.get("SecretString", "")), settings.catalog_variables, arn))


def _members(text: str, names: Sequence[str], arn: str) -> dict[str, str]:
    """Find the members of these names in a secret's text; no message contains a part of it."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        msg = f"secret {arn} is no JSON object; store one that has {', '.join(names)}"
        # Without the original error, which contains the text.
        raise CredentialsError(msg)
    lacking = [
        name for name in names if not (isinstance(document.get(name), str) and document[name])
    ]
    if lacking:
        msg = (
            f"secret {arn} has no text as {', '.join(lacking)}; store it, or deploy the stack "
            "without it in catalog_secret.variables"
        )
        raise CredentialsError(msg)
    return {name: document[name] for name in names}
