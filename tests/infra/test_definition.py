"""The state machine as a pure function of what it calls."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from cloudbuster.aws.runs import RunPlaces
from infra.definition import THROTTLED, JobTarget, Targets, definition
from tests.infra.asl import nested, problems

JOB = JobTarget("arn:definition:1", "arn:queue", "arn:on-demand", 7600)
TARGETS = Targets(
    query="arn:query",
    filter="arn:filter",
    assess="arn:assess",
    finish="arn:finish",
    gather={"base": JOB, "torch": JOB},
    merge=JOB,
    bucket="bucket",
)
Machine = dict[str, Any]


def machine(*, distributed: bool = False, concurrency: int = 5) -> Machine:
    return definition(TARGETS, concurrency=concurrency, distributed=distributed)


def scene(states: Machine, name: str) -> dict[str, Any]:
    state: dict[str, Any] = states["States"]["Gather"]["ItemProcessor"]["States"][name]
    return state


@pytest.mark.parametrize("distributed", [False, True])
def test_the_definition_has_no_unknown_field_and_no_lost_state(*, distributed: bool) -> None:
    assert problems(machine(distributed=distributed)) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda states: states["Query"].update(Nxt="Filter"), "Query: unknown field Nxt"),
        (lambda states: states["Filter"].update(Next="Budget"), "Filter: no state Budget"),
        (lambda states: states["Finish"].pop("End"), "Finish: goes nowhere"),
        (lambda states: states["Filter"].update(Next="Gather"), "WithinBudget: cannot be reached"),
    ],
)
def test_the_check_finds_what_is_wrong(spoil: Callable[[Machine], None], problem: str) -> None:
    spoilt = machine()
    spoil(spoilt["States"])
    assert problem in problems(spoilt)


@pytest.mark.parametrize("distributed", [False, True])
def test_an_independent_parser_reads_the_definition(*, distributed: bool) -> None:
    parser = pytest.importorskip("moto.stepfunctions.parser.asl.parse.asl_parser")
    parser.AmazonStateLanguageParser.parse(json.dumps(machine(distributed=distributed)))


def test_states_follow_the_straight_line() -> None:
    states = machine()["States"]
    order, name = [], "Query"
    while name != "Finish":
        order.append(name)
        state = states[name]
        name = state.get("Next") or state["Default"]
    assert [name for name in order if "Image" not in name and "Prepare" not in name] == [
        *("Query", "Filter", "WithinBudget", "Gather", "Assess", "Covered?"),
        *("FirstTry", "Merge", "Merged"),
    ]


def test_every_task_retries_and_catches() -> None:
    for name, state in nested(machine()):
        if state["Type"] == "Task":
            assert state["Retry"], name
            assert state["Catch"], name


def test_throttled_submits_are_retried_with_full_jitter_before_anything_catches_them() -> None:
    for name, state in nested(machine()):
        if state["Type"] != "Task" or "batch" not in state["Resource"]:
            continue
        (retry,) = state["Retry"]
        assert set(retry["ErrorEquals"]) == set(THROTTLED), name
        assert retry["JitterStrategy"] == "FULL"
        first, second = state["Catch"]
        assert set(THROTTLED) < set(first["ErrorEquals"])
        assert second["ErrorEquals"] == ["States.TaskFailed"]


def test_a_refused_submit_fails_the_map_and_not_the_scene_alone() -> None:
    submit = scene(machine(), "GatherScene")
    assert submit["Catch"][0]["Next"] == "Refused"
    assert scene(machine(), "Refused")["Type"] == "Fail"


def test_map_items_are_integers_and_results_two_words() -> None:
    gather = machine()["States"]["Gather"]
    assert gather["ItemsPath"] == "$.plan.indices"
    assert gather["ItemSelector"]["index.$"] == "$$.Map.Item.Value"
    for name in ("Gathered", "Exited", "Vanished"):
        state = scene(machine(), name)
        assert {key.removesuffix(".$") for key in state["Parameters"]} == {"index", "status"}
        assert state["End"]


def test_out_of_memory_is_tried_once_more_with_twice_as_much() -> None:
    states = machine()
    first, _ = scene(states, "GatherSceneAgain?")["Choices"]
    assert first["Next"] == "GatherSceneMoreMemory"
    assert {"Variable": "$.try.second", "BooleanEquals": False} in first["And"]
    again = scene(states, "GatherSceneMoreMemory")
    assert again["Parameters"]["memory.$"] == "$.job.more_memory"
    assert again["Next"] == "GatherScene"
    image = states["States"]["BaseImage"]["Result"]
    assert (image["memory"], image["more_memory"]) == ("7600", "15200")


def test_a_host_that_went_is_tried_once_more_on_demand() -> None:
    states = machine()
    _, second = scene(states, "GatherSceneAgain?")["Choices"]
    patterns = [test["StringMatches"] for test in second["And"][-1]["Or"]]
    assert patterns == ["Host EC2*", "*CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY*"]
    again = scene(states, "GatherSceneOnDemand")
    assert again["Parameters"] == {
        "queue.$": "$.job.fallback",
        "memory.$": "$.job.memory",
        "second": True,
    }


def test_every_failure_goes_through_finish_and_fails_the_execution() -> None:
    states = machine()["States"]
    for name in ("Query", "Filter", "Gather", "Assess", "Finish"):
        assert states[name]["Catch"][-1] == {
            "ErrorEquals": ["States.ALL"],
            "ResultPath": "$.error",
            "Next": "FinishFailed",
        }
    assert states["OverBudget"]["Next"] == "FinishFailed"
    assert states["FinishFailed"]["Next"] == "Failed"
    assert states["FinishFailed"]["Catch"][0]["Next"] == "Unheard"


def test_more_rounds_go_back_to_the_filter_with_the_next_number() -> None:
    states = machine()["States"]
    (again,) = states["Covered?"]["Choices"]
    assert again["Next"] == "NextRound"
    assert states["NextRound"]["Next"] == "Filter"
    kept = {field.name for field in fields(RunPlaces)} | {"round"}
    assert {key.removesuffix(".$") for key in states["NextRound"]["Parameters"]} == kept


def test_a_distributed_map_reads_its_items_from_s3() -> None:
    gather = machine(distributed=True, concurrency=300)["States"]["Gather"]
    assert gather["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert gather["ItemReader"]["Parameters"]["Key.$"] == "$.plan.indices_key"
    assert gather["MaxConcurrency"] == 300
    assert "ItemsPath" not in gather


def test_jobs_take_one_parameter_the_uri_of_their_task() -> None:
    for name, state in nested(machine()):
        if state["Type"] == "Task" and "batch" in state["Resource"]:
            assert list(state["Parameters"]["Parameters"]) == ["task_uri.$"], name
