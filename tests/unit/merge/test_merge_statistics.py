"""Merge with statistics of all looks: which looks count, and that blocks and parts agree."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cloudbuster.errors import RasterError, RequestError
from cloudbuster.merge import MosaicRecipe, merge_part, merge_parts, merge_scenes
from cloudbuster.products import blocks as mosaic_blocks
from cloudbuster.products import looks as mosaic_looks
from cloudbuster.products import parts as part_files
from tests.hand_made import GRID, merged, read
from tests.looks import Look, write_look


def write_looks(folder: Path, *looks: Look) -> None:
    grid = replace(GRID, width=np.size(looks[0].classes), height=1)
    for index, look in enumerate(looks, start=1):
        write_look(folder / "scenes", index, look, grid)


def first_band(path: str) -> list[int]:
    return [int(value) for value in read(path)[0, 0]]


def indices(path: str) -> list[int]:
    return [int(value) for value in read(path)[-1, 0]]


def test_median_takes_clear_looks_then_those_of_low_rank_then_the_backstop(tmp_path: Path) -> None:
    write_looks(
        tmp_path,
        Look([3, 3, 2, 1, 0], [100, 100, 100, 0, 0], day=0),
        Look([3, 2, 2, 1, 0], [200, 900, 300, 0, 0], day=3),
        Look([3, 1, 1, 1, 0], [900, 0, 0, 0, 0], day=6),
        Look([1, 1, 1, 1, 0], [5000, 5000, 5000, 5000, 0], day=9, backstop=True),
    )
    result = merged(tmp_path, composite="median")
    assert first_band(result.cloudless) == [200, 100, 200, 5000, 0]
    assert indices(result.cloudless) == [2, 1, 1, 4, 0]
    assert first_band(result.cloudy) == [5000, 5000, 5000, 5000, 0]
    quality = read(result.quality)[:, 0]
    assert_array_equal(quality[2], [2000, 1000, 1000, 0, 0])
    assert_array_equal(quality[3], [100, 100, 100, 0, 0])
    assert_array_equal(quality[4], [3, 3, 3, 2, 0])
    assert result.clear_fraction == 0.6


@pytest.mark.parametrize(
    ("composite", "value", "index"),
    [
        ("first", 400, 1),
        ("median", 250, 3),
        ("percentile:0", 100, 2),
        ("percentile:100", 400, 1),
        ("percentile:75", 325, 3),
        ("medoid", 300, 3),
        ("geomedian", 250, 3),
    ],
)
def test_each_composite_of_the_same_looks(
    tmp_path: Path, composite: str, value: int, index: int
) -> None:
    looks = [Look([3], [dn], day=day) for day, dn in enumerate((400, 100, 300, 200))]
    write_looks(tmp_path, *looks)
    result = merged(tmp_path, composite=composite)
    assert abs(first_band(result.cloudless)[0] - value) <= (composite == "geomedian")
    assert indices(result.cloudless) == [index]


@pytest.mark.parametrize(
    ("other", "value"),
    [
        # Another day is a look of its own: the median of 100, 500 and 500.
        (Look([3], [500], day=5), 500),
        # A neighbouring tile, sensed 20 s later, is the same look: the median of 100 and 500.
        (Look([3], [500], day=3, minutes=0.33), 300),
        (Look([3], [500], day=3, minutes=95), 500),
        # The name of the datatake counts if there is one, and not its baseline.
        (Look([3], [500], day=3, datatake="GS2B_20200604T100031_017000_N05.10"), 300),
        (Look([3], [500], day=3, datatake="GS2B_20200604T114031_017001_N05.09"), 500),
    ],
)
def test_scenes_of_one_datatake_are_one_look(tmp_path: Path, other: Look, value: int) -> None:
    named = other.datatake is not None
    datatake = "GS2B_20200604T100031_017000_N02.14" if named else None
    write_looks(tmp_path, Look([3], [100]), Look([3], [500], day=3, datatake=datatake), other)
    assert first_band(merged(tmp_path, composite="median").cloudless) == [value]


def test_a_datatake_shows_a_cell_by_its_clearest_scene(tmp_path: Path) -> None:
    write_looks(
        tmp_path,
        Look([2, 3], [800, 100]),
        Look([3, 3], [600, 900], minutes=0.5),
        Look([3, 3], [400, 300], day=4),
    )
    result = merged(tmp_path, composite="median")
    assert first_band(result.cloudless) == [500, 200]
    assert indices(result.cloudless) == [2, 1]


def test_several_rasters_of_one_item_are_one_look(tmp_path: Path) -> None:
    write_looks(
        tmp_path,
        Look([3, 0], [100, 0], item_id="A"),
        Look([0, 3], [0, 100], item_id="A"),
        Look([3, 3], [300, 300], day=4),
    )
    assert first_band(merged(tmp_path, composite="median").cloudless) == [200, 200]


def test_an_observed_cell_without_a_value_is_refused(tmp_path: Path) -> None:
    write_looks(tmp_path, Look([3], [0]), Look([3], [300], day=4))
    with pytest.raises(RasterError, match=r"m-01\.tif: observed cells have no value"):
        merged(tmp_path, composite="median")


@pytest.mark.parametrize("composite", ["percentile", "percentile:200", "mean"])
def test_a_composite_that_does_not_exist_is_refused(composite: str) -> None:
    with pytest.raises(RequestError, match="composite"):
        MosaicRecipe("m", composite)


@pytest.mark.parametrize(
    ("composite", "synthetic", "rule"),
    [
        ("first", False, "come from one scene;"),
        ("median", True, "is the median of its clear looks;"),
        ("medoid", False, "come from one scene, the medoid"),
        ("percentile:20", True, "is a percentile"),
    ],
)
def test_the_item_says_whether_pixels_are_synthetic(
    tmp_path: Path, composite: str, synthetic: bool, rule: str
) -> None:
    write_looks(tmp_path, Look([3], [100]), Look([3], [300], day=4))
    item = json.loads(Path(merged(tmp_path, composite=composite).item).read_text())
    properties = item["properties"]
    assert properties["cloudbuster:composite"] == composite
    assert properties["cloudbuster:synthetic"] is synthetic
    assert rule in properties["processing:lineage"]
    index_band = item["assets"]["cloudless"]["eo:bands"][-1]
    assert ("nearest" in index_band["description"]) is synthetic


CELLS = 64
WIDE = replace(GRID, width=100, height=70)


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_files, "BLOCK_SIZE", CELLS)
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", CELLS)
    # Pieces of some rows.
    monkeypatch.setattr(mosaic_looks, "LOOKS_BYTES", 40_000)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("composite", ["median", "geomedian", "medoid"])
def test_parts_and_blocks_make_the_same_bytes_as_the_whole(tmp_path: Path, composite: str) -> None:
    random = np.random.default_rng(5)
    for index in range(1, 6):
        classes = np.kron(random.integers(0, 4, (7, 10)), np.ones((10, 10), int))
        dn = random.integers(1, 3000, WIDE.shape)
        look = Look(classes, dn, day=index)
        write_look(tmp_path / "scenes", index, look, WIDE)
    scenes, recipe = str(tmp_path / "scenes"), MosaicRecipe("m", composite)
    whole = merge_scenes(scenes, str(tmp_path / "whole"), recipe)
    for number in range(1, 5):
        merge_part(scenes, str(tmp_path / "parts"), recipe, number=number, cells=CELLS)
    joined = merge_parts(
        str(tmp_path / "parts"), scenes, str(tmp_path / "joined"), recipe, cells=CELLS
    )
    for key in ("cloudless", "cloudy", "quality", "report", "item", "preview"):
        mine, other = (Path(getattr(each, key)).read_bytes() for each in (whole, joined))
        assert mine == other, key
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mosaic_blocks, "BLOCK_SIZE", 1024)
        patch.setattr(mosaic_looks, "LOOKS_BYTES", 2**25)
        at_once = merge_scenes(scenes, str(tmp_path / "at_once"), recipe)
    assert_array_equal(read(at_once.cloudless), read(whole.cloudless))
    with pytest.raises(RasterError, match="merged from other scenes"):
        merge_parts(
            str(tmp_path / "parts"),
            scenes,
            str(tmp_path / "no"),
            MosaicRecipe("m", "first"),
            cells=CELLS,
        )
