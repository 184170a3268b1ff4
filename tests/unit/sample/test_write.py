"""Writing the sample world: the bytes do not depend on the way, and a sample is whole."""

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from cloudbuster.core.scenes.bands import BANDS, BANDS_BY_KIND
from cloudbuster.errors import BadInputError
from cloudbuster.sample import files, write, write_sample
from cloudbuster.sample.world import plan
from tests.sample_world import cut_tiles_down

if TYPE_CHECKING:
    from cloudbuster.events import Event


# Two scenes of 64 pixels stand for all: one of each tile, and one of them has the swath's edge.
SCENES = slice(2, 6, 3)


@pytest.fixture
def tiny(monkeypatch):
    cut_down(monkeypatch)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        cut_down(patch)
        return write_sample(tmp_path_factory.mktemp("sample") / "world")


def cut_down(patch):
    cut_tiles_down(patch, pixels=64, overlap=22)
    some = plan.planned_scenes("small")[SCENES]
    patch.setattr(plan, "planned_scenes", lambda _size: some)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("tiny")
def test_write_sample_makes_the_same_bytes_in_blocks_of_another_size(world, tmp_path, monkeypatch):
    # Two by two blocks in a tile, of which the last are cut.
    monkeypatch.setattr(files, "BLOCK_PIXELS", 36)
    again = digests(write_sample(tmp_path / "again").folder)
    # Two scenes have 28 rasters and two items each; the rest is of the whole world.
    assert len(again) == 2 * 30 + 8
    assert again == digests(world.folder)


@pytest.mark.usefixtures("tiny")
def test_scenes_of_several_workers_come_in_the_order_of_the_plan(world, tmp_path, monkeypatch):
    # Of the workers only the order of their results matters here: `make demo` has real ones.
    def last_first(function, tasks, *, workers):
        assert workers == 2
        return (function(task, lambda *_: None) for task in reversed(tasks))

    monkeypatch.setattr(write, "run_tasks", last_first)
    together = write_sample(tmp_path / "together", workers=2)
    assert digests(together.folder) == digests(world.folder)
    scenes = json.loads(together.truth_document.read_text())["scenes"]
    assert [scene["datatake"] for scene in scenes] == [1, 1, 2, 2]


@pytest.mark.usefixtures("tiny")
def test_write_sample_returns_at_once_when_the_sample_is_there(world, monkeypatch):
    monkeypatch.setattr(write, "write_scene", None)
    assert write_sample(world.folder) == world


def test_write_sample_replaces_another_sample_by_jp2_and_reports_progress(tmp_path, monkeypatch):
    cut_tiles_down(monkeypatch, pixels=64, overlap=22)
    some = [(plan.PLAN[1], plan.tiles_of("small")[0])]
    monkeypatch.setattr(plan, "planned_scenes", lambda _size: some)
    events: list[Event] = []
    cog = write_sample(tmp_path / "one", seed=3, on_event=events.append)
    assert [(e.stage, e.done, e.total) for e in events] == [("sample", 1, 2), ("sample", 2, 2)]
    folder = next(cog.catalog.glob("sentinel-s2-l2a-cogs/33/T/WL/*/*/*"))
    expected = {}
    for name in (*BANDS_BY_KIND["L2A"], "SCL", "CLD"):
        with rasterio.open(folder / f"{name}.tif") as raster:
            expected[name] = raster.read()
    write_sample(tmp_path / "one", seed=3, jp2=True)
    assert {path.suffix for path in folder.iterdir()} == {".jp2", ".json"}
    for name, pixels in expected.items():
        with rasterio.open(folder / f"{name}.jp2") as raster:
            np.testing.assert_array_equal(raster.read(), pixels)
            if name in BANDS:
                assert raster.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "15"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_write_sample_refuses_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(BadInputError, match="not a sample"):
        write_sample(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose me"
    with pytest.raises(BadInputError, match="is a file"):
        write_sample(tmp_path / "thesis.txt")
