"""The configuration of a stack: its values, and the quantities that follow from them."""

from typing import Any, Literal

from pydantic import Field

from cloudbuster.aws import DEFAULT_STACK
from cloudbuster.aws.costs import (
    HOMES,
    PRICES_AS_OF,
    REGIONS,
    disk_usd_per_hour,
    host_usd_per_hour,
)
from cloudbuster.core.scenes.bands import Kind
from infra.configuration.capacity import greatest_scratch_gib, jobs_at_a_time, usable_mib
from infra.configuration.instances import (
    FAMILIES,
    GPU_VCPUS,
    USUAL_ZONES,
    ZONES,
    Family,
    sizes,
    sizes_by_vcpus,
)
from infra.configuration.sections import BucketEntry, CatalogSecret, Disk, Job, Publish, Section
from infra.configuration.values import (
    AllowedHost,
    EmailAddress,
    KeyArn,
    ModelPrefix,
    PolicyArn,
    Qualifier,
    Region,
    Tags,
)

# Size of the operating system and the container agent in the ECS-optimised AL2023 image.
SYSTEM_GIB = 8
# Measured size of the unpacked image: 0.8 GiB without PyTorch, 1.8 with it (CPU); twice that while
# an image is replaced.
IMAGE_GIB = {False: 2, True: 6}


