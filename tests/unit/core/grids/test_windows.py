import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.grids.windows import (
    any_in_cells,
    cells_of_size,
    context_windows,
    covering_grid,
    mirrored,
    nearest_multiple,
    nested_size,
    overhang_cells,
    row_strips,
)

TILE = Grid("EPSG:32633", 600_000, 5_100_000, 10, 10, 50, 40)


def test_nested_size_takes_the_multiple_that_is_meant():
    assert nested_size(160, 10) == 160
    assert nested_size(160, 9.99479222007154) == 16 * 9.99479222007154
    assert nested_size(10, 9.99479222007154) == 9.99479222007154
    assert nested_size(10, 20) == 10
    assert nested_size(160, 120) == 160


def test_nearest_multiple_is_at_least_one_cell():
    assert nearest_multiple(160, 120) == 120
    assert nearest_multiple(160, 60) == 180
    assert nearest_multiple(160, 400) == 400


def test_cells_of_size_cover_the_area_from_the_corner_of_the_scene():
    area = TILE.crop(GridWindow(7, 9, 10, 10))
    cells = cells_of_size(TILE, area, 80)
    assert (cells.west, cells.north, cells.x_size) == (600_080, 5_100_000, 80)
    assert cells.shape == (3, 2)


def test_covering_grid_may_continue_beyond_the_native_one():
    native = Grid("EPSG:32633", 600_000, 5_100_000, 20, 20, 10, 10)
    grid = covering_grid(native, TILE.crop(GridWindow(15, 15, 10, 10)))
    assert grid == native.crop(GridWindow(7, 7, 6, 6))
    outside = overhang_cells(native, grid)
    assert not outside[:3, :3].any()
    assert outside[3:].all()
    assert outside[:, 3:].all()


def test_any_in_cells_marks_every_cell_that_is_touched():
    grid = Grid("EPSG:32633", 0, 0, 20, 20, 6, 2)
    target = Grid("EPSG:32633", 0, 0, 30, 50, 4, 1)
    mask = np.zeros((2, 6), dtype=np.bool_)
    mask[1, 1] = True
    np.testing.assert_array_equal(any_in_cells(mask, grid, target), [[True, True, False, False]])


def test_any_in_cells_copies_between_grids_that_share_their_lines():
    grid = Grid("EPSG:32633", 0, 0, 20, 20, 3, 2)
    mask = np.array([[True, False, True], [False, True, True]])
    shifted = grid.crop(GridWindow(1, 1, 2, 3))
    expected = [[True, True, False], [False, False, False]]
    np.testing.assert_array_equal(any_in_cells(mask, grid, shifted), expected)


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.integers(0, 40)),
)
def test_context_windows_tile_the_area_once(height, width, area):
    scene = Grid("EPSG:32633", 0, 0, 10, 10, width, height)
    times = np.zeros(scene.shape, dtype=int)
    wanted = GridWindow(*area).intersection(scene.window)
    for window in context_windows(scene, GridWindow(*area), size=16, context=4):
        assert (window.read.height, window.read.width) == (16, 16)
        assert window.read.row % 8 == 4
        assert window.keep.grown(4).intersection(window.read) == window.keep.grown(4)
        times[window.keep.slices] += 1
    expected = np.zeros_like(times)
    if not wanted.is_empty:
        expected[wanted.slices] = 1
    np.testing.assert_array_equal(times, expected)


def test_context_windows_refuse_a_window_of_context_alone():
    with pytest.raises(ValueError, match="context of 4 on each side keep no cell"):
        list(context_windows(TILE, TILE.window, size=8, context=4))


def test_mirrored_repeats_the_edge_cell_first():
    np.testing.assert_array_equal(mirrored(-3, 9, 4), [2, 1, 0, 0, 1, 2, 3, 3, 2])
    np.testing.assert_array_equal(mirrored(-2, 5, 1), [0, 0, 0, 0, 0])


def test_row_strips_hold_all_rows():
    assert list(row_strips(5, 10, 20)) == [(0, 2), (2, 2), (4, 1)]
    assert list(row_strips(2, 10, 3)) == [(0, 1), (1, 1)]
