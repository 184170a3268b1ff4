"""Files of the whole sample world, with all its 34 products."""

import json

import numpy as np
import pystac
import pytest
import rasterio
import shapely

from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from tests.sample_world import WORLD_SHAPE


def items_of(sample_world):
    catalog = json.loads((sample_world.catalog / "catalog.json").read_text())
    paths = [
        sample_world.catalog / link["href"] for link in catalog["links"] if link["rel"] == "item"
    ]
    return [(path.parent, json.loads(path.read_text())) for path in paths]


def test_catalog_links_every_item_and_pystac_reads_it(sample_world):
    catalog = pystac.Catalog.from_file(str(sample_world.catalog / "catalog.json"))
    found = list(catalog.get_items())
    assert len(found) == sample_world.scene_count == 34
    assert len({item.id for item in found}) == 34
    assert {item.collection_id for item in found} == {"sentinel-2-l1c", "sentinel-2-l2a"}


def test_items_lie_where_the_real_keys_are(sample_world):
    folders = {
        item["id"]: str(f.relative_to(sample_world.catalog)) for f, item in items_of(sample_world)
    }
    assert folders["S2A_33TWL_20230510_1_L2A"] == (
        "sentinel-s2-l2a-cogs/33/T/WL/2023/5/S2A_33TWL_20230510_1_L2A"
    )
    assert folders["S2A_33TWM_20230709_0_L1C"] == "sentinel-s2-l1c/tiles/33/T/WM/2023/7/9/0"


def test_items_are_in_the_dialect_of_earth_search(sample_world):
    for _, item in items_of(sample_world):
        properties, kind = item["properties"], item["id"][-3:]
        required = {
            "datetime", "platform", "constellation", "instruments", "eo:cloud_cover", "proj:epsg",
            "grid:code", "view:sun_azimuth", "view:sun_elevation", "s2:processing_baseline",
            "s2:product_uri", "s2:generation_time", "s2:datatake_id", "s2:datastrip_id",
            "s2:sequence",
        }  # fmt: skip
        assert required <= properties.keys()
        assert ("earthsearch:boa_offset_applied" in properties) == (kind == "L2A")
        assert ("s2:nodata_pixel_percentage" in properties) == (kind == "L2A")
        assert 0 <= properties["eo:cloud_cover"] <= 100
        assert f"_T{item['id'][4:9]}_" in properties["s2:product_uri"]
        assert ("cirrus" in item["assets"]) == (kind == "L1C")
        assert ("scl" in item["assets"]) == ("cloud" in item["assets"]) == (kind == "L2A")


def test_assets_describe_their_files(sample_world):
    for folder, item in items_of(sample_world):
        for asset in item["assets"].values():
            with rasterio.open(folder / asset["href"]) as raster:
                assert list(raster.shape) == asset["proj:shape"]
                assert list(raster.transform)[:6] == asset["proj:transform"]
                assert raster.dtypes[0] == asset["raster:bands"][0]["data_type"]
                assert raster.nodata == asset["raster:bands"][0].get("nodata")
                assert raster.crs.to_epsg() == 32633
                assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        names = {asset["href"] for asset in item["assets"].values()}
        assert names == {f"./{path.name}" for path in folder.glob("*.tif")}


def test_footprint_is_the_outline_of_the_valid_pixels(sample_world):
    seen: dict[str, list[tuple[float, float]]] = {}
    for folder, item in items_of(sample_world):
        with rasterio.open(folder / "B02.tif") as raster:
            share = (raster.read(1) > 0).mean()
        area = shapely.from_geojson(json.dumps(item["geometry"])).area
        seen.setdefault(item["properties"]["grid:code"], []).append((share, area))
        if item["collection"] == "sentinel-2-l2a":
            nodata = item["properties"]["s2:nodata_pixel_percentage"]
            assert share == pytest.approx(1 - nodata / 100, abs=0.02)
    for scenes in seen.values():
        whole = max(area for _, area in scenes)
        assert min(share for share, _ in scenes) < 0.8
        for share, area in scenes:
            assert area / whole == pytest.approx(share, abs=0.02)


def test_one_duplicate_and_one_item_without_nir(sample_world):
    found = [item for _, item in items_of(sample_world) if item["collection"] == "sentinel-2-l2a"]
    again = [item for item in found if item["properties"]["s2:sequence"] == "1"]
    assert [item["id"] for item in again] == ["S2A_33TWL_20230510_1_L2A"]
    first = next(item for item in found if item["id"] == "S2A_33TWL_20230510_0_L2A")
    assert again[0]["properties"]["datetime"] == first["properties"]["datetime"]
    for name in ("s2:processing_baseline", "s2:generation_time"):
        assert again[0]["properties"][name] > first["properties"][name]
    without = [item["id"] for item in found if "nir" not in item["assets"]]
    assert without == ["S2B_33TWM_20230813_0_L2A"]


def test_truth_document_says_what_the_pixels_hold(sample_world):
    truth = {s["id"]: s for s in json.loads(sample_world.truth_document.read_text())["scenes"]}
    darkest: dict[int, list[int]] = {0: [], 1000: []}
    for folder, item in items_of(sample_world):
        scene = truth[item["id"]]
        with rasterio.open(folder / "B05.tif") as raster:
            values = raster.read(1)
        darkest[scene["offset_dn"]].append(int(values[values > 0].min()))
        assert (sample_world.truth.parent / scene["affected"]).is_file()
    # A scene all under cloud has no dark pixel.
    assert min(darkest[1000]) > 1000 > np.median(darkest[0])
    assert {s["flags_are_right"] for s in truth.values()} == {True, False}


def test_truth_is_cloud_free_and_covers_both_tiles(sample_world):
    with rasterio.open(sample_world.truth) as truth:
        assert truth.descriptions == BANDS_BY_KIND["L2A"]
        assert truth.shape == WORLD_SHAPE
        pixels = truth.read()
    assert (pixels > 0).all()


def test_aoi_lies_inside_the_tiles_and_over_both(sample_world):
    aoi = shapely.from_geojson(json.dumps(json.loads(sample_world.aoi.read_text())["geometry"]))
    tiles: dict[str, shapely.Geometry] = {}
    for _, item in items_of(sample_world):
        shape = shapely.from_geojson(json.dumps(item["geometry"]))
        code = item["properties"]["grid:code"]
        tiles[code] = shape.union(tiles.get(code, shape))
    assert aoi.is_valid
    assert shapely.union_all(list(tiles.values())).buffer(1e-6).contains(aoi)
    assert all(not aoi.difference(tile).is_empty for tile in tiles.values())
    request = json.loads(sample_world.request.read_text())
    assert request["aoi"] == shapely.geometry.mapping(aoi) | {
        "coordinates": json.loads(sample_world.aoi.read_text())["geometry"]["coordinates"]
    }
    assert (sample_world.request.parent / request["query"]["catalog"]).is_dir()
