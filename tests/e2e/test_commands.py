"""The command line against the deployed stack."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud import DeployedStack, until
from tests.e2e.commands import output_of, result_of, start
from tests.e2e.conftest import CONFIG, STACK
from tests.e2e.worlds import World

pytestmark = pytest.mark.e2e

PRODUCTS = ("cloudless", "cloudy", "quality")
# One scene of three shows a third of the area clear.
NOT_COVERED: dict[str, Any] = {
    "filter": {"strategy": "original", "max_selections": 1, "backstop": False}
}
OVER_BUDGET: dict[str, Any] = {"limits": {"budget_usd": 0.001}}


@pytest.fixture(scope="module")
def submitted(
    stack: DeployedStack, world: World, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str, str]]:
    """Exit code, stdout and stderr of three requests that are submitted at the same time."""
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
    return {name: result_of(command) for name, command in commands.items()}


def test_submit_waits_and_exits_as_the_run_does(stack, submitted) -> None:
    code, out, err = submitted["covered"]
    assert code == 0, err
    outcome = json.loads(out)
    assert (outcome["state"], outcome["exit_code"], outcome["covered"]) == ("succeeded", 0, True)
    assert outcome["run_id"].startswith("covered-")
    assert outcome["scenes"] == {"selected": 3, "gathered": 3, "failed": 0}
    assert stack.get(outcome["products"]["cloudless"])


def test_submit_of_an_area_that_stays_uncovered_prints_its_mosaic_and_exits_4(
    stack, submitted
) -> None:
    code, out, err = submitted["open"]
    outcome = json.loads(out)
    assert (code, outcome["state"], outcome["covered"]) == (4, "succeeded", False)
    assert stack.get(outcome["products"]["cloudless"])
    last = err.splitlines()[-1]
    assert last.startswith("NotCoveredError: open-")
    assert "assessment.json" in last


def test_submit_over_its_budget_exits_6_and_names_what_to_raise(submitted) -> None:
    code, out, err = submitted["costly"]
    outcome = json.loads(out)
    assert (code, outcome["state"], outcome["error"]) == (6, "failed", "OverBudgetError")
    last = err.splitlines()[-1]
    assert last.startswith("OverBudgetError: costly-")
    assert "raise limits.budget_usd" in last


def test_status_describes_submitted_runs(stack, submitted) -> None:
    outcome = json.loads(submitted["covered"][1])
    found = json.loads(output_of(stack, "status", outcome["run_id"], "--stack", STACK))
    assert (found["state"], found["run_id"]) == ("succeeded", outcome["run_id"])
    assert found["status"]["state"] == "succeeded"
    assert found["status"]["execution"] == outcome["execution"]
    assert found["status"]["products"] == outcome["products"]
    failed = json.loads(submitted["costly"][1])["execution"]
    found = json.loads(output_of(stack, "status", failed, "--stack", STACK))
    assert (found["state"], found["exit_code"], found["error"]) == ("failed", 6, "OverBudgetError")
    assert (found["status"]["state"], found["status"]["exit_code"]) == ("failed", 6)


def test_status_agrees_with_the_document_of_a_stopped_run(stack, world, tmp_path) -> None:
    held = tmp_path / "held"
    held.touch()
    place = stack.cloud.journal.place()
    stack.cloud.faults.add("attempt", times=2, match={"job": "*-gather-*"}, held_by=str(held))
    request = tmp_path / "halted.json"
    request.write_text(json.dumps(world.in_s3(name="halted")))
    run = json.loads(output_of(stack, "submit", request))["run_id"]
    until(lambda: len(stack.cloud.journal.entries("started", since=place)) == 2)
    assert json.loads(output_of(stack, "status", run))["status"]["stage"] == "gather"
    stack.states.stop_execution(executionArn=stack.execution(run), cause="wrong area")

    def written() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(output_of(stack, "status", run))
        return None if found["status"]["state"] == "running" else found

    found = until(written)
    assert (found["state"], found["error"], found["exit_code"]) == ("aborted", "Aborted", 143)
    status = found["status"]
    assert (status["state"], status["stage"], status["exit_code"]) == ("failed", "gather", 143)
    assert status["error"] == f"Aborted: {found['cause']}"
    assert "wrong area" in found["cause"]
    # Another submission is another attempt.
    held.unlink()
    again = json.loads(output_of(stack, "submit", request))
    assert again["execution"] == stack.execution(f"{run}-a2")
    stack.states.stop_execution(executionArn=again["execution"])
    assert stack.end(again["execution"]).status == "ABORTED"


def test_logs_are_those_of_the_jobs(stack, submitted) -> None:
    run = json.loads(submitted["covered"][1])["run_id"]
    scene = output_of(stack, "logs", run, "--scene", "1", "--stack", STACK)
    assert "covered-01.tif" in scene
    assert '"event": "scene_gathered"' in scene
    merge = output_of(stack, "logs", run, "--stack", STACK)
    assert "covered-cloudless.tif" in merge
    code, _, err = result_of(start(stack, "logs", run, "--scene", "9"))
    assert code == 5
    assert f"{run}-gather-9" in err.splitlines()[-1]


def test_doctor_accepts_the_deployed_stack(stack, tmp_path) -> None:
    config = tmp_path / "first.json"
    config.write_text(json.dumps(CONFIG))
    lines = output_of(stack, "doctor", "--stack", STACK, "--config", config).splitlines()
    assert [line for line in lines if not line.startswith("[x] ")] == []
    text = "\n".join(lines)
    for kind in (
        "stack ",
        "state machine",
        "queue ",
        "hosts ",
        "configuration: configurations/first.json",
        "quota on-demand standard",
        "quota spot standard",
        "image of hosts ami-",
        "job definition ",
        "image ",
        "region",
    ):
        assert f"[x] {kind}" in text, kind


def test_doctor_of_a_stack_that_is_not_there_exits_5(stack) -> None:
    code, out, err = result_of(start(stack, "doctor", "--stack", "Nowhere"))
    assert (code, out) == (5, "")
    assert "Nowhere" in err.splitlines()[-1]


def selection_of(stack: DeployedStack, world: World, folder: Path) -> Path:
    """Selection that ``query`` and ``filter`` make for the request of a world."""
    request = world.in_s3()
    query = request["query"]
    area, response, selection = (folder / name for name in ("aoi.json", "response.json", "s.json"))
    area.write_text(json.dumps(request["aoi"]))
    output_of(
        stack,
        *("query", "--geojson", area, "--catalog", query["catalog"], "--response", response),
        *("--mindate", query["mindate"][0], "--maxdate", query["maxdate"][0]),
        *("--maxclouds", "100", "--asset-mirror", query["asset_mirror"][0]),
    )
    how = ("--strategy", "original", "--backstop", "False")
    output_of(stack, "filter", "--input", response, "--output", selection, *how)
    return selection


def wait_for_jobs(stack: DeployedStack, ids: list[str]) -> list[str]:
    """Wait for the end of jobs; return their states."""
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
        *json.loads(output_of(stack, *gather, "--dryrun")),
        *json.loads(output_of(stack, *merge, "--dryrun")),
    ]
    assert [job["jobName"] for job in planned] == [
        *(f"hand-gather-{number:02d}" for number in (1, 2, 3)),
        "hand-merge",
    ]
    assert stack.keys("scratch/by-hand/") == []
    assert not stack.cloud.journal.entries("started", since=place)
    assert wait_for_jobs(stack, json.loads(output_of(stack, *gather))) == 3 * ["SUCCEEDED"]
    assert wait_for_jobs(stack, json.loads(output_of(stack, *merge))) == ["SUCCEEDED"]

    here = tmp_path / "here"
    scenes = ("--response", selection, "--name", "hand", "--output-path", here / "scenes", *bands)
    output_of(stack, "gather", *scenes)
    output_of(
        stack, "merge", "--name", "hand", "--input-path", here / "scenes", "--output-path", here
    )
    for product in PRODUCTS:
        name = f"hand-{product}.tif"
        assert stack.get(f"{root}/out/{name}") == (here / name).read_bytes(), product
