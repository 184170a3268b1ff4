"""What a job on the stack leaves behind: lines about its start and end, and its error."""

import logging
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from cloudbuster.errors import CloudBusterError, ExitCode
from cloudbuster.models import JobError
from cloudbuster.redaction import redacted
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.reuse import read_earlier

logger = logging.getLogger(__name__)

JOB_ID_VARIABLE, ATTEMPT_VARIABLE = "AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT"
"""Environment variables in which Batch gives a job its id, and the number of its attempt."""
# Characters of a message that are kept, as many as the outcome of a run shows.
MAX_MESSAGE = 4096


def error_uri(task_uri: str) -> str:
    """URI of the document with the error of the job of a task."""
    return f"{task_uri.removesuffix('.json')}.error.json"


class TaskJob:
    """The job of a task, if this process is a job of Batch; the error of the body goes on.

    The start and the end are logged, for the metrics of the stack. The error is written beside the
    task, for whoever reports the run; nothing is written if that place cannot be.

    Parameters
    ----------
    task_uri : str
        URI of the task of the job.
    """

    def __init__(self, task_uri: str) -> None:
        self._task = task_uri
        self._job_id = os.environ.get(JOB_ID_VARIABLE)
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        """Log the start."""
        if self._job_id is not None:
            attempt = int(os.environ.get(ATTEMPT_VARIABLE, "1"))
            logger.info("job_started", extra={"task": self._task, "attempt": attempt})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Log the end, and write the error, unless it is a signal."""
        if self._job_id is None:
            return
        duration_s = round(time.monotonic() - self._started, 3)
        logger.info("job_ended", extra={"task": self._task, "duration_s": duration_s})
        if kind is None or not isinstance(error, Exception):
            return
        code = error.exit_code if isinstance(error, CloudBusterError) else ExitCode.BUG
        document = JobError(
            job_id=self._job_id,
            error=kind.__name__,
            message=redacted(str(error))[:MAX_MESSAGE],
            exit_code=int(code),
        )
        with suppress(CloudBusterError):
            write_document(error_uri(self._task), document)


def job_error(task_uri: str, *, job_id: str | None = None, code: int | None = None) -> str | None:
    """Describe the error that the job of a task kept.

    Parameters
    ----------
    task_uri : str
        URI of the task.
    job_id : str, optional
        Id of the job, which must be that of the error.
    code : int, optional
        Exit code of the job, which must be that of the error: an earlier job of the same task may
        have kept another error.

    Returns
    -------
    str or None
        Name and message of the error; None if the job kept none.
    """
    found = read_earlier(error_uri(task_uri), JobError)
    if found is None or job_id not in (None, found.job_id) or code not in (None, found.exit_code):
        return None
    return f"{found.error}: {found.message}"
