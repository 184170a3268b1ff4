"""Rasters are checked for completeness when they are opened and before they are published."""

from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from rasterio.errors import RasterioIOError

from cloudbuster.core.grids.grid import Grid, GridWindow
from cloudbuster.errors import OutputError, RasterError
from cloudbuster.gathered.scene_raster import OpenScenes, SceneRaster
from cloudbuster.gathered.scene_writer import open_scene_writer
from cloudbuster.products.cog import CogBand, open_cog_writer
from cloudbuster.storage.rasters import tiled_raster
from cloudbuster.storage.rasters.tiled_raster import check_written
from tests.hand_made import spec, write_gathered

GRID = Grid("EPSG:32633", 500_000.0, 5_000_000.0, 10.0, 10.0, 700, 600)
NOISE = np.random.default_rng(5).integers(1, 9000, (1, *GRID.shape), dtype=np.uint16)


def write_cog(path: Path) -> None:
    with open_cog_writer(path, GRID, [CogBand("B02", "average")], nodata=0) as writer:
        writer.write(GRID.window, NOISE)


@pytest.mark.parametrize("missing", [5, 1000, 0.5, 0.999])
def test_a_truncated_raster_is_refused(tmp_path: Path, missing: float) -> None:
    path = tmp_path / "m.tif"
    write_cog(path)
    check_written(path)
    whole = path.read_bytes()
    lost = int(missing if missing >= 1 else missing * len(whole))
    path.write_bytes(whole[:-lost])
    with pytest.raises(RasterioIOError):
        check_written(path)


def test_a_product_whose_end_was_lost_at_closing_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, which GDAL's copy does not report."""
    copy = rasterio.shutil.copy

    def losing_the_end(source: Path, target: Path, **options: object) -> None:
        copy(source, target, **options)
        target.write_bytes(target.read_bytes()[:-100_000])

    monkeypatch.setattr(rasterio.shutil, "copy", losing_the_end)
    with pytest.raises(OutputError, match=r"m\.tif: .* it ends before its tiles do"):
        write_cog(tmp_path / "m.tif")
    assert list(tmp_path.iterdir()) == []


def test_a_scene_whose_end_was_lost_at_closing_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1000])
        check_written(path)

    monkeypatch.setattr(tiled_raster, "check_written", lost)
    classes = np.full(GRID.shape, 3)
    with (
        pytest.raises(OutputError, match=r"m-01\.tif"),
        open_scene_writer(tmp_path / "m-01.tif", GRID, ("B02",), index=1) as writer,
    ):
        writer.write(GRID.window, NOISE, classes, classes)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = write_gathered(tmp_path, spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]]))
    whole = path.read_bytes()
    # The header is most of so small a file: without its end the raster has no georeference.
    for length in (*range(0, len(whole), 50), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RasterError, match=r"m-01\.tif: .*gather this scene again"):
            SceneRaster(path)


@pytest.mark.parametrize("col", [0, 512])
def test_a_scene_whose_last_tiles_are_empty_is_refused_if_it_was_cut(
    tmp_path: Path, col: int
) -> None:
    path = tmp_path / "m-01.tif"
    window = GridWindow(0, col, 512, 188)
    noise = NOISE[:, window.slices[0], window.slices[1]]
    with open_scene_writer(path, GRID, ("B02",), index=1) as writer:
        writer.write(window, noise, np.full(noise.shape[1:], 3), noise[0])
    SceneRaster(path).close()
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RasterError, match=r"m-01\.tif: truncated at .* gather this scene again"):
        SceneRaster(path)


def test_open_scenes_are_checked_and_few_are_open(tmp_path: Path) -> None:
    paths = []
    for index in (1, 2, 3):
        path = tmp_path / f"m-{index:02d}.tif"
        with open_scene_writer(path, GRID, ("B02",), index=index) as writer:
            writer.write(GRID.window, NOISE, NOISE[0] * 0 + 3, NOISE[0])
        paths.append(path)
    with OpenScenes(paths, GRID, max_open=2) as scenes:
        for position in (0, 1, 2, 0):
            assert (scenes.open_raster(position).read_classes(GRID.window) == 3).all()
            assert len(scenes._open) == 2
        assert scenes.intersecting(GRID.window.shifted(0, 600)) == [0, 1, 2]
        assert scenes.intersecting(GRID.window.shifted(0, 700)) == []
    paths[1].write_bytes(b"")
    with pytest.raises(RasterError, match=r"m-02\.tif"):
        OpenScenes(paths, GRID)
