"""Statistics of looks, against values by hand and against numpy."""

import itertools
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cloudbuster.core.pixels import pixel_statistics
from cloudbuster.core.pixels.composite_methods import parse_composite
from cloudbuster.core.pixels.pixel_statistics import pixel_statistic, sorting_network

NAMES = ("median", "percentile:20", "medoid", "geomedian")


def of_one_cell(name: str, looks: list[list[int]], counts: list[int]) -> tuple[list[int], int]:
    """Compute a statistic of one cell, given the bands of each look."""
    values, source = pixel_statistic(parse_composite(name))(
        np.array(looks, np.uint16)[:, :, np.newaxis], np.array(counts, bool)[:, np.newaxis]
    )
    return values[:, 0].tolist(), int(source[0])


# Looks of two bands, those that count, and by hand: values, and the look they are nearest to.
CASES = {
    "one look": ("median", [[7, 9]], [1], [7, 9], 0),
    "the middle of three, band by band": (
        "median", [[1, 30], [2, 10], [90, 20]], [1, 1, 1], [2, 20], 1,
    ),
    "the mean of the middle two": ("median", [[10, 1], [20, 3]], [1, 1], [15, 2], 0),
    "halves go to the even number": ("median", [[10, 2], [11, 3]], [1, 1], [10, 2], 0),
    "a look that does not count": (
        "median", [[5000, 5000], [8, 8], [10, 10]], [0, 1, 1], [9, 9], 1,
    ),
    "saturated looks": ("median", [[65535, 1], [65535, 1]], [1, 1], [65535, 1], 0),
    "the least": ("percentile:0", [[4, 9], [7, 3], [5, 5]], [1, 1, 1], [4, 3], 2),
    "the greatest": ("percentile:100", [[4, 9], [7, 3], [5, 5]], [1, 1, 1], [7, 9], 0),
    "between two": ("percentile:25", [[100, 10], [200, 20]], [1, 1], [125, 12], 0),
    "no look": ("median", [[4, 9]], [0], [0, 0], -1),
    "the central look": (
        "medoid", [[10, 10], [500, 500], [11, 11], [12, 12]], [1, 1, 1, 1], [11, 11], 2,
    ),
    "the first of two": ("medoid", [[90, 90], [10, 10]], [1, 1], [90, 90], 0),
    "the second if the first does not count": (
        "medoid", [[90, 90], [10, 10]], [0, 1], [10, 10], 1,
    ),
    "two of three coincide": (
        "geomedian", [[100, 100], [900, 900], [100, 100]], [1, 1, 1], [100, 100], 0,
    ),
    "in the middle of four corners": (
        "geomedian", [[0, 0], [0, 80], [80, 80], [80, 0]], [1, 1, 1, 1], [40, 40], 0,
    ),
    "where two diagonals cross": (
        "geomedian", [[10, 100], [910, 100], [110, 10], [110, 1000]], [1, 1, 1, 1], [110, 100], 2,
    ),
    "a look inside of the others is the point": (
        "geomedian", [[50, 52], [100, 10], [10, 10], [55, 99]], [1, 1, 1, 1], [50, 52], 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_statistics_of_one_cell(case: str) -> None:
    name, looks, counts, values, source = CASES[case]
    assert of_one_cell(name, looks, counts) == (values, source)


def test_the_geometric_median_of_a_triangle_sees_its_sides_at_120_degrees() -> None:
    # Fermat's point of an isosceles triangle with base 2a is at height a / sqrt(3) above the base.
    (across, up), _ = of_one_cell("geomedian", [[1000, 1000], [3000, 1000], [2000, 5000]], [1] * 3)
    assert (across, up) == (2000, 1000 + round(1000 / 3**0.5))


def stack(looks: int, *, seed: int = 3, cells: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    pixels = random.integers(1, 12_000, (looks, 3, cells)).astype(np.uint16)
    return pixels, random.random((looks, cells)) < 0.7


@pytest.mark.parametrize("looks", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize(("name", "percent"), [("median", 50), ("percentile:20", 20)])
def test_percentiles_are_those_of_numpy(looks: int, name: str, percent: int) -> None:
    pixels, counts = stack(looks)
    values, source = pixel_statistic(parse_composite(name))(pixels, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wanted = np.nanpercentile(np.where(counts[:, None], pixels, np.nan), percent, axis=0)
    # The two round halves of a sum in another order.
    assert np.abs(values - np.nan_to_num(wanted)).max() <= 0.5 + 1e-6
    assert_array_equal(source >= 0, counts.any(axis=0))


@pytest.mark.parametrize("name", NAMES)
def test_the_source_is_the_nearest_look_that_counts(name: str) -> None:
    pixels, counts = stack(6)
    values, source = pixel_statistic(parse_composite(name))(pixels, counts)
    away = ((pixels.astype(float) - values) ** 2).sum(axis=1)
    away[~counts] = np.inf
    for cell in np.flatnonzero(counts.any(axis=0)):
        assert away[source[cell], cell] == away[:, cell].min()


def test_the_medoid_has_the_least_sum_of_distances() -> None:
    pixels, counts = stack(6)
    values, source = pixel_statistic(parse_composite("medoid"))(pixels, counts)
    for cell in np.flatnonzero(counts.any(axis=0)):
        own = pixels[counts[:, cell], :, cell].astype(float)
        sums = np.sqrt(((own[:, None] - own[None]) ** 2).sum(axis=2)).sum(axis=1)
        mine = np.sqrt(((own - values[:, cell]) ** 2).sum(axis=1)).sum()
        assert mine <= sums.min() + 0.1
        assert_array_equal(values[:, cell], pixels[source[cell], :, cell])


def test_no_point_around_the_geometric_median_has_a_lower_sum_of_distances() -> None:
    pixels, counts = stack(5, cells=60)
    values, _ = pixel_statistic(parse_composite("geomedian"))(pixels, counts)
    steps = [step for step in itertools.product((-40, 0, 40), repeat=3) if any(step)]
    for cell in np.flatnonzero(counts.sum(axis=0) > 2):
        own = pixels[counts[:, cell], :, cell].astype(float)
        here = np.linalg.norm(own - values[:, cell], axis=1).sum()
        around = [np.linalg.norm(own - values[:, cell] - step, axis=1).sum() for step in steps]
        assert here <= min(around)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_depends_on_its_own_looks_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, counts = stack(7, cells=90)
    statistic = pixel_statistic(parse_composite(name))
    values, source = statistic(pixels, counts)
    for chunk in (1, 17):
        monkeypatch.setattr(pixel_statistics, "CHUNK_CELLS", chunk)
        again, source_again = statistic(pixels, counts)
        assert_array_equal(again, values)
        assert_array_equal(source_again, source)


@pytest.mark.parametrize("size", [*range(1, 18), 33])
def test_the_network_sorts(size: int) -> None:
    # A network that sorts all zeros and ones sorts everything; for large ones a sample will do.
    random = np.random.default_rng(size)
    rows = random.integers(0, 2, (2 ** min(size, 9), size))
    if size <= 9:
        rows = np.array(list(itertools.product((0, 1), repeat=size)))
    for low, high in sorting_network(size):
        rows[:, [low, high]] = np.sort(rows[:, [low, high]], axis=1)
    assert_array_equal(rows, np.sort(rows, axis=1))
