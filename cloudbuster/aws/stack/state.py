"""Entries of the state machine's state that describe a run."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from cloudbuster.storage.files.run_layout import RunLayout

RUN = tuple(field.name for field in fields(RunLayout))
"""Fields of the entry ``run``, which Query returns."""
PLAN = (
    "task_count",
    "todo_count",
    "indices",
    "indices_key",
    "image",
    "estimate_usd",
    "budget_usd",
    "budget_name",
    "within_budget",
)
"""Fields of the entry ``plan``, which Filter returns."""
ASSESS = (
    "more_rounds",
    "scenes",
    "merge_task_uri",
    "survey_task_uri",
    "part_count",
    "parts",
)
"""Fields of the entry ``assess``, which Assess returns."""
NOT_NOTIFIED = "not_notified"
"""Entry with the error of a last state that could not publish the outcome."""
GATHERED = "SUCCEEDED"
"""Status of a gathered scene in the results of the map."""


def layout_of(run: Mapping[str, Any]) -> RunLayout:
    """Read a run's layout from the entry ``run``."""
    return RunLayout(**{name: str(run[name]) for name in RUN})


def first_round(layout: RunLayout) -> dict[str, Any]:
    """Make the entry ``run`` of the first round."""
    return {**asdict(layout), "round": 1}


def failed_numbers(results: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    """Numbers of the tasks whose scene was not gathered.

    Parameters
    ----------
    results : iterable of mapping
        Results of the map. It has none for the tasks that an earlier attempt finished.
    """
    return frozenset(int(result["index"]) for result in results if result["status"] != GATHERED)
