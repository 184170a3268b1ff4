"""Examination of the deployed stack, without running anything."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.findings import Finding
from cloudbuster.aws.client.host_images import batch_image_findings, image_findings
from cloudbuster.aws.client.quotas import quota_findings
from cloudbuster.aws.costs import HOMES
from cloudbuster.aws.published import PublishedConfig, differences
from cloudbuster.errors import BadInputError, RequestError
from cloudbuster.processes.release import installed_version
from cloudbuster.storage.files.documents import parse_json
from cloudbuster.storage.files.uri import read_bytes
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

HINT = "deploy the stack again"


def examine(
    stack: DeployedStack,
    *,
    config: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> list[Finding]:
    """Examine a stack: its state, configuration, queues, hosts, quotas, images, jobs and region.

    Parameters
    ----------
    stack : DeployedStack
        The stack.
    config : mapping, optional
        Content of a configuration file, which is compared with that of the stack.
    now : datetime, optional
        Time that images are older than; the present by default.

    Raises
    ------
    BadInputError, TryAgainError
        If a service refuses to answer, or does not answer.
    """
    published = stack.published_config()
    effective = published.effective if published else {}
    with translate_boto_errors(f"examine stack {stack.name}", hint=HINT):
        machine = aws_client("stepfunctions").describe_state_machine(
            stateMachineArn=stack.machine_arn
        )
        whole = stack.status.endswith("_COMPLETE") and not stack.status.startswith("DELETE")
        queues, names = _queues(stack.queue_arns)
        environments = aws_client("batch").describe_compute_environments(computeEnvironments=names)[
            "computeEnvironments"
        ]
        own, time = effective.get("ami_id"), now or datetime.now(UTC)
        return [
            Finding(whole, f"stack {stack.name}", stack.status),
            _configuration(published, config),
            Finding(machine["status"] == "ACTIVE", "state machine", machine["status"]),
            *queues,
            *(_usable(e, f"hosts {e['computeEnvironmentName']}") for e in environments),
            *quota_findings(environments),
            *image_findings(stack.outputs, own=own, now=time),
            *batch_image_findings(environments),
            *_definitions(stack.definition_arns),
            _region(stack),
        ]


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises
    ------
    NotFoundError
        If there is no such file.
    RequestError
        If it holds no JSON object.
    """
    content = parse_json(read_bytes(str(path)), source=str(path))
    if not isinstance(content, dict):
        msg = f"{path} holds a {type(content).__name__}: give a configuration file, a JSON object"
        raise RequestError(msg)
    return content


def _configuration(published: PublishedConfig | None, config: Mapping[str, Any] | None) -> Finding:
    """Describe with what the stack was deployed, and in what a file differs from it."""
    if published is None:
        return Finding(ok=False, what="configuration", detail=f"is not published: {HINT}")
    ours = installed_version()
    detail = f"{published.file}, deployed with cloudbuster {published.version}"
    if published.version != ours:
        detail += f" (this is {ours})"
    drift = [] if config is None else differences(config, published.given)
    if drift:
        return Finding(ok=False, what="configuration", detail=f"{detail}; {'; '.join(drift)}")
    same = "" if config is None else ", as in the file"
    return Finding(ok=True, what="configuration", detail=f"{detail}{same}")


def _queues(arns: list[str]) -> tuple[list[Finding], list[str]]:
    """Examine the queues; return the findings, and the names of their compute environments."""
    queues = aws_client("batch").describe_job_queues(jobQueues=arns)["jobQueues"]
    findings = [_usable(queue, f"queue {queue['jobQueueName']}") for queue in queues]
    if len(queues) < len(arns):
        detail = f"{len(queues)} of {len(arns)} exist"
        findings.append(Finding(ok=False, what="queues", detail=detail))
    entries = [entry for queue in queues for entry in queue["computeEnvironmentOrder"]]
    return findings, list(dict.fromkeys(entry["computeEnvironment"] for entry in entries))


def _usable(found: dict[str, Any], what: str) -> Finding:
    """Check that a queue or an environment is enabled and valid."""
    ok = (found["state"], found["status"]) == ("ENABLED", "VALID")
    reason = "" if ok else f": {found.get('statusReason', '')}"
    return Finding(ok, what, f"{found['state']}, {found['status']}{reason}".rstrip(": "))


def _definitions(arns: list[str]) -> Iterator[Finding]:
    found = aws_client("batch").describe_job_definitions(jobDefinitions=arns)["jobDefinitions"]
    for definition in found:
        name = f"{definition['jobDefinitionName']}:{definition['revision']}"
        yield Finding(
            definition["status"] == "ACTIVE", f"job definition {name}", definition["status"]
        )
    if len(found) < len(arns):
        yield Finding(ok=False, what="job definitions", detail=f"{len(found)} of {len(arns)} exist")
    for uri in dict.fromkeys(entry["containerProperties"]["image"] for entry in found):
        yield _image(uri)


def _image(uri: str) -> Finding:
    """Check that an image exists in ECR; other registries are not asked."""
    registry, _, name = uri.partition("/")
    if ".dkr.ecr." not in registry:
        return Finding(ok=True, what=f"image {uri}", detail="not in ECR: not checked")
    by_digest = "@" in name
    repository, _, version = name.partition("@" if by_digest else ":")
    image = {"imageDigest" if by_digest else "imageTag": version or "latest"}
    try:
        with translate_boto_errors(f"find image {uri}", hint=HINT):
            aws_client("ecr").describe_images(
                registryId=registry.split(".")[0], repositoryName=repository, imageIds=[image]
            )
    except BadInputError as error:
        return Finding(ok=False, what=f"image {uri}", detail=str(error))
    return Finding(ok=True, what=f"image {uri}", detail="exists")


def _region(stack: DeployedStack) -> Finding:
    home = stack.settings().home
    regions = {home: HOMES[home]} if home else HOMES
    lies = ", ".join(f"{kind} scenes lie in {region}" for kind, region in regions.items())
    return Finding(stack.region in regions.values(), "region", f"{stack.region}; {lies}")
