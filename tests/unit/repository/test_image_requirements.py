"""The images install what constraints.txt pins, each file with its hash."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
FILES = ("requirements.txt", "requirements-torch.txt")
# Lambda's runtime client with its own requirements, and the builder of the package.
IMAGES_ONLY = {"awslambdaric", "simplejson", "snapshot-restore-py", "setuptools"}
ENTRY = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+)(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)")


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def read(name: str) -> dict[str, str]:
    """Return the versions in a file of requirements: each line is a pin with its hashes."""
    text = (ROOT / "containers" / name).read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found: dict[str, str] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", body).splitlines():
        entry = ENTRY.fullmatch(line)
        assert entry is not None, line
        found[canonicalize_name(entry["name"])] = entry["version"]
    return found


def needed(names: set[str]) -> set[str]:
    """Return distributions and all that they need here, by what is installed."""
    found: set[tuple[str, str]] = set()
    waiting = {(name, "") for name in names}
    while waiting:
        name, extra = waiting.pop()
        found.add((name, extra))
        for text in metadata.requires(name) or ():
            each = Requirement(text)
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                key = canonicalize_name(each.name)
                waiting |= {(key, more) for more in ("", *each.extras)} - found
    return {name for name, _ in found}


@pytest.mark.parametrize("name", FILES)
def test_requirements_of_images_have_the_versions_of_constraints(name: str) -> None:
    pinned, found = constraints(), read(name)
    assert found
    known = {each: version for each, version in found.items() if each not in IMAGES_ONLY}
    assert known == {each: pinned.get(each) for each in known}


@pytest.mark.parametrize("name", FILES)
def test_requirements_of_images_hold_no_address(name: str) -> None:
    assert "://" not in (ROOT / "containers" / name).read_text()


def test_requirements_of_images_hold_all_that_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["s2cloudless"], *extras["aws"]]
    direct: set[str] = {canonicalize_name(Requirement(text).name) for text in texts}
    assert needed(direct) | IMAGES_ONLY <= set(read("requirements.txt"))


def test_requirements_of_the_image_with_torch_hold_all_that_torch_needs() -> None:
    pytest.importorskip("torch")
    # A wheel for a GPU needs the packages of CUDA, which other indexes have.
    others = {name for name in needed({"torch"}) if re.match("nvidia|cuda|triton", name)}
    found = set(read("requirements.txt")) | set(read("requirements-torch.txt"))
    assert needed({"torch"}) - others - {"torch"} <= found


def test_the_image_installs_nothing_without_a_hash_but_the_package_and_torch() -> None:
    text = (ROOT / "containers" / "Dockerfile").read_text().replace("\\\n", " ")
    commands = re.findall(r"bin/pip (?:--python \S+ )?install ([^&\n]*)", text)
    free = [each.split() for each in commands if "--require-hashes" not in each.split()]
    assert len(commands) == len(free) + len(FILES)
    package, torch = free
    assert {"--no-index", "--no-deps", "--no-build-isolation"} < set(package)
    assert torch[-1] == "torch.txt"
