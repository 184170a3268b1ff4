"""Commands that a host runs when it starts."""

from typing import Literal

# Settings of the ECS agent: an image whose tag is a hash of its content need not be pulled twice; a
# large one takes long to start; the scratch space of a finished container is freed soon.
AGENT = (
    "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
    "ECS_CONTAINER_CREATE_TIMEOUT=10m",
    "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=10m",
)
# Join all NVMe disks of the host, one or several, and mount them.
MOUNT_NVME = (
    "disks=$(ls /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*-ns-1 2>/dev/null || true)",
    "count=$(echo $disks | wc -w)",
    "disk=$disks",
    'if [ "$count" -gt 1 ]; then',
    "  mdadm --create /dev/md0 --level=0 --raid-devices=$count $disks && disk=/dev/md0",
    "fi",
    'if [ "$count" -gt 0 ]; then mkfs.ext4 -q -E nodiscard $disk && mount $disk /scratch; fi',
)
# systemd-tmpfiles, which runs daily, removes files of killed jobs after a day.
OPEN_SCRATCH = (
    "chmod 1777 /scratch",
    "echo 'd /scratch 1777 root root 1d' > /etc/tmpfiles.d/scratch.conf",
)


def host_commands(scratch: Literal["root", "nvme", "shm"]) -> tuple[str, ...]:
    """Return the commands of the user data, which root runs before the ECS agent starts."""
    agent = tuple(f"echo {line} >> /etc/ecs/ecs.config" for line in AGENT)
    mount = MOUNT_NVME if scratch == "nvme" else ()
    return (*agent, "mkdir -p /scratch", *mount, *OPEN_SCRATCH)
