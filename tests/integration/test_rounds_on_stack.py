"""Rounds by the functions of the stack, compared with the run on one machine."""

from collections.abc import Iterator
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
from cloudbuster.storage.files.documents import read_document
from tests.half_tiles import CANDIDATES, request_of, write_candidates

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
        task = read_document(f"{state['run']['tasks']}/{index}.json", GatherTask)
        try:
            gather_scene(task)
            ends.append({"index": index, "status": "SUCCEEDED"})
        except CloudBusterError as error:
            ends.append({"index": index, "status": f"EXIT_{int(error.exit_code)}"})
    return ends


def made(request: MosaicRequest) -> tuple[dict[str, Any], Assessment, MergeResult, list[int]]:
    """Run all states; the last state, the assessment, the products, and the jobs of each round."""
    document = orjson.loads(request.model_dump_json(by_alias=True))
    run_entry = lambdas.query.handler({"request": document, "execution": "by-hand"}, None)
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
