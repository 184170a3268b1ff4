"""The self-check of a mosaic of scenes by hand: what is held out, and what is compared."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import RasterError
from cloudbuster.merge import MosaicRecipe, merge_part, merge_parts, merge_scenes
from cloudbuster.models import MergeResult, SelfCheck
from cloudbuster.products import blocks as mosaic_blocks
from cloudbuster.products import parts as part_files
from cloudbuster.products.self_check import BLOCK_M, check_block_cells
from tests.hand_made import BANDS, GRID
from tests.looks import Look, write_look

BLOCK = 64
# Blocks of the check have 64 cells of 40 m: 2.56 km.
WIDE = replace(GRID, x_size=40, y_size=40, width=2 * BLOCK, height=BLOCK)
CLEAR = np.full(WIDE.shape, 3)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_files, "BLOCK_SIZE", BLOCK)
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", BLOCK)


def half(west: int, east: int) -> np.ndarray:
    """One value in the western block and one in the eastern."""
    return np.kron(np.array([[west, east]]), np.ones((BLOCK, BLOCK), int))


def checked(folder: Path, looks: list[Look], composite: str = "first") -> SelfCheck:
    for index, look in enumerate(looks, start=1):
        write_look(folder / "scenes", index, look, WIDE)
    recipe = MosaicRecipe("m", composite, self_check=True)
    result = merge_scenes(str(folder / "scenes"), str(folder / "out"), recipe)
    assert result.self_check is not None
    return result.self_check


def errors_of(check: SelfCheck) -> list[tuple[Any, Any]]:
    """Difference and floor of each band."""
    return [(band.difference_dn, band.floor_dn) for band in check.grounds[0].bands]


def test_the_clearest_date_is_held_out_of_the_mosaic(tmp_path: Path) -> None:
    cloudy = CLEAR.copy()
    cloudy[:, ::2] = 1
    # The second look is clear everywhere. Without it the mosaic is the first where that is clear,
    # and else the third, which hides a little more.
    cloudier = CLEAR.copy()
    cloudier[:40] = 1
    check = checked(
        tmp_path,
        [
            Look(cloudy, 500 + 0 * CLEAR, day=0),
            Look(CLEAR, 450 + 0 * CLEAR, day=5),
            Look(cloudier, 480 + 0 * CLEAR, day=9),
        ],
    )
    assert (check.blocks, check.blocks_checked, check.checked_fraction) == (2, 2, 1)
    # Columns 0, 2, ... are shown by the third look alone, in rows 40 to 63.
    assert check.clear_fraction == (32 * 64 + 32 * 24) / (64 * 64)
    difference = np.sqrt((32 * 64 * 50**2 + 32 * 24 * 30**2) / (32 * 64 + 32 * 24))
    assert errors_of(check) == [(pytest.approx(difference), 50)] * len(BANDS)
    assert check.grounds[0].cells == 2 * 64 * 64


def test_each_block_holds_out_its_own_date(tmp_path: Path) -> None:
    check = checked(
        tmp_path,
        [
            Look(CLEAR, half(500, 500), day=0),
            Look(half(3, 2), half(470, 900), day=4),
        ],
    )
    # Of equals the first is held out: the rest shows the second, in the west clear.
    assert check.clear_fraction == 1
    difference = pytest.approx(np.sqrt((30**2 + 400**2) / 2))
    assert errors_of(check)[0] == (difference, difference)
    assert check.grounds[0].residual_cloud_fraction == 0


def test_residual_cloud_is_found(tmp_path: Path) -> None:
    hazy = 400 + np.zeros_like(CLEAR)
    hazy[:, :16] = 1000
    cloudy = CLEAR.copy()
    cloudy[0, :] = 1
    check = checked(tmp_path, [Look(cloudy, hazy, day=0), Look(CLEAR, 400 + 0 * CLEAR, day=3)])
    assert check.grounds[0].residual_cloud_fraction == pytest.approx(16 / 128)
    assert check.grounds[0].residual_shadow_fraction is None
    assert re.fullmatch(
        r"without its clearest dates clear 98\.44 %, residual cloud 12\.50 %, "
        r"B02 ±184 DN, floor 212 \(on 100 % of the area\)",
        check.summary,
    )


def test_a_block_that_no_date_shows_mostly_clear_is_not_checked(tmp_path: Path) -> None:
    classes = half(1, 3)
    classes[:, :20] = 3
    looks = [Look(classes, 400 + 0 * CLEAR, day=0), Look(classes, 400 + 0 * CLEAR, day=3)]
    check = checked(tmp_path, looks)
    assert (check.blocks, check.blocks_checked, check.checked_fraction) == (2, 1, 0.5)


def test_one_date_alone_cannot_be_checked(tmp_path: Path) -> None:
    # Two tiles of one datatake are one date.
    check = checked(
        tmp_path, [Look(CLEAR, 400 + 0 * CLEAR), Look(CLEAR, 500 + 0 * CLEAR, minutes=0.4)]
    )
    assert (check.blocks_checked, check.clear_fraction) == (0, None)
    assert check.summary == (
        "nothing to check: no block has a clear date beside those of the mosaic"
    )


def test_cells_near_cloud_are_no_reference(tmp_path: Path) -> None:
    check = checked(
        tmp_path,
        [
            Look(CLEAR, 400 + 0 * CLEAR, day=0, distance=480),
            Look(half(3, 2), 410 + 0 * CLEAR, day=3),
        ],
    )
    assert check.blocks_checked == 2
    assert check.grounds[0].cells == 0
    assert errors_of(check)[0] == (None, None)


@pytest.mark.parametrize(
    ("composite", "difference"), [("first", 30), ("best", 10), ("median", 30), ("medoid", 30)]
)
def test_any_composite_is_checked(tmp_path: Path, composite: str, difference: int) -> None:
    looks = [Look(CLEAR, dn + 0 * CLEAR, day=day) for day, dn in enumerate((400, 430, 410, 500))]
    check = checked(tmp_path, looks, composite)
    # The first date is held out. Of the others, the second comes first and is the median; the third
    # has the least haze.
    assert errors_of(check)[0][0] == difference


def test_the_mosaic_is_the_same_with_and_without_a_check(tmp_path: Path) -> None:
    checked(tmp_path, [Look(CLEAR, 400 + 0 * CLEAR, day=day) for day in (0, 4)])
    recipe = MosaicRecipe("m")
    result = merge_scenes(str(tmp_path / "scenes"), str(tmp_path / "plain"), recipe)
    assert result.self_check is None
    for key in ("cloudless", "cloudy", "quality", "preview"):
        path = Path(getattr(result, key))
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), key


def merge_all_parts(folder: Path, *, self_check: bool) -> None:
    recipe = MosaicRecipe("m", self_check=self_check)
    for number in (1, 2):
        merge_part(
            str(folder / "scenes"), str(folder / "parts"), recipe, number=number, cells=BLOCK
        )


def joined(folder: Path) -> MergeResult:
    recipe = MosaicRecipe("m", self_check=True)
    return merge_parts(
        str(folder / "parts"), str(folder / "scenes"), str(folder / "joined"), recipe, cells=BLOCK
    )


def test_parts_carry_their_sums_and_say_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    looks = [
        Look(
            np.kron(random.choice([1, 3, 3, 3], (8, 16)), np.ones((8, 8), int)),
            random.integers(300, 2000, WIDE.shape),
            day=day,
        )
        for day in range(3)
    ]
    check = checked(tmp_path, looks)
    merge_all_parts(tmp_path, self_check=True)
    result = joined(tmp_path)
    assert result.self_check == check
    for key in ("item", "report"):
        path = Path(getattr(result, key))
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    assert "Self-check" in Path(result.report).read_text()


def test_parts_without_a_check_are_refused(tmp_path: Path) -> None:
    checked(tmp_path, [Look(CLEAR, 400 + 0 * CLEAR, day=day) for day in (0, 4)])
    merge_all_parts(tmp_path, self_check=False)
    with pytest.raises(RasterError, match=r"m-part-1\.json was merged without a self-check"):
        joined(tmp_path)


@pytest.mark.parametrize(("size", "cells"), [(10, 256), (20, 128), (60, 64), (120, 32), (5000, 8)])
def test_blocks_are_a_few_kilometres(size: float, cells: int) -> None:
    grid = Grid("EPSG:32633", 500_000, 5_100_000, size, size, 4000, 4000)
    assert check_block_cells(grid) == cells
    assert cells == 8 or BLOCK_M / 2 < cells * size <= BLOCK_M
