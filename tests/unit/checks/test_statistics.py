"""Statistics computed again: one look for each datatake, of the best class at each cell."""

import numpy as np
import pytest

from cloudbuster.checks.statistics import Look, recomputed, statistic_of


def look(datatake: str, classes: list[int], *bands: list[int]) -> Look:
    values = np.array(bands, dtype=np.uint16)[:, None, :]
    return Look(datatake, values, np.array([classes], dtype=np.uint8))


LOOKS = [
    # A cell of three clear looks; one of two of low rank; one that is clear once; none.
    look("a", [3, 2, 2, 1], [100, 10, 7, 0], [200, 20, 7, 0]),
    look("b", [3, 2, 3, 0], [110, 30, 40, 0], [260, 40, 41, 0]),
    look("c", [3, 1, 1, 0], [150, 0, 0, 0], [210, 0, 0, 0]),
    # Another tile of the first datatake, which counts nothing where that has the same class.
    look("a", [3, 1, 1, 1], [900, 0, 0, 0], [900, 0, 0, 0]),
]


@pytest.mark.parametrize(
    ("composite", "first", "second"),
    [
        ("median", [110, 20, 40, 0], [210, 30, 41, 0]),
        ("percentile:0", [100, 10, 40, 0], [200, 20, 41, 0]),
        ("percentile:100", [150, 30, 40, 0], [260, 40, 41, 0]),
    ],
)
def test_statistic_of_each_band(composite: str, first: list[int], second: list[int]) -> None:
    statistic = statistic_of(composite)
    assert statistic is not None
    found = recomputed(LOOKS, statistic, 2)
    np.testing.assert_array_equal(found, np.array([[first], [second]]))


def test_the_geometric_median_of_a_square_and_its_centre_is_the_centre() -> None:
    statistic = statistic_of("geomedian")
    assert statistic is not None
    corners = np.array([[0, 0], [0, 10], [10, 0], [10, 10], [5, 5]], dtype=np.float64)
    np.testing.assert_allclose(statistic(corners), [5, 5], atol=1e-6)
    # Fermat's point of an equilateral triangle is its centre.
    triangle = np.array([[0, 0], [12, 0], [6, 6 * 3**0.5]])
    np.testing.assert_allclose(statistic(triangle), [6, 2 * 3**0.5], atol=0.01)


def test_other_composites_are_unknown() -> None:
    assert statistic_of("first") is None
    assert statistic_of("unheard-of") is None
