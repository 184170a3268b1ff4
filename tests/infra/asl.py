"""Check Amazon States Language for what neither CDK nor CloudFormation look at."""

from collections.abc import Iterator
from typing import Any

State = dict[str, Any]

COMMON = {"Type", "Comment", "InputPath", "OutputPath"}
FLOW = {"Next", "End"}
CAUGHT = {"Retry", "Catch", "ResultSelector", "ResultPath", "Parameters"}
# https://states-language.net/spec.html and the fields that AWS adds (Label, ItemReader, ...).
FIELDS = {
    "Task": COMMON | FLOW | CAUGHT | {"Resource", "TimeoutSeconds", "HeartbeatSeconds"},
    "Pass": COMMON | FLOW | {"Result", "ResultPath", "Parameters"},
    "Choice": COMMON | {"Choices", "Default"},
    "Fail": {"Type", "Comment", "Error", "ErrorPath", "Cause", "CausePath"},
    "Map": COMMON
    | FLOW
    | CAUGHT
    | {"ItemsPath", "ItemSelector", "ItemProcessor", "MaxConcurrency"}
    | {"Label", "ItemReader", "ResultWriter"},
}
RETRY = {
    "ErrorEquals",
    "IntervalSeconds",
    "BackoffRate",
    "MaxAttempts",
    "MaxDelaySeconds",
    "JitterStrategy",
}
TESTS = {"BooleanEquals", "StringEquals", "StringMatches", "IsPresent"}


def problems(machine: dict[str, Any]) -> list[str]:
    """What is wrong with a definition, one line each."""
    extra = set(machine) - {"StartAt", "States", "TimeoutSeconds", "Comment"}
    return [*(f"unknown field {name}" for name in sorted(extra)), *_in_states(machine, "")]


def nested(machine: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """Every state of a definition, those of its maps too."""
    for name, state in machine["States"].items():
        yield name, state
        if state["Type"] == "Map":
            yield from nested(state["ItemProcessor"])


def _in_states(machine: dict[str, Any], where: str) -> Iterator[str]:
    states = machine["States"]
    reached = {machine["StartAt"]}
    for name, state in states.items():
        place = f"{where}{name}"
        targets = _targets(state)
        reached |= set(targets)
        yield from _in_state(state, place)
        yield from (f"{place}: no state {target}" for target in targets if target not in states)
        if state["Type"] == "Map":
            yield from _in_states(state["ItemProcessor"], f"{place}/")
    yield from (f"{where}{name}: cannot be reached" for name in sorted(set(states) - reached))


def _in_state(state: State, place: str) -> Iterator[str]:
    for field in sorted(set(state) - FIELDS[state["Type"]]):
        yield f"{place}: unknown field {field}"
    for entry in state.get("Retry", []):
        for field in sorted(set(entry) - RETRY):
            yield f"{place}: unknown field {field} of Retry"
    goes = {"Next", "Default"} & set(state) or state.get("End") or state["Type"] == "Fail"
    if not goes:
        yield f"{place}: goes nowhere"
    for rule in state.get("Choices", []):
        yield from _in_rule(rule, place)


def _in_rule(rule: dict[str, Any], place: str) -> Iterator[str]:
    for combined in ("And", "Or"):
        for part in rule.get(combined, []):
            yield from _in_rule(part, place)
    if "Variable" in rule and not TESTS & set(rule):
        yield f"{place}: a rule tests nothing"
    for field in sorted(set(rule) - TESTS - {"Variable", "Next", "And", "Or"}):
        yield f"{place}: unknown field {field} of a rule"


def _targets(state: State) -> list[str]:
    targets = [state.get("Next"), state.get("Default")]
    targets += [entry["Next"] for entry in state.get("Catch", [])]
    targets += [rule["Next"] for rule in state.get("Choices", [])]
    return [target for target in targets if target is not None]
