"""Images as `tests.e2e.aws.docker` leaves them: a folder for the root, and what the file says."""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


class ImageError(Exception):
    """An image cannot be pulled, or not be started; the text is what Batch and Lambda would say."""


@dataclass
class Image:
    """What a container is started from.

    Attributes
    ----------
    root : str
        Folder that holds what COPY has put there.
    env : dict of str to str
        ENV.
    workdir : str
        WORKDIR.
    entrypoint, cmd : list of str
        ENTRYPOINT, CMD.
    installed : list of str
        Folders inside the image that hold packages: what ``pip install`` did with the context.
    not_run : list of str
        RUN lines; nothing else of them happens.
    pushed : bool
        Whether it was pushed.
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
        """Where a path of the image lies on this machine; the path itself where it does not."""
        real = Path(self.root, path.lstrip("/"))
        return str(real) if path.startswith("/") and real.exists() else path

    def environment(self, mounts: dict[str, Path], extra: dict[str, str]) -> dict[str, str]:
        """Variables of a process: the image's, then ``extra``, with paths as they are here.

        Parameters
        ----------
        mounts : dict of str to Path
            Folders of this machine for those of the container that can be written.
        extra : dict of str to str
            Of the function or of the job.
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
    """Images by their tags, a file each; two builds at a time do not meet."""

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
            Where there is none.
        """
        image = self.get(uri)
        if image is None or not image.pushed:
            msg = f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {uri}"
            raise ImageError(msg)
        return image

    def _path(self, tag: str) -> Path:
        return self._folder / f"{quote(tag, safe='')}.json"
