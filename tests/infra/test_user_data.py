"""The user data of hosts, which is run here: with programs that record and can fail."""

import email
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import Synth
from tests.infra.templates import flat, resources

# Folders of a host that the commands name; in a test they lie below another root.
FOLDERS = ("/dev/disk/by-id", "/etc/ecs", "/etc/tmpfiles.d", "/scratch")
# Each writes its words to a journal. `mdadm` exists once `dnf` has installed it, as on the image,
# and `mount` takes a disk that has a file system only.
PROGRAMS = {
    "udevadm": "",
    "sleep": "",
    "systemctl": "",
    "shutdown": "",
    "dnf": 'printf "%s\\n" "$MDADM" > "$BIN/mdadm"; chmod +x "$BIN/mdadm"',
    "mkfs.ext4": 'for disk; do :; done; [ -e "$disk" ] && echo ext4 >> "$JOURNAL.made"',
    "mount": '[ -e "$JOURNAL.made" ] && echo "$1" > "$JOURNAL.mounted"',
    "mountpoint": '[ -e "$JOURNAL.mounted" ]',
}
MDADM = """#!/bin/sh
echo "mdadm $*" >> "$JOURNAL"
touch "$2"
"""
NVME = {"scratch": "nvme", "instance_classes": ["m6id"]}


@dataclass(frozen=True)
class Booted:
    """A host after its user data was run.

    Attributes
    ----------
    code : int
        Exit code of the user data.
    calls : list of str
        Calls of programs, in order.
    err : str
        What it wrote to stderr.
    root : Path
        Root of its file system.
    """

    code: int
    calls: list[str]
    err: str
    root: Path

    @property
    def is_down(self) -> bool:
        return self.calls[-1] == "shutdown -h now"

    def called(self, program: str) -> list[str]:
        return [call for call in self.calls if call.split()[0] == program]


def user_data(template: dict[str, Any], part: str = "LaunchTemplate") -> str:
    """The shell script in the user data of a launch template."""
    (entry,) = (
        entry["Properties"]["LaunchTemplateData"]["UserData"]
        for name, entry in resources(template, "EC2::LaunchTemplate").items()
        if name.startswith(f"ComputeHosts{part}")
    )
    (script,) = (part for part in entry["Fn::Base64"]["Fn::Join"][1] if isinstance(part, dict))
    return str(script["Fn::Base64"])


