"""Sizes of cells on the ground, and growth and distances by them, in any CRS.

Expected sizes are those of the WGS 84 ellipsoid: one degree of longitude is
111 319.49 cos(p) / sqrt(1 - e2 sin2(p)) metres, one of latitude 111 132.95 - 559.85 cos(2p).
"""

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m, reach_in_cells, uniform_parts
from cloudbuster.core.grids.windows import cells_of_size
from cloudbuster.core.pixels.masks import DetectedMask, distance_to, grow, grows, pixel_classes

# US survey foot, metres (NIST SP 447).
FOOT_M = 1200 / 3937

# About 300 m around a place in each CRS, with cells of about 10 m, and their size.
PLACES: dict[str, tuple[Grid, tuple[float, float]]] = {
    "UTM": (Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 31, 31), (10, 10)),
    "edge of a UTM zone": (Grid("EPSG:32633", 830_000, 100_000, 10, 10, 31, 31), (10, 10)),
    "degrees at 46 N": (Grid("EPSG:4326", 15, 46, 1e-4, 1e-4, 31, 31), (7.746, 11.115)),
    "degrees at 60 N": (Grid("EPSG:4326", 25, 60, 1e-4, 1e-4, 31, 31), (5.580, 11.141)),
    "degrees at the equator": (Grid("EPSG:4326", 37, 0, 1e-4, 1e-4, 31, 31), (11.132, 11.057)),
    "degrees in the south": (Grid("EPSG:4326", 150, -46, 1e-4, 1e-4, 31, 31), (7.746, 11.115)),
    "web Mercator at 46 N": (
        Grid("EPSG:3857", 1_669_792, 5_780_349, 10, 10, 31, 31),
        (6.959, 6.936),
    ),
    "web Mercator at 60 N": (
        Grid("EPSG:3857", 2_782_987, 8_399_738, 10, 10, 31, 31),
        (5.013, 5.004),
    ),
    "US feet": (
        Grid("EPSG:2225", 6_560_000, 2_000_000, 10 / FOOT_M, 10 / FOOT_M, 31, 31),
        (10, 10),
    ),
    "grads": (Grid("EPSG:4807", 10, 51, 1e-4, 1e-4, 31, 31), (6.985, 10.003)),
}


@pytest.mark.parametrize(("grid", "size"), PLACES.values(), ids=PLACES.keys())
def test_a_cell_is_measured_on_the_ground(grid: Grid, size: tuple[float, float]) -> None:
    assert cell_size_m(grid) == pytest.approx(size, rel=2e-3)


@pytest.mark.parametrize(("grid", "size"), PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("radius_m", [35, 50])
def test_growth_is_that_many_metres_in_every_crs(
    grid: Grid, size: tuple[float, float], radius_m: float
) -> None:
    cloud = np.zeros(grid.shape, dtype=np.bool_)
    cloud[15, 15] = True
    rows, cols = np.mgrid[-15:16, -15:16]
    metres = np.hypot(cols * size[0], rows * size[1])
    grown = grow(cloud, radius_m, grid)
    # The sizes are rounded, and so is the border.
    assert grown[metres <= radius_m * 0.995].all()
    assert not grown[metres > radius_m * 1.005].any()


@pytest.mark.parametrize(("grid", "size"), PLACES.values(), ids=PLACES.keys())
def test_distances_are_metres_in_every_crs(grid: Grid, size: tuple[float, float]) -> None:
    cloud = np.zeros(grid.shape, dtype=np.bool_)
    cloud[15, 15] = True
    rows, cols = np.mgrid[-15:16, -15:16]
    metres = np.hypot(cols * size[0], rows * size[1])
    distance = distance_to(cloud, grid, 100)
    np.testing.assert_allclose(distance, np.minimum(metres, 100), atol=1.5)


def test_growth_in_a_tall_grid_of_degrees_follows_the_latitude() -> None:
    """From 45 to 55 degrees north a degree of longitude shrinks by a fifth."""
    grid = Grid("EPSG:4326", 15, 55, 0.001, 0.01, 200, 1000)
    parts = list(uniform_parts(grid))
    assert sum(window.height * window.width for window, _ in parts) == 200_000
    cloud = np.zeros(grid.shape, dtype=np.bool_)
    cloud[[5, 500, 995], 100] = True
    grown = grow(cloud, 1000, grid)
    # 1000 m are 15.6, 14.2 and 14.1 cells, of 64.1 m (54.9 N), 71.7 m (50 N) and 78.8 m (45 N).
    assert [int(grown[row].sum()) for row in (5, 500, 995)] == [31, 27, 25]


@pytest.mark.parametrize(("grid", "size"), PLACES.values(), ids=PLACES.keys())
def test_the_reach_in_cells_is_never_short(grid: Grid, size: tuple[float, float]) -> None:
    cells = reach_in_cells(3050, grid)
    assert 0 <= cells * min(size) - 3050 < 3 * min(size) + 3050 * 0.02


@pytest.mark.parametrize("grid", [grid for grid, _ in PLACES.values()], ids=PLACES.keys())
def test_cells_of_a_mask_are_that_many_metres(grid: Grid) -> None:
    cells = cells_of_size(grid, grid, 160)
    assert cell_size_m(cells) == pytest.approx((160, 160), rel=0.01)
    assert (cells.west, cells.north) == (grid.west, grid.north)


@pytest.mark.parametrize(("grid", "size"), PLACES.values(), ids=PLACES.keys())
def test_growth_below_a_cell_does_nothing(grid: Grid, size: tuple[float, float]) -> None:
    assert not grows(min(size) * 0.98, grid)
    assert grows(min(size) * 1.02, grid)


def test_a_pixel_that_the_product_calls_no_data_is_unobserved_whatever_grows_over_it() -> None:
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 20, 20, 4, 1)
    row = np.array([[True, False, False, False]])
    nothing = np.zeros_like(row)
    mask = DetectedMask(grid, row, nothing, nothing, "by hand", np.array([[0, 1, 0, 1]]) != 0)
    np.testing.assert_array_equal(pixel_classes(mask, 20), [[1, 0, 3, 0]])


@pytest.mark.parametrize(
    ("north", "x_size"), [(1e119, 20.0), (5_100_000.0, 1e-300)], ids=["far away", "tiny"]
)
def test_cells_that_rounding_leaves_without_a_size_are_refused(north, x_size):
    grid = Grid("EPSG:32633", 500_000.0, north, x_size, 20.0, 64, 64)
    with pytest.raises(ValueError, match="have no size on the ground"):
        cell_size_m(grid)
