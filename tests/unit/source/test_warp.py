"""Tests of resampling: no masked pixel is lost, and no reflectance is invented."""

import numpy as np
import pytest
from pyproj import Transformer

from cloudbuster.core.grids.grid import Grid, snapped_grid
from cloudbuster.core.grids.regrid import Method
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.source.warp import bounds_in, place_classes, place_reflectance
from cloudbuster.storage.rasters.gdal_env import gdal_env

SOURCE = Grid("EPSG:32633", 500_040.0, 5_000_040.0, 10.0, 10.0, 80, 80)
# Number of points per side of a cell at which a test samples the pixels in it.
FINE = 9


def grid_in(crs: str, gsd: float) -> Grid:
    """A grid over the middle of the source."""
    west, south, east, north = SOURCE.bounds
    middle = (west + 150, south + 150, east - 150, north - 150)
    bounds = bounds_in(middle, SOURCE.crs, crs)
    return snapped_grid(crs, bounds, cell_size=(gsd, gsd), phase=(3.0, 7.0))


def source_cells_under(target: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the source at fine points of each cell: shape (y, fine, x, fine)."""
    share = (np.arange(FINE) + 0.5) / FINE
    x = target.west + (np.arange(target.width)[:, None] + share).ravel() * target.x_size
    y = target.north - (np.arange(target.height)[:, None] + share).ravel() * target.y_size
    to_source = Transformer.from_crs(target.crs, SOURCE.crs, always_xy=True)
    east, north = to_source.transform(*np.meshgrid(x, y))
    shape = (target.height, FINE, target.width, FINE)
    row = np.floor((SOURCE.north - north) / SOURCE.y_size).astype(int).reshape(shape)
    col = np.floor((east - SOURCE.west) / SOURCE.x_size).astype(int).reshape(shape)
    return row, col


@pytest.mark.parametrize("code", [PixelClass.MASKED, PixelClass.LOW_RANK])
@pytest.mark.parametrize(
    ("crs", "gsd", "method"),
    [
        ("EPSG:32633", 13.0, "cubic"),
        ("EPSG:32633", 25.0, "mean"),
        ("EPSG:32634", 10.0, "cubic"),
        ("EPSG:32634", 60.0, "mean"),
        # The grids are rotated by 60 degrees against each other.
        ("EPSG:3413", 10.0, "cubic"),
        ("EPSG:3413", 60.0, "mean"),
    ],
)
def test_any_masked_pixel_under_a_cell_masks_it_however_the_cell_lies(
    crs: str, gsd: float, method: Method, code: PixelClass
) -> None:
    rng = np.random.default_rng(4)
    classes = np.where(rng.random(SOURCE.shape) < 0.01, code, PixelClass.CLEAR).astype(np.uint8)
    target = grid_in(crs, gsd)
    with gdal_env():
        placed = place_classes(classes, SOURCE, target, method=method)
    row, col = source_cells_under(target)
    inside = (row >= 0) & (row < 80) & (col >= 0) & (col < 80)
    under = classes[row.clip(0, 79), col.clip(0, 79)]
    touched = ((under == code) & inside).any(axis=(1, 3)) & (placed != PixelClass.UNOBSERVED)
    assert touched.any()
    assert (placed[touched] == code).all()
    # Hardly more cells are masked than the box around a rotated cell requires.
    assert (placed == code).sum() <= 1.9 * touched.sum()


def test_a_mask_that_ends_at_a_cell_does_not_reach_the_next() -> None:
    classes = np.full(SOURCE.shape, PixelClass.CLEAR, dtype=np.uint8)
    classes[:, 6:12] = PixelClass.MASKED
    target = Grid(SOURCE.crs, SOURCE.west, SOURCE.north, 60.0, 60.0, 10, 10)
    with gdal_env():
        placed = place_classes(classes, SOURCE, target, method="mean")
    np.testing.assert_array_equal(placed[0], [3, 1, 3, 3, 3, 3, 3, 3, 3, 3])


@pytest.mark.parametrize("crs", ["EPSG:32634", "EPSG:3413", "EPSG:3035"])
def test_reflectance_lies_where_the_projection_puts_it(crs: str) -> None:
    row, col = np.mgrid[:80, :80]
    ramps = np.stack([row, col]).astype(np.uint16) * 100 + 1000
    target = grid_in(crs, 10.0)
    with gdal_env():
        placed = place_reflectance(ramps, SOURCE, target, method="cubic")
    x = target.west + (np.arange(target.width) + 0.5) * target.x_size
    y = target.north - (np.arange(target.height) + 0.5) * target.y_size
    to_source = Transformer.from_crs(crs, SOURCE.crs, always_xy=True)
    east, north = to_source.transform(*np.meshgrid(x, y))
    there = np.stack([(SOURCE.north - north) / 10 - 0.5, (east - SOURCE.west) / 10 - 0.5])
    inside = ((there > 2) & (there < 77)).all(axis=0)
    assert inside.mean() > 0.3
    error_px = np.abs((placed - 1000.0) / 100 - there)[:, inside]
    assert error_px.max() < 0.03
