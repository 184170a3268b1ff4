"""Documents between the states."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack import plans
from cloudbuster.aws.stack.plans import assess_round, gather_results, made_once, write_plan
from cloudbuster.errors import JobsFailedError, JobsTryAgainError, NothingUsableError, RequestError
from cloudbuster.models import DetectorOptions, Dropped, GatherTask, GridDocument, MosaicRequest
from cloudbuster.storage.run_layout import RunLayout
from tests.unit.aws.requests import REQUEST

GRID = GridDocument(crs="EPSG:32613", west=0, north=0, x_size=10, y_size=10, width=10, height=10)


def request(**limits: Any) -> MosaicRequest:
    return MosaicRequest.model_validate({**REQUEST, "limits": limits})


def tasks(run: RunLayout, count: int) -> list[GatherTask]:
    return [
        GatherTask(
            name="denver",
            kind="L2A",
            catalog="here",
            item={"id": f"S2_{number}"},
            index=number,
            backstop_index=None,
            bands=("B04",),
            grid=GRID,
            detector=DetectorOptions(),
            dilate_m=0,
            output=run.scenes,
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return RunLayout.in_bucket(request(), str(tmp_path))


def stack(root: Path, **values: Any) -> StackSettings:
    return StackSettings(root=str(root), gather_usd_per_hour=0.1, **values)


def test_a_document_is_made_once(tmp_path: Path) -> None:
    uri = str(tmp_path / "a.json")
    first = made_once(uri, Dropped, lambda: Dropped(item_id="a", reason=""))
    assert made_once(uri, Dropped, lambda: Dropped(item_id="b", reason="")) == first
    anew = made_once(uri, Dropped, lambda: Dropped(item_id="c", reason=""), anew=True)
    assert anew.item_id == "c"


def test_a_document_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    made = made_once(str(path), Dropped, lambda: Dropped(item_id="a", reason=""))
    assert json.loads(path.read_text())["item_id"] == made.item_id == "a"


def test_a_plan_holds_numbers_and_not_scenes(tmp_path: Path, run: RunLayout) -> None:
    plan = write_plan(run, tasks(run, 3), request(budget_usd=5), stack(tmp_path), anew=False)
    assert plan["indices"] == [1, 2, 3]
    assert plan["indices_key"] == f"scratch/{run.id}/tasks/indices.json"
    assert json.loads((tmp_path / plan["indices_key"]).read_text()) == [1, 2, 3]
    assert plan["within_budget"] is True
    written = GatherTask.model_validate_json(Path(run.tasks, "2.json").read_bytes())
    assert written.item == {"id": "S2_2"}
    assert len(json.dumps(plan)) < 300


def test_a_distributed_map_finds_its_indices_in_s3_alone(tmp_path: Path, run: RunLayout) -> None:
    settings = stack(tmp_path, max_inline_indices=0)
    plan = write_plan(run, tasks(run, 3), request(), settings, anew=False)
    assert plan["indices"] == []
    assert json.loads((tmp_path / plan["indices_key"]).read_text()) == [1, 2, 3]


def test_more_scenes_than_a_round_takes_are_refused(tmp_path: Path, run: RunLayout) -> None:
    with pytest.raises(RequestError, match="3 scenes are selected, this stack takes 2"):
        write_plan(run, tasks(run, 3), request(), stack(tmp_path, max_tasks=2), anew=False)


def child(result: dict[str, Any]) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html."""
    name = "da4e9fc7-abab-3b27-9a77-a277e463b709"
    machine = "arn:aws:states:us-west-2:123456789012:stateMachine:CloudBuster/Gather"
    return {
        "ExecutionArn": f"{machine.replace('stateMachine', 'execution')}:{name}",
        "Input": json.dumps({"index": result["index"]}),
        "InputDetails": {"Included": True},
        "Name": name,
        "Output": json.dumps(result),
        "OutputDetails": {"Included": True},
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE",
        "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
        "StartDate": "2025-02-04T01:49:50.099Z",
        "StateMachineArn": machine,
        "Status": "SUCCEEDED",
        "StopDate": "2025-02-04T01:49:50.163Z",
    }


