"""Cells of scenes that nobody has opened, from what their items state."""

import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.scenes.scene import BandAsset, RasterMetadata, Scene
from cloudbuster.selection.stated_grid import stated_cells

PLACE = (10.0, 0.0, 499_980.0, 0.0, -10.0, 5_100_000.0)
TEN = RasterMetadata(crs="EPSG:32633", transform=PLACE, shape=(10_980, 10_980))
TWENTY = RasterMetadata(
    crs="EPSG:32633",
    transform=(20.0, 0.0, 499_980.0, 0.0, -20.0, 5_100_000.0),
    shape=(5_490, 5_490),
)


def scene(epsg: int | None = None, **bands: RasterMetadata) -> Scene:
    return Scene(
        "S2A_33TWL_20230510_0_L2A",
        "L2A",
        bands={name: BandAsset(f"{name}.tif", metadata=stated) for name, stated in bands.items()},
        epsg=epsg,
    )


def test_cells_are_of_320_m_from_the_corner_of_the_finest_band() -> None:
    found = stated_cells(scene(B05=TWENTY, B04=TEN))
    assert found == Grid("EPSG:32633", 499_980, 5_100_000, 320, 320, 344, 344)


def test_the_crs_may_be_that_of_the_scene() -> None:
    bare = RasterMetadata(transform=PLACE, shape=(10_980, 10_980))
    found = stated_cells(scene(32633, B04=bare))
    assert found is not None
    assert found.crs == "EPSG:32633"


@pytest.mark.parametrize(
    "stated",
    [
        RasterMetadata(),
        RasterMetadata(transform=PLACE, shape=(10_980, 10_980)),
        RasterMetadata(crs="EPSG:32633", transform=PLACE),
        RasterMetadata(crs="EPSG:32633", transform=(7.0, 7.0, 0.0, 7.0, -7.0, 0.0), shape=(9, 9)),
        RasterMetadata(crs="EPSG:32633", transform=PLACE, shape=(0, 10_980)),
        RasterMetadata(crs="EPSG:32633", transform=PLACE, shape=(10**9, 10**9)),
        RasterMetadata(crs="EPSG:1", transform=PLACE, shape=(10_980, 10_980)),
    ],
    ids=["nothing", "no CRS", "no shape", "rotated", "empty", "huge", "unknown CRS"],
)
def test_an_item_that_does_not_say_where_a_raster_lies_has_no_cells(
    stated: RasterMetadata,
) -> None:
    assert stated_cells(scene(B04=stated)) is None
