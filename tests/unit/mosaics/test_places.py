"""From coordinates to a cell: outside, swapped, in another CRS, across the antimeridian."""

import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import PlaceError
from cloudbuster.mosaics.places import cell_at, cell_of

# 4 by 2 cells of 10 m whose western edge is the central meridian of zone 33, at 46.05 degrees.
UTM = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, 4, 2)
DEGREES = Grid("EPSG:4326", 15.0, 46.0, 0.001, 0.001, 20, 10)
# Fiji: 40 cells to the west of the antimeridian and 40 to the east.
FIJI_UTM = Grid("EPSG:32760", 819_000, 8_200_000, 100, 100, 40, 4)
FIJI_DEGREES = Grid("EPSG:4326", 179.96, -16.0, 0.001, 0.001, 80, 10)


def test_the_centre_of_a_cell_is_found_again() -> None:
    for grid in (UTM, DEGREES, FIJI_UTM, FIJI_DEGREES):
        for row, col in ((0, 0), (1, 3), (grid.height - 1, grid.width - 1)):
            cell = cell_at(grid, row, col)
            assert -180 <= cell.longitude <= 180
            found = cell_of(grid, cell.longitude, cell.latitude)
            assert (found.row, found.col) == (row, col)


@pytest.mark.parametrize("longitude", [-179.9995, 180.0005])
def test_both_ways_to_write_a_longitude_beyond_the_antimeridian_are_read(longitude: float) -> None:
    assert cell_of(FIJI_DEGREES, longitude, -16.0005).col == 40


def test_coordinates_in_another_crs_are_read() -> None:
    cell = cell_of(UTM, 500_025, 5_099_985, crs="EPSG:32633")
    assert (cell.row, cell.col) == (1, 2)
    assert cell_of(DEGREES, 500_025, 5_093_000, crs="EPSG:32633").col == 0


@pytest.mark.parametrize(
    ("grid", "x", "y", "message"),
    [
        (
            DEGREES,
            15.1,
            45.995,
            "outside of the mosaic by 80 cells, which extends from 15 to 15.02",
        ),
        (DEGREES, -100.0, 40.0, "outside of the mosaic, which extends from"),
        (DEGREES, 45.995, 15.005, "but 15.005 45.995 is on it; give the longitude first"),
        (DEGREES, 45.0, 115.0, "latitude 115 is not in -90 to 90; give the longitude first"),
        (UTM, 500_010, 5_099_990, "add --crs EPSG:32633"),
        (UTM, 1e9, 45.0, "is no longitude and latitude in degrees"),
        (UTM, float("nan"), 45.0, "is no place"),
        (UTM, 15.0, 90.0, "is outside of the mosaic"),
        (UTM, -165.0, -46.05, "is outside of the mosaic"),
    ],
)
def test_a_place_that_is_not_on_the_mosaic_is_refused_with_the_reason(
    grid: Grid, x: float, y: float, message: str
) -> None:
    with pytest.raises(PlaceError) as caught:
        cell_of(grid, x, y)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_crs_is_refused() -> None:
    with pytest.raises(PlaceError, match="--crs nonsense is no coordinate reference system"):
        cell_of(UTM, 1, 2, crs="nonsense")


def test_a_row_outside_is_refused() -> None:
    with pytest.raises(PlaceError, match="rows are 0 to 1 and whose columns are 0 to 3"):
        cell_at(UTM, 2, 0)
