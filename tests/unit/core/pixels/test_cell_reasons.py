"""Why a look at a cell won or lost, by the composite."""

import pytest

from cloudbuster.core.pixels.cell_reasons import (
    CellLook,
    cost_reasons,
    first_reasons,
    reasons_of,
    statistic_reasons,
)
from cloudbuster.core.pixels.masks import PixelClass

NO_DATA, MASKED, LOW, CLEAR = (CellLook(code) for code in PixelClass)
BACKSTOP = CellLook(PixelClass.MASKED, backstop=True)
REFUSED = CellLook(PixelClass.CLEAR, refused="haze")


@pytest.mark.parametrize(
    ("looks", "chosen", "fates"),
    [
        ([CLEAR, CLEAR, MASKED, BACKSTOP], 0, ["chosen", "later", "masked", "later"]),
        ([LOW, CLEAR, NO_DATA], 1, ["low-rank", "chosen", "no-data"]),
        ([LOW, LOW], 0, ["chosen", "later"]),
        ([MASKED, BACKSTOP], 1, ["masked", "chosen"]),
        ([MASKED, NO_DATA], None, ["masked", "no-data"]),
        ([REFUSED, CLEAR], 1, ["refused", "chosen"]),
    ],
)
def test_first_prefers_the_class_and_then_the_order(
    looks: list[CellLook], chosen: int | None, fates: list[str]
) -> None:
    assert [reason.fate for reason in first_reasons(looks, chosen)] == fates


def test_costs_say_by_how_much_a_look_lost() -> None:
    cheap = CellLook(PixelClass.CLEAR, costs={"haze": 10.0, "shade": 2.5})
    dear = CellLook(PixelClass.CLEAR, costs={"haze": 80.0, "shade": 0.0})
    reasons = cost_reasons([dear, cheap, MASKED], 1)
    assert [reason.fate for reason in reasons] == ["dearer", "chosen", "masked"]
    assert reasons[0].why == "cost 80.00 (haze 80.00, shade 0.00); the chosen look costs 12.50"
    assert reasons[1].why == "cost 12.50 (haze 10.00, shade 2.50)"


def test_a_cheaper_look_loses_to_the_scene_of_the_neighbours() -> None:
    looks = [CellLook(PixelClass.CLEAR, costs={"haze": cost}) for cost in (5.0, 10.0)]
    why = cost_reasons(looks, 1)[0].why
    assert why.endswith("the chosen look costs 10.00, and its neighbours come from the same scene")


def test_a_statistic_uses_every_look_of_the_best_class() -> None:
    reasons = statistic_reasons([CLEAR, LOW, CLEAR, MASKED, BACKSTOP], 2)
    assert [reason.fate for reason in reasons] == ["used", "low-rank", "chosen", "masked", "later"]


def test_a_composite_of_another_version_is_explained_by_the_order() -> None:
    assert reasons_of("unheard-of") is first_reasons
    assert reasons_of("percentile:25") is statistic_reasons
