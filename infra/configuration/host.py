"""Commands that a host runs when it starts."""

from typing import Literal

# Settings of the ECS agent: an image whose tag is a hash of its content need not be pulled twice; a
# large one takes long to start; the scratch space of a finished container is freed soon.
AGENT = (
    "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
    "ECS_CONTAINER_CREATE_TIMEOUT=10m",
    "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=10m",
)
# A host on which a command fails shuts down before its agent offers it to Batch, which starts
# another: with /scratch on the root disk by mistake, jobs would fail later for no visible reason.
GUARD = (
    "set -Eeuo pipefail",
    "stop_host() {",
    '  echo "cloudbuster: $1; this host shuts down" >&2',
    "  systemctl mask --runtime --now ecs.service || true",
    "  shutdown -h now",
    "  exit 1",
    "}",
    """trap 'stop_host "line $LINENO of the user data failed"' ERR""",
)
# Mount the NVMe disks of the host as one. The links to a disk have several names, which differ
# between versions of udev. The image lacks mdadm (it is made from al2023-ami-minimal); the
# repositories of AL2023 lie in S3, so that private subnets reach them through a gateway endpoint.
MOUNT_NVME = (
    "udevadm settle --timeout=60 || true",
    "links=/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*",
    'mapfile -t disks < <(for link in $links; do if [ -e "$link" ]; then realpath "$link"; fi; '
    "done | sort -u)",
    'if [ "${#disks[@]}" -eq 0 ]; then stop_host "it has no NVMe disk for /scratch"; fi',
    "disk=${disks[0]}",
    'if [ "${#disks[@]}" -gt 1 ]; then',
    "  for attempt in 1 2 3 4 5; do",
    "    if command -v mdadm > /dev/null; then break; fi",
    '    dnf install -y -q mdadm || sleep "$((attempt * 10))"',
    "  done",
    "  disk=/dev/md0",
    '  mdadm --create "$disk" --run --level=0 --raid-devices="${#disks[@]}" "${disks[@]}"',
    "fi",
    'mkfs.ext4 -q -F -E nodiscard "$disk"',
    'mount "$disk" /scratch',
    "mountpoint -q /scratch",
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
    return (*GUARD, *agent, "mkdir -p /scratch", *mount, *OPEN_SCRATCH)
