"""Clients of AWS's services for the command line, and their errors in this package's words.

Credentials, region and endpoints come from the environment as boto3 reads it; `AWS_REGION`, which
boto3 alone does not know, comes before `AWS_DEFAULT_REGION`.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    CloudBusterError,
    CredentialsError,
    MissingExtraError,
    TryAgainError,
)
from cloudbuster.storage.s3 import MAX_ATTEMPTS

# What the services call these; each has its own words for them.
REFUSED_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)
BUSY = frozenset({"RequestLimitExceeded", "TooManyRequestsException", "ServiceUnavailable"})


@functools.cache
def client(service: str) -> Any:  # noqa: ANN401 -- boto3 has no types
    """Client of a service, by its name; the same one in this process.

    Raises
    ------
    MissingExtraError
        Without boto3.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        msg = "the AWS stack needs boto3: pip install 'cloudbuster[aws]'"
        raise MissingExtraError(msg) from error
    retries = {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}
    region = os.environ.get("AWS_REGION")
    return boto3.client(service, region_name=region, config=Config(retries=retries))


@contextmanager
def told(action: str, *, hint: str) -> Iterator[None]:
    """Turn what AWS answers into this package's errors.

    Parameters
    ----------
    action : str
        What is being done, as ``submit a job to big-queue``.
    hint : str
        What to do where the service finds the call wrong.

    Raises
    ------
    CredentialsError, AccessError, BadInputError
        Where nobody or somebody without the permission asks, or for what does not exist.
    TryAgainError
        Where the service is throttled, broken or out of reach.
    """
    try:
        import botocore.exceptions as aws
    except ImportError as error:
        msg = "the AWS stack needs boto3: pip install 'cloudbuster[aws]'"
        raise MissingExtraError(msg) from error
    try:
        yield
    except aws.ClientError as error:
        raise service_error(error.response, action, hint) from error
    except aws.BotoCoreError as error:
        raise _call_error(error, action, hint) from error
    except TryAgainError as error:
        # Functions of the stack hold every refusal for one that may pass; a person need not wait.
        cause = error.__cause__
        if isinstance(cause, aws.ClientError):
            raise service_error(cause.response, action, hint) from error
        if isinstance(cause, aws.BotoCoreError):
            raise _call_error(cause, action, hint) from error
        raise


def _call_error(error: Exception, action: str, hint: str) -> CloudBusterError:
    """Make the error of a call that got no answer."""
    import botocore.exceptions as aws

    without = (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.ProfileNotFound,
        aws.SSOError,
    )
    if isinstance(error, without):
        msg = f"cannot {action}: {error}; set AWS credentials in the environment, or AWS_PROFILE"
        return CredentialsError(msg)
    if isinstance(error, aws.NoRegionError):
        return BadInputError(f"cannot {action}: no region; set AWS_REGION to that of the stack")
    if isinstance(error, aws.ParamValidationError):
        return BadInputError(f"cannot {action}: {error}; {hint}")
    return TryAgainError(f"cannot {action}: {error}; try again")


def service_error(response: dict[str, Any], action: str, hint: str) -> CloudBusterError:
    """Make the error of an answer that tells of one.

    Parameters
    ----------
    response : dict
        As boto3 gives it, with ``Error`` and ``ResponseMetadata``.
    action, hint : str
        As of `told`.
    """
    detail = response.get("Error", {})
    code, text = str(detail.get("Code", "")), str(detail.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    words = f"cannot {action}: {code}: {text}".rstrip(": .")
    if code in REFUSED_CREDENTIALS:
        return CredentialsError(f"{words}; AWS refuses these credentials: renew them")
    if code in DENIED:
        return AccessError(f"{words}; whoever runs this needs that permission")
    if code in BUSY or "Throttl" in code or status >= 500 or status == 429:
        return TryAgainError(f"{words}; try again")
    return BadInputError(f"{words}; {hint}")
