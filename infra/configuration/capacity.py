"""Capacity of hosts: jobs that fit on one at a time, and the scratch space that they need."""

from collections.abc import Iterator

from infra.configuration.instances import FAMILIES, GPU_FAMILIES, GPU_VCPUS, Family, sizes_by_vcpus
from infra.configuration.sections import Job

# Share of a host's memory that the ECS agent and the system leave to jobs (HyP3 uses 31500 of
# 32768 MiB).
USABLE_MEMORY = 0.96
# Share of a disk that mkfs.ext4 leaves: 5 % are reserved for root, and inodes take 256 bytes for
# each 16 KiB.
USABLE_NVME = 0.93
BYTES_PER_GB, BYTES_PER_GIB = 10**9, 2**30


def usable_mib(gib_per_vcpu: int, vcpus: int) -> int:
    """Memory of a host for jobs, MiB."""
    return int(gib_per_vcpu * vcpus * 1024 * USABLE_MEMORY)


def jobs_at_a_time(job: Job, *, vcpus: int, memory_mib: int) -> int:
    """Count the jobs of one kind that fit into these processors and this memory."""
    return min(vcpus // job.vcpus, memory_mib // job.memory_mib)


def greatest_scratch_gib(gather: Job, merge: Job, *, vcpus: int, memory_mib: int) -> int:
    """Scratch space in GiB for the mix of gather and merge jobs on a host that needs most.

    A host runs the jobs that Batch places on it. If processors limit one kind and memory the
    other, a mix of both may hold more jobs than either kind alone.
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
    """Room on the NVMe disks of a host, GiB."""
    return int(family.nvme_gb_per_vcpu * vcpus * USABLE_NVME * BYTES_PER_GB / BYTES_PER_GIB)


def check_nvme(
    gather: Job,
    merge: Job,
    *,
    families: tuple[str, ...],
    host_vcpus: tuple[int, int],
    gpu_families: tuple[str, ...],
) -> None:
    """Raise ValueError if the NVMe disks of a host cannot hold the scratch space of its jobs."""
    bare = [name for name in families if not FAMILIES[name].nvme_gb_per_vcpu]
    if bare:
        msg = f"scratch nvme: {', '.join(bare)} have no NVMe; use m6id, r6id or c6id"
        raise ValueError(msg)
    needs = [*_needs(gather, merge, families, host_vcpus)]
    # A GPU host has one GPU and so runs one job.
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
    """Yield each type of host, the room on its NVMe disks, and the need of its jobs, GiB."""
    for name in families:
        family = FAMILIES[name]
        for size, vcpus in sizes_by_vcpus(*host_vcpus):
            memory_mib = usable_mib(family.gib_per_vcpu, vcpus)
            need = greatest_scratch_gib(gather, merge, vcpus=vcpus, memory_mib=memory_mib)
            yield f"{name}.{size}", nvme_gib(family, vcpus), need
