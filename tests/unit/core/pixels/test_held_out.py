"""Sums of a self-check, against values by hand."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cloudbuster.core.pixels.held_out import (
    GroundType,
    HeldOut,
    HeldOutTally,
    error_bounds,
    ground_types,
)

ALL = tuple(GroundType)
BANDS = ("B02", "B03", "B08", "B11")


def row(*values: int) -> np.ndarray:
    return np.array([values])


def pixels(*cells: tuple[int, ...]) -> np.ndarray:
    """One row of cells, given the bands of each."""
    return np.array(cells, np.uint16).T[:, np.newaxis]


LAND, WATER, SNOW = (500, 700, 3000, 2000), (400, 300, 100, 50), (8000, 8000, 7000, 600)


def test_ground_is_known_by_its_reflectance() -> None:
    # A cloud is bright in the short-wave infrared too, and a lake is dark.
    cloud = (6000, 6000, 6100, 5000)
    types = ground_types(pixels(LAND, WATER, SNOW, cloud), BANDS)
    assert_array_equal(types, row(GroundType.LAND, GroundType.WATER, GroundType.SNOW, 0))


@pytest.mark.parametrize("missing", ["B03", "B08"])
def test_without_green_or_near_infrared_all_ground_is_land(missing: str) -> None:
    bands = [band for band in BANDS if band != missing]
    kept = [BANDS.index(band) for band in bands]
    types = ground_types(pixels(LAND, WATER, SNOW)[kept], bands)
    assert_array_equal(types, row(0, 0, 0))


def block(**changes: np.ndarray) -> HeldOut:
    """Four cells of land of which all are clear, and the mosaic is 10 DN brighter in every band."""
    reference = pixels(*[LAND] * 4)
    ones = np.ones((1, 4), bool)
    values: dict[str, np.ndarray] = {
        "mosaic": reference + np.uint16(10),
        "reference": reference,
        "second": reference - np.uint16(6),
        "shown": ones,
        "usable": ones,
        "second_usable": ones,
        "inside": ones,
    }
    return HeldOut(**values | changes)


def test_differences_and_floor_are_root_mean_squares() -> None:
    tally = HeldOutTally(BANDS)
    mosaic = pixels(*[LAND] * 4) + pixels(*[(dn,) * 4 for dn in (3, 4, 0, 5)]).astype(np.uint16)
    tally.add(block(mosaic=mosaic, shown=row(1, 1, 1, 0) == 1))
    errors = tally.band_errors(ALL, "B02")
    difference = math.sqrt((9 + 16 + 0) / 3)
    assert errors["difference_dn"] == pytest.approx(difference)
    assert errors["floor_dn"] == 6
    assert errors["mae_dn"] == pytest.approx(7 / 3)
    assert errors["bias_dn"] == pytest.approx(7 / 3)
    assert (errors["least_error_dn"], errors["error_dn"]) == error_bounds(difference, 6)
    assert_array_equal(tally.blocks, [1, 1, 4, 4, 3])
    assert_array_equal(tally.cells[GroundType.LAND], [4, 3, 0, 0])


def test_the_error_of_one_clear_date_is_taken_off() -> None:
    # Errors of 30 and 40 differ by 50, and two dates with errors of 40 by 40 * sqrt(2).
    least, probable = error_bounds(50, 40 * math.sqrt(2))
    assert least == pytest.approx(30)
    # In the middle between 30 and 50, by squares.
    assert probable == pytest.approx(math.sqrt(1700))
    least, probable = error_bounds(6, 40)
    assert least == 0
    assert probable == pytest.approx(6 / math.sqrt(2))


def test_cells_that_are_too_bright_or_too_dark_are_counted() -> None:
    mosaic = pixels((1001, 700, 3000, 2000), (1000, 700, 3000, 2000), (500, 700, 2199, 2000), LAND)
    tally = HeldOutTally(BANDS)
    tally.add(block(mosaic=mosaic))
    assert_array_equal(tally.cells[GroundType.LAND], [4, 4, 1, 1])


def test_types_of_ground_are_apart() -> None:
    reference = pixels(LAND, WATER, WATER, SNOW)
    tally = HeldOutTally(BANDS)
    tally.add(block(reference=reference, mosaic=reference + row(1, 2, 2, 3).astype(np.uint16)))
    found = [tally.band_errors((ground,), "B08")["difference_dn"] for ground in ALL]
    assert found == [1, 2, 2 + 1]
    assert tally.band_errors(ALL, "B08")["difference_dn"] == pytest.approx(math.sqrt(18 / 4))


def test_only_usable_cells_are_compared_and_pairs_need_both_dates() -> None:
    tally = HeldOutTally(BANDS)
    tally.add(block(usable=row(1, 1, 0, 0) == 1, second_usable=row(0, 1, 1, 0) == 1))
    assert tally.cells[GroundType.LAND].tolist() == [2, 2, 0, 0]
    assert tally.sums[GroundType.LAND, 0].tolist() == [20, 20, 200, 1, 36]


def test_without_a_second_date_there_is_no_floor_and_no_error() -> None:
    tally = HeldOutTally(BANDS)
    tally.add(block(second_usable=row(0, 0, 0, 0) == 1))
    errors = tally.band_errors(ALL, "B02")
    assert (errors["difference_dn"], errors["floor_dn"], errors["error_dn"]) == (10, None, None)


def test_without_anything_to_compare_there_are_no_errors() -> None:
    tally = HeldOutTally(BANDS)
    tally.skip(np.ones((1, 4), bool))
    assert set(tally.band_errors(ALL, "B02").values()) == {None}
    assert_array_equal(tally.blocks, [1, 0, 4, 0, 0])


def test_tallies_add_up_in_any_order() -> None:
    whole, parts = HeldOutTally(BANDS), [HeldOutTally(BANDS) for _ in range(2)]
    for part, cells in zip(parts, ([LAND] * 4, [SNOW] * 4), strict=True):
        added = block(reference=pixels(*cells))
        whole.add(added)
        part.add(added)
    joined = HeldOutTally(BANDS)
    for part in reversed(parts):
        joined.add_tally(*(sums.ravel().tolist() for sums in (part.blocks, part.cells, part.sums)))
    for name in ("blocks", "cells", "sums"):
        assert_array_equal(getattr(joined, name), getattr(whole, name))
    with pytest.raises(ValueError, match="reshape"):
        joined.add_tally([1], [2], [3])
