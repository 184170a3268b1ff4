"""Bands of items as common STAC makers write them: by what is said, never by position."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudbuster.catalogs.schema import missing_bands, parse_scene
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.errors import RasterError
from cloudbuster.source.scene_source import RasterSceneSource
from tests.factories import SceneSpec, write_scene
from tests.odd_rasters import NO_OFFSET, SIDE, write

BANDS = ("B02", "B03", "B04", "B08")
COMMON = ("blue", "green", "red", "nir")
WAVELENGTHS = (0.49, 0.56, 0.665, 0.842)
POSITIONS = ("b1", "b2", "b3", "b4")
# Values of the bands of the file, in its order.
LEVELS = (300, 600, 900, 3000)
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("base")
    return write_scene(folder, SceneSpec(size=SIDE))


def parsed(base: dict[str, Any], assets: dict[str, Any]) -> Scene:
    item = copy.deepcopy(base)
    item["assets"] = assets
    return parse_scene(item, catalog="catalog")


def file_of(folder: Path, **options: Any) -> str:
    """A raster of four bands; a gradient keeps the levels from being one colour."""
    ramp = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 100
    return write(folder / "all.tif", *((level + ramp).astype("uint16") for level in LEVELS),
                 **options)  # fmt: skip


def levels(scene: Scene, bands: tuple[str, ...] = BANDS) -> tuple[int, ...]:
    with RasterSceneSource(scene, bands, radiometry=NO_OFFSET) as source:
        return tuple(int(band.min()) for band in source.read(bands, source.grid))


def rows(**fields: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]


DESCRIBED: dict[str, dict[str, Any]] = {
    "eo:bands, b1 with common names": {"eo:bands": rows(name=POSITIONS, common_name=COMMON)},
    "eo:bands, B1 with common names": {
        "eo:bands": rows(name=("B1", "B2", "B3", "B4"), common_name=COMMON)
    },
    "eo:bands, b1 with descriptions": {"eo:bands": rows(name=POSITIONS, description=BANDS)},
    "eo:bands, b1 with wavelengths": {
        "eo:bands": rows(name=POSITIONS, center_wavelength=WAVELENGTHS)
    },
    "eo:bands by name": {"eo:bands": rows(name=BANDS)},
    "bands of STAC 1.1": {"bands": rows(**{"name": POSITIONS, "eo:common_name": COMMON})},
    "bands of STAC 1.1 by wavelength": {
        "bands": rows(**{"name": POSITIONS, "eo:center_wavelength": WAVELENGTHS})
    },
}


@pytest.mark.parametrize("fields", DESCRIBED.values(), ids=DESCRIBED.keys())
def test_an_asset_of_four_bands_is_read_by_what_the_item_says(
    tmp_path: Path, base: dict[str, Any], fields: dict[str, Any]
) -> None:
    asset = {"href": file_of(tmp_path), "type": COG, "roles": ["data"], **fields}
    assert levels(parsed(base, {"data": asset})) == LEVELS


TOLD_BY_FILE: dict[str, dict[str, Any]] = {
    "descriptions": {"names": BANDS},
    "common names": {"names": COMMON},
    "names after positions": {"names": ("B02 (blue)", "B03 (green)", "B04 (red)", "B08 (nir)")},
    "wavelengths": {"tags": [{"wavelength": str(each)} for each in WAVELENGTHS]},
    "long names": {"tags": [{"long_name": name} for name in BANDS]},
}


@pytest.mark.parametrize("names", [POSITIONS, ("1", "2", "3", "4"), None])
@pytest.mark.parametrize("options", TOLD_BY_FILE.values(), ids=TOLD_BY_FILE.keys())
def test_where_the_item_only_counts_the_file_says_it(
    tmp_path: Path, base: dict[str, Any], options: dict[str, Any], names: tuple[str, ...] | None
) -> None:
    asset: dict[str, Any] = {"href": file_of(tmp_path, **options), "type": COG}
    if names is not None:
        asset["eo:bands"] = rows(name=names)
    scene = parsed(base, {"data": asset})
    assert missing_bands(scene, BANDS) == ()
    assert levels(scene) == LEVELS


@pytest.mark.parametrize("key", ["data", "visual_data", "B02"])
@pytest.mark.parametrize("names", [POSITIONS, ("B1", "B2", "B3", "B4")])
def test_bands_that_nothing_tells_are_refused(
    tmp_path: Path, base: dict[str, Any], names: tuple[str, ...], key: str
) -> None:
    asset = {"href": file_of(tmp_path), "type": COG, "eo:bands": rows(name=names)}
    with pytest.raises(RasterError, match=r"nothing says which .*all\.tif"):
        levels(parsed(base, {key: asset}))


def test_the_file_corrects_the_order_of_the_item(tmp_path: Path, base: dict[str, Any]) -> None:
    """An item may describe the bands that were asked for, not those of the file."""
    asset = {"href": file_of(tmp_path, names=BANDS), "eo:bands": rows(name=BANDS[::-1])}
    assert levels(parsed(base, {"data": asset})) == LEVELS


def test_a_file_of_another_band_than_the_item_says_is_refused(
    tmp_path: Path, base: dict[str, Any]
) -> None:
    values = np.full((SIDE, SIDE), 700, np.uint16)
    asset = {"href": write(tmp_path / "b.tif", values, names=("B11",)), "type": COG}
    with pytest.raises(RasterError, match="says that its band 1 is B11, the item B04"):
        levels(parsed(base, {"B04": asset}), ("B04",))


def test_a_file_of_more_bands_than_the_item_describes_is_refused(
    tmp_path: Path, base: dict[str, Any]
) -> None:
    with pytest.raises(RasterError, match="has 4 bands, and nothing says which of them is B04"):
        levels(parsed(base, {"B04": {"href": file_of(tmp_path), "type": COG}}), ("B04",))


@pytest.mark.parametrize("keys", [("B02", "B04"), ("blue", "red"), ("b02", "b04")])
def test_one_file_a_band_is_found_by_its_key(
    tmp_path: Path, base: dict[str, Any], keys: tuple[str, str]
) -> None:
    assets = {
        key: {"href": write(tmp_path / f"{key}.tif", np.full((SIDE, SIDE), level, np.uint16))}
        for key, level in zip(keys, (400, 800), strict=True)
    }
    assert levels(parsed(base, assets), ("B02", "B04")) == (400, 800)


def test_keys_that_only_count_files_name_no_band(tmp_path: Path, base: dict[str, Any]) -> None:
    """``B1`` to ``B4`` may be the four bands at 10 m; each file says which it is."""
    assets, unsaid = {}, {}
    for place, (band, level) in enumerate(zip(BANDS, LEVELS, strict=True), start=1):
        values = np.full((SIDE, SIDE), level, np.uint16)
        href = write(tmp_path / f"{place}.tif", values, names=(band,))
        assets[f"B{place}"] = {"href": href, "type": COG}
        plain = write(tmp_path / f"plain-{place}.tif", values)
        unsaid[f"B{place}"] = {"href": plain, "type": COG}
    assert levels(parsed(base, assets)) == LEVELS
    with pytest.raises(RasterError, match="nothing says which"):
        levels(parsed(base, unsaid))


def test_the_bands_of_an_asset_beside_a_picture_are_those_of_the_asset(
    tmp_path: Path, base: dict[str, Any]
) -> None:
    picture = {
        "href": "/x/visual.tif",
        "type": COG,
        "roles": ["visual"],
        "eo:bands": rows(name=("b1", "b2", "b3"), common_name=("red", "green", "blue")),
    }
    data = {"href": file_of(tmp_path), "type": COG, **DESCRIBED["eo:bands by name"]}
    assert levels(parsed(base, {"visual": picture, "data": data})) == LEVELS