class StackConfig(Section):
    """All decisions about a stack. Each value has a default; `checks.check` compares values."""

    preset: Literal["dev", "prod"] = Field("dev", description="Defaults to start from.")
    stack_name: str = Field(
        DEFAULT_STACK, pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$", description="Name of the stack."
    )
    home: Literal["l2a", "l1c"] = Field(
        "l2a",
        description="Region of the scenes: l2a us-west-2 (COGs), l1c eu-central-1 (JPEG 2000).",
    )
    region: Region | None = Field(None, description="Region; null for that of `home`.")
    # Network
    vpc_id: str | None = Field(None, description="Existing VPC; null makes one without NAT.")
    subnet_ids: tuple[str, ...] = Field(
        (), description="Subnets of `vpc_id`; they need a route to AWS."
    )
    security_group_ids: tuple[str, ...] = Field(
        (), description="Security groups of the hosts; an empty list makes one."
    )
    availability_zones: int | None = Field(
        None, ge=2, le=6, description="Zones of the VPC that is made; null for all of the region."
    )
    # Compute
    disk: Disk = Field(default_factory=lambda: Disk(), description="Root disk of each host.")
    scratch: Literal["root", "nvme", "shm"] = Field(
        "root", description="Place of /scratch: the root disk, the host's own NVMe, or memory."
    )
    ami_id: str | None = Field(
        None,
        pattern=r"^ami-[0-9a-f]+$",
        description="Own AL2023 ECS image; null for AWS's newest at each deployment.",
    )
    spot: bool = Field(default=True, description="Try spot hosts first.")
    instance_classes: tuple[str, ...] = Field(
        ("m6i", "m6a", "m7i"), min_length=1, description="Instance families of the hosts, x86_64."
    )
    host_vcpus: tuple[int, int] = Field(
        (8, 16), description="vCPUs of the smallest and of the greatest host."
    )
    max_vcpus: int = Field(
        64, description="vCPUs of each compute environment; at least those of the smallest host."
    )
    wait_hours: int = Field(
        6,
        ge=3,
        le=24,
        description="Hours that a job may wait for a host before its run gives it up.",
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
        ("g5", "g6"), min_length=1, description="Instance families of the GPU hosts."
    )
    image_uri: str | None = Field(
        None, description="Image in ECR, by its digest; null builds containers/."
    )
    torch_image_uri: str | None = Field(
        None, description="Second image in ECR, by its digest; null builds containers/."
    )
    base_image: str = Field(
        "public.ecr.aws/docker/library/python:3.12-slim-bookworm",
        description="Base image of containers/Dockerfile.",
    )
    # Workflow
    map_concurrency: int = Field(
        20, ge=1, le=10_000, description="Gather jobs of a run at a time; at most 40 inline."
    )
    distributed_map: bool = Field(
        default=False,
        description="Gather in child executions, for runs of more than 800 scenes.",
    )
    merge_part_cells: int = Field(
        16_384,
        ge=1024,
        multiple_of=1024,
        description="Mosaics of more cells on a side are merged in parts of this side.",
    )
    max_running_executions: int = Field(
        4, ge=1, le=1000, description="Executions at a time beyond which dropped requests wait."
    )
    default_request: dict[str, Any] | None = Field(
        None, description="Request without name and aoi that completes a bare GeoJSON."
    )
    # Places and limits of requests
    input_buckets: tuple[BucketEntry, ...] = Field(
        (), description="Other buckets that runs may read from; at most 20 with output_buckets."
    )
    output_buckets: tuple[BucketEntry, ...] = Field(
        (), description="Other buckets that runs may write to, and read from."
    )
    model_prefixes: tuple[ModelPrefix, ...] = Field(
        ("models/",), description="Prefixes of the models that a request may run; at most 10."
    )
    max_budget_usd: float | None = Field(
        None, gt=0, description="Most that any run may cost by its estimate; null for no limit."
    )
    monthly_budget_usd: float | None = Field(
        None, ge=1, description="Budget of the whole account that raises alarms; null for none."
    )
    allowed_hosts: tuple[AllowedHost, ...] = Field(
        (),
        max_length=20,
        description="Servers of catalogs and of their files in your own networks, which runs may "
        "contact: names, addresses, or networks.",
    )
    catalog_secret: CatalogSecret | None = Field(
        None, description="Credentials of catalogs for functions and jobs."
    )
    notify_emails: tuple[EmailAddress, ...] = Field(
        (), description="Addresses that get outcomes and alarms."
    )
    publish: Publish | None = Field(
        None, description="STAC API in which the item of each mosaic is published; null for none."
    )
    # Retention
    scratch_days: int = Field(30, ge=1, description="Days after which scenes and tasks expire.")
    runs_days: int | None = Field(
        None, ge=1, description="Days after which documents expire; null keeps them."
    )
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] = Field(
        30, description="Days after which logs expire."
    )
    retain_data: bool = Field(
        default=False,
        description="`cdk destroy` is refused, and leaves the bucket once that is allowed.",
    )
    versioning: bool = Field(
        default=False, description="Keep overwritten and removed objects for 30 days."
    )
    # Organisation
    permissions_boundary: PolicyArn | None = Field(
        None, description="ARN of a policy that bounds every role."
    )
    role_path: str = Field("/", pattern=r"^/([\w.-]+/)*$", description="Path of every role.")
    qualifier: Qualifier | None = Field(
        None, description="Qualifier of the CDK bootstrap; null for the CDK's default."
    )
    tags: Tags = Field(default_factory=dict, description="Tags of all resources that take tags.")
    kms_key_arn: KeyArn | None = Field(
        None, description="ARN of the key for bucket, disks, topic and queues."
    )

    @property
    def home_kind(self) -> Kind | None:
        """Product level whose scenes lie in the stack's region; None for neither."""
        return next((kind for kind, region in HOMES.items() if region == self.target_region), None)

    @property
    def target_region(self) -> str:
        """Region to deploy to."""
        return self.region or HOMES["L1C" if self.home == "l1c" else "L2A"]

    @property
    def bucket_names(self) -> tuple[str, ...]:
        """Names of the other buckets that runs may use, each once."""
        entries = (*self.input_buckets, *self.output_buckets)
        return tuple(dict.fromkeys(entry.name for entry in entries))

    @property
    def bucket_keys(self) -> tuple[str, ...]:
        """ARNs of the keys that encrypt these buckets, each once."""
        entries = (*self.input_buckets, *self.output_buckets)
        return tuple(dict.fromkeys(entry.kms_key_arn for entry in entries if entry.kms_key_arn))

    @property
    def host_types(self) -> tuple[str, ...]:
        """Instance types of the hosts."""
        low, high = self.host_vcpus
        return tuple(
            f"{family}.{size}" for family in self.instance_classes for size in sizes(low, high)
        )

    @property
    def families(self) -> tuple[Family, ...]:
        """Properties of the hosts' instance families."""
        return tuple(FAMILIES[name] for name in self.instance_classes)

    @property
    def _greatest_host(self) -> tuple[int, int]:
        """Virtual processors of the greatest host, and its memory for jobs in MiB."""
        vcpus = self.host_vcpus[1]
        return vcpus, max(usable_mib(family.gib_per_vcpu, vcpus) for family in self.families)

    def jobs_per_host(self, job: Job) -> int:
        """Count the jobs of one kind that the greatest host runs at a time."""
        vcpus, memory_mib = self._greatest_host
        return max(1, jobs_at_a_time(job, vcpus=vcpus, memory_mib=memory_mib))

    @property
    def disk_need_gib(self) -> int:
        """Size of everything on the disk of the greatest host, GiB."""
        scratch_gib = 0
        if self.scratch == "root":
            vcpus, memory_mib = self._greatest_host
            scratch_gib = greatest_scratch_gib(
                self.gather, self.merge, vcpus=vcpus, memory_mib=memory_mib
            )
        return SYSTEM_GIB + IMAGE_GIB[self.torch_image] + scratch_gib

    def usd_per_hour(self, job: Job, *, gpu: bool = False) -> float:
        """Price of a job in US dollars an hour, on the dearest host that it may run on.

        The host and its disk are shared by as many jobs of the kind as it runs at a time. A GPU
        host has one GPU and so runs one job.
        """
        region, disk = self.target_region, self._disk_usd_per_hour
        if gpu:
            least = GPU_VCPUS[0]
            return disk + max(
                host_usd_per_hour(name, vcpus=least, region=region)
                for name in self.gpu_instance_classes
            )
        shares = []
        for name in self.instance_classes:
            for _, vcpus in sizes_by_vcpus(*self.host_vcpus):
                memory_mib = usable_mib(FAMILIES[name].gib_per_vcpu, vcpus)
                jobs = jobs_at_a_time(job, vcpus=vcpus, memory_mib=memory_mib)
                if jobs:
                    host = host_usd_per_hour(name, vcpus=vcpus, region=region)
                    shares.append((host + disk) / jobs)
        return max(shares)

    def disk_usd_per_hour(self, job: Job) -> float:
        """Part of the price of a job that its share of a host's disk costs, US dollars an hour."""
        return self._disk_usd_per_hour / self.jobs_per_host(job)

    def timeout_s(self, job: Job) -> int:
        """Seconds after which a run gives up a job: its wait for a host, and all its attempts."""
        return self.wait_hours * 3600 + job.attempts * job.timeout_minutes * 60

    @property
    def zones(self) -> int:
        """Number of availability zones of the VPC that is made."""
        return self.availability_zones or ZONES.get(self.target_region, USUAL_ZONES)

    @property
    def _disk_usd_per_hour(self) -> float:
        disk = self.disk
        return disk_usd_per_hour(
            gib=disk.gib,
            iops=disk.iops,
            throughput_mibps=disk.throughput_mibps,
            region=self.target_region,
        )

    def disk_report(self) -> str:
        """Describe in one line what the disk holds and costs."""
        shares = ", ".join(
            f"{self.disk_usd_per_hour(job):.5f} USD per {name} job-hour "
            f"({self.jobs_per_host(job)} a host)"
            for name, job in (("gather", self.gather), ("merge", self.merge))
        )
        region = self.target_region
        priced = (
            region if region in REGIONS else f"the dearest region known, {region} is not listed"
        )
        return (
            f"disk: {self.disk.gib} GiB gp3, {self.disk_need_gib} GiB needed; {shares}; "
            f"list prices of {PRICES_AS_OF}, {priced}"
        )
