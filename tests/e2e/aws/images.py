"""Images that `tests.e2e.aws.docker` has built: a root folder, and settings of the Dockerfile."""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


class ImageError(Exception):
    """An image cannot be pulled or started; the text is that of Batch and Lambda."""


@dataclass
class Image:
    """An image from which containers are started.

    Attributes
    ----------
    root : str
        Folder with the files of the image.
    env : dict of str to str
        Variables of ENV.
    workdir : str
        Folder of WORKDIR.
    entrypoint, cmd : list of str
        Words of ENTRYPOINT and CMD.
    installed : list of str
        Folders inside the image with the installed packages of the context.
    not_run : list of str
        RUN lines, which are recorded only.
    pushed : bool
        Whether the image was pushed.
    """

    root: str
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    pushed: bool = False

    def inside(self, path: str) -> str:
        """Path on this machine for a path of the image; the path itself if the image lacks it."""
        real = Path(self.root, path.lstrip("/"))
        return str(real) if path.startswith("/") and real.exists() else path

    def environment(self, mounts: dict[str, Path], extra: dict[str, str]) -> dict[str, str]:
        """Variables of a process: those of the image and ``extra``, with paths of this machine.

        Parameters
        ----------
        mounts : dict of str to Path
            Folders of this machine for the writable folders of the container.
        extra : dict of str to str
            Variables of the function or of the job.
        """
        variables = {key: value for key, value in {**self.env, **extra}.items() if key != "PATH"}
        paths = [self.inside(path) for path in variables.pop("PYTHONPATH", "").split(":") if path]
        paths += [self.inside(path) for path in self.installed]
        placed = {key: _placed(value, mounts) for key, value in variables.items()}
        return {**placed, "PYTHONPATH": os.pathsep.join(paths)}


def _placed(value: str, mounts: dict[str, Path]) -> str:
    for folder, here in mounts.items():
        if value == folder or value.startswith(f"{folder}/"):
            return str(here) + value.removeprefix(folder)
    return value


class Store:
    """Images by their tags, one file each, so that two builds do not collide."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, tag: str, image: Image) -> None:
        path = self._path(tag)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(dataclasses.asdict(image)))
        partial.replace(path)

    def get(self, tag: str) -> Image | None:
        path = self._path(tag)
        return Image(**json.loads(path.read_text())) if path.is_file() else None

    def pull(self, uri: str) -> Image:
        """Find a pushed image.

        Raises
        ------
        ImageError
            If there is none.
        """
        image = self.get(uri)
        if image is None or not image.pushed:
            msg = f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {uri}"
            raise ImageError(msg)
        return image

    def _path(self, tag: str) -> Path:
        return self._folder / f"{quote(tag, safe='')}.json"
