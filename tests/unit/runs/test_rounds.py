"""Rounds: whether another one follows, and how a run ends."""

from typing import Any

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.selection.holes import Holes
from cloudbuster.models import (
    Assessment,
    Candidates,
    CandidatesInfo,
    LayerCoverage,
    MosaicRequest,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.runs import rounds
from cloudbuster.runs.rounds import next_round
from cloudbuster.selection.clear_strategy import LookOptions
from tests.factories import box_document

AOI = box_document(15.0, 45.0, 15.1, 45.1)
REQUEST = MosaicRequest.model_validate({"name": "m", "aoi": AOI, "limits": {"max_rounds": 3}})
FILLED = Holes(
    grid=Grid("EPSG:32633", 500_000, 5_000_000, 100, 100, 2, 2),
    never_clear=np.ones((2, 2), dtype=bool),
    empty=np.zeros((2, 2), dtype=bool),
    total=4,
    never_clear_share=1.0,
)
ITEMS = tuple(
    {"id": name, "properties": {"datetime": f"2023-05-{day}T10:00:00Z"}}
    for name, day in (("a", 20), ("b", 15), ("c", 10))
)
CANDIDATES = Candidates(
    features=ITEMS, cloudbuster=CandidatesInfo(aoi=AOI, kind="L2A", catalog="local")
)


def selection(*names: str, strategy: str = "clear") -> Selection:
    return Selection(
        features=tuple(item for item in ITEMS if item["id"] in names),
        cloudbuster=SelectionInfo(
            aoi=AOI,
            kind="L2A",
            catalog="local",
            strategy=strategy,
            entries=tuple(SelectionEntry(item_id=name, backstop=False) for name in names),
            uncovered_by_layer=(0.0,),
            uncovered=0.0,
            covered=True,
        ),
    )


def assessment(*, covered: bool, made: int = 1) -> Assessment:
    return Assessment(
        area_km2=1.0,
        coverage=(LayerCoverage(times=1, covered_fraction=0.5),),
        never_observed_fraction=0.0,
        never_clear_fraction=0.5,
        backstop_fraction=0.5,
        hole_fraction=0.0,
        scenes_selected=1,
        scenes_gathered=1,
        covered=covered,
        rounds=made,
        reasons=() if covered else ("half is cloudy",),
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the filter was asked for; it adds scene b unless ``adds`` is None."""
    calls: dict[str, Any] = {"adds": selection("a", "b")}

    def extend(*arguments: Any, **options: Any) -> Selection | None:
        calls.update(options, arguments=arguments)
        added: Selection | None = calls["adds"]
        return added

    monkeypatch.setattr(rounds, "extend_selection", extend)
    return calls


def decide(
    made: Assessment, picks: Selection | None = None, **options: Any
) -> tuple[Assessment, Selection | None]:
    given: dict[str, Any] = {"failed": ("c",), "look": LookOptions()} | options
    picked = picks or selection("a")
    return next_round(REQUEST, CANDIDATES, picked, made, FILLED, **given)


def test_a_further_round_gathers_what_the_filter_adds_for_the_holes(asked: dict[str, Any]) -> None:
    made = assessment(covered=False)
    assert decide(made) == (made, asked["adds"])
    assert asked["arguments"][-1] is FILLED
    assert asked["failed"] == ("c",)
    assert asked["bands"] == REQUEST.gather.bands or asked["bands"]


@pytest.mark.parametrize("strategy", ["clear", "original"])
def test_a_run_ends_once_its_area_is_covered(asked: dict[str, Any], strategy: str) -> None:
    ended, more = decide(assessment(covered=True), selection("a", strategy=strategy))
    assert (ended.end, ended.reasons, more) == ("covered", (), None)
    assert "arguments" not in asked


def test_strategy_original_makes_one_round(asked: dict[str, Any]) -> None:
    ended, more = decide(assessment(covered=False), selection("a", strategy="original"))
    assert (ended.end, ended.reasons, more) == ("rounds-spent", ("half is cloudy",), None)
    assert "arguments" not in asked


@pytest.mark.parametrize("made", [3, 4])
def test_a_run_ends_when_its_rounds_are_spent(asked: dict[str, Any], made: int) -> None:
    ended, more = decide(assessment(covered=False, made=made))
    reason = "3 rounds were made, as many as max_rounds allows"
    assert (ended.end, ended.reasons[1:], more) == ("rounds-spent", (reason,), None)
    assert "arguments" not in asked


def test_a_run_ends_when_no_candidate_adds_anything(asked: dict[str, Any]) -> None:
    asked["adds"] = None
    ended, more = decide(assessment(covered=False))
    reason = (
        "none of the 3 candidates (2023-05-10 to 2023-05-20) shows the rest clear; "
        "1 of them were taken"
    )
    assert (ended.end, ended.reasons[1:], more) == ("no-more-candidates", (reason,), None)


def test_a_run_ends_when_the_next_round_would_exceed_the_budget(asked: dict[str, Any]) -> None:
    costed: list[Selection] = []

    def is_affordable(extended: Selection) -> bool:
        costed.append(extended)
        return False

    ended, more = decide(assessment(covered=False), is_affordable=is_affordable)
    reason = "1 more scenes would exceed limits.budget_usd"
    assert (ended.end, ended.reasons[1:], more) == ("over-budget", (reason,), None)
    assert costed == [asked["adds"]]
    made = assessment(covered=False)
    assert decide(made, is_affordable=lambda _: True) == (made, asked["adds"])
