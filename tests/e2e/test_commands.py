"""The command line against the deployed stack, each command a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud import DeployedStack, until
from tests.e2e.conftest import STACK
from tests.e2e.worlds import World

pytestmark = pytest.mark.e2e

PROGRAM = Path(sys.executable).with_name("cloudbuster")
PRODUCTS = ("cloudless", "cloudy", "quality")
# Of three scenes no place is seen four times.
NOT_COVERED: dict[str, Any] = {"filter": {"coverage_count": 4, "backstop": False}}
OVER_BUDGET: dict[str, Any] = {"limits": {"budget_usd": 0.001}}


def start(stack: DeployedStack, *words: object) -> subprocess.Popen[str]:
    """Start a command as a person does who has the stack's credentials."""
    return subprocess.Popen(
        [PROGRAM, *map(str, words)],
        env={**os.environ, **stack.cloud.settings.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = command.communicate(timeout=240)
    return command.returncode, out, err


def done(stack: DeployedStack, *words: object) -> str:
    """Stdout of a command that must succeed."""
    code, out, err = ended(start(stack, *words))
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def submitted(
    stack: DeployedStack, world: World, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str, str]]:
    """Three requests, submitted at a time and waited for: exit code, stdout and stderr of each."""
    folder = tmp_path_factory.mktemp("requests")
    requests: dict[str, dict[str, Any]] = {
        "covered": {},
        "open": NOT_COVERED,
        "costly": OVER_BUDGET,
    }
    commands = {}
    for name, changes in requests.items():
        request = folder / f"{name}.json"
        request.write_text(json.dumps(world.in_s3(name=name, **changes)))
        commands[name] = start(stack, "submit", request, "--wait", "--stack", STACK)
    return {name: ended(command) for name, command in commands.items()}


def test_submit_waits_and_exits_as_the_run_does(stack, submitted) -> None:
    code, out, err = submitted["covered"]
    assert code == 0, err
    outcome = json.loads(out)
    assert (outcome["state"], outcome["exit_code"], outcome["covered"]) == ("succeeded", 0, True)
    assert outcome["run_id"].startswith("covered-")
    assert outcome["scenes"] == {"selected": 3, "gathered": 3, "failed": 0}
    assert stack.get(outcome["products"]["cloudless"])


def test_submit_of_an_area_that_stays_open_prints_its_mosaic_and_exits_4(stack, submitted) -> None:
    code, out, err = submitted["open"]
    outcome = json.loads(out)
    assert (code, outcome["state"], outcome["covered"]) == (4, "succeeded", False)
    assert stack.get(outcome["products"]["cloudless"])
    last = err.splitlines()[-1]
    assert last.startswith("NotCoveredError: open-")
    assert "assessment.json" in last


def test_submit_over_its_budget_exits_6_and_says_what_to_raise(submitted) -> None:
    code, out, err = submitted["costly"]
    outcome = json.loads(out)
    assert (code, outcome["state"], outcome["error"]) == (6, "failed", "OverBudgetError")
    last = err.splitlines()[-1]
    assert last.startswith("OverBudgetError: costly-")
    assert "raise limits.budget_usd" in last


def test_status_tells_of_runs_that_were_submitted(stack, submitted) -> None:
    outcome = json.loads(submitted["covered"][1])
    told = json.loads(done(stack, "status", outcome["run_id"], "--stack", STACK))
    assert (told["state"], told["run_id"]) == ("succeeded", outcome["run_id"])
    assert told["status"]["state"] == "succeeded"
    assert told["status"]["execution"] == outcome["execution"]
    assert told["status"]["products"] == outcome["products"]
    failed = json.loads(submitted["costly"][1])["execution"]
    told = json.loads(done(stack, "status", failed, "--stack", STACK))
    assert (told["state"], told["exit_code"], told["error"]) == ("failed", 6, "OverBudgetError")
    assert (told["status"]["state"], told["status"]["exit_code"]) == ("failed", 6)


def test_status_agrees_with_what_is_written_of_a_run_that_was_stopped(
    stack, world, tmp_path
) -> None:
    held = tmp_path / "held"
    held.touch()
    place = stack.cloud.journal.place()
    stack.cloud.faults.add("attempt", times=2, match={"job": "*-gather-*"}, held_by=str(held))
    request = tmp_path / "halted.json"
    request.write_text(json.dumps(world.in_s3(name="halted")))
    run = json.loads(done(stack, "submit", request))["run_id"]
    until(lambda: len(stack.cloud.journal.entries("started", since=place)) == 2)
    assert json.loads(done(stack, "status", run))["status"]["stage"] == "gather"
    stack.states.stop_execution(executionArn=stack.execution(run), cause="wrong area")

    def written() -> dict[str, Any] | None:
        told: dict[str, Any] = json.loads(done(stack, "status", run))
        return None if told["status"]["state"] == "running" else told

    told = until(written)
    assert (told["state"], told["error"], told["exit_code"]) == ("aborted", "Aborted", 143)
    status = told["status"]
    assert (status["state"], status["stage"], status["exit_code"]) == ("failed", "gather", 143)
    assert status["error"] == f"Aborted: {told['cause']}"
    assert "wrong area" in told["cause"]
    # Submitted again, it is another attempt.
    held.unlink()
    again = json.loads(done(stack, "submit", request))
    assert again["execution"] == stack.execution(f"{run}-a2")
    stack.states.stop_execution(executionArn=again["execution"])
    assert stack.end(again["execution"]).status == "ABORTED"


def test_logs_are_those_of_the_jobs(stack, submitted) -> None:
    run = json.loads(submitted["covered"][1])["run_id"]
    scene = done(stack, "logs", run, "--scene", "1", "--stack", STACK)
    assert "covered-01.tif" in scene
    assert '"event":"scene_gathered"' in scene
    merge = done(stack, "logs", run, "--stack", STACK)
    assert "covered-cloudless.tif" in merge
    code, _, err = ended(start(stack, "logs", run, "--scene", "9"))
    assert code == 5
    assert f"{run}-gather-9" in err.splitlines()[-1]


def test_doctor_finds_the_deployed_stack_as_it_should_be(stack) -> None:
    lines = done(stack, "doctor", "--stack", STACK).splitlines()
    assert [line for line in lines if not line.startswith("[x] ")] == []
    told = "\n".join(lines)
    for kind in (
        "stack ",
        "state machine",
        "queue ",
        "hosts ",
        "job definition ",
        "image ",
        "region",
    ):
        assert f"[x] {kind}" in told, kind


def test_doctor_of_a_stack_that_is_not_there_exits_5(stack) -> None:
    code, out, err = ended(start(stack, "doctor", "--stack", "Nowhere"))
    assert (code, out) == (5, "")
    assert "Nowhere" in err.splitlines()[-1]


def selection_of(stack: DeployedStack, world: World, folder: Path) -> Path:
    """What ``query`` and ``filter`` make of a world's request."""
    request = world.in_s3()
    query = request["query"]
    area, response, selection = (folder / name for name in ("aoi.json", "response.json", "s.json"))
    area.write_text(json.dumps(request["aoi"]))
    done(
        stack,
        *("query", "--geojson", area, "--catalog", query["catalog"], "--response", response),
        *("--mindate", query["mindate"][0], "--maxdate", query["maxdate"][0]),
        *("--maxclouds", "100", "--asset-mirror", query["asset_mirror"][0]),
    )
    done(stack, "filter", "--input", response, "--output", selection, "--backstop", "False")
    return selection


def wait_for_jobs(stack: DeployedStack, ids: list[str]) -> list[str]:
    """States of jobs that have ended."""
    batch = stack.cloud.client("batch")

    def states() -> list[str] | None:
        found = [job["status"] for job in batch.describe_jobs(jobs=ids)["jobs"]]
        return found if set(found) <= {"SUCCEEDED", "FAILED"} else None

    return until(states)


def test_jobs_submitted_by_hand_make_the_mosaic_that_gather_and_merge_make(
    stack, world, tmp_path
) -> None:
    selection = selection_of(stack, world, tmp_path)
    root = f"s3://{stack.bucket}/scratch/by-hand"
    bands = ("--bands", ",".join(world.request["gather"]["bands"]))
    outputs = stack.outputs
    gather = (
        *("meta-gather", "--jobqueue", outputs["QueueArn"], "--jobdef", outputs["GatherJobArn"]),
        *("--response", selection, "--name", "hand", "--output-path", f"{root}/scenes", *bands),
    )
    merge = (
        *("meta-merge", "--jobqueue", outputs["QueueArn"], "--jobdef", outputs["MergeJobArn"]),
        *("--name", "hand", "--input-path", f"{root}/scenes", "--output-path", f"{root}/out"),
    )
    place = stack.cloud.journal.place()
    planned = [
        *json.loads(done(stack, *gather, "--dryrun")),
        *json.loads(done(stack, *merge, "--dryrun")),
    ]
    assert [job["jobName"] for job in planned] == [
        *(f"hand-gather-{number:02d}" for number in (1, 2, 3)),
        "hand-merge",
    ]
    assert stack.keys("scratch/by-hand/") == []
    assert not stack.cloud.journal.entries("started", since=place)
    assert wait_for_jobs(stack, json.loads(done(stack, *gather))) == 3 * ["SUCCEEDED"]
    assert wait_for_jobs(stack, json.loads(done(stack, *merge))) == ["SUCCEEDED"]

    here = tmp_path / "here"
    scenes = ("--response", selection, "--name", "hand", "--output-path", here / "scenes", *bands)
    done(stack, "gather", *scenes)
    done(stack, "merge", "--name", "hand", "--input-path", here / "scenes", "--output-path", here)
    for product in PRODUCTS:
        name = f"hand-{product}.tif"
        assert stack.get(f"{root}/out/{name}") == (here / name).read_bytes(), product
