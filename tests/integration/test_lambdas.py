"""The functions of the stack on the sample world, one after the other, with folders for S3."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

import lambdas.assess
import lambdas.filter
import lambdas.finish
import lambdas.query
from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from cloudbuster.aws.stack.state import ASSESS, PLAN
from cloudbuster.errors import GridError, NothingUsableError, RequestError
from cloudbuster.gather import gather_scene
from cloudbuster.models import Assessment, GatherTask, MergeTask, MosaicRequest, RunStatus
from cloudbuster.runs.merging import merge_task
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.remote.boto import aws_client
from tests.integration.conftest import SampleRun

State = dict[str, Any]
# Packages that a handler must not load before its first event: each would slow a cold start.
HEAVY = ("boto3", "rasterio", "scipy", "numpy", "shapely", "pydantic", "torch", "s2cloudless")


class Topic:
    """The stack's topic, with a queue that receives its messages."""

    def __init__(self) -> None:
        self._sqs, sns = aws_client("sqs"), aws_client("sns")
        self._url = self._sqs.create_queue(QueueName="mail")["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        self.arn = sns.create_topic(Name="outcomes")["TopicArn"]
        endpoint = asked["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=endpoint)

    def subjects(self) -> list[str]:
        """Subjects of the messages since the last look."""
        found = self._sqs.receive_message(QueueUrl=self._url).get("Messages", [])
        return [json.loads(message["Body"])["Subject"] for message in found]


class Machine:
    """The states of the state machine, called by hand.

    Parameters
    ----------
    root : Path
        Folder that stands for the stack's bucket.
    request : MosaicRequest
        Input of the execution.
    topic : Topic
        Topic of the stack.

    Attributes
    ----------
    planned : list of int
        Numbers of the tasks of the first round, after `rounds`.
    """

    def __init__(self, root: Path, request: MosaicRequest, topic: Topic) -> None:
        self.root = root
        self.planned: list[int] = []
        self.state: State = json.loads(request.model_dump_json(by_alias=True))
        self._settings = StackSettings(
            root=str(root), topic_arn=topic.arn, gather_usd_per_hour=0.1, merge_usd_per_hour=0.2
        )

    def call(self, handler: Callable[..., Any], event: State) -> Any:
        """Call a function in the environment of the stack."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SETTINGS_VARIABLE, self._settings.model_dump_json())
            # Claims are objects of S3 that are written under a condition; a folder has none.
            patch.setattr("cloudbuster.aws.stack.claims.claim_place", lambda *_given: None)
            return handler(event, None)

    def query(self) -> None:
        event = {"request": self.state, "execution": "by-hand"}
        self.state = {"run": self.call(lambdas.query.handler, event)}

    def filter(self) -> list[int]:
        answer = self.call(lambdas.filter.handler, {"run": self.state["run"]})
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
        answer = self.call(lambdas.assess.handler, self.state)
        self.state["assess"] = {key: answer[key] for key in ASSESS}

    def rounds(self) -> None:
        """Gather and assess until no round is left."""
        self.planned = self.filter()
        self.gather(self.planned)
        self.assess()
        while self.state["assess"]["more_rounds"]:
            self.state["run"]["round"] += 1
            self.gather(self.filter())
            self.assess()

    def merge(self) -> None:
        merge_task(read_document(self.state["assess"]["merge_task_uri"], MergeTask))

    def finish(self, **state: object) -> State:
        times = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"}
        event = {"state": {**self.state, **state}, "execution": "by-hand", **times}
        answer: State = json.loads(json.dumps(self.call(lambdas.finish.handler, event)))
        return answer


@pytest.fixture(scope="module")
def topic() -> Iterator[Topic]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_REGION", "us-west-2")
        patch.setattr("boto3.DEFAULT_SESSION", None)
        aws_client.cache_clear()
        with mock_aws():
            yield Topic()
    aws_client.cache_clear()


@pytest.fixture(scope="module")
def request_of_sample(sample_run: SampleRun) -> MosaicRequest:
    """The request of the sample world, without an output of its own."""
    return sample_run.request.model_copy(update={"output": None})


@pytest.fixture
def machine(
    tmp_path: Path, request_of_sample: MosaicRequest, topic: Topic
) -> Callable[..., Machine]:
    """Start an execution on a stack of this test alone."""

    def make(**changes: object) -> Machine:
        return Machine(tmp_path, request_of_sample.model_copy(update=changes), topic)

    return make


@pytest.fixture(scope="module")
def gathered(
    tmp_path_factory: pytest.TempPathFactory, request_of_sample: MosaicRequest, topic: Topic
) -> Machine:
    """An execution whose scenes are all gathered; tests do not change its state."""
    first = Machine(tmp_path_factory.mktemp("bucket"), request_of_sample, topic)
    first.query()
    first.rounds()
    return first


def test_the_states_make_the_same_mosaic_as_the_command(
    gathered: Machine, sample_run: SampleRun, topic: Topic
) -> None:
    assert gathered.planned == list(range(1, len(gathered.planned) + 1))
    gathered.merge()
    outcome = gathered.finish()

    made, wanted = outcome["products"], sample_run.result.products
    for key in ("cloudless", "cloudy", "quality"):
        assert Path(made[key]).read_bytes() == Path(getattr(wanted, key)).read_bytes(), key
    assessment = read_document(f"{gathered.state['run']['documents']}/assessment.json", Assessment)
    assert assessment == sample_run.result.assessment
    assert outcome["state"] == "succeeded"
    assert outcome["exit_code"] == (0 if assessment.covered else 4)
    # A scene of which a later round takes further parts has two tasks.
    tasks = gathered.state["plan"]["task_count"]
    assert outcome["scenes"] == {"selected": tasks, "gathered": tasks, "failed": 0}
    assert outcome["duration_s"] == 60
    status = read_document(outcome["status_uri"], RunStatus)
    assert (status.state, status.stage) == ("succeeded", "merge")
    assert status.products is not None
    assert topic.subjects() == [f"cloudbuster succeeded: {outcome['run_id']}"]


def test_a_second_attempt_keeps_the_verdicts_of_the_first_and_gathers_nothing_again(
    gathered: Machine,
    request_of_sample: MosaicRequest,
    topic: Topic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_again(scenes: list[Any], _bands: object, *, known: dict[str, Any]) -> Any:
        assert {scene.id for scene in scenes} == set(known)
        return known

    monkeypatch.setattr("cloudbuster.runs.tasks.decide_radiometry", look_again)
    second = Machine(gathered.root, request_of_sample, topic)
    second.query()
    assert second.filter() == []
    assert second.state["plan"]["task_count"] == gathered.state["plan"]["task_count"]


def test_force_gathers_every_scene_again(
    gathered: Machine, request_of_sample: MosaicRequest, topic: Topic
) -> None:
    forced = Machine(gathered.root, request_of_sample.model_copy(update={"force": True}), topic)
    forced.query()
    assert forced.filter() == gathered.planned


def test_too_few_scenes_end_the_run_with_a_notification(
    machine: Callable[..., Machine], topic: Topic
) -> None:
    by_hand = machine()
    by_hand.query()
    for number in (1, 2, 3):
        by_hand.state["run"]["round"] = number
        indices = by_hand.filter()
        by_hand.gather(indices, lost=tuple(indices))
        if number < 3:
            by_hand.assess()
            assert by_hand.state["assess"]["more_rounds"]
    with pytest.raises(NothingUsableError, match="observe 0% of the area, at least 80%") as caught:
        by_hand.assess()
    cause = json.dumps({"errorMessage": str(caught.value), "errorType": "NothingUsableError"})
    outcome = by_hand.finish(error={"Error": "NothingUsableError", "Cause": cause})
    assert (outcome["state"], outcome["exit_code"]) == ("failed", 3)
    assert (outcome["stage"], outcome["error"]) == ("assess", "NothingUsableError")
    assert read_document(outcome["status_uri"], RunStatus).exit_code == 3
    assert topic.subjects() == [f"cloudbuster failed: {outcome['run_id']}"]


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
def test_an_input_that_is_no_request_is_refused_with_a_notification(
    machine: Callable[..., Machine], topic: Topic, given: object
) -> None:
    by_hand = machine()
    with pytest.raises(RequestError, match="by-hand: ") as caught:
        by_hand.call(lambdas.query.handler, {"request": given, "execution": "by-hand"})
    # The state then, after the first state and the Catch of Query.
    by_hand.state = {"request": given}
    cause = json.dumps({"errorMessage": str(caught.value), "errorType": "RequestError"})
    outcome = by_hand.finish(error={"Error": "RequestError", "Cause": cause})
    assert (outcome["run_id"], outcome["stage"], outcome["exit_code"]) == ("by-hand", "query", 5)
    assert (outcome["error"], outcome["status_uri"]) == ("RequestError", None)
    assert topic.subjects() == ["cloudbuster failed: by-hand"]
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


def test_the_budget_is_compared_before_the_first_job(machine: Callable[..., Machine]) -> None:
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
        "import sys, cloudbuster.aws.stack.inbox; "
        "print([name for name in ('rasterio', 'torch', 's2cloudless') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
