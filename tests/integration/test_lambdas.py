"""The functions of the stack over the sample world, one after the other, with folders for S3."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

import lambdas.assess
import lambdas.filter
import lambdas.finish
import lambdas.query
from cloudbuster.aws.settings import StackSettings
from cloudbuster.aws.stack.state import ASSESS, PLAN
from cloudbuster.errors import GridError, NothingUsableError, RequestError
from cloudbuster.gather import gather_scene
from cloudbuster.merging import MergeTask, merge_task
from cloudbuster.models import Assessment, GatherTask, MosaicRequest, RunStatus
from cloudbuster.storage.documents import read_document
from tests.integration.conftest import SampleRun

State = dict[str, Any]
# What a function may load before its first event: a cold start pays for each.
HEAVY = ("boto3", "rasterio", "scipy", "numpy", "shapely", "pydantic", "torch", "s2cloudless")


class Topic:
    """SNS as far as Finish calls it."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []

    def publish(self, **message: str) -> None:
        self.told.append(message)


class Machine:
    """The states of the state machine, by hand."""

    def __init__(self, root: Path, request: MosaicRequest) -> None:
        self.root = root
        self.state: State = json.loads(request.model_dump_json(by_alias=True))

    def query(self) -> None:
        event = {"request": self.state, "execution": "by-hand"}
        self.state = {"run": lambdas.query.handler(event, None)}

    def filter(self) -> list[int]:
        answer = lambdas.filter.handler({"run": self.state["run"]}, None)
        self.state["plan"] = {key: answer[key] for key in PLAN}
        return list(answer["indices"])

    def gather(self, indices: list[int], *, lost: tuple[int, ...] = ()) -> None:
        results = []
        for index in indices:
            if index not in lost:
                gather_scene(
                    read_document(f"{self.state['run']['tasks']}/{index}.json", GatherTask)
                )
            results.append({"index": index, "status": "EXIT_3" if index in lost else "SUCCEEDED"})
        self.state["gathered"] = results

    def assess(self) -> None:
        answer = lambdas.assess.handler(self.state, None)
        self.state["assess"] = {key: answer[key] for key in ASSESS}

    def merge(self) -> None:
        merge_task(read_document(self.state["assess"]["merge_task_uri"], MergeTask))

    def finish(self, **state: object) -> State:
        times = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"}
        event = {"state": {**self.state, **state}, "execution": "by-hand", **times}
        answer: State = json.loads(json.dumps(lambdas.finish.handler(event, None)))
        return answer


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic()
    monkeypatch.setattr(boto3, "client", lambda _service, **_config: made)
    return made


@pytest.fixture
def machine(
    tmp_path: Path, sample_run: SampleRun, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Machine]:
    settings = StackSettings(
        root=str(tmp_path), topic_arn="arn:topic", gather_usd_per_hour=0.1, merge_usd_per_hour=0.2
    )
    monkeypatch.setenv("CLOUDBUSTER_STACK", settings.model_dump_json())

    def make(**changes: object) -> Machine:
        request = sample_run.request.model_copy(update={"output": None, **changes})
        return Machine(tmp_path, request)

    return make


def test_the_states_make_the_same_mosaic_as_the_command(
    machine: Callable[..., Machine], sample_run: SampleRun, topic: Topic
) -> None:
    by_hand = machine()
    by_hand.query()
    indices = by_hand.filter()
    assert indices == list(range(1, len(indices) + 1))
    by_hand.gather(indices)
    by_hand.assess()
    by_hand.merge()
    outcome = by_hand.finish()

    made, wanted = outcome["products"], sample_run.result.products
    for key in ("cloudless", "cloudy", "quality"):
        assert Path(made[key]).read_bytes() == Path(getattr(wanted, key)).read_bytes(), key
    assessment = read_document(f"{by_hand.state['run']['documents']}/assessment.json", Assessment)
    assert assessment == sample_run.result.assessment
    assert outcome["state"] == "succeeded"
    assert outcome["exit_code"] == (0 if assessment.covered else 4)
    assert outcome["scenes"] == {"selected": len(indices), "gathered": len(indices), "failed": 0}
    assert outcome["duration_s"] == 60
    status = read_document(outcome["status_uri"], RunStatus)
    assert (status.state, status.stage) == ("succeeded", "merge")
    assert status.products is not None
    (message,) = topic.told
    assert message["Subject"] == f"cloudbuster succeeded: {outcome['run_id']}"

    # A second attempt of the same run finds every scene gathered.
    again = machine()
    again.query()
    assert again.filter() == []
    assert again.state["plan"]["task_count"] == len(indices)
    forced = machine(force=True)
    forced.query()
    assert forced.filter() == indices


