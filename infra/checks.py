"""Checks of a configuration's values against each other; each refusal is one clear line."""

import difflib
import re
from collections.abc import Callable, Mapping

from cloudbuster.aws.admission import admit
from cloudbuster.errors import BadInputError
from infra.configuration.capacity import check_nvme, usable_mib
from infra.configuration.config import StackConfig
from infra.configuration.instances import FAMILIES, GPU_FAMILIES, GPU_VCPUS, sizes
from infra.configuration.sections import Job
from infra.configuration.values import check_image_region
from infra.settings import (
    INLINE_CONCURRENCY,
    MAX_VARIABLES_BYTES,
    longest_variables,
    stack_settings,
)

# Memory that a job needs beside its /scratch: twice the limit of 1 GB that the benchmarks set to
# gather and merge with four bands, for JPEG 2000, all bands, and models.
WORKING_MIB = 2048
# Greatest numbers of other buckets, of the keys that encrypt them, and of the prefixes of models. A
# bucket takes up to 240 of the 10,240 characters that the policies of a role may have
# (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html), a key up to 190, a
# prefix up to 120; everything else in those of the jobs takes under 3000.
MAX_BUCKETS, MAX_BUCKET_KEYS, MAX_MODEL_PREFIXES = 20, 5, 10
MAX_MODEL_PREFIX = 100
# Regions in whose stacks CloudFormation makes a budget (AWS::Budgets::Budget in its registry).
BUDGET_REGIONS = frozenset(
    {
        *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
        *("eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "ap-south-1"),
        *("ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-2"),
    }
)
# A tag can be moved to another image: functions and hosts that run already keep the old one then.
ECR_IMAGE = re.compile(
    r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[^:@]+@sha256:[0-9a-f]{64}$"
)
# Characters of a stack's name that CloudFormation uses at least in the name of its bucket.
NAME_OF_STACK = 24


def check(config: StackConfig) -> None:
    """Check that the configuration can be deployed, and that jobs would run then.

    Raises
    ------
    ValueError
        For the first problem; the message is one line.
    """
    for part in CHECKS:
        part(config)


def _check_hosts(config: StackConfig) -> None:
    _check_known("instance_classes", config.instance_classes, FAMILIES)
    _check_known("gpu_instance_classes", config.gpu_instance_classes, GPU_FAMILIES)
    if not sizes(*config.host_vcpus) or config.host_vcpus[0] < 8:
        msg = f"host_vcpus {list(config.host_vcpus)}: hosts have 8, 16, 32, 48, 64 or 96 vCPU"
        raise ValueError(msg)
    least = max(config.host_vcpus[0], config.gather.vcpus, config.merge.vcpus)
    if config.max_vcpus < least:
        msg = (
            f"max_vcpus {config.max_vcpus}: the smallest host has {config.host_vcpus[0]} vCPU, a "
            f"gather job {config.gather.vcpus}, a merge job {config.merge.vcpus}, so that no job "
            f"would ever start: give at least {least}"
        )
        raise ValueError(msg)


def _check_scratch_on_nvme(config: StackConfig) -> None:
    if config.scratch != "nvme":
        return
    check_nvme(
        config.gather,
        config.merge,
        families=config.instance_classes,
        host_vcpus=config.host_vcpus,
        gpu_families=config.gpu_instance_classes if config.gpu_queue else (),
    )


def _check_scratch_in_memory(config: StackConfig) -> None:
    """Refuse a /scratch in memory that does not fit into the job's memory.

    A tmpfs counts against the memory of the container that writes to it
    (https://docs.aws.amazon.com/batch/latest/APIReference/API_EksEmptyDir.html).
    """
    if config.scratch != "shm":
        return
    for name, job in (("gather", config.gather), ("merge", config.merge)):
        need = job.scratch_gib * 1024 + WORKING_MIB
        if job.memory_mib < need:
            msg = (
                f"scratch shm: {name}.memory_mib {job.memory_mib} must hold scratch_gib "
                f"{job.scratch_gib} and {WORKING_MIB} MiB to work with, {need} MiB: raise it, "
                "or lower scratch_gib"
            )
            raise ValueError(msg)


def _check_sizes(config: StackConfig) -> None:
    gib_per_vcpu = min(family.gib_per_vcpu for family in config.families)
    cpu = ("host", config.host_vcpus[1], gib_per_vcpu)
    _check_second_try(config, "gather", config.gather, *cpu)
    _check_second_try(config, "merge", config.merge, *cpu)
    if config.gpu_queue:
        gib_per_vcpu = min(GPU_FAMILIES[name].gib_per_vcpu for name in config.gpu_instance_classes)
        gpu = ("GPU host", GPU_VCPUS[1], gib_per_vcpu)
        _check_second_try(config, "gather", config.gather, *gpu)
    if config.disk.gib < config.disk_need_gib:
        msg = (
            f"disk.gib {config.disk.gib} cannot hold system, image and the scratch of all jobs "
            f"of a host: {config.disk_need_gib} GiB; raise it, or lower scratch_gib or host_vcpus"
        )
        raise ValueError(msg)


def _check_second_try(
    config: StackConfig, name: str, job: Job, host: str, vcpus: int, gib_per_vcpu: int
) -> None:
    """Refuse a job for whose second try, with twice the memory, there is no host."""
    usable = usable_mib(gib_per_vcpu, vcpus)
    if 2 * job.memory_mib <= usable and job.vcpus <= vcpus:
        return
    remedy = f"lower {name}.memory_mib" if host == "GPU host" else "raise host_vcpus"
    if config.scratch == "shm":
        remedy += f", or lower {name}.memory_mib with {name}.scratch_gib"
    msg = (
        f"{name}: the second try needs {job.vcpus} vCPU and {2 * job.memory_mib} MiB, "
        f"the greatest {host} has {vcpus} and {usable}: {remedy}"
    )
    raise ValueError(msg)


def _check_network_and_images(config: StackConfig) -> None:
    if (config.vpc_id is None) != (not config.subnet_ids):
        msg = "vpc_id and subnet_ids: give both, or neither"
        raise ValueError(msg)
    if config.security_group_ids and config.vpc_id is None:
        msg = "security_group_ids belong to a vpc_id: give that too"
        raise ValueError(msg)
    if config.gpu_queue and not config.torch_image:
        msg = "gpu_queue needs torch_image"
        raise ValueError(msg)
    for uri in filter(None, (config.image_uri, config.torch_image_uri)):
        if not ECR_IMAGE.match(uri):
            msg = (
                f"image {uri}: give an image in ECR by its digest, as "
                "ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:..., since a tag can be moved; "
                "imageDigest of `aws ecr describe-images --repository-name NAME`"
            )
            raise ValueError(msg)
        check_image_region(uri, config.target_region)


def _secrets(config: StackConfig) -> list[tuple[str, str]]:
    """Names and ARNs of the secrets that a configuration names."""
    found: list[tuple[str, str]] = []
    if config.catalog_secret is not None:
        found.append(("catalog_secret", config.catalog_secret.arn))
    if config.publish is not None and config.publish.secret_arn is not None:
        found.append(("publish.secret_arn", config.publish.secret_arn))
    return found


def _check_secret_and_key(config: StackConfig) -> None:
    region = config.target_region
    for name, arn in _secrets(config):
        place = arn.split(":")[3]
        if place != region:
            msg = (
                f"{name} lies in {place}, the stack in {region}: replicate it there, and give the "
                "ARN of the replica"
            )
            raise ValueError(msg)
    key_arn = config.kms_key_arn
    if key_arn is not None and key_arn.split(":")[3] != region:
        msg = (
            f"kms_key_arn lies in {key_arn.split(':')[3]}, the stack in {region}: "
            "give a key of that region"
        )
        raise ValueError(msg)


def _check_map(config: StackConfig) -> None:
    if config.distributed_map or config.map_concurrency <= INLINE_CONCURRENCY:
        return
    msg = (
        f"map_concurrency {config.map_concurrency}: without distributed_map at most "
        f"{INLINE_CONCURRENCY} jobs of a run go on at a time: lower it, or set distributed_map"
    )
    raise ValueError(msg)


def _check_places(config: StackConfig) -> None:
    counts = (
        ("input_buckets and output_buckets have", "buckets", config.bucket_names, MAX_BUCKETS),
        ("input_buckets and output_buckets have", "keys", config.bucket_keys, MAX_BUCKET_KEYS),
        ("model_prefixes has", "prefixes", config.model_prefixes, MAX_MODEL_PREFIXES),
    )
    for where, what, values, most in counts:
        if len(values) > most:
            msg = (
                f"{where} {len(values)} {what}: at most {most} fit into the policy of the jobs' "
                "role (10,240 characters); name fewer"
            )
            raise ValueError(msg)
    for prefix in config.model_prefixes:
        if len(prefix) > MAX_MODEL_PREFIX:
            msg = (
                f"model_prefixes: {prefix} has {len(prefix)} characters, at most "
                f"{MAX_MODEL_PREFIX} fit into the policy of the jobs' role; name a shorter one"
            )
            raise ValueError(msg)


def _check_zones(config: StackConfig) -> None:
    if config.vpc_id is not None and config.availability_zones is not None:
        msg = "availability_zones is for the VPC that is made; leave it out with vpc_id"
        raise ValueError(msg)


def _check_budget(config: StackConfig) -> None:
    region = config.target_region
    if config.monthly_budget_usd is not None and region not in BUDGET_REGIONS:
        msg = (
            f"monthly_budget_usd: CloudFormation makes no budget in {region}; leave it out, and "
            "make one of the account in the console"
        )
        raise ValueError(msg)


def _check_default_request(config: StackConfig) -> None:
    """Admit the request that would complete a bare GeoJSON, with the function that admits it."""
    request = config.default_request
    if request is None:
        return
    bucket = _own_bucket(config, request)
    area = {"uri": f"s3://{bucket}/aois/any.json"}
    settings = stack_settings(config, bucket_name=bucket, topic_arn="TOPIC")
    try:
        admit(
            {**request, "name": "default", "aoi": area},
            source="default_request",
            settings=settings,
        )
    except BadInputError as error:
        raise ValueError(str(error)) from error


def _own_bucket(config: StackConfig, request: Mapping[str, object]) -> str:
    """Bucket of the request's output if its name is like that of the stack's own bucket.

    The real name is known only after the deployment.
    """
    bucket = str(request.get("output") or "").removeprefix("s3://").partition("/")[0]
    ours = bucket.startswith(config.stack_name.lower()[:NAME_OF_STACK])
    return bucket if ours and "-storagebucket" in bucket else "BUCKET"


def _check_variables(config: StackConfig) -> None:
    size = longest_variables(config)
    if size > MAX_VARIABLES_BYTES:
        msg = (
            "default_request, buckets, model_prefixes, allowed_hosts and catalog_secret: the "
            f"variables of a function would take up to {size} bytes, Lambda has "
            f"{MAX_VARIABLES_BYTES}: shorten default_request, or name fewer buckets"
        )
        raise ValueError(msg)


def _check_known(key: str, names: tuple[str, ...], known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            msg = f"{key}: unknown instance family {name}; {hint}"
            raise ValueError(msg)


# In this order: a later check relies on the earlier ones.
CHECKS: tuple[Callable[[StackConfig], None], ...] = (
    _check_hosts,
    _check_scratch_on_nvme,
    _check_scratch_in_memory,
    _check_sizes,
    _check_network_and_images,
    _check_secret_and_key,
    _check_map,
    _check_places,
    _check_zones,
    _check_budget,
    _check_default_request,
    _check_variables,
)
