"""Batch: jobs that run, with attempts, retries by reason, timeouts and termination."""

import copy
import fnmatch
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.batch import models
from moto.batch.exceptions import ClientException
from moto.batch.models import (
    BatchBackend,
    ComputeEnvironment,
    Job,
    JobDefinition,
    JobQueue,
    batch_backends,
)
from moto.batch.responses import BatchResponse
from moto.batch_simple.models import BatchSimpleBackend
from moto.core.exceptions import AWSError
from moto.iam.models import iam_backends

from tests.e2e.aws.bed import Bed, kill_group, put_logs
from tests.e2e.aws.images import Image, ImageError
from tests.e2e.aws.patches import replace, return_arn, wrap, wrap_classmethod
from tests.e2e.aws.permissions import key_of

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
SERVICE_ROLE_PATH = "/aws-service-role/batch.amazonaws.com/"


@dataclass
class Attempt:
    """How an attempt ended.

    Attributes
    ----------
    code : int or None
        Exit code; None if the container did not end by itself.
    status_reason, reason : str
        Reasons that Batch reports for the job and for its container.
    log : bytes
        Output of the container.
    """

    code: int | None
    status_reason: str = EXITED
    reason: str = ""
    log: bytes = b""


def repair(bed: Bed) -> None:
    """Let moto run jobs."""
    hosts = threading.BoundedSemaphore(bed.settings.slots)
    _submit_for_real(bed, hosts)
    _terminate_for_real(bed)
    _describe_what_was_submitted()
    _take_properties_from_templates()
    _update_and_delete_with_stacks(bed)


def _submit_for_real(bed: Bed, hosts: threading.Semaphore) -> None:
    """Run jobs; without Docker moto marks every job as succeeded, with any definition."""

    def start(backend: Any, *, include_start_attempt: bool, job: Any) -> None:
        if not include_start_attempt:
            msg = "array jobs are not run here"
            raise ClientException(msg)
        backend.backend._jobs[job.job_id] = job
        job.child = None
        job.container_reason = ""
        job.status = "SUBMITTED"
        threading.Thread(target=run_job, args=(bed, hosts, job), daemon=True).start()

    replace(BatchSimpleBackend, _mark_job_as_finished=start)

    @wrap(BatchResponse, "submitjob")
    def submit(original: Any, response: Any) -> Any:
        name = response._get_param("jobName")
        arn = response._get_param("jobDefinition")
        fault = bed.faults.take("submit", job=name)
        if fault is not None:
            bed.journal.note("refused", job=name, code=fault["code"])
            raise AWSError(fault["message"], fault["code"], fault["status"])
        definition = response.batch_backend.get_job_definition(arn)
        if definition is not None and definition.status != "ACTIVE":
            msg = f"JobDefinition, {arn}, is not in ACTIVE status."
            raise ClientException(msg)
        return original(response)


def _terminate_for_real(bed: Bed) -> None:
    """Stop the process of a terminated job; moto stops containers only."""

    @wrap(Job, "terminate")
    def terminate(original: Any, job: Any, reason: str) -> None:
        if job.job_stopped:
            return
        original(job, reason)
        bed.journal.note("terminated", job=job.job_name, id=job.job_id, reason=reason)
        if job.child is not None:
            bed.stop(job.child)


def _describe_what_was_submitted() -> None:
    """Describe jobs with their overrides, without moto's additions to the environment."""

    def details(job: Any) -> dict[str, Any]:
        properties = job.job_definition.container_properties
        found = {
            "image": properties["image"],
            "command": command_of(job),
            "jobRoleArn": properties.get("jobRoleArn"),
            "environment": [{"name": k, "value": v} for k, v in environment_of(job).items()],
            "resourceRequirements": [{"type": k, "value": v} for k, v in sizes_of(job).items()],
            "logStreamName": job.log_stream_name,
            "logConfiguration": properties["logConfiguration"],
            "exitCode": job.exit_code,
            "reason": job.container_reason or None,
        }
        return {key: value for key, value in found.items() if value is not None}

    replace(Job, _container_details=details)

    def describe_jobs(backend: Any, jobs: list[str] | None) -> list[dict[str, Any]]:
        known = dict(backend._jobs)
        wanted = [name.rsplit("/", 1)[-1] for name in jobs] if jobs else list(known)
        return [known[name].describe() for name in wanted if name in known]

    replace(BatchBackend, describe_jobs=describe_jobs)


