"""Tests of the texts of shares and areas."""

import pytest

from cloudbuster.core.texts.number_texts import format_area, format_percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50.00 %"),
        (0.0123, "1.23 %"),
        (0.00001, "< 0.01 %"),
        (0.999999, "> 99.99 %"),
    ],
)
def test_only_nothing_and_all_are_written_as_0_and_100_percent(share: float, text: str) -> None:
    assert format_percent(share) == text


@pytest.mark.parametrize(
    ("km2", "text"), [(0.12345, "0.1235"), (154.32, "154.3"), (12056.4, "12,056")]
)
def test_an_area_is_written_without_a_power_of_ten(km2: float, text: str) -> None:
    assert format_area(km2) == text
