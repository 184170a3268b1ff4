"""Walks through Amazon States Language, and a check for fields that asl-validator ignores."""

from collections.abc import Iterator
from typing import Any

from infra.definition import JobTarget, Targets

AslState = dict[str, Any]

JOB = JobTarget("arn:definition:1", "arn:queue", "arn:on-demand", 7600, timeout_s=50_400)
TARGETS = Targets(
    query="arn:query",
    filter="arn:filter",
    assess="arn:assess",
    finish="arn:finish",
    gather={"base": JOB},
    merge=JOB,
    bucket="bucket",
)

# Fields of https://states-language.net/spec.html and those that AWS adds. asl-validator checks the
# fields of states and of their processors, but not those of these objects.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
RETRY = {
    "ErrorEquals",
    "IntervalSeconds",
    "BackoffRate",
    "MaxAttempts",
    "MaxDelaySeconds",
    "JitterStrategy",
}
CATCH = {"ErrorEquals", "ResultPath", "Next"}
RULE = {"Variable", "Next", "And", "Or"}
TESTS = {
    "BooleanEquals",
    "StringEquals",
    "StringMatches",
    "NumericEquals",
    "NumericGreaterThan",
    "IsPresent",
}
# https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
ITEM_READER = {"Resource", "ReaderConfig", "Parameters"}
RESULT_WRITER = {"Resource", "Parameters"}


def nested(machine: dict[str, Any]) -> Iterator[tuple[str, AslState]]:
    """Yield all states of a definition, with those of its maps."""
    for name, state in machine["States"].items():
        yield name, state
        if state["Type"] == "Map":
            yield from nested(state["ItemProcessor"])


def unknown_fields(machine: dict[str, Any]) -> list[str]:
    """List the fields that are in no specification, one line each."""
    return [
        f"{name}: unknown field {field} of {where}"
        for name, state in nested(machine)
        for where, known, entry in _objects(state)
        for field in sorted(set(entry) - known)
    ]


def _objects(state: AslState) -> Iterator[tuple[str, set[str], dict[str, Any]]]:
    """Yield the objects of a state with their kinds and the fields that they may have."""
    for kind, known in (("Retry", RETRY), ("Catch", CATCH)):
        yield from ((kind, known, entry) for entry in state.get(kind, []))
    for kind, known in (("ItemReader", ITEM_READER), ("ResultWriter", RESULT_WRITER)):
        yield kind, known, state.get(kind, {})
    for rule in state.get("Choices", []):
        yield from (("a rule", RULE | TESTS, part) for part in _parts(rule))


def _parts(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a rule of a choice, and the rules that it combines."""
    yield rule
    for combined in ("And", "Or"):
        for part in rule.get(combined, []):
            yield from _parts(part)