def test_results_are_read_where_a_distributed_map_wrote_them(tmp_path: Path) -> None:
    results = [{"index": number, "status": "SUCCEEDED"} for number in (1, 2, 3)]
    results[1]["status"] = "EXIT_3"
    prefix = "scratch/run/results/ad9b5f27-090b-3ac6-9beb-243cd77144a7"
    folder = tmp_path / prefix
    folder.mkdir(parents=True)
    # Children end in any order, and their files are many when they are large.
    parts = {"SUCCEEDED_0.json": [results[2], results[0]], "SUCCEEDED_1.json": [results[1]]}
    listed = []
    for name, held in parts.items():
        (folder / name).write_text(json.dumps([child(result) for result in held]))
        listed.append({"Key": f"{prefix}/{name}", "Size": (folder / name).stat().st_size})
    run = "arn:aws:states:us-west-2:123456789012:mapRun:CloudBuster/Gather:ad9b5f27"
    manifest = {
        "DestinationBucket": "bucket",
        "MapRunArn": run,
        "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": listed},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    details = {"Bucket": "bucket", "Key": f"{prefix}/manifest.json"}
    answered = {"MapRunArn": run, "ResultWriterDetails": details}
    assert gather_results(answered, root=str(tmp_path)) == results
    assert gather_results(results[:1], root="") == results[:1]
    with pytest.raises(RequestError, match="str"):
        gather_results("?", root="")


def test_scenes_that_failed_are_named(tmp_path: Path, run: RunLayout) -> None:
    plan = write_plan(run, tasks(run, 5), request(), stack(tmp_path), anew=False)
    results = [{"index": number, "status": "SUCCEEDED"} for number in (1, 2, 3, 4)]
    results.append({"index": 5, "status": "EXIT_5"})
    counts, failures = assess_round(run, plan, results, request())
    assert counts == {"selected": 5, "gathered": 4, "failed": 1}
    (failure,) = failures
    assert (failure.item_id, failure.error) == ("S2_5", "BAD_INPUT")
    assert f"task 5 of {run.id} ended as EXIT_5" in failure.message
    assert f"cloudbuster logs {run.id} --scene 5" in failure.message


def test_scenes_that_an_earlier_attempt_gathered_count(tmp_path: Path, run: RunLayout) -> None:
    plan = write_plan(run, tasks(run, 5), request(), stack(tmp_path), anew=False)
    counts, _ = assess_round(run, plan, [], request())
    assert counts["gathered"] == 5


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("EXIT_3", NothingUsableError),
        ("EXIT_75", JobsTryAgainError),
        ("EXIT_137", JobsFailedError),
        ("FAILED", JobsFailedError),
    ],
)
def test_too_few_scenes_end_the_round_by_what_kept_them_back(
    tmp_path: Path, run: RunLayout, end: str, error: type[Exception]
) -> None:
    plan = write_plan(run, tasks(run, 5), request(), stack(tmp_path), anew=False)
    lost = [{"index": number, "status": end} for number in (1, 2)]
    with pytest.raises(error, match=f"3 of 5 .* 2 {end}; .*cloudbuster logs {run.id} --scene 1 "):
        assess_round(run, plan, lost, request())


def test_a_stage_parameter_that_infra_has_never_heard_of_reaches_the_task(
    tmp_path: Path, run: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wider(GatherTask):
        sharpen: float

    wide = [Wider(**task.model_dump(), sharpen=0.5) for task in tasks(run, 1)]
    monkeypatch.setattr(plans, "GatherTask", Wider)
    write_plan(run, wide, request(), stack(tmp_path), anew=False)
    assert json.loads(Path(run.tasks, "1.json").read_text())["sharpen"] == 0.5
