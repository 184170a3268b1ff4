"""What commands write beside their result: messages, the last line, and all of it as JSON."""

import io
import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from cloudbuster import query as query_stage
from cloudbuster.cli.progress import progress
from cloudbuster.errors import ExitCode
from cloudbuster.events import Event
from tests.unit.cli.conftest import Call

WRONG = [
    pytest.param([], ExitCode.USAGE, "UsageError", id="no command"),
    pytest.param(["bogus"], ExitCode.USAGE, "UsageError", id="unknown command"),
    pytest.param(["run", "--bogus"], ExitCode.USAGE, "UsageError", id="unknown option"),
    pytest.param(["run", "--gsd"], ExitCode.USAGE, "UsageError", id="no value"),
    pytest.param(["run", "--gsd", "x"], ExitCode.USAGE, "UsageError", id="no number"),
    pytest.param(["run", "--force=x"], ExitCode.USAGE, "UsageError", id="no truth value"),
    pytest.param(["run", "a", "b"], ExitCode.USAGE, "UsageError", id="two files"),
    pytest.param(["run"], ExitCode.USAGE, "UsageError", id="no request"),
    pytest.param(["filter"], ExitCode.USAGE, "UsageError", id="missing option"),
    pytest.param(["gather", "--name", "m"], ExitCode.USAGE, "UsageError", id="no task"),
    pytest.param(["completion", "sh"], ExitCode.USAGE, "UsageError", id="unknown shell"),
    pytest.param(["run", "none.json"], ExitCode.BAD_INPUT, "RequestError", id="no file"),
    pytest.param(["schema", "X"], ExitCode.BAD_INPUT, "RequestError", id="unknown document"),
    pytest.param(
        ["gather", "--task", "t", "--tmp", "/no/such"],
        ExitCode.BAD_INPUT,
        "OutputError",
        id="no tmp",
    ),
]


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON object in each line; fails where one holds something else."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(each, dict) for each in found)
    return found


@pytest.mark.parametrize(("words", "code", "name"), WRONG)
def test_the_last_line_names_the_error(call: Call, words: list[str], code: int, name: str) -> None:
    ended = call(*words)
    assert (ended.code, ended.out) == (code, "")
    assert ended.last_line.startswith(f"{name}: ")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("place", ["before", "after", "variable"])
@pytest.mark.parametrize(("words", "code", "name"), WRONG)
def test_with_log_json_an_error_is_one_object(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    name: str,
    place: str,
) -> None:
    if place == "variable":
        monkeypatch.setenv("CLOUDBUSTER_LOG_JSON", "1")
    ended = call(*["--log-json"][: place == "before"], *words, *["--log-json"][: place == "after"])
    # Where a value is missing, the option after it is that value.
    if (words, place) == (["run", "--gsd"], "after"):
        return
    (error,) = objects(ended.err)
    assert ended.code == code
    assert (error["level"], error["event"], error["error"]) == ("error", "failed", name)
    assert (error["exit_code"], bool(error["reason"])) == (code, True)


@pytest.mark.parametrize(
    "words",
    [
        ["--log-level", "error", "catalogs"],
        ["catalogs", "--log-level", "ERROR"],
        ["--log-level", "debug", "catalogs", "--log-level=error"],
    ],
)
def test_log_level_works_before_and_after_the_command(call: Call, words: list[str]) -> None:
    assert call(*words).code == 0
    assert logging.getLogger("cloudbuster").level == logging.ERROR


def test_an_unknown_log_level_is_a_malformed_command_line(call: Call) -> None:
    for words in (["--log-level", "loud", "catalogs"], ["catalogs", "--log-level", "loud"]):
        ended = call(*words)
        assert ended.code == ExitCode.USAGE
        assert "'loud' is not one of" in ended.last_line