def test_too_few_scenes_end_the_run_and_are_told(
    machine: Callable[..., Machine], topic: Topic
) -> None:
    by_hand = machine()
    by_hand.query()
    indices = by_hand.filter()
    by_hand.gather(indices, lost=tuple(indices))
    with pytest.raises(NothingUsableError, match="at least 80% must be") as caught:
        by_hand.assess()
    cause = json.dumps({"errorMessage": str(caught.value), "errorType": "NothingUsableError"})
    outcome = by_hand.finish(error={"Error": "NothingUsableError", "Cause": cause})
    assert (outcome["state"], outcome["exit_code"]) == ("failed", 3)
    assert (outcome["stage"], outcome["error"]) == ("assess", "NothingUsableError")
    assert read_document(outcome["status_uri"], RunStatus).exit_code == 3
    assert "failed" in topic.told[0]["Subject"]


@pytest.mark.parametrize(
    "given",
    [
        [],
        "text",
        5,
        None,
        {"run": 1},
        {"plan": 5},
        {"assess": 5},
        {"error": 1},
        {
            "run": {
                "id": "x",
                **dict.fromkeys(("documents", "scenes", "tasks", "products"), "s3://x"),
            }
        },
    ],
)
def test_an_input_that_is_no_request_is_refused_and_told(
    machine: Callable[..., Machine], topic: Topic, given: object
) -> None:
    by_hand = machine()
    with pytest.raises(RequestError, match="by-hand: ") as caught:
        lambdas.query.handler({"request": given, "execution": "by-hand"}, None)
    # What the machine holds then, by its first state and the Catch of Query.
    by_hand.state = {"request": given}
    cause = json.dumps({"errorMessage": str(caught.value), "errorType": "RequestError"})
    outcome = by_hand.finish(error={"Error": "RequestError", "Cause": cause})
    assert (outcome["run_id"], outcome["stage"], outcome["exit_code"]) == ("by-hand", "query", 5)
    assert (outcome["error"], outcome["status_uri"]) == ("RequestError", None)
    assert len(topic.told) == 1
    assert list(by_hand.root.rglob("*.json")) == []


def test_an_area_in_a_file_is_refused_before_the_catalog_is_searched(
    machine: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = [[0, 40], [20, 40], [20, 41], [0, 41], [0, 40]]
    area = tmp_path / "wide.geojson"
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    monkeypatch.setattr("cloudbuster.query.open_catalog", pytest.fail)
    with pytest.raises(GridError, match=r"20\.00 degrees of longitude wide"):
        machine(aoi={"uri": str(area)}).query()


def test_a_budget_is_compared_before_the_first_job(machine: Callable[..., Machine]) -> None:
    by_hand = machine()
    limits = {**by_hand.state["limits"], "budget_usd": 0.01}
    by_hand.state = {**by_hand.state, "limits": limits}
    by_hand.query()
    by_hand.filter()
    plan = by_hand.state["plan"]
    assert plan["within_budget"] is False
    assert plan["estimate_usd"] > plan["budget_usd"] == 0.01


@pytest.mark.parametrize("module", ["query", "filter", "assess", "finish", "start_run"])
def test_handlers_load_nothing_heavy_before_their_first_event(module: str) -> None:
    code = (
        f"import sys, lambdas.{module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_starting_a_run_loads_no_rasters() -> None:
    code = (
        "import sys, cloudbuster.aws.stack.starting; "
        "print([name for name in ('rasterio', 'torch', 's2cloudless') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
