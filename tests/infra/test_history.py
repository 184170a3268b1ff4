"""The greatest run has fewer events than the 25 000 that the history of an execution can have."""

from collections.abc import Iterator

from cloudbuster.runs.merging import MAX_PARTS
from infra.definition import definition
from infra.job_states import AslState, AslStates
from infra.settings import INLINE_TASKS
from tests.infra.asl import TARGETS

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_EVENTS = 25_000
# Events of a state: entered and exited; for a task also scheduled, started, submitted (a job), and
# succeeded or failed; for a map also started and succeeded.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
EVENTS = {"Pass": 2, "Choice": 2, "Fail": 1, "Succeed": 2, "Task": 6, "Map": 4}
# Events of an item of a map: its start and its end.
OF_AN_ITEM = 2
# Events of each further try of a task: scheduled, started, failed.
OF_A_RETRY = 3

STATES: AslStates = definition(TARGETS, concurrency=1, distributed=False)["States"]


def next_of(state: AslState) -> Iterator[str]:
    """Yield the states that may follow."""
    for entry in (state, *state.get("Catch", ()), *state.get("Choices", ())):
        yield from (entry[key] for key in ("Next", "Default") if key in entry)


def paths(states: AslStates, name: str, *, job: str, tries: int = 2) -> Iterator[list[str]]:
    """Yield the paths through the states of an item with at most two submissions of the job."""
    tries -= name == job
    if tries < 0:
        return
    following = [*next_of(states[name])]
    if not following:
        yield [name]
    for other in following:
        yield from ([name, *rest] for rest in paths(states, other, job=job, tries=tries))


def events_of_item(name: str, job: str, *ends: str) -> int:
    """Greatest number of events of an item of a map that ends in one of these states."""
    states: AslStates = STATES[name]["ItemProcessor"]["States"]
    ways = [way for way in paths(states, job, job=job) if way[-1] in ends]
    return OF_AN_ITEM + max(sum(EVENTS[states[step]["Type"]] for step in way) for way in ways)


def events_beside_items() -> int:
    """Count the events of all states outside of the maps, with each retry of a function."""
    tries: list[int] = [
        retry["MaxAttempts"]
        for state in STATES.values()
        if "lambda" in str(state.get("Resource"))
        for retry in state["Retry"]
    ]
    # Twice, since survey and merge may have a second try too.
    twice = 2 * sum(EVENTS[state["Type"]] for state in STATES.values())
    return 2 + twice + OF_A_RETRY * sum(tries)


def test_an_item_with_a_second_try_has_24_events() -> None:
    assert events_of_item("Gather", "GatherScene", "Gathered") == 24
    assert events_of_item("MergeParts", "MergePart", "PartMerged") == 24
    assert events_of_item("Gather", "GatherScene", "Exited", "Vanished") == 32


def test_a_history_can_hold_the_greatest_run_with_a_second_try_of_each_job() -> None:
    scene = events_of_item("Gather", "GatherScene", "Gathered")
    part = events_of_item("MergeParts", "MergePart", "PartMerged")
    events = INLINE_TASKS * scene + MAX_PARTS * part + events_beside_items()
    assert events < MAX_EVENTS, events
