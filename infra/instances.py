"""Instance families that hosts may be of. From AWS's table of instance types, x86_64 with ENA."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What is known of a family.

    Attributes
    ----------
    gib_per_vcpu : int
        Memory.
    nvme_gb_per_vcpu : float
        Disks of their own that its hosts have; 0 for none.
    """

    gib_per_vcpu: int
    nvme_gb_per_vcpu: float = 0


FAMILIES = {
    **{name: Family(2) for name in ("c6a", "c6i", "c7a", "c7i")},
    **{name: Family(4) for name in ("m5", "m6a", "m6i", "m7a", "m7i")},
    **{name: Family(8) for name in ("r5", "r6a", "r6i", "r7a", "r7i")},
    # 474 GB of a 2xlarge, and 300 GB; the larger sizes have at least as much for a processor.
    **{name: Family(gib, 59.25) for name, gib in (("c6id", 2), ("m6id", 4), ("r6id", 8))},
    **{name: Family(gib, 37.5) for name, gib in (("m5d", 4), ("r5d", 8))},
}
# Of their 2xlarge, 225 and 450 GB; a 4xlarge has at least as much in all.
GPU_FAMILIES = {"g4dn": Family(4, 28.125), "g5": Family(4, 56.25), "g6": Family(4, 56.25)}
# Smallest and greatest GPU host: of these families these sizes have one GPU, and a job takes one.
GPU_VCPUS = (8, 16)
# The sizes that all these families have.
_VCPUS = {
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
    "24xlarge": 96,
}


def sizes_by_vcpus(least_vcpus: int, most_vcpus: int) -> tuple[tuple[str, int], ...]:
    """Sizes of hosts with at least and at most these virtual processors, and how many they have."""
    return tuple(
        (size, vcpus) for size, vcpus in _VCPUS.items() if least_vcpus <= vcpus <= most_vcpus
    )


def sizes(least_vcpus: int, most_vcpus: int) -> tuple[str, ...]:
    """Sizes of hosts with at least and at most these virtual processors."""
    return tuple(size for size, _ in sizes_by_vcpus(least_vcpus, most_vcpus))
