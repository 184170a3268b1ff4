"""Rounds by the functions of the stack, compared with the run on one machine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

import lambdas.assess
import lambdas.filter
import lambdas.query
from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from cloudbuster.aws.stack.state import ASSESS, PLAN
from cloudbuster.errors import CloudBusterError
from cloudbuster.gather import gather_scene
from cloudbuster.models import Assessment, GatherTask, MergeResult, MergeTask, MosaicRequest
from cloudbuster.runs.merging import merge_task
from cloudbuster.runs.pipeline import run
from cloudbuster.runs.refresh import adopt_task
from cloudbuster.storage.files.documents import read_document
from tests.half_tiles import CANDIDATES, WHOLE, cloudy, request_of, write_candidates

MOST_STATE_BYTES = 256 * 1024


@pytest.fixture(autouse=True)
def _stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings = StackSettings(
        root=str(tmp_path / "bucket"),
        topic_arn="arn:aws:sns:us-west-2:123456789012:outcomes",
        gather_usd_per_hour=0.1,
        merge_usd_per_hour=0.2,
    )
    monkeypatch.setenv(SETTINGS_VARIABLE, settings.model_dump_json())
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    # Places are claimed in S3 alone; here a folder stands for it.
    monkeypatch.setattr("cloudbuster.aws.stack.claims.claim_place", lambda *_given: None)
    return iter(())


def gathered(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Gather the tasks of a round; how each of them ended."""
    ends = []
    for index in state["plan"]["indices"]:
        uri = f"{state['run']['tasks']}/{index}.json"
        task = read_document(uri, GatherTask)
        try:
            if not adopt_task(task, uri):
                gather_scene(task)
            ends.append({"index": index, "status": "SUCCEEDED"})
        except CloudBusterError as error:
            ends.append({"index": index, "status": f"EXIT_{int(error.exit_code)}"})
    return ends


def made(
    request: MosaicRequest, execution: str = "by-hand"
) -> tuple[dict[str, Any], Assessment, MergeResult, list[int]]:
    """Run all states; the last state, the assessment, the products, and the jobs of each round."""
    document = orjson.loads(request.model_dump_json(by_alias=True))
    run_entry = lambdas.query.handler({"request": document, "execution": execution}, None)
    state: dict[str, Any] = {"run": run_entry, "estimates": []}
    jobs: list[int] = []
    while True:
        answer = lambdas.filter.handler(state, None)
        state["plan"] = {key: answer[key] for key in PLAN}
        state["estimates"].append(answer["estimate_usd"])
        state["gathered"] = gathered(state)
        jobs.append(len(state["gathered"]))
        answer = lambdas.assess.handler(state, None)
        state["assess"] = {key: answer[key] for key in ASSESS}
        assert len(orjson.dumps(state)) < MOST_STATE_BYTES
        if not state["assess"]["more_rounds"]:
            break
        state["run"] = {**state["run"], "round": state["run"]["round"] + 1}
    merge_task(read_document(state["assess"]["merge_task_uri"], MergeTask))
    documents = state["run"]["documents"]
    assessment = read_document(f"{documents}/assessment.json", Assessment)
    return state, assessment, read_document(f"{documents}/products.json", MergeResult), jobs


@pytest.mark.parametrize("is_broken", [False, True])
def test_the_rounds_of_the_stack_make_the_mosaic_of_the_machine(
    tmp_path: Path, is_broken: bool
) -> None:
    write_candidates(tmp_path)
    if is_broken:
        (tmp_path / "catalog" / CANDIDATES[-1].id / "B04.tif").unlink()
    wanted = run(request_of(tmp_path))
    request = request_of(tmp_path).model_copy(update={"output": None})
    state, assessment, products, jobs = made(request)
    assert assessment.covered
    assert assessment.rounds == wanted.assessment.rounds == (2 if is_broken else 1)
    assert len(jobs) == assessment.rounds
    assert assessment.coverage == wanted.assessment.coverage
    assert state["assess"]["scenes"]["failed"] == int(is_broken)
    for product in ("cloudless", "cloudy", "quality"):
        local = Path(getattr(wanted.products, product)).read_bytes()
        assert Path(getattr(products, product)).read_bytes() == local, product
    # A second execution of the request gathers nothing but what failed.
    again = made(request)
    assert sum(again[3]) == int(is_broken)


def test_a_round_over_the_budget_is_not_made(tmp_path: Path) -> None:
    write_candidates(tmp_path)
    (tmp_path / "catalog" / CANDIDATES[-1].id / "B04.tif").unlink()
    limits = {"min_success_fraction": 0}
    free = request_of(tmp_path, output=None, limits=limits)
    estimate = made(free)[0]["estimates"][0]
    bound = request_of(tmp_path, output=None, limits=limits | {"budget_usd": estimate * 1.001})
    _, assessment, _, jobs = made(bound)
    assert (assessment.end, len(jobs)) == ("over-budget", 1)
    assert not assessment.covered
    assert any("limits.budget_usd" in reason for reason in assessment.reasons)


def test_a_refresh_copies_known_scenes_and_has_the_bytes_of_a_new_run(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_candidates(old, CANDIDATES[:5])
    state, *_ = made(request_of(old, output=None))
    assert state["plan"]["task_count"] > 1
    later = replace(WHOLE, id="S2A_33TWL_20230616_0_L2A", datetime="2023-06-16T10:00:00Z", dn=900)
    half_cloudy = replace(later, scl=cloudy(slice(0, 20)))
    write_candidates(old, (half_cloudy,))
    request = request_of(old, output=None, refresh=True)
    state, assessment, products, _ = made(request, "refreshed")
    folder = Path(state["run"]["scenes"])
    decoded = {
        record["item_id"]
        for path in folder.glob("*.json")
        if (record := orjson.loads(path.read_bytes()))["decoded_pixels"]
    }
    assert decoded == {later.id}
    assert assessment.covered
    write_candidates(new, (*CANDIDATES[:5], half_cloudy))
    fresh = run(request_of(new))
    for product in ("cloudless", "cloudy", "quality"):
        made_of_copies = Path(getattr(products, product)).read_bytes()
        assert made_of_copies == Path(getattr(fresh.products, product)).read_bytes(), product


def test_scenes_that_have_expired_are_gathered_again(tmp_path: Path) -> None:
    write_candidates(tmp_path, CANDIDATES)
    request = request_of(tmp_path, output=None)
    state, *_ = made(request)
    for path in Path(state["run"]["scenes"]).iterdir():
        path.unlink()
    again, assessment, *_ = made(request.model_copy(update={"refresh": True}), "refreshed")
    assert again["run"]["scenes"] != state["run"]["scenes"]
    assert assessment.covered
    assert assessment.decoded_pixels > 0
