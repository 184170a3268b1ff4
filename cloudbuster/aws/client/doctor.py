"""Examination of the deployed stack, without running anything."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.costs import HOMES
from cloudbuster.errors import BadInputError
from cloudbuster.storage.boto import aws_client, translate_boto_errors

HINT = "deploy the stack again"


@dataclass(frozen=True)
class Finding:
    """State of one part of the stack.

    Attributes
    ----------
    ok : bool
        Whether it is as it should be.
    what : str
        Name of the part.
    detail : str
        Its state.
    """

    ok: bool
    what: str
    detail: str


def examine(stack: DeployedStack) -> list[Finding]:
    """Examine a stack: its state, state machine, queues, hosts, job definitions, images, region.

    Raises
    ------
    BadInputError, TryAgainError
        If a service refuses to answer, or does not answer.
    """
    with translate_boto_errors(f"examine stack {stack.name}", hint=HINT):
        machine = aws_client("stepfunctions").describe_state_machine(
            stateMachineArn=stack.machine_arn
        )
        whole = stack.status.endswith("_COMPLETE") and not stack.status.startswith("DELETE")
        return [
            Finding(whole, f"stack {stack.name}", stack.status),
            Finding(machine["status"] == "ACTIVE", "state machine", machine["status"]),
            *_queues(stack.queue_arns),
            *_definitions(stack.definition_arns),
            _region(stack),
        ]


def _queues(arns: list[str]) -> Iterator[Finding]:
    batch = aws_client("batch")
    queues = batch.describe_job_queues(jobQueues=arns)["jobQueues"]
    environments: list[str] = []
    for queue in queues:
        yield _usable(queue, f"queue {queue['jobQueueName']}")
        order = queue["computeEnvironmentOrder"]
        environments += [entry["computeEnvironment"] for entry in order]
    if len(queues) < len(arns):
        yield Finding(ok=False, what="queues", detail=f"{len(queues)} of {len(arns)} exist")
    names = list(dict.fromkeys(environments))
    for found in batch.describe_compute_environments(computeEnvironments=names)[
        "computeEnvironments"
    ]:
        yield _usable(found, f"hosts {found['computeEnvironmentName']}")


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
