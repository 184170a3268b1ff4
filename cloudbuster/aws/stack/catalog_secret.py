"""What catalogs ask for, read from the stack's secret by its functions; Batch gives it to jobs."""

import os
from collections.abc import Sequence

import orjson

from cloudbuster.aws.client.session import client, told
from cloudbuster.aws.settings import StackSettings
from cloudbuster.catalogs.rasterfoundry import TOKEN_VARIABLE
from cloudbuster.errors import CredentialsError
from cloudbuster.storage.access import CDSE_KEY_VARIABLES
from cloudbuster.storage.sas import SUBSCRIPTION_VARIABLE

VARIABLES = (TOKEN_VARIABLE, *CDSE_KEY_VARIABLES, SUBSCRIPTION_VARIABLE)
"""Environment variables that a catalog's credentials are read from."""


def give_catalog_secret(settings: StackSettings) -> None:
    """Put what the stack's secret holds into the environment, where there is a secret.

    A function cannot be given secrets as a job can. It reads them at each event, so that one that
    was changed holds from then on. Their values go nowhere but into the environment.

    Parameters
    ----------
    settings : StackSettings
        Which secret, and which of its members.

    Raises
    ------
    CredentialsError
        Where it does not hold what the stack was deployed with.
    AccessError, BadInputError, TryAgainError
        Where it may not be read, does not exist, or Secrets Manager did not answer.
    """
    arn = settings.catalog_secret_arn
    if arn is None:
        return
    hint = "see catalog_secret of the stack's configuration"
    with told(f"read the secret {arn}", hint=hint):
        text = str(client("secretsmanager").get_secret_value(SecretId=arn).get("SecretString", ""))
    os.environ.update(_members(text, settings.catalog_variables, arn))


def _members(text: str, names: Sequence[str], arn: str) -> dict[str, str]:
    """Find the members of that name in a secret's text; no message holds a part of it."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        msg = f"secret {arn} is no JSON object; store one that has {', '.join(names)}"
        # The original error would show the text.
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
