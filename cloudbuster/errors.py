"""Errors and exit codes.

A message says what is wrong, how much, and what to do next. An entry point prints
``ErrorName: message`` as its last line on stderr and exits with the error's ``exit_code``.
"""

from enum import IntEnum

from cloudbuster.redaction import redacted, visible


class ExitCode(IntEnum):
    """Exit codes of the command line and of the Batch jobs."""

    DONE = 0
    """Done, and the area is covered."""
    BUG = 1
    """A bug in this package."""
    USAGE = 2
    """A malformed command line."""
    NOTHING_USABLE = 3
    """No scene, no usable pixel, or fewer scenes than ``min_success_fraction``."""
    NOT_COVERED = 4
    """The area is not covered as asked; what could be made is kept."""
    BAD_INPUT = 5
    """A file, or the content of a document, cannot be used."""
    OVER_BUDGET = 6
    """The run would cost more than its budget."""
    VERIFY_DISAGREES = 7
    """A product does not hold what its documents say."""
    TRY_AGAIN = 75
    """A remote failure, throttling or a full disk: the same call may succeed later."""
    INTERRUPTED = 130
    """Stopped by SIGINT."""
    TERMINATED = 143
    """Stopped by SIGTERM."""


def first_line(error: BaseException) -> str:
    """First line of the message of an error, or the name of its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class CloudBusterError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code: ExitCode = ExitCode.BUG

    def __str__(self) -> str:
        """Return the message without secrets and without control characters."""
        return visible(redacted(super().__str__()))


class NothingUsableError(CloudBusterError):
    """No scene or no usable pixel was found."""

    exit_code = ExitCode.NOTHING_USABLE


class NotCoveredError(CloudBusterError):
    """The area cannot be covered as often as asked."""

    exit_code = ExitCode.NOT_COVERED


class BadInputError(CloudBusterError):
    """A file or a document contains something that cannot be used."""

    exit_code = ExitCode.BAD_INPUT


class RequestError(BadInputError):
    """A request or a stage document breaks the contract."""


class AoiError(BadInputError):
    """An area of interest cannot be used."""


class PlaceError(BadInputError):
    """A place is not on the mosaic, or its coordinates cannot be understood."""


class NotFoundError(BadInputError):
    """A file, an object or a resource of AWS does not exist."""


class CatalogError(BadInputError):
    """A catalog or one of its items cannot be used."""


class CredentialsError(BadInputError):
    """A catalog or a service needs credentials that are missing or refused."""


class AccessError(BadInputError):
    """Access to a file is denied; the message names the bucket and the permission."""


class UntrustedAddressError(AccessError):
    """Whoever gave an address is not trusted to have it opened, or nothing may be opened by it."""


class TooLargeError(BadInputError):
    """A file, an answer or a raster is over its bound in bytes, members or pixels."""


class GridError(BadInputError):
    """A coordinate reference system or a grid cannot be used."""


class RasterError(BadInputError):
    """A raster is missing, truncated, or different from what its item says."""


class RadiometryError(BadInputError):
    """The information about a scene's radiometric offset is contradictory."""


class MaskError(BadInputError):
    """A cloud mask cannot be read or made."""


class MissingBandsError(MaskError):
    """A scene lacks bands that a detector needs."""


class DonorError(MaskError):
    """A donated mask belongs to another scene, or does not say to which scene it belongs."""


class UntrustedCodeError(BadInputError):
    """A model, or its architecture, is code that the user has not allowed to run."""


class MissingExtraError(BadInputError):
    """An optional package is needed; the message names the ``pip install`` that brings it."""


class OutputError(BadInputError):
    """An output cannot be written, or would overwrite another run's."""


class OverBudgetError(CloudBusterError):
    """The run would cost more than its budget."""

    exit_code = ExitCode.OVER_BUDGET


class VerifyError(CloudBusterError):
    """A product does not hold what its documents say."""

    exit_code = ExitCode.VERIFY_DISAGREES


class TryAgainError(CloudBusterError):
    """A remote service or the disk failed in a way that may pass."""

    exit_code = ExitCode.TRY_AGAIN


class ConflictError(TryAgainError):
    """Something of that name exists already, or somebody changed it meanwhile."""


class JobsTryAgainError(TryAgainError):
    """Jobs of the stack failed in a way that may pass; they were tried again already."""


class JobsFailedError(CloudBusterError):
    """Jobs of the stack died or were never started, for reasons other than their scenes."""
