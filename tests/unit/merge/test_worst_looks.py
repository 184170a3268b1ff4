"""What is no observation never fills a cell that another scene saw; rims come last."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.core.pixels.composite import CellState
from cloudbuster.gather import gather_scenes
from cloudbuster.gathered.scene_files import find_scenes
from cloudbuster.models import GatherTask
from cloudbuster.products.blocks import SceneBlocks
from cloudbuster.storage.rasters.gdal_env import gdal_env
from tests.factories import BANDS, SceneSpec, write_raster
from tests.gathering import task_of

SIDE = 20
FIRST = SceneSpec(size=SIDE, dn=2000)
SECOND = replace(FIRST, id="S2A_33TWL_20230520_0_L2A", datetime="2023-05-20T10:00:00Z", dn=700)
CLOUD, CLEAR = 9, 4
ALL = slice(None)
# The western half of the first scene, in cells of 20 m and of 10 m.
WEST = (ALL, slice(0, 5))


def pair(folder: Path, first: SceneSpec, second: SceneSpec, **changes: Any) -> list[GatherTask]:
    """Tasks of two scenes, each as a clear scene and as a backstop."""
    common = {"output": str(folder / "scenes"), **changes}
    return [
        task_of(folder, first, index=1, backstop_index=3, **common),
        task_of(folder, second, index=2, backstop_index=4, **common),
    ]


def mosaic(folder: Path, tasks: list[GatherTask]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Red, scene index, and state of the cloud-free mosaic."""
    assert gather_scenes(tasks).failures == ()
    files = find_scenes(str(folder / "scenes"), "m")
    with gdal_env(), SceneBlocks(files, "first") as blocks:
        ((_, pixels),) = blocks.blocks()
    mosaic = pixels["cloudless"]
    return mosaic[BANDS.index("B04")], mosaic[-1], pixels["quality"][-1]


@pytest.mark.parametrize("scl_class", [0, 1])
@pytest.mark.parametrize("dn", [64_500, 32_768, 2000])
@pytest.mark.parametrize("other", [CLEAR, CLOUD])
def test_what_the_product_calls_no_data_fills_nothing(
    tmp_path: Path, scl_class: int, dn: int, other: int
) -> None:
    """Whatever its DN: the other scene does, clear or under cloud."""
    values = np.full((SIDE, SIDE), 2000, np.uint16)
    values[:, :10] = dn
    first = replace(FIRST, pixels=values, scl=[(*WEST, scl_class)])
    second = replace(SECOND, scl=[(ALL, ALL, other)])
    red, index, state = mosaic(tmp_path, pair(tmp_path, first, second))
    wanted = (2, 702, CellState.CLEAR) if other == CLEAR else (4, 702, CellState.BACKSTOP)
    assert np.unique(index[:, :10]) == wanted[0]
    assert np.unique(red[:, :10]) == wanted[1]
    assert np.unique(state[:, :10]) == wanted[2]
    assert np.unique(red[:, 10:]) == 2002


@pytest.mark.parametrize(
    ("gsd", "low", "bands"),
    [(10, 1, BANDS), (10, 60, BANDS), (10, 1, ("B08",)), (20, 1, BANDS), (20, 60, ("B04",))],
)
def test_a_rim_loses_to_a_sound_look_of_another_date(
    tmp_path: Path, gsd: int, low: int, bands: tuple[str, ...]
) -> None:
    values = np.full((SIDE, SIDE), 2000, np.uint16)
    values[:, :4] = 0
    tasks = pair(tmp_path, replace(FIRST, pixels=values), SECOND)
    rim = values.copy()
    rim[:, 4:7] = low
    for band in bands:
        write_raster(
            tmp_path / FIRST.id / f"{band}.tif", rim, west=FIRST.west, north=FIRST.north, gsd=10
        )
    grid = tasks[0].grid
    if gsd == 20:
        cells = {"x_size": 20, "y_size": 20, "width": SIDE // 2, "height": SIDE // 2}
        grid = grid.model_copy(update=cells)
    tasks = [task.model_copy(update={"grid": grid}) for task in tasks]
    red, index, state = mosaic(tmp_path, tasks)
    # At 20 m a cell that the rim touches counts as the rim.
    edge = 7 if gsd == 10 else 4
    assert np.unique(index[:, :edge]) == 2
    assert np.unique(red[:, :edge]) == 702
    assert np.unique(index[:, edge:]) == 1
    assert np.unique(state) == CellState.CLEAR


def test_a_rim_is_taken_where_nothing_else_was_seen(tmp_path: Path) -> None:
    values = np.full((SIDE, SIDE), 2000, np.uint16)
    values[:, :4], values[:, 4:7] = 0, 50
    cloudy = replace(SECOND, scl=[(ALL, ALL, CLOUD)])
    _, index, _ = mosaic(tmp_path, pair(tmp_path, replace(FIRST, pixels=values), cloudy))
    assert np.unique(index[:, 4:]) == 1
    assert np.unique(index[:, :4]) == 4
