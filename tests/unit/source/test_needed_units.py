"""Which cells of a mosaic lie in the needed units of a scene, and which pixels they need."""

import numpy as np
import pytest
from pyproj import Transformer

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.source.needed_units import NeededUnits, rectangles, resampling_reach
from tests.factories import CRS, NORTH, WEST

SCENE = Grid(CRS, WEST, NORTH, 10, 10, 100, 100)


def flags(*rows: str) -> np.ndarray:
    return np.array([[digit == "1" for digit in row] for row in rows])


def units(*rows: str, size: float = 200) -> NeededUnits:
    """Units of some metres from the corner of the scene."""
    return NeededUnits(Grid(CRS, WEST, NORTH, size, size, len(rows[0]), len(rows)), flags(*rows))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("00", "00"), []),
        (("11", "11"), [(0, 0, 2, 2)]),
        (("10", "01"), [(0, 0, 1, 1), (1, 1, 1, 1)]),
        (("110", "110", "111"), [(0, 0, 2, 2), (2, 0, 1, 3)]),
        (("101", "101"), [(0, 0, 2, 1), (0, 2, 2, 1)]),
    ],
)
def test_units_are_read_in_few_rectangles(
    rows: tuple[str, ...], expected: list[tuple[int, int, int, int]]
) -> None:
    assert rectangles(flags(*rows)) == [GridWindow(*window) for window in expected]


def test_a_cell_belongs_to_the_unit_that_holds_its_centre() -> None:
    # Cells of 120 m under units of 200 m: centres at 60, 180 | 300 | 420, 540 | 660 m.
    target = Grid(CRS, WEST, NORTH, 120, 120, 6, 2)
    cells, holding = units("101", "000").cells(target, target.window)
    np.testing.assert_array_equal(cells, flags("110110", "110110"))
    np.testing.assert_array_equal(holding, flags("101", "000"))


def test_cells_outside_of_the_grid_of_units_are_not_needed() -> None:
    target = SCENE.crop(GridWindow(-2, -2, 44, 44))
    cells, _ = units("1").cells(target, target.window)
    expected = np.zeros((44, 44), dtype=bool)
    expected[2:22, 2:22] = True
    np.testing.assert_array_equal(cells, expected)


@pytest.mark.parametrize(
    ("crs", "cell"), [("EPSG:32632", 12.0), ("EPSG:4326", 0.0002), ("EPSG:3035", 90.0)]
)
def test_in_another_crs_cells_are_those_of_a_projection_of_every_centre(
    crs: str, cell: float
) -> None:
    needed = units("10100", "01011", "00110", "11101", "10010")
    to_scene = Transformer.from_crs(crs, CRS, always_xy=True)
    west, north = Transformer.from_crs(CRS, crs, always_xy=True).transform(WEST, NORTH)
    target = Grid(crs, west - 15 * cell, north + 15 * cell, cell, cell, 93, 101)
    cells, _ = needed.cells(target, target.window)
    expected = np.zeros(target.shape, dtype=bool)
    for row in range(target.height):
        for col in range(target.width):
            x, y = to_scene.transform(west + (col - 14.5) * cell, north - (row - 14.5) * cell)
            unit = (int((NORTH - y) // 200), int((x - WEST) // 200))
            inside = 0 <= unit[0] < 5 and 0 <= unit[1] < 5
            expected[row, col] = inside and needed.needed[unit]
    np.testing.assert_array_equal(cells, expected)
    for window in target.blocks(37):
        part, holding = needed.cells(target, window)
        np.testing.assert_array_equal(part, expected[window.slices])
        assert holding.any() == part.any()


def test_the_window_to_write_is_of_whole_tiles_that_hold_every_needed_cell() -> None:
    target = SCENE.crop(GridWindow(0, 0, 3000, 4000))
    found = units("0000", "0010", size=6000).target_window(target)
    assert found == GridWindow(512, 1024, 1024, 1024)
    assert units("0000").target_window(target).is_empty
    elsewhere = SCENE.crop(GridWindow(0, 5000, 100, 100))
    assert units("1111").target_window(elsewhere).is_empty


def test_a_copy_needs_the_pixels_of_the_unit_alone_and_a_kernel_its_margin() -> None:
    needed = units("0010", "0000")
    assert needed.source_window(SCENE, GridWindow(0, 2, 1, 1), 0) == GridWindow(0, 40, 20, 20)
    assert needed.source_window(SCENE, GridWindow(0, 2, 1, 1), 5) == GridWindow(0, 35, 25, 30)
    coarse = Grid(CRS, WEST, NORTH, 60, 60, 16, 16)
    assert resampling_reach(SCENE, SCENE, "copy") == 0
    assert resampling_reach(SCENE, SCENE.crop(GridWindow(0, 0, 9, 9)), "cubic") == 4
    assert resampling_reach(SCENE, coarse, "mean") == 6
