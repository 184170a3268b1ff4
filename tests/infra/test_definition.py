"""The state machine as a pure function of the functions and jobs that it calls."""

import importlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.aws.client.watch import STAGES
from cloudbuster.aws.stack.state import RUN
from infra.definition import definition
from infra.job_states import THROTTLED
from tests.infra.asl import JOB, TARGETS, nested, unknown_fields
from tests.infra.conftest import CONFIGS, Synth
from tests.infra.templates import state_machine

Machine = dict[str, Any]


def machine(*, distributed: bool = False, torch: bool = True, concurrency: int = 5) -> Machine:
    images = ("base", "torch") if torch else ("base",)
    targets = replace(TARGETS, gather=dict.fromkeys(images, JOB))
    return definition(targets, concurrency=concurrency, distributed=distributed)


def items(states: Machine) -> Machine:
    """States of the map of the scenes."""
    found: Machine = states["Gather"]["ItemProcessor"]["States"]
    return found


def scene(states: Machine, name: str) -> dict[str, Any]:
    state: dict[str, Any] = items(states["States"])[name]
    return state


def check(validator: Path, *definitions: Path) -> subprocess.CompletedProcess[str]:
    """Run asl-validator; its whole output is in ``stdout``."""
    words = [word for path in definitions for word in ("--json-path", str(path))]
    return subprocess.run(
        [validator, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def write(folder: Path, name: str, content: Machine) -> Path:
    path = folder / f"{name}.asl.json"
    path.write_text(json.dumps(content))
    return path


def test_asl_validator_accepts_every_definition(asl_validator: Path, tmp_path: Path) -> None:
    definitions = [
        write(tmp_path, f"{distributed=} {torch=}", machine(distributed=distributed, torch=torch))
        for distributed in (False, True)
        for torch in (False, True)
    ]
    done = check(asl_validator, *definitions)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("is valid") == len(definitions)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_asl_validator_accepts_the_definition_in_the_template(
    asl_validator: Path, tmp_path: Path, synth: Synth, config: dict[str, object]
) -> None:
    done = check(asl_validator, write(tmp_path, "deployed", state_machine(synth(**config))))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda states: states["Query"].update(Nxt="Filter"), "/States/Query is invalid"),
        (lambda states: states["Filter"].update(Next="Budget"), "target: Budget"),
        (lambda states: states["Finish"].pop("End"), 'exactly one of "End", "Next"'),
        (lambda states: states["Filter"].update(Next="Gather"), "WithinBudget is not reachable"),
        (lambda states: states["Query"].update(ResultPath="$.a[*]"), "asl_result_path"),
        (lambda states: items(states)["Lost"].update(Default="Gone"), "target: Gone"),
    ],
    ids=["field", "target", "end", "unreachable", "path", "in_a_map"],
)
def test_asl_validator_refuses_a_wrong_definition(
    asl_validator: Path, tmp_path: Path, spoil: Callable[[Machine], None], problem: str
) -> None:
    spoilt = machine()
    spoil(spoilt["States"])
    done = check(asl_validator, write(tmp_path, "spoilt", spoilt))
    assert done.returncode != 0
    assert problem in done.stdout


@pytest.mark.parametrize("distributed", [False, True])
def test_retries_catches_and_rules_have_no_unknown_field(*, distributed: bool) -> None:
    assert unknown_fields(machine(distributed=distributed)) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda states: states["Query"]["Retry"][0].update(Jitter="FULL"), "Query: unknown field"),
        (lambda states: states["Query"]["Catch"][0].update(Nxt="Failed"), "Query: unknown field"),
        (lambda states: states["Covered?"]["Choices"][0].update(Nxt="A"), "Covered?: unknown"),
        (lambda states: states["Gather"]["ItemReader"].update(Bucket="b"), "Gather: unknown"),
    ],
    ids=["retry", "catch", "rule", "reader"],
)
def test_an_unknown_field_is_found(spoil: Callable[[Machine], None], problem: str) -> None:
    spoilt = machine(distributed=True)
    spoil(spoilt["States"])
    (found,) = unknown_fields(spoilt)
    assert found.startswith(problem)


