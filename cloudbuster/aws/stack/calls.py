"""Calls of AWS's services by the stack's functions: whatever goes wrong is worth another try."""

from collections.abc import Callable
from typing import Any, Protocol

from cloudbuster.errors import TryAgainError

MakeClient = Callable[[str], Any]
"""Makes a boto3 client of a service by its name."""


class Call(Protocol):
    """Calls an operation of a service."""

    def __call__(self, service: str, operation: str, **parameters: object) -> dict[str, Any]:
        """Answer as boto3 does; see `call`."""


class NoSuchThingError(TryAgainError):
    """What was asked for does not exist."""


class NameTakenError(TryAgainError):
    """An execution, or an object that was to be new or unchanged, is somebody else's."""


_ERRORS: dict[str, type[TryAgainError]] = {
    "ExecutionDoesNotExist": NoSuchThingError,
    "404": NoSuchThingError,
    # What a write under a condition is answered where the object has been deleted meanwhile.
    "NoSuchKey": NoSuchThingError,
    "ExecutionAlreadyExists": NameTakenError,
    "PreconditionFailed": NameTakenError,
    "ConditionalRequestConflict": NameTakenError,
}


def call(client: MakeClient, service: str, operation: str, **parameters: object) -> dict[str, Any]:
    """Call an operation of a service.

    Parameters
    ----------
    client : callable
        Makes clients.
    service, operation : str
        As boto3 names them.
    **parameters
        Of the operation.

    Raises
    ------
    NoSuchThingError, NameTakenError
        Where the answer says so.
    TryAgainError
        Where the service refused, or was not reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer: dict[str, Any] = getattr(client(service), operation)(**parameters)
    except ClientError as error:
        known = _ERRORS.get(error.response.get("Error", {}).get("Code", ""), TryAgainError)
        msg = f"{service} {operation}: {error}; try again"
        raise known(msg) from error
    except BotoCoreError as error:
        msg = f"{service} {operation}: {error}; try again"
        raise TryAgainError(msg) from error
    return answer
