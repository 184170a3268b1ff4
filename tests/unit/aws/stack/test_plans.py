"""Documents between the states: plans of rounds, and results of their jobs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack import plans
from cloudbuster.aws.stack.plans import assess_round, gather_results, write_plan
from cloudbuster.errors import JobsFailedError, JobsTryAgainError, NothingUsableError, RequestError
from cloudbuster.gather import gather_scene
from cloudbuster.models import (
    DetectorOptions,
    GatherTask,
    GridDocument,
    JobError,
    MosaicRequest,
    Radiometry,
)
from cloudbuster.storage.files.documents import write_document
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.remote import s3
from tests.factories import SceneSpec
from tests.gathering import task_of
from tests.unit.aws.requests import REQUEST

pytestmark = pytest.mark.usefixtures("aws")

GRID = GridDocument(crs="EPSG:32613", west=0, north=0, x_size=10, y_size=10, width=10, height=10)
ROOT = "s3://store"
REMOVED = Radiometry(verdict="removed", offset_dn=0, confidence="high", evidence=())
PRESENT = Radiometry(verdict="present", offset_dn=-1000, confidence="high", evidence=())


def request(**limits: Any) -> MosaicRequest:
    return MosaicRequest.model_validate({**REQUEST, "limits": limits})


RUN = RunLayout.in_bucket(request(), ROOT)


def tasks(count: int) -> list[GatherTask]:
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
            output=RUN.scenes,
        )
        for number in range(1, count + 1)
    ]


def plan_of(
    planned: Sequence[GatherTask],
    *,
    anew: bool = False,
    budget_usd: float | None = None,
    **stack: Any,
) -> dict[str, Any]:
    settings = StackSettings(root=ROOT, gather_usd_per_hour=0.1, **stack)
    return write_plan(RUN, planned, request(budget_usd=budget_usd), settings, anew=anew)


def test_a_plan_has_numbers_and_no_scenes() -> None:
    plan = plan_of(tasks(3), budget_usd=5)
    assert plan["indices"] == [1, 2, 3]
    assert plan["indices_key"] == f"scratch/{RUN.id}/tasks/indices.json"
    assert json.loads(s3.read_object(f"{ROOT}/{plan['indices_key']}")) == [1, 2, 3]
    assert plan["within_budget"] is True
    written = GatherTask.model_validate_json(s3.read_object(f"{RUN.tasks}/2.json"))
    assert written.item == {"id": "S2_2"}
    assert len(json.dumps(plan)) < 300


@pytest.mark.parametrize(
    ("given", "ceiling", "budget", "name", "within"),
    [
        (None, None, None, "limits.budget_usd", True),
        (5.0, None, 5.0, "limits.budget_usd", True),
        (0.001, None, 0.001, "limits.budget_usd", False),
        (0.001, 9.0, 0.001, "limits.budget_usd", False),
        (9.0, 0.001, 0.001, "max_budget_usd of the stack", False),
        (None, 0.001, 0.001, "max_budget_usd of the stack", False),
        (None, 9.0, 9.0, "max_budget_usd of the stack", True),
        (9.0, 9.0, 9.0, "limits.budget_usd", True),
    ],
)
def test_the_budget_of_a_run_is_the_lower_of_the_request_and_of_the_stack(
    given: float | None, ceiling: float | None, budget: float | None, name: str, *, within: bool
) -> None:
    plan = plan_of(tasks(3), budget_usd=given, max_budget_usd=ceiling)
    found = (plan["budget_usd"], plan["budget_name"], plan["within_budget"])
    assert found == (budget, name, within)


def test_the_budget_is_for_all_rounds_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "is_done", lambda task: task.index <= 10)
    settings = StackSettings(root=ROOT, gather_usd_per_hour=1)
    estimates = [
        write_plan(RUN, tasks(20), request(), settings, anew=False, is_first_round=first)[
            "estimate_usd"
        ]
        for first in (True, False)
    ]
    # 0.06 hours for each scene: of an earlier attempt 10 are left, in a later round all count.
    assert estimates == [pytest.approx(0.6 + 10 * 0.02), pytest.approx(1.2 + 20 * 0.02)]


def test_a_distributed_map_finds_its_indices_in_s3_alone() -> None:
    plan = plan_of(tasks(3), max_inline_indices=0)
    assert plan["indices"] == []
    assert json.loads(s3.read_object(f"{ROOT}/{plan['indices_key']}")) == [1, 2, 3]


def test_more_scenes_than_the_stack_allows_are_refused() -> None:
    with pytest.raises(RequestError, match="3 scenes are selected, this stack takes 2"):
        plan_of(tasks(3), max_tasks=2)


def test_a_scene_is_done_only_for_the_very_task_that_gathered_it(tmp_path: Path) -> None:
    task = task_of(tmp_path, SceneSpec(dn=2000), radiometry=REMOVED, output=RUN.scenes)
    assert plan_of([task])["indices"] == [1]
    gather_scene(task)
    plan = plan_of([task])
    assert (plan["task_count"], plan["todo_count"], plan["indices"]) == (1, 0, [])
    assert plan_of([task], anew=True)["indices"] == [1]
    # The words of a verdict may quote other scenes; they decide no pixel.
    reworded = REMOVED.model_copy(update={"confidence": "low", "evidence": ("as another scene",)})
    assert plan_of([task.model_copy(update={"radiometry": reworded})])["indices"] == []
    changes: dict[str, Any] = {
        "radiometry": PRESENT,
        "dilate_m": 50,
        "bands": ("B02",),
        "detector": DetectorOptions(type="stock", preset="strict"),
        "donate_mask": True,
    }
    todo = {
        name: plan_of([task.model_copy(update={name: value})])["indices"]
        for name, value in changes.items()
    }
    assert todo == {name: [1] for name in changes}


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


def test_results_are_read_from_the_files_of_a_distributed_map() -> None:
    results = [{"index": number, "status": "SUCCEEDED"} for number in (1, 2, 3)]
    results[1]["status"] = "EXIT_3"
    prefix = "scratch/run/results/ad9b5f27-090b-3ac6-9beb-243cd77144a7"
    # Children end in any order, and many results fill several files.
    parts = {"SUCCEEDED_0.json": [results[2], results[0]], "SUCCEEDED_1.json": [results[1]]}
    listed = []
    for name, part in parts.items():
        content = json.dumps([child(result) for result in part]).encode()
        s3.write_object(f"{ROOT}/{prefix}/{name}", content)
        listed.append({"Key": f"{prefix}/{name}", "Size": len(content)})
    map_run = "arn:aws:states:us-west-2:123456789012:mapRun:CloudBuster/Gather:ad9b5f27"
    manifest = {
        "DestinationBucket": "store",
        "MapRunArn": map_run,
        "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": listed},
    }
    s3.write_object(f"{ROOT}/{prefix}/manifest.json", json.dumps(manifest).encode())
    details = {"Bucket": "store", "Key": f"{prefix}/manifest.json"}
    answer = {"MapRunArn": map_run, "ResultWriterDetails": details}
    assert gather_results(answer, root=ROOT) == results


def test_results_are_those_in_the_state_of_an_inline_map() -> None:
    results = [{"index": 1, "status": "SUCCEEDED"}]
    assert gather_results(results, root="") == results
    with pytest.raises(RequestError, match="the map answered str"):
        gather_results("?", root="")


def test_failed_scenes_are_named_with_the_command_that_prints_their_log() -> None:
    plan = plan_of(tasks(5))
    results = [{"index": number, "status": "SUCCEEDED"} for number in (1, 2, 3, 4)]
    results.append({"index": 5, "status": "EXIT_5"})
    counts, failures = assess_round(RUN, plan, results, request())
    assert counts == {"selected": 5, "gathered": 4, "failed": 1}
    (failure,) = failures
    assert (failure.item_id, failure.error) == ("S2_5", "BAD_INPUT")
    assert f"task 5 of {RUN.id} ended as EXIT_5" in failure.message
    assert f"cloudbuster logs {RUN.id} --scene 5" in failure.message


def test_the_own_error_of_a_job_is_that_of_its_scene_and_of_the_run() -> None:
    plan = plan_of(tasks(5))
    error = JobError(job_id="j", error="RasterError", message="B04.tif is broken", exit_code=5)
    write_document(f"{RUN.tasks}/5.error.json", error)
    results = [{"index": number, "status": "SUCCEEDED"} for number in (1, 2, 3, 4)]
    results.append({"index": 5, "status": "EXIT_5"})
    _, (failure,) = assess_round(RUN, plan, results, request())
    assert "ended as EXIT_5; RasterError: B04.tif is broken; cloudbuster logs" in failure.message
    with pytest.raises(NothingUsableError, match=r"scene 5: RasterError: B04\.tif is broken; "):
        assess_round(RUN, plan, results, request(min_success_fraction=1))
    # The job was killed since, so that its error is another one.
    results[-1] = {"index": 5, "status": "EXIT_137"}
    _, (failure,) = assess_round(RUN, plan, results, request())
    assert "RasterError" not in failure.message


def test_scenes_that_an_earlier_attempt_gathered_count_as_gathered() -> None:
    counts, _ = assess_round(RUN, plan_of(tasks(5)), [], request())
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
def test_the_error_of_too_few_scenes_depends_on_why_they_failed(
    end: str, error: type[Exception]
) -> None:
    plan = plan_of(tasks(5))
    lost = [{"index": number, "status": end} for number in (1, 2)]
    with pytest.raises(error, match=f"3 of 5 .* 2 {end}; .*cloudbuster logs {RUN.id} --scene 1 "):
        assess_round(RUN, plan, lost, request())


def test_a_new_field_of_a_task_is_written_without_a_change_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wider(GatherTask):
        sharpen: float

    wide = [Wider(**task.model_dump(), sharpen=0.5) for task in tasks(1)]
    monkeypatch.setattr(plans, "GatherTask", Wider)
    plan_of(wide)
    assert json.loads(s3.read_object(f"{RUN.tasks}/1.json"))["sharpen"] == 0.5