@pytest.fixture
def boot(tmp_path: Path) -> Callable[..., Booted]:
    """Return a function that runs user data on a host with some NVMe disks."""

    def run(script: str, *, disks: int = 0, broken: str = "", has_mdadm: bool = False) -> Booted:
        root, programs, journal = (tmp_path / name for name in ("root", "bin", "journal"))
        for folder in FOLDERS[:3]:
            (root / folder.lstrip("/")).mkdir(parents=True)
        programs.mkdir()
        journal.touch()
        for name, body in PROGRAMS.items():
            text = f'#!/bin/sh\necho "{name} $*" >> "$JOURNAL"\n'
            text += "exit 1\n" if name in broken.split() else f"{body}\n"
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        if has_mdadm:
            (programs / "mdadm").write_text(MDADM)
            (programs / "mdadm").chmod(0o755)
        for number in range(disks):
            device = root / "dev" / f"nvme{number + 1}n1"
            device.touch()
            # Some versions of udev link a disk twice.
            for ending in ("", "-ns-1"):
                name = f"nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{number}{ending}"
                (root / "dev/disk/by-id" / name).symlink_to(device)
        for path in (*FOLDERS, "/dev/md0"):
            script = re.sub(rf"(?<![\w/]){path}\b", f"{root}{path}", script)
        done = subprocess.run(
            ["/bin/bash"],
            input=script,
            env={
                "PATH": os.pathsep.join([str(programs), "/usr/bin", "/bin"]),
                "BIN": str(programs),
                "JOURNAL": str(journal),
                "MDADM": MDADM,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Booted(done.returncode, journal.read_text().splitlines(), done.stderr, root)

    return run


def test_a_host_with_its_scratch_on_the_root_disk_starts(boot: Any, synth: Synth) -> None:
    host = boot(user_data(synth()))
    assert (host.code, host.calls, host.err) == (0, [], "")
    assert (host.root / "scratch").stat().st_mode & 0o7777 == 0o1777
    lines = (host.root / "etc/ecs/ecs.config").read_text().splitlines()
    assert "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached" in lines
    assert "/scratch 1777" in (host.root / "etc/tmpfiles.d/scratch.conf").read_text()


def test_one_nvme_disk_becomes_the_scratch(boot: Any, synth: Synth) -> None:
    host = boot(user_data(synth(**NVME)), disks=1)
    assert (host.code, host.err) == (0, "")
    assert host.called("mkfs.ext4")[0].endswith(f"{host.root}/dev/nvme1n1")
    assert host.called("mount") == [f"mount {host.root}/dev/nvme1n1 {host.root}/scratch"]
    assert not host.called("dnf")


@pytest.mark.parametrize("has_mdadm", [False, True])
@pytest.mark.parametrize("disks", [2, 4])
def test_several_nvme_disks_become_one_scratch(
    boot: Any, synth: Synth, disks: int, *, has_mdadm: bool
) -> None:
    host = boot(user_data(synth(**NVME)), disks=disks, has_mdadm=has_mdadm)
    assert (host.code, host.err) == (0, "")
    assert bool(host.called("dnf")) is not has_mdadm
    (joined,) = host.called("mdadm")
    devices = " ".join(f"{host.root}/dev/nvme{number + 1}n1" for number in range(disks))
    assert joined.endswith(f"--level=0 --raid-devices={disks} {devices}")
    assert host.called("mount") == [f"mount {host.root}/dev/md0 {host.root}/scratch"]
    assert (host.root / "scratch").stat().st_mode & 0o7777 == 0o1777


@pytest.mark.parametrize(
    ("disks", "broken", "said"),
    [
        (0, "", "it has no NVMe disk for /scratch"),
        (2, "dnf", "of the user data failed"),
        (1, "mkfs.ext4", "of the user data failed"),
        (2, "mkfs.ext4", "of the user data failed"),
        (1, "mount", "of the user data failed"),
        (1, "mountpoint", "of the user data failed"),
    ],
    ids=["no disk", "no mdadm", "no file system", "none on several", "mount", "not mounted"],
)
def test_a_host_that_cannot_have_its_scratch_shuts_down(
    boot: Any, synth: Synth, disks: int, broken: str, said: str
) -> None:
    host = boot(user_data(synth(**NVME)), disks=disks, broken=broken)
    assert host.code != 0
    assert host.is_down
    # The agent does not offer the host meanwhile.
    assert host.calls[-2] == "systemctl mask --runtime --now ecs.service"
    assert host.err.splitlines()[-1].startswith("cloudbuster: ")
    assert said.replace("/scratch", f"{host.root}/scratch") in host.err
    assert not (host.root / "etc/tmpfiles.d/scratch.conf").exists()


def test_a_download_that_fails_is_tried_five_times(boot: Any, synth: Synth) -> None:
    host = boot(user_data(synth(**NVME)), disks=2, broken="dnf")
    assert host.called("dnf") == 5 * ["dnf install -y -q mdadm"]
    assert host.called("sleep") == [f"sleep {seconds}" for seconds in (10, 20, 30, 40, 50)]


def test_gpu_hosts_run_the_same_user_data(synth: Synth) -> None:
    config = {**NVME, "torch_image": True, "gpu_queue": True}
    template = synth(**config)
    assert user_data(template, "GpuLaunchTemplate") == user_data(template)


def test_user_data_is_a_part_of_a_mime_message(synth: Synth) -> None:
    """Batch refuses anything else; it adds parts of its own."""
    (entry,) = resources(synth(), "EC2::LaunchTemplate").values()
    text = str(flat(entry["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]))
    message = email.message_from_string(text)
    assert message.get_content_type() == "multipart/mixed"


# Run the script ($1) as root of a file system whose only disk is a loop device, in a mount
# namespace that ends with this process. $2 is an empty folder, $3 one with stubs of programs.
NAMESPACE = """
set -eu
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$2/new" || exit 77
cd "$2/new"
mkdir -p etc/ecs etc/tmpfiles.d
mount --rbind /proc proc
mount -t tmpfs tmpfs dev
mkdir -p dev/disk/by-id
truncate -s 64M "$2/disk"
loop=$(losetup --find --show "$2/disk") || exit 77
trap 'umount scratch || true; umount dev/nvme1n1; losetup --detach "$loop"' EXIT
for device in null nvme1n1; do touch "dev/$device"; done
mount --bind /dev/null dev/null
mount --bind "$loop" dev/nvme1n1
ln -s /proc/self/fd dev/fd
ln -s ../../nvme1n1 dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1-ns-1
cp "$1" user-data
chroot . /usr/bin/env "PATH=$3:/usr/sbin:/usr/bin:/sbin:/bin" bash user-data
chroot . findmnt --noheadings --output SOURCE,FSTYPE /scratch
stat --format %a scratch
"""


def test_a_real_disk_is_formatted_and_mounted(synth: Synth, tmp_path: Path) -> None:
    """As root, where a loop device and a mount namespace can be had."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None or shutil.which("losetup") is None:
        pytest.skip("needs root, unshare and losetup")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("udevadm", "systemctl", "shutdown", "dnf"):
        (stubs / name).write_text("#!/bin/sh\nexit 0\n")
        (stubs / name).chmod(0o755)
    script = tmp_path / "user-data"
    script.write_text(user_data(synth(**NVME)))
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        [unshare, "--mount", "bash", "-c", NAMESPACE, "bash", script, tmp_path / "root", stubs],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77:
        pytest.skip(f"no overlay or no loop device here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    mounted, mode = done.stdout.splitlines()
    assert mounted.split()[1] == "ext4"
    assert mode == "1777"
