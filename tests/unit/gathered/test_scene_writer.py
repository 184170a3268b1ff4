"""The raster of a gathered scene, as `open_scene_writer` writes it."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.gathered.scene_raster import SceneRaster
from cloudbuster.gathered.scene_writer import open_scene_writer
from tests.hand_made import BANDS, GRID, spec, write_gathered


def test_scene_writer_keeps_the_layout(tmp_path: Path) -> None:
    scene = spec(7, [[3, 1, 2, 0], [3, 3, 3, 3]], distance=4000)
    path = write_gathered(tmp_path, scene)
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == (
            *BANDS,
            "pixel_class",
            "cloud_distance_m",
            "confidence",
            "scene_index",
        )
        assert dataset.nodata == 0
        assert dataset.profile["compress"] == "deflate"
        np.testing.assert_array_equal(
            dataset.read()[3:],
            [
                scene.classes,
                np.full((2, 4), 3000),
                [[100, 100, 100, 0], [100, 100, 100, 100]],
                [[7, 0, 7, 0], [7, 7, 7, 7]],
            ],
        )
    with SceneRaster(path) as raster:
        assert raster.bands == BANDS
        outside = raster.read_classes(GridWindow(-1, 2, 2, 4))
    np.testing.assert_array_equal(outside, [[0, 0, 0, 0], [2, 0, 0, 0]])


def test_scene_writer_refuses_shapes_that_do_not_match(tmp_path: Path) -> None:
    def write_wrong() -> None:
        with open_scene_writer(tmp_path / "m-01.tif", GRID, BANDS, index=1) as writer:
            classes = np.zeros((2, 4))
            writer.write(GRID.window, np.zeros((2, 2, 4), dtype=np.uint16), classes, classes)

    with pytest.raises(ValueError, match="do not fit"):
        write_wrong()
    assert list(tmp_path.iterdir()) == []
