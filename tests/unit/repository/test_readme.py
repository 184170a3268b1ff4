"""The README says what the commands do: each command and flag it names exists."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from cloudbuster.cli.main import cli
from cloudbuster.errors import ExitCode
from cloudbuster.models import MosaicRequest

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()


def options_of(command: click.Command) -> set[str]:
    return {text for parameter in command.params for text in parameter.opts}


@pytest.mark.parametrize(
    "name",
    [
        *("query", "filter", "gather", "merge", "run", "sample"),
        *("meta-gather", "meta-merge", "submit", "status", "logs", "results", "cancel"),
        *("rerun", "redrive", "doctor", "explain", "verify"),
    ],
)
def test_flags_in_the_table_exist(name: str) -> None:
    (row,) = (line for line in README.splitlines() if line.startswith(f"| `cloudbuster {name}`"))
    named = set(re.findall(r"--[a-z0-9-]+", row))
    assert named <= options_of(cli.commands[name])


def test_commands_in_the_examples_parse() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("cloudbuster ")]
    assert len(commands) >= 5
    for name, *arguments in commands:
        command = cli.commands[name]
        with command.make_context(name, list(arguments)) as context:
            assert context.params


def test_every_subcommand_is_mentioned() -> None:
    for name in cli.commands:
        assert f"`cloudbuster {name}`" in README


def test_the_table_of_exit_codes_is_complete() -> None:
    table = README.split("## Exit codes")[1].split("\n## ")[0]
    listed = {
        int(code)
        for row in re.findall(r"^\| ([0-9, ]+) \|", table, re.M)
        for code in row.split(",")
    }
    assert listed == {int(code) for code in ExitCode}


def test_every_extra_is_listed_under_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    install = README.split("## Install")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", install, re.M)
    assert sorted(listed) == sorted(project["optional-dependencies"])


def test_files_that_are_linked_exist() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(linked) > 5
    assert [path for path in linked if not (ROOT / path).exists()] == []


def test_requests_in_the_examples_are_valid() -> None:
    requests = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert requests
    for text in requests:
        assert MosaicRequest.model_validate_json(text).name
