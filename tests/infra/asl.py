"""Look into Amazon States Language, and check of it what asl-validator takes as it is."""

from collections.abc import Iterator
from typing import Any

State = dict[str, Any]

# https://states-language.net/spec.html and the fields that AWS adds; asl-validator looks at the
# fields of states and of their processors, and lets these objects hold anything.
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


def nested(machine: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """Every state of a definition, those of its maps too."""
    for name, state in machine["States"].items():
        yield name, state
        if state["Type"] == "Map":
            yield from nested(state["ItemProcessor"])


def unknown_fields(machine: dict[str, Any]) -> list[str]:
    """Fields that no specification has in an object of a state, one line each."""
    return [
        f"{name}: unknown field {field} of {where}"
        for name, state in nested(machine)
        for where, known, entry in _objects(state)
        for field in sorted(set(entry) - known)
    ]


def _objects(state: State) -> Iterator[tuple[str, set[str], dict[str, Any]]]:
    """Objects of a state by their kind, with the fields that they may have."""
    for kind, known in (("Retry", RETRY), ("Catch", CATCH)):
        yield from ((kind, known, entry) for entry in state.get(kind, []))
    for kind, known in (("ItemReader", ITEM_READER), ("ResultWriter", RESULT_WRITER)):
        yield kind, known, state.get(kind, {})
    for rule in state.get("Choices", []):
        yield from (("a rule", RULE | TESTS, part) for part in _parts(rule))


def _parts(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A rule of a choice, and those that it is made of."""
    yield rule
    for combined in ("And", "Or"):
        for part in rule.get(combined, []):
            yield from _parts(part)
