"""Configuration of the stack: context key ``cloudbuster`` of cdk.json, or of ``cdk -c``.

Every value has a default. ``{"preset": "prod"}`` starts from other defaults; what is given beside
the preset wins over it.
"""

import difflib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from cloudbuster.aws.costs import HOMES, PRICES_AS_OF, disk_usd_per_hour, job_usd_per_hour
from cloudbuster.core.bands import Kind
from infra import checks
from infra.capacity import greatest_scratch_gib, jobs_at_a_time, usable_mib
from infra.instances import FAMILIES, Family, sizes
from infra.sections import CatalogSecret, Disk, Job, Section
from infra.values import BucketName, EmailAddress, KeyArn, PolicyArn, Qualifier, Region, Tags

CONTEXT_KEY = "cloudbuster"
# The operating system and the container agent of the ECS-optimised AL2023 image.
SYSTEM_GIB = 8
# Unpacked, measured: base 0.8, with PyTorch (CPU) 1.8; twice that while an image is replaced.
IMAGE_GIB = {False: 2, True: 6}


class ConfigError(Exception):
    """The configuration holds something that cannot be deployed."""


class StackConfig(Section):
    """Everything that can be decided about a stack."""

    preset: Literal["dev", "prod"] = Field("dev", description="Which defaults to start from.")
    stack_name: str = Field(
        "CloudBuster", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$", description="One per stack."
    )
    home: Literal["l2a", "l1c"] = Field(
        "l2a", description="Where scenes lie: l2a us-west-2 (COGs), l1c eu-central-1 (JPEG 2000)."
    )
    region: Region | None = Field(None, description="Region; null for that of `home`.")
    # Network
    vpc_id: str | None = Field(None, description="Existing VPC; null makes one without NAT.")
    subnet_ids: tuple[str, ...] = Field((), description="Of `vpc_id`; they need a way to AWS.")
    security_group_ids: tuple[str, ...] = Field((), description="Of the hosts; none makes one.")
    # Compute
    disk: Disk = Field(default_factory=lambda: Disk(), description="Root disk of each host.")
    scratch: Literal["root", "nvme", "shm"] = Field(
        "root", description="/scratch on the root disk, on the host's own NVMe, or in memory."
    )
    ami_id: str | None = Field(
        None, pattern=r"^ami-[0-9a-f]+$", description="Own AL2023 ECS image; null for AWS's newest."
    )
    spot: bool = Field(default=True, description="Try spot hosts first.")
    instance_classes: tuple[str, ...] = Field(
        ("m6i", "m6a", "m7i"), min_length=1, description="Families of the hosts, x86_64."
    )
    host_vcpus: tuple[int, int] = Field((8, 16), description="Smallest and greatest host.")
    max_vcpus: int = Field(
        64, description="Of each compute environment; at least the smallest host."
    )
    gather: Job = Field(
        default_factory=lambda: Job(
            vcpus=2, memory_mib=7600, scratch_gib=10, timeout_minutes=120, attempts=4
        ),
        description="Job that gathers one scene.",
    )
    merge: Job = Field(
        default_factory=lambda: Job(
            vcpus=4, memory_mib=15_200, scratch_gib=40, timeout_minutes=360, attempts=4
        ),
        description="Job that merges all scenes of a run.",
    )
    torch_image: bool = Field(default=False, description="Second image, for detector pytorch.")
    gpu_queue: bool = Field(default=False, description="GPU hosts for it; needs torch_image.")
    gpu_instance_classes: tuple[str, ...] = Field(
        ("g5", "g6"), min_length=1, description="GPU families."
    )
    image_uri: str | None = Field(None, description="Image in ECR; null builds containers/.")
    torch_image_uri: str | None = Field(None, description="The same of the second image.")
    base_image: str = Field(
        "public.ecr.aws/docker/library/python:3.12-slim-bookworm",
        description="What containers/Dockerfile builds on.",
    )
    # Workflow
    map_concurrency: int = Field(
        20, ge=1, le=10_000, description="Gather jobs at a time in a run; inline at most 40."
    )
    distributed_map: bool = Field(
        default=False, description="For runs of more than 800 scenes: child executions."
    )
    merge_part_cells: int = Field(
        16_384,
        ge=1024,
        multiple_of=1024,
        description="Mosaics of more cells on a side are merged in parts of this side.",
    )
    max_running_executions: int = Field(
        4, ge=1, le=1000, description="Runs at a time that S3 started; the rest waits."
    )
    default_request: dict[str, Any] | None = Field(
        None, description="What a bare GeoJSON is completed with: a request without name and aoi."
    )
    output_buckets: tuple[BucketName, ...] = Field(
        (), description="Other buckets that runs may write, by name; at most 20."
    )
    catalog_secret: CatalogSecret | None = Field(
        None, description="Credentials that catalogs ask for, for functions and jobs."
    )
    notify_emails: tuple[EmailAddress, ...] = Field((), description="Told of outcomes and alarms.")
    # Retention
    scratch_days: int = Field(30, ge=1, description="Scenes and tasks are deleted after.")
    runs_days: int | None = Field(
        None, ge=1, description="Documents are deleted after; null never."
    )
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] = Field(
        30, description="Logs are deleted after."
    )
    retain_data: bool = Field(default=False, description="`cdk destroy` leaves the bucket.")
    # Organisation
    permissions_boundary: PolicyArn | None = Field(
        None, description="ARN of a policy for every role."
    )
    role_path: str = Field("/", pattern=r"^/([\w.-]+/)*$", description="Path of every role.")
    qualifier: Qualifier | None = Field(
        None, description="Of the CDK bootstrap, where not the usual."
    )
    tags: Tags = Field(default_factory=dict, description="On everything that takes tags.")
    kms_key_arn: KeyArn | None = Field(None, description="Key of bucket, disks, topic and queues.")

    @property
    def home_kind(self) -> Kind | None:
        """Product level that lies in the stack's region; None where that is neither's."""
        return next((kind for kind, region in HOMES.items() if region == self.target_region), None)

    @property
    def target_region(self) -> str:
        """Region to deploy to."""
        return self.region or HOMES["L1C" if self.home == "l1c" else "L2A"]

    @property
    def host_types(self) -> tuple[str, ...]:
        """Instance types of the hosts."""
        low, high = self.host_vcpus
        return tuple(
            f"{family}.{size}" for family in self.instance_classes for size in sizes(low, high)
        )

    @property
    def families(self) -> tuple[Family, ...]:
        """What is known of the host families."""
        return tuple(FAMILIES[name] for name in self.instance_classes)

    @property
    def _greatest_host(self) -> tuple[int, int]:
        """Virtual processors of the greatest host, and the MiB that jobs may have of it."""
        vcpus = self.host_vcpus[1]
        return vcpus, max(usable_mib(family.gib_per_vcpu, vcpus) for family in self.families)

    def jobs_per_host(self, job: Job) -> int:
        """How many jobs of one kind the greatest host runs at a time."""
        vcpus, memory_mib = self._greatest_host
        return max(1, jobs_at_a_time(job, vcpus=vcpus, memory_mib=memory_mib))

    @property
    def disk_need_gib(self) -> int:
        """What the disk of the greatest host must hold."""
        scratch_gib = 0
        if self.scratch == "root":
            vcpus, memory_mib = self._greatest_host
            scratch_gib = greatest_scratch_gib(
                self.gather, self.merge, vcpus=vcpus, memory_mib=memory_mib
            )
        return SYSTEM_GIB + IMAGE_GIB[self.torch_image] + scratch_gib

    def usd_per_hour(self, job: Job) -> float:
        """Price of a job, its part of the disk included."""
        return job_usd_per_hour(
            vcpus=job.vcpus,
            disk_usd_per_host_hour=self._disk_usd_per_hour,
            jobs_per_host=self.jobs_per_host(job),
        )

    @property
    def _disk_usd_per_hour(self) -> float:
        disk = self.disk
        return disk_usd_per_hour(
            gib=disk.gib, iops=disk.iops, throughput_mibps=disk.throughput_mibps
        )

    def disk_report(self) -> str:
        """Say in one line what the disk holds and costs."""
        shares = ", ".join(
            f"{self._disk_usd_per_hour / self.jobs_per_host(job):.5f} USD per {name} job-hour "
            f"({self.jobs_per_host(job)} a host)"
            for name, job in (("gather", self.gather), ("merge", self.merge))
        )
        return (
            f"disk: {self.disk.gib} GiB gp3, {self.disk_need_gib} GiB needed; {shares}; "
            f"list prices of {PRICES_AS_OF}, us-west-2"
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        checks.check(self)
        return self


# A preset's values are what its stack is for: dev costs little and goes with `cdk destroy` once its
# bucket is emptied, prod keeps its data.
PRESETS: dict[str, dict[str, Any]] = {
    "dev": {},
    "prod": {
        "disk": {"gib": 500, "iops": 6000, "throughput_mibps": 500},
        "host_vcpus": (8, 32),
        "max_vcpus": 256,
        "map_concurrency": 40,
        "log_days": 90,
        "retain_data": True,
    },
}


def parse_config(context: object) -> StackConfig:
    """Make the configuration of what the cdk context holds under ``cloudbuster``.

    Parameters
    ----------
    context : dict, str or None
        An object, as in cdk.json; its JSON text, as ``cdk -c`` gives it; None for the defaults.

    Raises
    ------
    ConfigError
        Names every value that cannot be used; for an unknown key the one that is meant.
    """
    given = _object(context)
    preset = PRESETS.get(str(given.get("preset", "dev")), {})
    try:
        return StackConfig.model_validate(_merged(preset, given))
    except ValidationError as error:
        problems = "; ".join(_problem(detail) for detail in error.errors(include_url=False))
        msg = f"context {CONTEXT_KEY}: {problems}"
        raise ConfigError(msg) from error


def _object(context: object) -> dict[str, Any]:
    if isinstance(context, str):
        try:
            context = json.loads(context)
        except json.JSONDecodeError as error:
            msg = f"context {CONTEXT_KEY} is not JSON: {error}; give -c '{CONTEXT_KEY}={{...}}'"
            raise ConfigError(msg) from error
    if context is None:
        return {}
    if not isinstance(context, dict):
        msg = f"context {CONTEXT_KEY} is a {type(context).__name__}; give an object"
        raise ConfigError(msg)
    return context


_SECTIONS: dict[str, type[BaseModel]] = {
    "disk": Disk,
    "gather": Job,
    "merge": Job,
    "catalog_secret": CatalogSecret,
}


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over ``base``, section by section; a section's missing values are the defaults."""
    defaults = {"gather", "merge"} & set(given)
    for name in defaults:
        default = StackConfig.model_fields[name].get_default(call_default_factory=True)
        base = {name: default.model_dump(), **base}
    merged = {**base, **given}
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = {**base[name], **value}
    return merged


def _problem(detail: Mapping[str, Any]) -> str:
    place = [str(part) for part in detail["loc"]]
    text = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        known = (_SECTIONS[place[0]] if len(place) > 1 else StackConfig).model_fields
        close = difflib.get_close_matches(place[-1], known, n=1)
        text = f"unknown key; did you mean {close[0]}?" if close else "unknown key"
    return f"{'.'.join(place)}: {text}" if place else text
