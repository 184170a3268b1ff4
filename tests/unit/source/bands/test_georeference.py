"""Where a raster lies: by the file, by those beside it, and last by its item."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.scenes.scene import BandAsset, RasterMetadata
from cloudbuster.errors import GridError, RasterError
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.local_files import file_stamps
from tests.odd_rasters import CRS, NO_OFFSET, SIDE, expected, scene, write

GRID = Grid(CRS, 500_000, 5_100_000, 10, 10, SIDE, SIDE)
VALUES = expected().astype(np.uint16)
PROJ = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_100_000.0)
JP2 = {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "YES"}


def bare(path: Path, **options: Any) -> str:
    """A raster that says nothing about its place, and has nothing beside it."""
    return write(path, VALUES, **{"crs": None, "transform": None, "pam": False, **options})


def world_file(path: Path, x_size: float = 10, *, west: float = 500_005) -> None:
    """A world file gives the centre of the upper left pixel."""
    path.write_text(f"{x_size}\n0\n0\n{-x_size}\n{west}\n5099995\n")


def placed(href: str, metadata: RasterMetadata | None = None, **changes: Any) -> tuple[Grid, str]:
    """Grid of a scene of one band, after its pixels were checked; and the notes."""
    asset = BandAsset(href, metadata=metadata or RasterMetadata())
    found = scene({"B04": asset}, **changes)
    with gdal_env(), RasterSceneSource(found, ("B04",), radiometry=NO_OFFSET) as source:
        np.testing.assert_array_equal(source.read(("B04",), source.grid)[0], expected())
        return source.grid, "; ".join(source.notes)


@pytest.mark.parametrize("name", ["b.tfw", "b.TFW", "b.tifw", "b.wld"])
def test_a_world_file_gives_the_place_and_the_scene_the_crs(tmp_path: Path, name: str) -> None:
    href = bare(tmp_path / "b.tif")
    world_file(tmp_path / name)
    grid, notes = placed(href, epsg=32633)
    assert grid == GRID
    assert notes == "b.tif: without a CRS: EPSG:32633 is taken from the item"


@pytest.mark.parametrize("name", ["b.j2w", "b.jp2w", "b.wld"])
def test_a_world_file_of_jpeg_2000_counts_too(tmp_path: Path, name: str) -> None:
    href = bare(tmp_path / "b.jp2", **JP2)
    world_file(tmp_path / name)
    assert placed(href, RasterMetadata(crs=CRS))[0] == GRID


@pytest.mark.parametrize("options", [{}, JP2])
def test_an_aux_xml_gives_place_and_crs(tmp_path: Path, options: dict[str, Any]) -> None:
    name = "b.jp2" if options else "b.tif"
    href = bare(tmp_path / name, **options)
    wkt = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    (tmp_path / f"{name}.aux.xml").write_text(
        f"<PAMDataset><SRS>{wkt}</SRS><GeoTransform>500000,10,0,5100000,0,-10</GeoTransform>"
        "</PAMDataset>"
    )
    assert placed(href) == (GRID, "")


def test_an_aux_xml_gives_nodata_and_scale(tmp_path: Path) -> None:
    values = np.where(VALUES == 0, 7, VALUES * 2).astype(np.uint16)
    href = write(tmp_path / "b.tif", values)
    (tmp_path / "b.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue><Scale>5e-5</Scale>'
        "<Offset>0</Offset></PAMRasterBand></PAMDataset>"
    )
    assert placed(href)[0] == GRID


def test_overviews_and_masks_beside_a_raster_are_used(tmp_path: Path) -> None:
    present = np.where(VALUES == 0, 0, 255).astype(np.uint8)
    href = write(tmp_path / "b.tif", np.maximum(VALUES, 900), mask=present, internal=False)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(href, "r+") as dataset:
        dataset.build_overviews([2])
    assert {path.name for path in tmp_path.iterdir()} == {
        "b.tif",
        "b.tif.msk",
        "b.tif.ovr",
        "b.tif.msk.ovr",
    }
    with (
        gdal_env(),
        RasterSceneSource(scene({"B04": href}), ("B04",), radiometry=NO_OFFSET) as source,
    ):
        pixels = source.read(("B04",), source.grid)[0]
    np.testing.assert_array_equal(pixels, np.where(VALUES == 0, 0, np.maximum(VALUES, 900)))


@pytest.mark.parametrize(
    ("metadata", "scene_epsg"),
    [
        (RasterMetadata(crs=CRS, transform=PROJ, shape=(SIDE, SIDE)), None),
        (RasterMetadata(crs=CRS, transform=PROJ), None),
        (RasterMetadata(transform=PROJ, shape=(SIDE, SIDE)), 32633),
        (RasterMetadata(crs=CRS, transform=PROJ, shape=(SIDE, SIDE), is_of_asset=False), None),
    ],
)
def test_where_the_file_says_nothing_the_item_does(
    tmp_path: Path, metadata: RasterMetadata, scene_epsg: int | None
) -> None:
    grid, notes = placed(bare(tmp_path / "b.tif"), metadata, epsg=scene_epsg)
    assert grid == GRID
    assert "CRS: EPSG:32633 is taken from the item" in notes
    assert "proj:transform is taken from the item" in notes


def test_the_transform_of_an_item_fits_its_coarser_bands(tmp_path: Path) -> None:
    whole = RasterMetadata(crs=CRS, transform=PROJ, shape=(48, 48), is_of_asset=False)
    hrefs = {"B04": bare(tmp_path / "b.tif"), "B11": bare(tmp_path / "c.tif")}
    asset = BandAsset(hrefs["B11"], metadata=whole)
    with RasterSceneSource(scene({"B11": asset}), ("B11",), radiometry=NO_OFFSET) as source:
        assert source.grid == replace(GRID, x_size=20, y_size=20)


REFUSED: dict[str, tuple[RasterMetadata, str]] = {
    "nothing": (RasterMetadata(), "has no coordinate reference system"),
    "no transform": (RasterMetadata(crs=CRS), "has no georeference, and its item has no proj"),
    "another shape": (
        RasterMetadata(crs=CRS, transform=PROJ, shape=(12, 12)),
        "its 24x24 pixels are not the 12x12",
    ),
    "another shape of the whole item": (
        RasterMetadata(crs=CRS, transform=PROJ, shape=(50, 50), is_of_asset=False),
        "are not the 50x50",
    ),
    "turned": (RasterMetadata(crs=CRS, transform=(7, 7, 500_000, 7, -7, 5_100_000)), "north-up"),
    "south-up": (RasterMetadata(crs=CRS, transform=(10, 0, 0, 0, 10, 0)), "not north-up"),
    "cells without a size": (
        RasterMetadata(crs=CRS, transform=(1e-300, 0, 500_000, 0, -10, 5_100_000)),
        "no size on the ground",
    ),
    "PROJ string": (
        RasterMetadata(crs="+proj=utm +zone=33 +nadgrids=/etc/passwd", transform=PROJ),
        "no CRS",
    ),
    "heights": (RasterMetadata(crs="EPSG:5773", transform=PROJ), "is a Vertical CRS"),
    "no CRS at all": (RasterMetadata(crs="EPSG:99999", transform=PROJ), "EPSG:99999|EPSG"),
}


@pytest.mark.parametrize(("metadata", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_place_that_nothing_tells_is_refused(
    tmp_path: Path, metadata: RasterMetadata, words: str
) -> None:
    with pytest.raises(GridError, match=words) as caught:
        placed(bare(tmp_path / "b.tif"), metadata)
    assert "drop the scene" in str(caught.value)


def test_the_file_is_believed_against_its_item(tmp_path: Path) -> None:
    elsewhere = RasterMetadata(crs="EPSG:32634", transform=(20.0, 0.0, 0.0, 0.0, -20.0, 0.0))
    grid, notes = placed(write(tmp_path / "b.tif", VALUES), elsewhere)
    assert grid == GRID
    assert "in EPSG:32633, although the item says EPSG:32634" in notes
    assert "with another place or cell size than the item says" in notes


def test_a_rotation_that_is_a_rounding_error_is_none(tmp_path: Path) -> None:
    slightly = Affine(10, 1e-9, 500_000, -1e-9, -10, 5_100_000)
    assert placed(write(tmp_path / "b.tif", VALUES, transform=slightly))[0] == GRID


def test_bands_in_two_coordinate_systems_are_refused(tmp_path: Path) -> None:
    hrefs = {
        "B03": write(tmp_path / "a.tif", VALUES),
        "B04": write(tmp_path / "b.tif", VALUES, crs="EPSG:32634"),
    }
    with pytest.raises(GridError, match=r"b\.tif is in EPSG:32634, and other bands"):
        RasterSceneSource(scene(hrefs), ("B03", "B04"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("b.tif.ovr", b"no raster", "is no TIFF"),
        ("b.tif.msk", b"<VRTDataset/>", "is no TIFF"),
        ("b.tif.aux.xml", b"<PAMDataset", "not readable as XML"),
        (
            "b.tif.aux.xml",
            b'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI>'
            b"</Metadata></PAMDataset>",
            "OVERVIEW_FILE",
        ),
        (
            "b.tif.aux.xml",
            b'<!DOCTYPE x [<!ENTITY a "b">]><PAMDataset>&a;</PAMDataset>',
            "not readable as XML",
        ),
    ],
)
def test_a_file_beside_a_raster_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    href = write(tmp_path / "b.tif", VALUES)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RasterError, match=words):
        placed(href)


def test_a_changed_file_beside_a_raster_makes_it_another_one(tmp_path: Path) -> None:
    href = bare(tmp_path / "b.tif")
    before = file_stamps([href])
    world_file(tmp_path / "b.tfw")
    assert file_stamps([href]) != before


def test_nothing_is_written_beside_a_raster(tmp_path: Path) -> None:
    href = bare(tmp_path / "b.tif")
    world_file(tmp_path / "b.tfw")
    placed(href, epsg=32633)
    assert {path.name for path in tmp_path.iterdir()} == {"b.tif", "b.tfw"}
