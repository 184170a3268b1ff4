"""Plans of runs: what they read, what they cost, and the best cover for some money."""

from pathlib import Path

import pytest

from cloudbuster.aws.bill import default_settings
from cloudbuster.aws.run_plan import Prices, plan_lines, plan_request
from cloudbuster.errors import OverBudgetError
from cloudbuster.models import RunPlan
from cloudbuster.runs.pipeline import run
from cloudbuster.runs.run_status import layout_of_earlier
from tests.half_tiles import request_of, write_candidates

# The detector that reads the masks of the product takes no time.
BY_MASKS = {"bands": ["B02", "B04"], "dilate_m": 0, "detector": {"type": "stock"}}
PRICES = Prices(default_settings("us-west-2"), "us-west-2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    write_candidates(folder)
    return folder


@pytest.fixture(scope="module")
def plan(world: Path) -> RunPlan:
    return plan_request(request_of(world, gather=BY_MASKS), PRICES)


def test_a_plan_writes_nothing(world: Path, plan: RunPlan) -> None:
    assert {path.name for path in world.iterdir()} == {"catalog"}
    assert plan.gathered_before == 0


def test_costs_are_the_sum_of_their_lines(plan: RunPlan) -> None:
    assert plan.usd == pytest.approx(sum(line.usd for line in plan.costs))
    assert (plan.usd or 0) > 0
    assert (plan.region, plan.prices_as_of) == ("us-west-2", "2026-07")


def test_the_frontier_grows_in_scenes_clear_share_and_costs(plan: RunPlan) -> None:
    assert [point.scenes for point in plan.frontier] == sorted(
        {point.scenes for point in plan.frontier}
    )
    assert plan.frontier[0].scenes == 1
    assert plan.frontier[-1].scenes == plan.work.scenes
    clear = [point.clear_fraction for point in plan.frontier]
    usd = [point.usd for point in plan.frontier]
    assert clear == sorted(clear)
    assert usd == sorted(usd)
    # One scene shows half of the area at most.
    assert clear[0] == pytest.approx(0.5, abs=0.02)
    assert clear[-1] == pytest.approx(1.0)


def test_the_most_scenes_within_the_money_are_planned(world: Path, plan: RunPlan) -> None:
    first, second = plan.frontier[:2]
    between = (first.usd + second.usd) / 2
    cheap = plan_request(request_of(world, gather=BY_MASKS), PRICES, max_usd=between)
    assert cheap.work.scenes == first.scenes == 1
    assert cheap.usd == first.usd <= between
    assert cheap.clear_fraction == first.clear_fraction
    assert not cheap.covered


def test_less_money_than_a_scene_costs_is_refused(world: Path) -> None:
    with pytest.raises(OverBudgetError, match=r"the cheapest run is expected to cost 0\.0"):
        plan_request(request_of(world, gather=BY_MASKS), PRICES, max_usd=0.0001)


def test_the_documents_and_scenes_of_an_earlier_run_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_candidates(tmp_path)
    request = request_of(tmp_path, gather=BY_MASKS)
    assert layout_of_earlier(request) is None
    assessment = run(request).assessment
    monkeypatch.setattr("cloudbuster.aws.run_plan.query_request", None)
    planned = plan_request(request, PRICES, layout_of_earlier(request))
    assert planned.work == assessment.expected
    assert planned.gathered_before == planned.work.scenes == assessment.scenes_gathered
    other = request_of(tmp_path, filter={"max_never_clear": 0.5})
    assert layout_of_earlier(other) is None


def test_a_plan_is_told_in_lines(plan: RunPlan) -> None:
    lines = plan_lines(plan)
    scenes = plan.work.scenes
    assert lines[0] == f"{scenes} scenes, 1 round expected: 100.0% of the area is seen clear"
    assert "Mpx of bands decoded" in lines[1]
    assert any(line.startswith("spot hosts") for line in lines)
    assert not any(line.startswith("GPU hosts") for line in lines)
    assert "list prices of 2026-07, us-west-2; products are stored for a month" in lines
    assert lines[-1].split()[0] == str(scenes)
