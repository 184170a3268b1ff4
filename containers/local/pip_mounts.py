# noqa: INP001 -- a script, which no package holds
"""Let pip in a build use the package sources of this machine, without a trace in the image.

``pip config list | python pip_mounts.py FOLDER`` writes ``FOLDER/pip.conf`` and prints the options
of ``podman build``, one per line, that mount it and every file and folder that it names. Mounted
files are not part of the image.
"""

import ast
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Settings of package sources; other settings of the user are not used in a build.
KEPT = (
    "cert",
    "client-cert",
    "default-timeout",
    "extra-index-url",
    "find-links",
    "index-url",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
)
# Certificates that programs of a Debian base trust.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def configured(listed: str) -> dict[str, str]:
    """Read pip's configuration; the environment overrides files, as in pip."""
    pairs = [line.partition("=") for line in listed.splitlines()]
    ordered = sorted(pairs, key=lambda pair: pair[0].startswith(":env:"))
    found = {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, _, value in ordered}
    return {name: value for name, value in found.items() if name in KEPT}


class Mounts:
    """Mounted files and folders of this machine, under neutral names in the build."""

    def __init__(self) -> None:
        self._inside: dict[Path, str] = {}

    def placed(self, word: str) -> str:
        """Replace a path of this machine in a word of a setting by its path in the build."""
        if word.startswith("file://"):
            # Relative links of an index may lead to files beside it, so its folder is mounted.
            path = Path(unquote(urlsplit(word).path))
            return f"file://{self._mount(path.parent)}/{path.name}"
        path = Path(word)
        return self._mount(path) if path.is_absolute() and path.exists() else word

    def _mount(self, path: Path) -> str:
        return self._inside.setdefault(path.resolve(), f"/mnt/{len(self._inside)}")

    def options(self) -> list[str]:
        """Return the options of ``podman build``."""
        return [f"--volume={path}:{inside}:ro" for path, inside in self._inside.items()]


def main(folder: Path) -> None:
    """Write the configuration and print the options."""
    mounts = Mounts()
    settings = {
        name: " ".join(mounts.placed(word) for word in value.split())
        for name, value in configured(sys.stdin.read()).items()
    }
    lines = ["[global]", *(f"{name} = {value}" for name, value in sorted(settings.items()))]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    options = [f"--volume={folder / 'pip.conf'}:/etc/pip.conf:ro", *mounts.options()]
    if CERTIFICATES.is_file():
        options.append(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
    sys.stdout.write("\n".join(options) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
