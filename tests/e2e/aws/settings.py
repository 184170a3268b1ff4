"""What the loopback AWS is started with."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

ACCOUNT, REGION = "123456789012", "us-west-2"


@dataclass(frozen=True)
class Settings:
    """All of it, so that tests and server read the same.

    Attributes
    ----------
    port : int
        Of the loopback.
    folder : str
        Everything that is written lies below it.
    python : str
        Interpreter that stands for the image's.
    slots : int
        Jobs that run at a time: what the hosts have room for.
    wait_scale : float
        Seconds that pass for each second that a retry or a delayed message is to wait.
    stop_grace_s : float
        Between SIGTERM and SIGKILL; ECS grants 30.
    poll_s : float
        How often a ``.sync`` state asks for its job.
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
        """Endpoint of every service. By number: the CLI would take a name for a bucket's host."""
        return f"http://127.0.0.1:{self.port}"

    def path(self, *names: str) -> Path:
        """Make and name a folder below `folder`."""
        path = Path(self.folder, *names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def images(self) -> Path:
        """What was built and pushed."""
        return self.path("images")

    def environment(self) -> dict[str, str]:
        """What leads a client of AWS here, and keeps it from everything else."""
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
        }

    def to_json(self) -> str:
        """One line, as the server takes it."""
        return json.dumps(dataclasses.asdict(self))
