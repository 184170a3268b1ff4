"""Rasters as files: complete, cloud-optimised, as stated, with overviews of their own pixels."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rio_cogeo.cogeo import cog_validate

from cloudbuster.checks.layout import check_complete, check_layout, check_metadata
from cloudbuster.checks.overviews import check_overviews
from cloudbuster.core.grids.grid import Grid
from cloudbuster.products.cog import CogBand, open_cog_writer

BANDS = [CogBand("B04", "average", is_reflectance=True), CogBand("scene_index", "nearest")]


def write_cog(path: Path, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Write a COG of random values with holes; return its pixels."""
    random = np.random.default_rng(seed)
    pixels = random.integers(1, 4000, (2, *shape)).astype(np.uint16)
    pixels[:, random.random(shape) < 0.3] = 0
    grid = Grid("EPSG:32633", 500_000, 5_100_000, 10, 10, shape[1], shape[0])
    with open_cog_writer(path, grid, BANDS, nodata=0) as writer:
        writer.write(grid.window, pixels)
    return pixels


@pytest.mark.parametrize("shape", [(300, 700), (1101, 1303), (40, 57), (600, 2051)])
def test_a_written_cog_passes(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "m.tif"
    write_cog(path, shape)
    checks = [check_complete([path]), check_layout([path]), check_overviews([path])]
    assert [(check.status, check.message) for check in checks] == [("agrees", "")] * 3


def edited(path: Path) -> None:
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(EDITED="yes")
        dataset.write(dataset.read(1) // 2, 1)


def without_overviews(path: Path) -> None:
    pixels = rasterio.open(path).read()
    with rasterio.open(path) as dataset:
        profile = dataset.profile
    with rasterio.open(path, "w", **profile) as out:
        out.write(pixels)


def untiled(path: Path) -> None:
    with rasterio.open(path) as dataset:
        pixels = dataset.read()
        profile = {**dataset.profile, "tiled": False, "blockysize": 16, "blockxsize": None}
    with rasterio.open(path, "w", **profile) as out:
        out.write(pixels)


def overviews_last(path: Path) -> None:
    without_overviews(path)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], rasterio.enums.Resampling.average)


@pytest.mark.parametrize("damage", [without_overviews, untiled, overviews_last])
def test_what_rio_cogeo_refuses_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "m.tif"
    write_cog(path, (300, 700))
    assert cog_validate(str(path), strict=True, quiet=True)[0]
    damage(path)
    assert not cog_validate(str(path), strict=True, quiet=True)[0]
    assert check_layout([path]).status == "disagrees"


def test_an_edited_cog_is_found_and_its_overviews_are_stale(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    write_cog(path, (300, 700))
    edited(path)
    assert "changed after it was written" in check_layout([path]).message
    stale = check_overviews([path])
    assert stale.status == "disagrees"
    assert (
        stale.message
        == "m.tif: band 1 of the overview of factor 2 is not made of the pixels below it"
    )


@pytest.mark.parametrize("band", [1, 2])
def test_one_wrong_cell_of_an_overview_is_found(tmp_path: Path, band: int) -> None:
    path = tmp_path / "m.tif"
    write_cog(path, (301, 703))
    with rasterio.open(path, "r+", overview_level=0, IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        pixels = dataset.read(band)
        pixels[77, 88] += 5
        dataset.write(pixels, band)
    found = check_overviews([path])
    assert found.wrong == 1


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.01])
def test_a_truncated_file_is_found(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "m.tif"
    write_cog(path, (300, 700))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    found = check_complete([path])
    assert (found.status, found.wrong) == ("disagrees", 1)
    assert "m.tif is missing, truncated or no GeoTIFF" in found.message


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    assert check_complete([tmp_path / "none.tif"]).status == "disagrees"


ITEM = {
    "properties": {
        "proj:epsg": 32633,
        "proj:shape": [40, 57],
        "proj:transform": [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_100_000.0],
    },
    "assets": {
        "cloudless": {
            "eo:bands": [{"name": "B04"}, {"name": "scene_index"}],
            "raster:bands": [
                {"data_type": "uint16", "nodata": 0, "scale": 0.0001},
                {"data_type": "uint16", "nodata": 0},
            ],
        }
    },
}


def test_a_raster_that_is_as_its_item_states_agrees(tmp_path: Path) -> None:
    write_cog(tmp_path / "m.tif", (40, 57))
    found = check_metadata({"cloudless": tmp_path / "m.tif"}, ITEM)
    assert (found.status, found.message) == ("agrees", "")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("properties", "proj:epsg"), 32634, "the item states 32634"),
        (("properties", "proj:epsg"), "x", "the item states x"),
        (("properties", "proj:shape"), [57, 40], "the item states [57, 40]"),
        (("properties", "proj:transform"), None, "the item states None"),
        (("assets", "cloudless", "eo:bands", 0, "name"), "B03", "the item states ['B03', "),
        (("assets", "cloudless", "raster:bands", 0, "nodata"), 255, "the item states 255"),
        (("assets", "cloudless", "raster:bands", 0, "scale"), 0.1, "the item states 0.1"),
        (("assets", "cloudless", "raster:bands", 1, "data_type"), "int16", "scene_index is uint16"),
    ],
)
def test_a_statement_that_the_raster_does_not_keep_is_found(
    tmp_path: Path, place: tuple[str | int, ...], value: object, message: str
) -> None:
    item = copy.deepcopy(ITEM)
    part: object = item
    for key in place[:-1]:
        part = part[key]  # type: ignore[index]
    part[place[-1]] = value  # type: ignore[index]
    write_cog(tmp_path / "m.tif", (40, 57))
    found = check_metadata({"cloudless": tmp_path / "m.tif"}, item)
    assert found.status == "disagrees"
    assert message in found.message