@pytest.mark.parametrize("distributed", [False, True])
def test_an_independent_parser_reads_the_definition(*, distributed: bool) -> None:
    # Imported by name here: it has no types, and the import takes seconds.
    parser = importlib.import_module("moto.stepfunctions.parser.asl.parse.asl_parser")
    parser.AmazonStateLanguageParser.parse(json.dumps(machine(distributed=distributed)))


def test_states_follow_the_straight_line() -> None:
    states = machine()["States"]
    order, name = [], machine()["StartAt"]
    while name != "Finish":
        order.append(name)
        state = states[name]
        name = state.get("Next") or state["Default"]
    assert [name for name in order if "Image" not in name and "Prepare" not in name] == [
        *("Request", "Query", "Filter", "WithinBudget", "Gather", "Assess", "Covered?"),
        *("InParts?", "MergeFirstTry", "Merge", "Merged"),
    ]


def test_a_mosaic_in_parts_is_surveyed_then_merged_in_a_map_then_assembled() -> None:
    states = machine(concurrency=7)["States"]
    (rule,) = states["InParts?"]["Choices"]
    assert (rule["Variable"], rule["NumericGreaterThan"]) == ("$.assess.part_count", 1)
    order, name = [], rule["Next"]
    while name != "Finish":
        order.append(name)
        name = states[name]["Next"]
    assert order == [
        *("SurveyFirstTry", "Survey", "MergeParts", "MergeFirstTry", "Merge", "Merged")
    ]
    parts = states["MergeParts"]
    assert (parts["ItemsPath"], parts["MaxConcurrency"]) == ("$.assess.parts", 7)
    assert parts["ItemSelector"] == states["Gather"]["ItemSelector"]


def test_a_part_that_fails_ends_the_run_with_its_own_error() -> None:
    part = machine()["States"]["MergeParts"]["ItemProcessor"]["States"]
    assert part["MergePartAgain?"]["Default"] == "PartFailed"
    assert part["MergePartNotDescribed"]["Next"] == "PartFailed"
    assert part["PartFailed"] == {
        "Type": "Fail",
        "Error": "JobFailed",
        "CausePath": "$.error.Cause",
    }
    assert part["MergePart"]["Catch"][0]["Next"] == "PartRefused"
    assert part["PartRefused"]["ErrorPath"] == "$.error.Error"
    assert part["MergePartTimedOut?"]["Default"] == "PartTimedOut"


