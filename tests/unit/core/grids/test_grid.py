import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo import xy_
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from cloudbuster.core.grids.grid import Grid, GridWindow, snapped_grid

CRS = "EPSG:32633"
GRID = Grid(CRS, 500_000.0, 5_100_000.0, 10.0, 20.0, 6, 4)
# Edges of bounds are between grid lines: on a line the tolerances decide, which differ.
between_lines = st.tuples(st.integers(-500, 500), st.floats(0.05, 0.95)).map(sum)


# odc-geo uses an operator of affine that affine 3 will deprecate.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@given(
    edges=st.tuples(between_lines, between_lines, between_lines, between_lines),
    size=st.sampled_from([10.0, 20.0, 60.0, 120.0, 160.0]),
    phase=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=30, deadline=None)
def test_a_snapped_grid_is_the_geobox_of_odc_geo(
    edges: tuple[float, float, float, float], size: float, phase: tuple[float, float]
) -> None:
    (west, east), (south, north) = sorted(edges[:2]), sorted(edges[2:])
    anchor = (phase[0] * size, phase[1] * size)
    bounds = (
        anchor[0] + west * size,
        anchor[1] + south * size,
        anchor[0] + east * size,
        anchor[1] + north * size,
    )
    grid = snapped_grid(CRS, bounds, cell_size=(size, size), phase=anchor)
    expected = GeoBox.from_bbox(
        BoundingBox(*bounds, crs=CRS), resolution=size, anchor=xy_(phase[0] % 1, phase[1] % 1)
    )
    assert grid.shape == expected.shape.yx
    assert tuple(grid.transform) == pytest.approx(tuple(expected.transform), abs=1e-6)


def test_a_grid_line_may_be_off_by_a_thousandth_of_a_cell() -> None:
    exact = (500_000.0, 5_099_920.0, 500_060.0, 5_100_000.0)
    assert GRID.window_of(exact) == GRID.window
    assert GRID.window_of((exact[0] - 0.009, *exact[1:])) == GRID.window
    assert GRID.window_of((exact[0] - 0.011, *exact[1:])) == GridWindow(0, -1, 4, 7)


def test_windows_may_reach_outside_of_the_grid() -> None:
    window = GRID.window_of((499_975.0, 5_099_990.0, 500_012.0, 5_100_050.0))
    assert window == GridWindow(-3, -3, 4, 5)
    assert GRID.crop(window).bounds == (499_970.0, 5_099_980.0, 500_020.0, 5_100_060.0)
    assert window.intersection(GRID.window) == GridWindow(0, 0, 1, 2)


def test_windows_that_do_not_meet_have_an_empty_intersection() -> None:
    assert GridWindow(0, 0, 2, 2).intersection(GridWindow(5, 0, 2, 2)).is_empty
    assert not GridWindow(0, 0, 2, 2).intersection(GridWindow(1, 1, 2, 2)).is_empty


def test_blocks_tile_the_grid_row_by_row() -> None:
    blocks = list(GRID.blocks(4))
    assert blocks == [GridWindow(0, 0, 4, 4), GridWindow(0, 4, 4, 2)]
    seen = np.zeros(GRID.shape, dtype=int)
    for window in GRID.blocks(3):
        seen[window.slices] += 1
    assert (seen == 1).all()


def test_aligned_grids_share_their_lines_and_know_their_offset() -> None:
    other = Grid(CRS, 499_970.0, 5_100_040.0, 10.0, 20.0, 2, 2)
    assert GRID.is_aligned(other)
    assert GRID.offset_of(other) == (-2, -3)
    assert not GRID.is_aligned(Grid(CRS, 499_975.0, 5_100_040.0, 10.0, 20.0, 2, 2))
    assert not GRID.is_aligned(Grid("EPSG:32634", 499_970.0, 5_100_040.0, 10.0, 20.0, 2, 2))


def test_a_grid_of_a_transform_is_north_up() -> None:
    assert Grid.from_transform(CRS, GRID.transform, width=6, height=4) == GRID
    with pytest.raises(ValueError, match="is not north-up"):
        Grid.from_transform(CRS, Affine.rotation(30), width=6, height=4)
