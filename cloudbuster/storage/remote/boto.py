"""The one door to boto3: how its clients are made, and its errors as errors of this package.

Credentials and endpoints come from the environment as boto3 reads it. boto3 is an optional package,
so it is imported at the first use.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from cloudbuster.errors import (
    AccessError,
    BadInputError,
    CloudBusterError,
    ConflictError,
    CredentialsError,
    MissingExtraError,
    NotFoundError,
    TryAgainError,
)

MAX_ATTEMPTS = 6
"""Attempts of boto3's standard retries, with backoff, before a call fails."""

# Error codes of AWS's services that mean the same thing. S3 answers a HEAD request with the bare
# HTTP status as the code.
REFUSED_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)
MISSING = frozenset(
    {
        "ExecutionDoesNotExist",
        "ImageNotFoundException",
        "NoSuchBucket",
        "NoSuchKey",
        "NotFound",
        "ParameterNotFound",
        "RepositoryNotFoundException",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
    }
)
CONFLICTS = frozenset(
    {"ConditionalRequestConflict", "ExecutionAlreadyExists", "PreconditionFailed"}
)
BUSY = frozenset(
    {
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequestsException",
    }
)


@functools.cache
def aws_client(service: str) -> Any:  # noqa: ANN401 -- boto3 has no types
    """Return this process's client of a service, made at the first call.

    Parameters
    ----------
    service : str
        Name of the service as boto3 knows it, for example ``s3``.

    Raises
    ------
    MissingExtraError, BadInputError
        As `make_aws_client` does.
    """
    return make_aws_client(service)


def make_aws_client(
    service: str,
    *,
    config: Mapping[str, Any] | None = None,
    own_session: bool = False,
    **options: Any,  # noqa: ANN401 -- whatever boto3 takes
) -> Any:  # noqa: ANN401 -- boto3 has no types
    """Make a new client of a service.

    Parameters
    ----------
    service : str
        Name of the service as boto3 knows it.
    config : mapping, optional
        Settings of botocore's ``Config``, for example ``{"read_timeout": 10}``.
    own_session : bool
        Look for credentials anew. boto3's shared session keeps the ones that it found first.
    **options
        Arguments of boto3's ``client``; by default the region is ``AWS_REGION``, or else what
        boto3 finds itself (``AWS_DEFAULT_REGION``, the profile).

    Raises
    ------
    MissingExtraError
        If boto3 is not installed.
    BadInputError
        If no region is set.
    """
    boto3 = _boto3()
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}
    settings = Config(**{"retries": retries, **(config or {})})
    given = {"region_name": os.environ.get("AWS_REGION") or None, **options}
    factory = boto3.Session() if own_session else boto3
    with translate_boto_errors(f"make a client of {service}"):
        return factory.client(service, config=settings, **given)


@contextmanager
def translate_boto_errors(
    action: str, *, hint: str = "check its name and the region", permission: str | None = None
) -> Iterator[None]:
    """Raise boto3's errors in the body as errors of this package.

    Parameters
    ----------
    action : str
        What is being done, as it follows "cannot", for example ``read s3://bucket/key``.
    hint : str
        Remedy for a call that the service finds wrong.
    permission : str, optional
        IAM action that the call needs, where the service's own message does not name it.

    Raises
    ------
    MissingExtraError
        If boto3 is not installed.
    CredentialsError
        If there are no credentials, or AWS refuses them.
    AccessError
        If the credentials lack the permission.
    NotFoundError
        If the thing does not exist.
    ConflictError
        If the thing exists already or was changed meanwhile, against the call's condition.
    BadInputError
        If no region is set, or the service finds the call wrong in another way.
    TryAgainError
        If the service is throttled, broken or out of reach.
    """
    _boto3()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise service_error(error.response, action, hint=hint, permission=permission) from error
    except BotoCoreError as error:
        raise _unanswered(error, action, hint) from error
    except Boto3Error as error:
        # A transfer in parts wraps the answer of the service in an error of its own.
        inner = error.__context__
        if isinstance(inner, ClientError):
            raise service_error(inner.response, action, hint=hint, permission=permission) from error
        msg = f"cannot {action}: {error}; try again"
        raise TryAgainError(msg) from error


def service_error(
    response: Mapping[str, Any],
    action: str,
    *,
    hint: str = "check its name and the region",
    permission: str | None = None,
) -> CloudBusterError:
    """Make the error of this package for an error that a service answered with.

    Parameters
    ----------
    response : mapping
        ``response`` of botocore's ``ClientError``, with ``Error`` and ``ResponseMetadata``.
    action, hint, permission : str
        As in `translate_boto_errors`.
    """
    detail = response.get("Error", {})
    code, text = str(detail.get("Code", "")), str(detail.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    said = f"cannot {action}: {code}: {text}".rstrip(": .")
    if code in REFUSED_CREDENTIALS:
        return CredentialsError(f"{said}; AWS refuses these credentials: renew them")
    if code in DENIED or status == 403:
        lacking = permission or "the permission"
        return AccessError(f"{said}; these credentials need {lacking} for it")
    if code in MISSING or status == 404:
        return NotFoundError(f"{said}; {hint}")
    if code in CONFLICTS:
        return ConflictError(f"{said}; try again")
    if code in BUSY or "Throttl" in code or status >= 500 or status == 429:
        return TryAgainError(f"{said}; try again")
    return BadInputError(f"{said}; {hint}")


def _unanswered(error: Exception, action: str, hint: str) -> CloudBusterError:
    """Make the error of this package for a call that no service answered."""
    import botocore.exceptions as aws

    without_credentials = (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.ProfileNotFound,
        aws.SSOError,
        aws.TokenRetrievalError,
    )
    if isinstance(error, without_credentials):
        msg = (
            f"cannot {action}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE"
        )
        return CredentialsError(msg)
    if isinstance(error, (aws.NoRegionError, aws.InvalidRegionError)):
        return BadInputError(f"cannot {action}: {error}; set AWS_REGION, for example to us-west-2")
    if isinstance(error, aws.ParamValidationError):
        return BadInputError(f"cannot {action}: {error}; {hint}")
    return TryAgainError(f"cannot {action}: {error}; try again")


def _boto3() -> ModuleType:
    """Import boto3, or raise `MissingExtraError`."""
    try:
        import boto3
    except ImportError as error:
        msg = "AWS needs boto3: pip install 'cloudbuster[aws]'"
        raise MissingExtraError(msg) from error
    module: ModuleType = boto3
    return module
