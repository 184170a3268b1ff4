"""Names and ARNs of executions, and the run that an execution belongs to."""

import re

from cloudbuster.models import MosaicRequest
from cloudbuster.storage.files.run_layout import run_id, short_hash

# Name of an execution: the run's id, then the number of the attempt or the hash of a forced one.
EXECUTION_NAME = re.compile(r"^(?P<run>.+?)(-a\d+|-f[0-9a-f]{8})?$")

# What the state machine appends to a run's id in the name of a job.
JOB_OF_RUN = re.compile(r"-((gather|part)-\d+|merge|survey)$")


def run_of(execution: str) -> str:
    """Id of the run that an execution belongs to, by its name or ARN."""
    found = EXECUTION_NAME.match(execution.rsplit(":", 1)[-1])
    return found["run"] if found else execution


def run_of_job(job: str) -> str:
    """Id of the run that a job belongs to, by the name of the job."""
    return run_of(JOB_OF_RUN.sub("", job))


def execution_arn(machine_arn: str, name: str) -> str:
    """ARN of an execution by the ARN of its state machine and its name."""
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def attempt_name(run: str, attempt: int) -> str:
    """Name of the execution that is the ``attempt``-th of a run, counted from 1."""
    return run if attempt == 1 else f"{run}-a{attempt}"


def forced_name(request: MosaicRequest, version: tuple[str, ...]) -> str:
    """Name of the execution that a request which starts anew starts, one for each ``version``."""
    return f"{run_id(request)}-f{short_hash(version)}"
