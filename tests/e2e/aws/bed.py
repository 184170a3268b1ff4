"""Shared by functions and jobs: images, journal, faults, and the start of child processes."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.aws.images import Image, Store
from tests.e2e.aws.journal import Faults, Journal
from tests.e2e.aws.settings import Settings


class Bed:
    """The inside of the loopback AWS.

    Attributes
    ----------
    settings : Settings
        Settings of the server.
    journal : Journal
        Record of what happened.
    faults : Faults
        Failures that tests have ordered.
    images : Store
        Images that were built.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.journal = Journal(Path(settings.folder))
        self.faults = Faults(settings.path("faults"))
        self.images = Store(settings.images)
        self._children: list[subprocess.Popen[bytes]] = []

    def environment(
        self, image: Image, mounts: dict[str, Path], extra: dict[str, str]
    ) -> dict[str, str]:
        """Variables of a child: the endpoints of this AWS, the image's, and its own."""
        folder = Path(self.settings.python).parent
        own = image.environment(mounts, extra)
        search = os.pathsep.join([str(folder), "/usr/bin", "/bin"])
        return {**self.settings.environment(), **own, "PATH": search}

    def start(self, words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own; its output is its log."""
        child = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        self._children = [known for known in self._children if known.poll() is None] + [child]
        return child

    def end(self) -> None:
        """Kill the children that are still running."""
        for child in self._children:
            if child.poll() is None:
                kill_group(child)

    def stop(self, child: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM, and SIGKILL if the child does not end, as ECS does to a container."""

        def kill() -> None:
            try:
                child.wait(self.settings.stop_grace_s)
            except subprocess.TimeoutExpired:
                kill_group(child)

        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
            threading.Thread(target=kill, daemon=True).start()


def kill_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def put_logs(backend: Any, group: str, stream: str, content: bytes) -> None:
    """Write the output of a child to CloudWatch Logs."""
    lines = [line for line in content.decode(errors="replace").splitlines() if line]
    if not lines:
        return
    backend.ensure_log_group(group)
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": line} for line in lines]
    backend.put_log_events(group, stream, events)
