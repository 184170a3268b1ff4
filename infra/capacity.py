"""What fits on a host: how many jobs at a time, and the scratch that they need together."""

from collections.abc import Iterator

from infra.instances import FAMILIES, GPU_FAMILIES, GPU_VCPUS, Family, sizes_by_vcpus
from infra.sections import Job

# What the ECS agent and the system keep of a host's memory (HyP3 asks for 31500 of 32768 MiB).
USABLE_MEMORY = 0.96
# What mkfs.ext4 leaves of a disk: 5 % are kept for root, inodes of 256 bytes for each 16 KiB.
USABLE_NVME = 0.93
BYTES_PER_GB, BYTES_PER_GIB = 10**9, 2**30


def usable_mib(gib_per_vcpu: int, vcpus: int) -> int:
    """Memory of a host that jobs may have."""
    return int(gib_per_vcpu * vcpus * 1024 * USABLE_MEMORY)


def jobs_at_a_time(job: Job, *, vcpus: int, memory_mib: int) -> int:
    """How many jobs of one kind fit into so much."""
    return min(vcpus // job.vcpus, memory_mib // job.memory_mib)


def greatest_scratch_gib(gather: Job, merge: Job, *, vcpus: int, memory_mib: int) -> int:
    """Scratch of all jobs of a host, for the mix of both kinds that needs most.

    A host runs what Batch gives it: where one kind is short of processors and the other of memory,
    more jobs fit beside each other than of either kind alone.
    """
    most = 0
    for count in range(jobs_at_a_time(gather, vcpus=vcpus, memory_mib=memory_mib) + 1):
        merges = jobs_at_a_time(
            merge,
            vcpus=vcpus - count * gather.vcpus,
            memory_mib=memory_mib - count * gather.memory_mib,
        )
        most = max(most, count * gather.scratch_gib + merges * merge.scratch_gib)
    return most


def nvme_gib(family: Family, vcpus: int) -> int:
    """Room on the disks that a host has itself."""
    return int(family.nvme_gb_per_vcpu * vcpus * USABLE_NVME * BYTES_PER_GB / BYTES_PER_GIB)


def check_nvme(
    gather: Job,
    merge: Job,
    *,
    families: tuple[str, ...],
    host_vcpus: tuple[int, int],
    gpu_families: tuple[str, ...],
) -> None:
    """Raise ValueError where the jobs of a host need more scratch than its own disks hold."""
    bare = [name for name in families if not FAMILIES[name].nvme_gb_per_vcpu]
    if bare:
        msg = f"scratch nvme: {', '.join(bare)} have no NVMe; use m6id, r6id or c6id"
        raise ValueError(msg)
    needs = [*_needs(gather, merge, families, host_vcpus)]
    # A GPU host has one GPU, and so one job.
    needs += [
        (f"{name}.{size}", nvme_gib(GPU_FAMILIES[name], GPU_VCPUS[0]), gather.scratch_gib)
        for name in gpu_families
        for size, _ in sizes_by_vcpus(*GPU_VCPUS)
    ]
    for host, room, need in needs:
        if need > room:
            msg = (
                f"scratch nvme: the jobs of a {host} need {need} GiB together, its NVMe holds "
                f"{room}: lower scratch_gib, or take another of instance_classes or host_vcpus"
            )
            raise ValueError(msg)


def _needs(
    gather: Job, merge: Job, families: tuple[str, ...], host_vcpus: tuple[int, int]
) -> Iterator[tuple[str, int, int]]:
    """Each type of host, what its own disks hold, and what its jobs need of them."""
    for name in families:
        family = FAMILIES[name]
        for size, vcpus in sizes_by_vcpus(*host_vcpus):
            memory_mib = usable_mib(family.gib_per_vcpu, vcpus)
            need = greatest_scratch_gib(gather, merge, vcpus=vcpus, memory_mib=memory_mib)
            yield f"{name}.{size}", nvme_gib(family, vcpus), need
