"""Help: a sentence, examples, options by stage, those for experts last; and completion."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cloudbuster.cli.main import cli, filter_py, meta_gather_py, meta_merge_py, query_rf
from tests.command_line import exit_code
from tests.unit.cli.conftest import Call

NAMES = list(cli.commands)
ALIASES = {
    query_rf: "--refresh-token",
    filter_py: "--max-selections",
    meta_gather_py: "--donor-mask-name",
    meta_merge_py: "--merge",
}


def headings(text: str) -> list[str]:
    return re.findall(r"^(\S.*):$", text, re.MULTILINE)


def test_the_commands_are_listed_by_what_they_are_for(call: Call) -> None:
    text = call("--help").out
    assert headings(text) == [
        *(
            "Examples",
            "Make a mosaic",
            "Stage by stage",
            "Look into a mosaic",
            "On AWS",
            "More",
            "Logging and help",
        )
    ]
    listed = re.findall(r"^  ([a-z][a-z-]+)  +\S", text, re.MULTILINE)
    assert sorted(listed) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_begins_with_a_sentence_and_examples(call: Call, name: str) -> None:
    text = call(name, "--help").out
    assert re.match(rf"Usage: .+ {name} .*\n\n  [A-Z][^\n]+", text)
    assert headings(text)[0] == "Examples"
    assert f"$ cloudbuster {name}" in text
    assert headings(text)[-1] == "Logging and help"


def test_options_are_grouped_by_stage_with_those_for_experts_last(call: Call) -> None:
    assert headings(call("run", "--help").out) == [
        *("Examples", "Options", "Query", "Filter", "Gather", "Clouds", "Merge"),
        *("Expert options", "Logging and help"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_help_has_no_magic_date(call: Call, name: str) -> None:
    assert not re.search(r"default: \d{4}-|1307|2038", call(name, "--help").out)


def test_every_option_has_a_help_text() -> None:
    for name, command in cli.commands.items():
        for option in command.params:
            assert isinstance(option, click.Argument) or getattr(option, "help", None), name


def test_examples_in_the_help_parse() -> None:
    for command in (cli, *cli.commands.values()):
        examples = (command.help or "").replace("\\\n", " ")
        lines = re.findall(r"\$ cloudbuster ([^>\n]+)", examples)
        assert lines
        for line in lines:
            name, *words = line.split()
            with cli.commands[name].make_context(name, words):
                pass


@pytest.mark.parametrize("alias", ALIASES)
def test_the_originals_command_names_are_aliases(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, alias: object
) -> None:
    assert callable(alias)
    monkeypatch.setattr(sys, "argv", ["alias", "--help"])
    assert exit_code(alias) == 0
    assert ALIASES[alias] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o nosort -F _cloudbuster_completion cloudbuster"),
        ("zsh", "#compdef cloudbuster"),
        ("fish", "complete --no-files --command cloudbuster"),
    ],
)
def test_completion_prints_what_the_shell_reads(call: Call, shell: str, words: str) -> None:
    ended = call("completion", shell)
    assert (ended.code, words in ended.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cloudbuster sta", "status"),
        ("cloudbuster run --max-u", "--max-uncovered"),
        ("cloudbuster run --force request.json --kind ", "L1C"),
        ("cloudbuster run --bands B04 B03 --log-l", "--log-level"),
        ("cloudbuster run --force=maybe --kind ", "L2A"),
    ],
)
def test_the_shell_completes_commands_options_and_values(words: str, expected: str) -> None:
    program = Path(sys.executable).with_name("cloudbuster")
    typed = words.split(" ")
    environment = {
        **os.environ,
        "_CLOUDBUSTER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(typed) - 1),
    }
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=False
    )
    assert expected in [line.partition(",")[2] for line in done.stdout.splitlines()], done.stderr


def test_python_m_cloudbuster_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cloudbuster", "run"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("UsageError: Give a request file")
