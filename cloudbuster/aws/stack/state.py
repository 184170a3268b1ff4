"""What the state machine's state holds of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from cloudbuster.storage.run_layout import RunLayout

RUN = tuple(field.name for field in fields(RunLayout))
"""What Query answers with of a run."""
PLAN = (
    "task_count",
    "todo_count",
    "indices",
    "indices_key",
    "image",
    "estimate_usd",
    "budget_usd",
    "within_budget",
)
"""What the state Filter keeps of its function's answer."""
ASSESS = (
    "more_rounds",
    "scenes",
    "merge_task_uri",
    "survey_task_uri",
    "part_count",
    "parts",
)
"""What the state Assess keeps of its function's answer."""
GATHERED = "SUCCEEDED"
"""What the map answers for a scene that was gathered."""


def layout_of(run: Mapping[str, Any]) -> RunLayout:
    """Read a run's layout from the entry ``run`` of the state."""
    return RunLayout(**{name: str(run[name]) for name in RUN})


def first_round(layout: RunLayout) -> dict[str, Any]:
    """Make the entry ``run`` of the state, in the first round."""
    return {**asdict(layout), "round": 1}


def failed_numbers(results: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    """Numbers of the tasks whose scene was not gathered, of what the map answered.

    Tasks that the map was not given were gathered before.
    """
    return frozenset(int(result["index"]) for result in results if result["status"] != GATHERED)