def _take_properties_from_templates() -> None:
    """Accept templates as AWS does; moto loses timeouts, and needs roles and capital letters."""

    def lower(value: Any) -> Any:
        if isinstance(value, dict):
            return {key[:1].lower() + key[1:]: lower(entry) for key, entry in value.items()}
        return [lower(entry) for entry in value] if isinstance(value, list) else value

    replace(models, lowercase_first_key=lower)

    @wrap_classmethod(ComputeEnvironment, "create_from_cloudformation_json")
    def environment(original: Any, name: str, document: Any, account: str, *rest: Any, **k: Any):
        changed = copy.deepcopy(dict(document))
        properties = changed["Properties"]
        properties["Type"] = properties["Type"].upper()
        properties.setdefault("ServiceRole", _service_role(account))
        return original(name, changed, account, *rest, **k)

    @wrap_classmethod(JobDefinition, "create_from_cloudformation_json")
    def definition(original: Any, name: str, document: Any, *rest: Any, **kwargs: Any) -> Any:
        changed = copy.deepcopy(dict(document))
        properties = changed["Properties"]
        properties.setdefault("RetryStrategy", {})
        properties["timeout"] = properties.get("Timeout", {})
        return original(name, changed, *rest, **kwargs)

    for owner in (ComputeEnvironment, JobQueue, JobDefinition):
        return_arn(owner, f"{owner.__name__}Arn")


def _service_role(account: str) -> str:
    """ARN of the service-linked role that AWS makes by itself."""
    backend = iam_backends[account]["aws"]
    name = "AWSServiceRoleForBatch"
    if name not in [role.name for role in backend.roles.values()]:
        backend.create_role(name, "{}", SERVICE_ROLE_PATH, None, "", [], None)
    return f"arn:aws:iam::{account}:role{SERVICE_ROLE_PATH}{name}"


def _update_and_delete_with_stacks(bed: Bed) -> None:
    """Update and delete resources of Batch with their stack, which moto does not do."""

    def update(
        _class: Any, /, original_resource: Any, cloudformation_json: Any, **others: Any
    ) -> Any:
        place = (others["account_id"], others["region_name"])
        new = JobDefinition.create_from_cloudformation_json(
            original_resource.name, cloudformation_json, *place
        )
        policy = cloudformation_json["Properties"].get("ResourceRetentionPolicy") or {}
        # CloudFormation deregisters the previous revision unless the policy says otherwise.
        if str(policy.get("SkipDeregisterOnUpdate")).lower() != "true":
            original_resource.deregister()
        bed.journal.note("revision", old=original_resource.arn, new=new.arn)
        return new

    replace(JobDefinition, update_from_cloudformation_json=classmethod(update))
    for owner, remove in (
        (JobDefinition, "deregister_job_definition"),
        (JobQueue, "delete_job_queue"),
        (ComputeEnvironment, "delete_compute_environment"),
    ):
        replace(owner, delete_from_cloudformation_json=classmethod(_deleter(remove)))


def _deleter(method: str) -> Any:
    def delete(_class: type, name: str, _document: Any, account: str, region: str) -> None:
        getattr(batch_backends[account][region], method)(name)

    return delete


def sizes_of(job: Any) -> dict[str, str]:
    """Processors and memory of a job, with its overrides."""
    sources = (job.job_definition.container_properties, job.container_overrides or {})
    requirements = [r for source in sources for r in source.get("resourceRequirements") or []]
    return {entry["type"]: entry["value"] for entry in requirements}


def environment_of(job: Any) -> dict[str, str]:
    """Variables of a job, with its overrides."""
    sources = (job.job_definition.container_properties, job.container_overrides or {})
    variables = [v for source in sources for v in source.get("environment") or []]
    return {entry["name"]: entry["value"] for entry in variables}


def command_of(job: Any) -> list[str]:
    """Words of the command with the values of the parameters."""
    words = job.job_definition.container_properties.get("command") or []
    names = re.compile(r"Ref::(\w+)")
    return [names.sub(lambda found: job.parameters.get(found[1], found[0]), word) for word in words]


def run_job(bed: Bed, hosts: threading.Semaphore, job: Any) -> None:
    """Run a job when there is room, with the attempts of its retry strategy."""
    job.status = "RUNNABLE"
    strategy = job.job_definition.retry_strategy or {}
    ended = Attempt(None)
    with hosts:
        for number in range(1, int(strategy.get("attempts", 1)) + 1):
            if job.stop:
                break
            ended = _run_attempt(bed, job, number)
            if ended.code == 0 or ended.status_reason == TIMED_OUT:
                break
            if not is_retried(strategy, ended):
                break
    if not job.stop:
        job.job_stopped_reason = ended.status_reason
    job._mark_stopped(success=not job.stop and ended.code == 0)