def leading_to(states: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the errors that may be caught on a way to a state of one map."""
    for state in states.values():
        for rule in state.get("Catch", ()):
            reached, todo = set(), [rule["Next"]]
            while todo:
                at = todo.pop()
                if at in reached:
                    continue
                reached.add(at)
                entries = (states[at], *states[at].get("Choices", ()))
                todo += [e[key] for e in entries for key in ("Next", "Default") if key in e]
            if name in reached:
                yield from rule["ErrorEquals"]


@pytest.mark.parametrize("distributed", [False, True])
def test_no_fail_state_takes_a_name_that_step_functions_reserve(*, distributed: bool) -> None:
    """See https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html."""
    outer = machine(distributed=distributed)["States"]
    inner = [state["ItemProcessor"]["States"] for state in outer.values() if "Map" in state["Type"]]
    assert len(inner) == 2
    for states in inner:
        for name, state in states.items():
            if "ErrorPath" in state:
                assert not [e for e in leading_to(states, name) if e.startswith("States.")], name
    fixed = [state["Error"] for _, state in nested({"States": outer}) if "Error" in state]
    assert fixed
    assert not [name for name in fixed if name.startswith("States.")]
    # That of the whole machine takes the name from the last function, which renames reserved ones.
    assert outer["Failed"]["ErrorPath"] == "$.finish.error"


@pytest.mark.parametrize("job", ["Survey", "Merge"])
def test_a_job_of_the_whole_mosaic_that_fails_ends_the_run(job: str) -> None:
    states = machine()["States"]
    assert states[f"{job}Again?"]["Default"] == "FinishFailed"
    assert states[job]["Catch"][0]["Next"] == "FinishFailed"
    assert states[f"{job}MoreMemory"]["Parameters"]["memory.$"] == "$.job.more_memory"


def test_every_task_retries_and_catches() -> None:
    for name, state in nested(machine()):
        if state["Type"] == "Task":
            assert state["Retry"], name
            assert state["Catch"], name


# Errors of a call that Lambda rejects for a while, above all after a function was idle for weeks.
UNAVAILABLE = (
    "Lambda.CodeArtifactUserPendingException",
    "Lambda.ResourceNotReadyException",
    "Lambda.ResourceConflictException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
)


@pytest.mark.parametrize("error", UNAVAILABLE)
def test_every_function_is_called_again_for_minutes_after_a_first_wait_of_ten_seconds(
    error: str,
) -> None:
    called = [state for _, state in nested(machine()) if "lambda" in str(state.get("Resource"))]
    assert len(called) == 6
    for state in called:
        entry = next(entry for entry in state["Retry"] if error in entry["ErrorEquals"])
        waits = [
            min(entry["IntervalSeconds"] * entry["BackoffRate"] ** number, entry["MaxDelaySeconds"])
            for number in range(entry["MaxAttempts"])
        ]
        # With jitter the first wait may be next to nothing.
        assert entry["JitterStrategy"] == "NONE"
        assert waits[0] >= 10
        assert 300 <= sum(waits) <= 600


def test_every_submission_has_a_time_out_and_a_second_try_on_demand() -> None:
    submitted = {
        name: state
        for name, state in nested(machine())
        if state["Type"] == "Task" and "batch" in state["Resource"]
    }
    assert {*submitted} == {"GatherScene", "Survey", "MergePart", "Merge"}
    states = dict(nested(machine()))
    ends = {}
    for name, state in submitted.items():
        assert state["TimeoutSeconds"] == 50_400
        late = states[f"{name}TimedOut?"]
        assert state["Catch"][1]["Next"] == f"{name}TimedOut?"
        assert late["Choices"] == [
            {
                "Variable": "$.try.second",
                "BooleanEquals": False,
                "Next": f"{name}OnDemand",
            }
        ]
        ends[name] = late["Default"]
    assert ends == {
        "GatherScene": "TimedOut",
        "Survey": "MergeTimedOut",
        "MergePart": "PartTimedOut",
        "Merge": "MergeTimedOut",
    }
    # A scene is lost, a merge ends the run.
    assert states["TimedOut"]["Parameters"]["status"] == "TIMED_OUT"
    assert states["PartTimedOut"]["Error"] == "JobTimedOut"
    assert states["MergeTimedOut"]["Result"]["Error"] == "JobTimedOut"
    assert states["MergeTimedOut"]["Next"] == "FinishFailed"


def test_throttled_submissions_are_retried_with_full_jitter_before_they_are_caught() -> None:
    for name, state in nested(machine()):
        if state["Type"] != "Task" or "batch" not in state["Resource"]:
            continue
        (retry,) = state["Retry"]
        assert set(retry["ErrorEquals"]) == set(THROTTLED), name
        assert retry["JitterStrategy"] == "FULL"
        first, second, third = state["Catch"]
        assert set(THROTTLED) < set(first["ErrorEquals"])
        assert second["ErrorEquals"] == ["States.Timeout"]
        assert third["ErrorEquals"] == ["States.TaskFailed"]


def test_a_refused_submission_fails_the_whole_map() -> None:
    submit = scene(machine(), "GatherScene")
    assert submit["Catch"][0]["Next"] == "Refused"
    assert scene(machine(), "Refused")["Type"] == "Fail"


def test_map_items_are_numbers_and_results_are_number_and_status() -> None:
    gather = machine()["States"]["Gather"]
    assert gather["ItemsPath"] == "$.plan.indices"
    assert gather["ItemSelector"]["index.$"] == "$$.Map.Item.Value"
    for name in ("Gathered", "Exited", "Vanished", "TimedOut"):
        state = scene(machine(), name)
        assert {key.removesuffix(".$") for key in state["Parameters"]} == {"index", "status"}
        assert state["End"]


def test_a_job_out_of_memory_is_tried_once_more_with_twice_as_much() -> None:
    states = machine()
    first, _ = scene(states, "GatherSceneAgain?")["Choices"]
    assert first["Next"] == "GatherSceneMoreMemory"
    assert {"Variable": "$.try.second", "BooleanEquals": False} in first["And"]
    again = scene(states, "GatherSceneMoreMemory")
    assert again["Parameters"]["memory.$"] == "$.job.more_memory"
    assert again["Next"] == "GatherScene"
    image = states["States"]["BaseImage"]["Result"]
    assert (image["memory"], image["more_memory"]) == ("7600", "15200")


def test_a_job_whose_hosts_were_reclaimed_is_tried_once_more_on_demand() -> None:
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
    for name in ("Query", "Filter", "Gather", "Assess", "MergeParts", "FinishNotNotified"):
        assert states[name]["Catch"][-1] == {
            "ErrorEquals": ["States.ALL"],
            "ResultPath": "$.error",
            "Next": "FinishFailed",
        }
    assert states["OverBudget"]["Next"] == "FinishFailed"
    assert states["FinishFailed"]["Next"] == "Failed"
    assert states["FinishFailed"]["Catch"][0]["Next"] == "NotReported"


def test_no_entry_of_the_input_is_mistaken_for_one_of_the_state() -> None:
    found = machine()
    first, query = (found["States"][name] for name in (found["StartAt"], "Query"))
    assert first == {"Type": "Pass", "Parameters": {"request.$": "$"}, "Next": "Query"}
    assert query["Parameters"]["Payload"]["request.$"] == "$.request"
    # After Query the request is gone from the state, which must stay small.
    assert (query["ResultPath"], set(query["ResultSelector"])) == ("$", {"run.$"})


def test_a_finished_mosaic_succeeds_without_a_notification() -> None:
    states = machine()["States"]
    finish, last = states["Finish"], states["FinishNotNotified"]
    assert finish["Catch"] == [
        {
            "ErrorEquals": ["States.ALL"],
            "ResultPath": "$.not_notified",
            "Next": "FinishNotNotified",
        }
    ]
    assert "TryAgainError" in finish["Retry"][0]["ErrorEquals"]
    assert {**last, "Catch": finish["Catch"]} == finish
    assert last["End"] is True


def test_too_few_gathered_scenes_are_not_counted_again() -> None:
    """The state machine retries by the name of an error; these two would only occur again."""
    (again,) = machine()["States"]["Assess"]["Retry"]
    assert not {"JobsTryAgainError", "JobsFailedError"} & set(again["ErrorEquals"])


@pytest.mark.parametrize("distributed", [False, True])
def test_the_stages_that_status_watches_are_states_of_the_machine_and_of_no_map(
    *, distributed: bool
) -> None:
    states = machine(distributed=distributed)["States"]
    assert set(STAGES) <= set(states)
    inner = [
        state["ItemProcessor"]["States"] for state in states.values() if "ItemProcessor" in state
    ]
    assert len(inner) == 2
    assert not any(set(STAGES) & set(each) for each in inner)
    for name in ("Gather", "MergeParts"):
        assert states[name]["Type"] == "Map"


def test_a_round_without_scenes_to_gather_skips_the_map() -> None:
    states = machine(distributed=True)["States"]
    over, nothing, *_ = states["WithinBudget"]["Choices"]
    assert over["Next"] == "OverBudget"
    assert (nothing["Variable"], nothing["NumericEquals"]) == ("$.plan.todo_count", 0)
    assert states[nothing["Next"]] == {
        "Type": "Pass",
        "Result": [],
        "ResultPath": "$.gathered",
        "Next": "Assess",
    }


def test_more_rounds_go_back_to_the_filter_with_the_next_number() -> None:
    states = machine()["States"]
    (again,) = states["Covered?"]["Choices"]
    assert again["Next"] == "NextRound"
    assert states["NextRound"]["Next"] == "Filter"
    kept = {*RUN, "round"}
    assert {key.removesuffix(".$") for key in states["NextRound"]["Parameters"]} == kept


def test_a_distributed_map_reads_its_items_from_s3() -> None:
    gather = machine(distributed=True, concurrency=300)["States"]["Gather"]
    assert gather["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert gather["ItemReader"]["Parameters"]["Key.$"] == "$.plan.indices_key"
    assert gather["MaxConcurrency"] == 300
    assert "ItemsPath" not in gather


def test_jobs_have_one_parameter_the_uri_of_their_task() -> None:
    for name, state in nested(machine()):
        if state["Type"] == "Task" and "batch" in state["Resource"]:
            assert list(state["Parameters"]["Parameters"]) == ["task_uri.$"], name
