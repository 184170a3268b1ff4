"""What an item states about the values and the place of a raster."""

import copy
import math
from typing import Any

import pytest

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.scenes.encoding import Declaration
from cloudbuster.core.scenes.scene import RasterMetadata
from tests.factories import SceneSpec, write_scene

PLACE = [10.0, 0.0, 500_040.0, 0.0, -10.0, 5_000_040.0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_scene(tmp_path_factory.mktemp("base"), SceneSpec(size=4))


def stated(
    base: dict[str, Any],
    asset: dict[str, Any],
    properties: dict[str, Any] | None = None,
    band: str = "B04",
) -> RasterMetadata:
    item = copy.deepcopy(base)
    del item["properties"]["proj:epsg"]
    item["properties"] |= properties or {}
    item["assets"] = {"B04": {"href": "/x/B04.tif", **asset}}
    if "eo:bands" in asset or "bands" in asset:
        item["assets"] = {"data": {"href": "/x/all.tif", "type": "image/tiff", **asset}}
    return parse_scene(item, catalog="catalog").bands[band].metadata


OF_ESA = {"scale": 1e-4, "offset": -0.1, "nodata": 0}
VALUES: dict[str, tuple[dict[str, Any], Declaration]] = {
    "nothing": ({}, Declaration()),
    "raster:bands": ({"raster:bands": [OF_ESA]}, Declaration(1e-4, -0.1, (0.0,))),
    "the asset itself": (
        {"raster:scale": 1e-4, "raster:offset": 0, "nodata": -9999},
        Declaration(1e-4, 0, (-9999.0,)),
    ),
    "the second of raster:bands": (
        {
            "eo:bands": [{"name": "B03"}, {"name": "B04"}],
            "raster:bands": [{"scale": 1.0}, {"scale": 2e-4, "nodata": 7}],
        },
        Declaration(2e-4, None, (7.0,)),
    ),
    "bands of STAC 1.1": (
        {"bands": [{"name": "B03"}, {"name": "B04", "raster:scale": 1e-4, "nodata": 65_535}]},
        Declaration(1e-4, None, (65_535.0,)),
    ),
    "numbers as text": ({"raster:bands": [{"nodata": "-inf"}]}, Declaration(nodata=(-math.inf,))),
    "not a number at all": (
        {"raster:bands": [{"scale": "much", "nodata": None}, "x"]},
        Declaration(),
    ),
}


@pytest.mark.parametrize(("asset", "wanted"), VALUES.values(), ids=VALUES.keys())
def test_scale_offset_and_nodata_are_those_of_the_band(
    base: dict[str, Any], asset: dict[str, Any], wanted: Declaration
) -> None:
    assert stated(base, asset).values == wanted


def test_nodata_may_be_nan(base: dict[str, Any]) -> None:
    (nodata,) = stated(base, {"raster:bands": [{"nodata": "nan"}]}).values.nodata
    assert math.isnan(nodata)


PLACES: dict[str, tuple[dict[str, Any], dict[str, Any], RasterMetadata]] = {
    "the asset's": (
        {"proj:epsg": 32633, "proj:transform": PLACE, "proj:shape": [4, 4]},
        {},
        RasterMetadata(crs="EPSG:32633", transform=tuple(PLACE), shape=(4, 4)),
    ),
    "nine numbers": (
        {"proj:code": "EPSG:32633", "proj:transform": [*PLACE, 0, 0, 1]},
        {},
        RasterMetadata(crs="EPSG:32633", transform=tuple(PLACE)),
    ),
    "the item's": (
        {},
        {"proj:epsg": 32633, "proj:transform": PLACE, "proj:shape": [8, 8]},
        RasterMetadata(crs="EPSG:32633", transform=tuple(PLACE), shape=(8, 8), is_of_asset=False),
    ),
    "the asset's before the item's": (
        {"proj:transform": PLACE, "proj:shape": [4, 4]},
        {"proj:epsg": 32633, "proj:transform": [0] * 6, "proj:shape": [8, 8]},
        RasterMetadata(crs="EPSG:32633", transform=tuple(PLACE), shape=(4, 4)),
    ),
    "malformed": (
        {"proj:transform": [1, 2, "x", 4, 5, 6], "proj:shape": ["4", 4]},
        {},
        RasterMetadata(is_of_asset=False),
    ),
}


@pytest.mark.parametrize(("asset", "properties", "wanted"), PLACES.values(), ids=PLACES.keys())
def test_the_place_is_that_of_the_asset_or_else_of_the_item(
    base: dict[str, Any],
    asset: dict[str, Any],
    properties: dict[str, Any],
    wanted: RasterMetadata,
) -> None:
    assert stated(base, asset, properties) == wanted
