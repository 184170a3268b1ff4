"""Settings of the loopback AWS."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from cloudbuster.storage.addresses.trust import ALLOW_FOLDERS_VARIABLE

ACCOUNT, REGION = "123456789012", "us-west-2"
# Access key of the command line, by which its calls are known.
COMMAND_LINE_KEY = "command-line"


@dataclass(frozen=True)
class Settings:
    """Settings that tests and server share.

    Attributes
    ----------
    port : int
        Port on the loopback.
    folder : str
        Folder for all files that are written.
    python : str
        Interpreter that replaces that of the image.
    slots : int
        Number of jobs that the hosts run at a time.
    wait_scale : float
        Real seconds for each second that a retry or a delayed message waits.
    stop_grace_s : float
        Seconds between SIGTERM and SIGKILL; on ECS these are 30.
    poll_s : float
        Seconds between the looks of a ``.sync`` state at its job.
    """

    port: int
    folder: str
    python: str
    slots: int = 2
    wait_scale: float = 0.02
    stop_grace_s: float = 2.0
    poll_s: float = 0.2

    @property
    def url(self) -> str:
        """Endpoint of every service; with a host name the CLI would put buckets before it."""
        return f"http://127.0.0.1:{self.port}"

    def path(self, *names: str) -> Path:
        """Make a folder below `folder` and return its path."""
        path = Path(self.folder, *names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.path("images")

    def environment(self) -> dict[str, str]:
        """Variables that direct a client of AWS here and keep it from everything else."""
        home = str(self.path("home"))
        return {
            "HOME": home,
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "loopback",
            "AWS_SECRET_ACCESS_KEY": "loopback",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            # Catalogs are folders of this machine, and not on a server.
            ALLOW_FOLDERS_VARIABLE: "/",
        }

    def to_json(self) -> str:
        """Serialize the settings to one line for the server."""
        return json.dumps(dataclasses.asdict(self))
