"""Instance families of hosts, from AWS's table of instance types: x86_64 with ENA."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Properties of an instance family.

    Attributes
    ----------
    gib_per_vcpu : int
        Memory.
    nvme_gb_per_vcpu : float
        Size of the hosts' own NVMe disks; 0 for none.
    """

    gib_per_vcpu: int
    nvme_gb_per_vcpu: float = 0


FAMILIES = {
    **{name: Family(2) for name in ("c6a", "c6i", "c7a", "c7i")},
    **{name: Family(4) for name in ("m5", "m6a", "m6i", "m7a", "m7i")},
    **{name: Family(8) for name in ("r5", "r6a", "r6i", "r7a", "r7i")},
    # 474 and 300 GB in a 2xlarge; larger sizes have at least as much for each processor.
    **{name: Family(gib, 59.25) for name, gib in (("c6id", 2), ("m6id", 4), ("r6id", 8))},
    **{name: Family(gib, 37.5) for name, gib in (("m5d", 4), ("r5d", 8))},
}
# 225 and 450 GB in a 2xlarge; a 4xlarge has at least as much in total.
GPU_FAMILIES = {"g4dn": Family(4, 28.125), "g5": Family(4, 56.25), "g6": Family(4, 56.25)}
# Smallest and greatest GPU host: these sizes of these families have one GPU, and a job takes one.
GPU_VCPUS = (8, 16)
# Availability zones that any account can use:
# https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html. All
# regions that are not listed have at least three.
ZONES = {"us-west-2": 4, "us-east-1": 6, "us-west-1": 2}
USUAL_ZONES = 3
# Sizes that all these families have.
_VCPUS = {
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
    "24xlarge": 96,
}


def sizes_by_vcpus(least_vcpus: int, most_vcpus: int) -> tuple[tuple[str, int], ...]:
    """Sizes of hosts within these numbers of virtual processors, each with its own number."""
    return tuple(
        (size, vcpus) for size, vcpus in _VCPUS.items() if least_vcpus <= vcpus <= most_vcpus
    )


def sizes(least_vcpus: int, most_vcpus: int) -> tuple[str, ...]:
    """Sizes of hosts within these numbers of virtual processors."""
    return tuple(size for size, _ in sizes_by_vcpus(least_vcpus, most_vcpus))