def test_log_json_can_be_switched_off(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDBUSTER_LOG_JSON", "1")
    for words in (["--no-log-json"], ["--log-json", "False"], ["--log-json=no"]):
        assert call("run", *words).last_line.startswith("UsageError: ")


def test_with_log_json_warnings_and_other_packages_write_objects(
    call: Call, area: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(*_arguments: object, **_named: object) -> None:
        warnings.warn("look out", UserWarning, stacklevel=1)
        # As packages do that no one listens to; pytest listens to the root logger.
        record = logging.makeLogRecord({"msg": "from afar", "levelname": "WARNING", "levelno": 30})
        assert logging.lastResort is not None
        logging.lastResort.handle(record)
        raise KeyboardInterrupt

    monkeypatch.setattr(query_stage, "query_scenes", search)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        ended = call("query", "--geojson", area, "--log-json")
    found = objects(ended.err)
    assert ended.code == ExitCode.INTERRUPTED
    assert "look out" in found[0]["event"]
    assert found[1]["event"] == "from afar"
    assert found[-1]["error"] == "Interrupted"


def test_with_log_json_a_bug_is_an_object_with_its_traceback() -> None:
    code = (
        "import click.shell_completion\n"
        "click.shell_completion.get_completion_class = None\n"
        "from cloudbuster.cli.main import main\n"
        "main(['completion', 'bash', '--log-json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    (bug,) = objects(done.stderr)
    assert done.returncode == bug["exit_code"] == ExitCode.BUG
    assert (bug["level"], bug["error"]) == ("critical", "TypeError")
    assert "Traceback" in bug["exception"]


def test_notes_are_objects_with_log_json(call: Call) -> None:
    merge = ["meta-merge", "--jobqueue", "q", "--jobdef", "d", "--name", "m", "--merge", "x.py"]
    places = ["--input-path", "s3://b/in", "--output-path", "s3://b/out", "--dryrun"]
    assert call(*merge, *places).err == (
        "meta-merge: --merge x.py is not executed: the image carries the code\n"
    )
    (note,) = objects(call(*merge, *places, "--log-json").err)
    assert (note["event"], note["level"]) == ("note", "info")
    assert "--merge x.py is not executed" in note["text"]


def test_a_reader_of_the_result_that_has_gone_is_no_error() -> None:
    program = Path(sys.executable).with_name("cloudbuster")
    done = subprocess.Popen(
        [sys.executable, program, "completion", "bash"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert done.stdout is not None
    done.stdout.close()
    assert (done.wait(timeout=60), done.communicate()[1]) == (0, b"")


EVENTS = [
    Event("query", 7, 0, "scenes received"),
    Event("query", 9, 9, "9 candidates"),
    Event("gather", 0, 4, "0 scenes were gathered before"),
    Event("gather", 1.5, 4, "scene-a"),
    Event("gather", 2.75, 4),
]


def test_away_from_a_terminal_each_stage_is_one_line(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    call("catalogs")
    with progress() as on_event:
        for event in EVENTS:
            on_event(event)
    assert capsys.readouterr().err == "query 9/9 9 candidates\ngather 2/4 scene-a\n"


def test_with_log_json_each_stage_is_one_object(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    call("catalogs", "--log-json", "--log-level", "error")
    with progress() as on_event:
        for event in EVENTS:
            on_event(event)
    query, gather = objects(capsys.readouterr().err)
    assert (query["event"], query["stage"], query["done"], query["total"]) == (
        *("progress", "query", 9, 9),
    )
    assert (gather["stage"], gather["done"], gather["total"], gather["text"]) == (
        *("gather", 2, 4, "scene-a"),
    )


class Terminal(io.StringIO):
    """Stderr of a person."""

    def isatty(self) -> bool:
        return True


def frames_of(monkeypatch: pytest.MonkeyPatch, events: list[Event]) -> list[str]:
    """What is drawn on a terminal, of each event in its turn."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    frames = []
    with progress() as on_event:
        for event in events:
            on_event(event)
            frames.append(terminal.getvalue().split("\r")[-1].rstrip())
    return frames


def test_a_bar_moves_within_a_scene_and_says_how_long_is_left(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("catalogs")
    frames = frames_of(monkeypatch, EVENTS)
    assert "%" not in frames[0]
    assert frames[0].endswith("7 scenes received]")
    assert "100%" in frames[1]
    assert frames[2].startswith("gather     0%")
    assert "  38%" in frames[3]
    assert frames[3].endswith("1/4 scene-a]")
    assert "  69%" in frames[4]
    assert frames[4].endswith("2/4 scene-a]")
    assert "<?" not in frames[4]


def test_scenes_that_were_gathered_before_do_not_shorten_the_time_left(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("catalogs")
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(clock)))
    events = [Event("gather", 90, 100, "90 scenes were gathered before"), Event("gather", 91, 100)]
    frame = frames_of(monkeypatch, events)[-1]
    elapsed, left = frame.split("[")[1].split(",")[0].split("<")
    minutes, seconds = map(int, left.split(":"))
    passed = 60 * int(elapsed.split(":")[0]) + int(elapsed.split(":")[1])
    # One of ten scenes has taken so long: nine more take nine times as long.
    assert 60 * minutes + seconds == 9 * passed
