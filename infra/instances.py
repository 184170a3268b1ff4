"""Instance families that hosts may be of. From AWS's table of instance types, x86_64 with ENA."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What is known of a family.

    Attributes
    ----------
    gib_per_vcpu : int
        Memory.
    nvme : bool
        Whether its hosts have disks of their own.
    """

    gib_per_vcpu: int
    nvme: bool = False


FAMILIES = {
    **{name: Family(2) for name in ("c6a", "c6i", "c7a", "c7i")},
    **{name: Family(4) for name in ("m5", "m6a", "m6i", "m7a", "m7i")},
    **{name: Family(8) for name in ("r5", "r6a", "r6i", "r7a", "r7i")},
    **{"c6id": Family(2, nvme=True), "m6id": Family(4, nvme=True), "r6id": Family(8, nvme=True)},
    **{"m5d": Family(4, nvme=True), "r5d": Family(8, nvme=True)},
}
GPU_FAMILIES = {name: Family(4, nvme=True) for name in ("g4dn", "g5", "g6")}
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


def sizes(least_vcpus: int, most_vcpus: int) -> tuple[str, ...]:
    """Sizes of hosts with at least and at most these virtual processors."""
    return tuple(size for size, vcpus in _VCPUS.items() if least_vcpus <= vcpus <= most_vcpus)