def is_retried(strategy: dict[str, Any], ended: Attempt) -> bool:
    """Decide by the first matching rule of ``evaluateOnExit``; without one, try again."""
    reported = {
        "onExitCode": "" if ended.code is None else str(ended.code),
        "onReason": ended.reason,
        "onStatusReason": ended.status_reason,
    }
    for rule in strategy.get("evaluateOnExit", []):
        asked = {key: rule[key] for key in reported if rule.get(key)}
        if all(fnmatch.fnmatchcase(reported[key].lower(), asked[key].lower()) for key in asked):
            return bool(rule["action"].lower() == "retry")
    return True


def _run_attempt(bed: Bed, job: Any, number: int) -> Attempt:
    properties = job.job_definition.container_properties
    options = properties["logConfiguration"]["options"]
    prefix = options["awslogs-stream-prefix"]
    job.job_started_at = datetime.now()  # noqa: DTZ005 -- moto uses such times
    job.log_stream_name = f"{prefix}/default/{job.job_id}-{number}"
    job._start_attempt()
    scratch = Path(tempfile.mkdtemp(dir=bed.settings.path("scratch")))
    try:
        image = bed.images.pull(properties["image"])
        ended = _run_child(bed, job, number, image, scratch)
    except ImageError as error:
        ended = Attempt(None, "Task failed to start", str(error))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    job.exit_code, job.container_reason = ended.code, ended.reason
    job.latest_attempt["statusReason"] = ended.status_reason
    job.latest_attempt["container"] |= {"exitCode": ended.code, "reason": ended.reason}
    job.job_stopped_at = datetime.now()  # noqa: DTZ005 -- moto uses such times
    job._stop_attempt()
    put_logs(job._log_backend, options["awslogs-group"], job.log_stream_name, ended.log)
    bed.journal.note(
        "attempt",
        job=job.job_name,
        id=job.job_id,
        number=number,
        code=ended.code,
        status_reason=ended.status_reason,
        sizes=sizes_of(job),
        queue=job.job_queue.name,
        definition=job.job_definition.arn,
        log=ended.log.decode(errors="replace")[-4000:],
    )
    return ended


def _run_child(bed: Bed, job: Any, number: int, image: Image, scratch: Path) -> Attempt:
    fault = bed.faults.take("attempt", job=job.job_name, number=number) or {}
    mounts = {
        point["containerPath"]: scratch
        for point in job.job_definition.container_properties.get("mountPoints", [])
    }
    own = {
        **key_of(job.job_definition.container_properties["jobRoleArn"]),
        **environment_of(job),
        "AWS_BATCH_JOB_ID": job.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(number),
    }
    job.child = bed.start(
        [*_held(fault), *_words(bed, image, job)],
        stdin=subprocess.DEVNULL,
        env=bed.environment(image, mounts, own),
        cwd=scratch,
    )
    job.status = "RUNNING"
    bed.journal.note("started", job=job.job_name, id=job.job_id, pid=job.child.pid)
    if job.stop:  # Terminated between the check and the start.
        bed.stop(job.child)
    limit = fault.get("after_s", job._get_attempt_duration())
    try:
        log, _ = job.child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        kill_group(job.child)
        log, _ = job.child.communicate()
        if not fault:
            return Attempt(137, TIMED_OUT, log=log)
    if "status_reason" in fault:
        return Attempt(fault["code"], fault["status_reason"], fault["reason"], log)
    code = job.child.returncode
    return Attempt(128 - code if code < 0 else code, log=log)


def _held(fault: dict[str, Any]) -> list[str]:
    """Words before a command that make it wait while a file exists."""
    if "held_by" not in fault:
        return []
    return ["sh", "-c", 'while [ -e "$0" ]; do sleep 0.1; done; exec "$@"', fault["held_by"]]


def _words(bed: Bed, image: Image, job: Any) -> list[str]:
    """Command line of the container, with the program that replaces that of the image."""
    program, *rest = [*image.entrypoint, *(command_of(job) or image.cmd)]
    found = shutil.which(program, path=str(Path(bed.settings.python).parent))
    if found is None:
        msg = f'CannotStartContainerError: exec: "{program}": executable file not found in $PATH'
        raise ImageError(msg)
    return [found, *rest]
