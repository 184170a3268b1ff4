"""Thumbnails on a grid of cells, each cell looked up by hand."""

import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import box

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.core.pixels.masks import PixelClass
from cloudbuster.core.selection.sky_thumbnail import (
    CellSampler,
    SkyThumbnail,
    grid_of_parts,
    projected_box,
    scene_cells,
)

CRS = "EPSG:32633"
WEST, NORTH = 500_000.0, 5_000_000.0
CODES = {
    "#": PixelClass.CLEAR,
    "+": PixelClass.LOW_RANK,
    "o": PixelClass.MASKED,
    ".": PixelClass.UNOBSERVED,
}


def grid(width: int, height: int, size: float = 320.0, crs: str = CRS) -> Grid:
    return Grid(crs, WEST, NORTH, size, size, width, height)


def drawn(*rows: str) -> SkyThumbnail:
    classes = np.array([[CODES[letter] for letter in row] for row in rows], dtype=np.uint8)
    return SkyThumbnail(grid(len(rows[0]), len(rows)), classes)


def text(values: np.ndarray) -> list[str]:
    return ["".join("#" if value else "." for value in row) for row in values]


def test_each_cell_has_the_class_under_its_centre() -> None:
    # Cells of half the size, from one thumbnail's cell further west.
    cells = Grid(CRS, WEST - 320, NORTH, 160, 160, 12, 4)
    found = CellSampler(cells).sample(drawn("#o.+", "oo##"))
    assert found.window == GridWindow(0, 2, 4, 8)
    assert text(found.clear) == ["##....##", "##....##", "....####", "....####"]
    assert text(found.seen) == ["####..##", "####..##", "########", "########"]
    assert (found.unit == 0).all()
    assert text(scene_cells(found).clear) == text(found.clear)


def test_a_cell_is_safe_unless_it_is_beside_a_cloud() -> None:
    seen = drawn(
        "#####",
        "#####",
        "##+o.",
        "####.",
        "#...#",
        "#.###",
    )
    found = CellSampler(seen.grid).sample(seen)
    assert text(found.safe) == [
        "#####",
        "##...",
        "##...",
        "##...",
        "#...#",
        "#.###",
    ]


def test_units_are_squares_of_32_cells_and_parts_of_2_from_the_corner_of_the_scene() -> None:
    seen = SkyThumbnail(grid(70, 40), np.full((40, 70), PixelClass.CLEAR, dtype=np.uint8))
    assert grid_of_parts(seen.grid) == grid(35, 20, 640)
    sampled = CellSampler(seen.grid).sample(seen)
    units = [[row // 32 * 3 + col // 32 for col in range(70)] for row in range(40)]
    np.testing.assert_array_equal(sampled.unit, units)
    parts = [[row // 2 * 35 + col // 2 for col in range(70)] for row in range(40)]
    np.testing.assert_array_equal(sampled.part, parts)


def test_units_have_no_parts_where_these_are_smaller_than_the_cells() -> None:
    seen = SkyThumbnail(grid(70, 40), np.full((40, 70), PixelClass.CLEAR, dtype=np.uint8))
    assert CellSampler(grid(35, 20, 640)).sample(seen).layout is not None
    assert CellSampler(grid(32, 18, 700)).sample(seen).layout is None


def test_cells_of_another_crs_are_looked_up_one_by_one() -> None:
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 4, (40, 70)).astype(np.uint8)
    seen = SkyThumbnail(grid(70, 40), classes)
    to_cells = Transformer.from_crs(CRS, "EPSG:32634", always_xy=True)
    back = Transformer.from_crs("EPSG:32634", CRS, always_xy=True)
    x, y = to_cells.transform(WEST + 35 * 320, NORTH - 20 * 320)
    cells = Grid("EPSG:32634", x - 15_000, y + 10_000, 500, 500, 60, 40)
    found = CellSampler(cells).sample(seen)
    clear, unit = np.zeros(cells.shape, dtype=bool), np.full(cells.shape, -1)
    clear[found.window.slices], unit[found.window.slices] = found.clear, found.unit
    for row in range(40):
        for col in range(60):
            east, north = back.transform(
                cells.west + (col + 0.5) * 500, cells.north - (row + 0.5) * 500
            )
            i, j = int((NORTH - north) // 320), int((east - WEST) // 320)
            inside = 0 <= i < 40 and 0 <= j < 70
            assert clear[row, col] == (inside and classes[i, j] >= 2)
            assert unit[row, col] == (i // 32 * 3 + j // 32 if inside else -1)


def test_a_scene_beside_the_cells_shows_none_of_them() -> None:
    cells = Grid(CRS, WEST + 100_000, NORTH, 320, 320, 4, 4)
    found = CellSampler(cells).sample(drawn("##", "##"))
    assert found.window.is_empty
    assert found.clear.size == 0


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_metadata_stand_for_a_thumbnail_by_their_share_of_clear_sky(share: float) -> None:
    cells = grid(60, 50)
    footprint = box(WEST + 10 * 320, NORTH - 40 * 320, WEST + 50 * 320, NORTH - 320)
    sampler = CellSampler(cells)
    found = sampler.sample_footprint(footprint, share, 7)
    seen, clear, unit = np.zeros((3, *cells.shape), dtype=int)
    for target, values in ((seen, found.seen), (clear, found.clear), (unit, found.unit + 1)):
        target[found.window.slices] = values
    expected = np.zeros(cells.shape, dtype=int)
    expected[1:40, 10:50] = 1
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(unit, expected)
    assert not (clear > seen).any()
    assert clear.sum() / seen.sum() == pytest.approx(share, abs=0.05)
    assert not found.safe.any()
    again = sampler.sample_footprint(footprint, share, 7)
    np.testing.assert_array_equal(again.clear, found.clear)


def test_the_box_of_a_rectangle_in_another_crs_holds_its_curved_edges() -> None:
    bounds = (300_000.0, 6_000_000.0, 700_000.0, 6_400_000.0)
    west, south, east, north = projected_box(bounds, CRS, "EPSG:3035")
    to_target = Transformer.from_crs(CRS, "EPSG:3035", always_xy=True)
    x, y = to_target.transform(*np.meshgrid(np.linspace(3e5, 7e5, 9), np.linspace(6e6, 6.4e6, 9)))
    assert west <= x.min() <= x.max() <= east
    assert south <= y.min() <= y.max() <= north
    assert projected_box(bounds, CRS, CRS) == bounds
