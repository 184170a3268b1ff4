"""A stand-in for ``docker`` when ``cdk deploy`` builds and pushes, without daemon and network.

COPY copies files, so that those which ``.dockerignore`` excludes are missing. RUN lines are only
recorded, except that an installation of the context copies its packages.
"""

import json
import re
import shlex
import shutil
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.e2e.aws.images import Image, Store

if TYPE_CHECKING:
    from collections.abc import Callable

INSTALL = re.compile(r"(?P<venv>/\S+)/bin/pip install .*\"\.(\[[^\]]*\])?\"")
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class Build:
    """One ``docker build``.

    Parameters
    ----------
    context : Path
        Folder of the build.
    store : Path
        Folder for the roots of the stages.
    arguments : dict of str to str
        Values of ``--build-arg``.
    """

    def __init__(self, context: Path, store: Path, arguments: dict[str, str]) -> None:
        self._context, self._store = context, store
        self._given = arguments
        self._values: dict[str, str] = {}
        self.stages: dict[str, Image] = {}
        self._now: Image | None = None
        self._steps: dict[str, Callable[[str], None]] = {
            "FROM": self._from,
            "ARG": self._arg,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "RUN": self._run,
            "ENTRYPOINT": self._entrypoint,
            "CMD": self._cmd,
            "USER": lambda _rest: None,
        }

    @property
    def _stage(self) -> Image:
        if self._now is None:
            sys.exit("docker: no FROM")
        return self._now

    def run(self, text: str, target: str) -> Image:
        """Run the instructions of a Dockerfile up to the stage ``target``."""
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
            step, _, rest = line.strip().partition(" ")
            if not step:
                continue
            if step not in self._steps:
                sys.exit(f"docker: no such instruction: {line}")
            if step == "FROM" and target in self.stages:
                break
            self._steps[step](rest.strip())
        if target not in self.stages:
            sys.exit(f"docker: target stage {target} could not be found")
        return self.stages[target]

    def _expand(self, text: str) -> str:
        known = {**self._values, **(self._now.env if self._now else {})}
        return VARIABLE.sub(lambda found: known.get(found[1] or found[2], ""), text)

    def _from(self, rest: str) -> None:
        base, _, name = self._expand(rest).partition(" AS ")
        root = self._store / uuid.uuid4().hex
        root.mkdir(parents=True)
        parent = self.stages.get(base)
        if parent is None:
            self._now = Image(str(root))
        else:
            shutil.copytree(parent.root, root, dirs_exist_ok=True)
            copied = json.loads(json.dumps(vars(parent)))
            self._now = Image(**{**copied, "root": str(root)})
        self.stages[name or str(len(self.stages))] = self._now

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self._values[name] = self._given.get(name, self._expand(default))

    def _env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self._stage.env[name] = self._expand(value)

    def _workdir(self, rest: str) -> None:
        self._stage.workdir = rest
        Path(self._stage.root, rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        words = shlex.split(rest)
        origin = self._context
        if words[0].startswith("--from="):
            other = self.stages[words.pop(0).removeprefix("--from=")]
            origin = Path(other.root)
            self._stage.installed += other.installed
        *sources, target = words
        here = Path(self._stage.root, *Path(self._stage.workdir, target).parts[1:])
        for source in sources:
            found = origin / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, here, dirs_exist_ok=True)
            elif found.is_file():
                here.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, here)
            else:
                sys.exit(f'docker: failed to compute cache key: "/{source}": not found')

    def _run(self, rest: str) -> None:
        self._stage.not_run.append(rest)
        install = INSTALL.search(rest)
        if install is None:
            return
        packages = f"{install['venv']}/lib/site-packages"
        sources = Path(self._stage.root, self._stage.workdir.lstrip("/"))
        for package in sources.glob("*/__init__.py"):
            target = Path(self._stage.root, packages.lstrip("/"), package.parent.name)
            shutil.copytree(package.parent, target, dirs_exist_ok=True)
        self._stage.installed.append(packages)

    def _entrypoint(self, rest: str) -> None:
        self._stage.entrypoint, self._stage.cmd = json.loads(rest), []

    def _cmd(self, rest: str) -> None:
        self._stage.cmd = json.loads(rest)


def _options(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Split a command line into options, each with a value, and the rest."""
    options: dict[str, list[str]] = {}
    rest = []
    words = iter(arguments)
    for word in words:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            options.setdefault(name, []).append(value or next(words))
        else:
            rest.append(word)
    return options, rest


def build(store: Store, folder: Path, arguments: list[str]) -> None:
    options, (context,) = _options(arguments)
    pairs = (pair.partition("=") for pair in options.get("--build-arg", []))
    made = Build(Path(context), folder / "roots", {name: value for name, _, value in pairs})
    text = Path(context, options.get("--file", ["Dockerfile"])[0]).read_text()
    image = made.run(text, options["--target"][0])
    store.put(options["--tag"][0], image)


def push(store: Store, tag: str) -> None:
    """Mark an image as pushed, and add it to the registry of the loopback."""
    store.put(tag, replace(_known(store, tag), pushed=True))
    registry, _, image = tag.partition("/")
    repository, _, version = image.rpartition(":")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": tag}, "layers": []}
    boto3.client("ecr").put_image(
        registryId=registry.split(".")[0],
        repositoryName=repository,
        imageTag=version,
        imageManifest=json.dumps(manifest),
    )


def main(folder: Path, arguments: list[str]) -> None:
    """Run one of the commands that ``cdk`` uses."""
    store = Store(folder)
    with (folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    command, *rest = arguments
    commands: dict[str, Callable[[], Any]] = {
        "build": lambda: build(store, folder, rest),
        "tag": lambda: store.put(rest[1], _known(store, rest[0])),
        "push": lambda: push(store, rest[-1]),
        "inspect": lambda: _known(store, rest[-1]),
        "login": sys.stdin.read,
    }
    if command not in commands:
        sys.exit(f"docker: {command} is not a docker command")
    commands[command]()


def _known(store: Store, tag: str) -> Image:
    image = store.get(tag)
    if image is None:
        sys.exit(f"docker: no such object: {tag}")
    return image


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
