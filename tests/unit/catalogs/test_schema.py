import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbuster.catalogs.item_hrefs import absolute_item
from cloudbuster.catalogs.item_properties import acquired_of, footprint_of, kind_of, parse_time
from cloudbuster.catalogs.schema import is_item, missing_bands, parse_scene
from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.errors import CatalogError
from tests.stac_items import make_item


def with_assets(assets, **changes):
    return {**make_item(**changes), "assets": assets}


def with_properties(properties, *, item_id="S2A_33TWL_20200510_0_L2A", **members):
    return {**make_item(), "id": item_id, "properties": properties, **members}


def bare(**properties):
    return with_properties(
        {"datetime": "2020-05-10T10:00:31Z", **properties},
        item_id="S2A_x_L2A",
        collection="sentinel-2-l2a",
    )


def scene(item):
    return parse_scene(item, catalog="test")


def test_parse_scene_reads_an_item_of_earth_search():
    item = make_item(
        properties={
            "s2:product_uri": "S2A_MSIL2A_20200510T100031_N0500_R122_T33TWL_20230101T000000.SAFE",
            "s2:nodata_pixel_percentage": 12.5,
            "view:sun_azimuth": 150.0,
            "view:sun_elevation": 55.0,
            "proj:epsg": 32633,
            "earthsearch:boa_offset_applied": True,
        }
    )
    parsed = scene(item)
    assert parsed.kind == "L2A"
    assert parsed.acquired == datetime(2020, 5, 10, 10, 0, 31, 24000, tzinfo=UTC)
    assert parsed.platform == "sentinel-2a"
    assert parsed.mgrs_tile == "33TWL"
    assert parsed.datatake == "S2A_20200510T100031"
    assert parsed.relative_orbit == 122
    assert parsed.baseline == "05.00"
    assert (parsed.cloud_cover, parsed.nodata_percent) == (10.0, 12.5)
    assert (parsed.sun_azimuth_deg, parsed.sun_elevation_deg) == (150.0, 55.0)
    assert parsed.epsg == 32633
    assert parsed.offset_removed_flag is True
    assert tuple(parsed.bands) == BANDS_BY_KIND["L2A"]
    assert parsed.bands["B8A"].href.endswith("/B8A.tif")
    assert set(parsed.masks) == {"scl"}
    assert parsed.footprint == item["geometry"]


def test_parse_scene_takes_the_native_resolution_of_the_data_space():
    assets = {
        "B02_20m": {"href": "s3://eodata/R20m/B02.jp2", "bands": [{"name": "B02"}]},
        "B02_10m": {"href": "s3://eodata/R10m/B02.jp2", "bands": [{"name": "B02"}]},
        "B01_20m": {"href": "s3://eodata/R20m/B01.jp2", "bands": [{"name": "B01"}]},
        "B01_60m": {"href": "s3://eodata/R60m/B01.jp2", "raster:offset": -0.1},
        "B12_60m": {"href": "s3://eodata/R60m/B12.jp2", "bands": [{"name": "B12"}]},
        "TCI_10m": {"href": "s3://eodata/TCI.jp2", "bands": [{"name": "B04"}, {"name": "B03"}]},
        "SCL_20m": {"href": "s3://eodata/SCL.jp2", "proj:code": "EPSG:32633"},
    }
    parsed = scene(with_assets(assets))
    assert parsed.bands == {
        "B01": BandAsset("s3://eodata/R60m/B01.jp2"),
        "B02": BandAsset("s3://eodata/R10m/B02.jp2"),
    }
    assert parsed.masks == {"scl": BandAsset("s3://eodata/SCL.jp2")}
    assert parsed.declared_offset == -0.1


def test_parse_scene_reads_the_bands_of_one_raster():
    described = [{"name": "B04"}, {"name": "extra"}, {"common_name": "nir"}]
    parsed = scene(with_assets({"image": {"href": "s3://b/x.tif", "eo:bands": described}}))
    assert parsed.bands == {
        "B04": BandAsset("s3://b/x.tif", 1),
        "B08": BandAsset("s3://b/x.tif", 3),
    }


def test_parse_scene_never_takes_a_picture_or_a_defective_copy_for_a_band():
    described = [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]
    assets = {
        "preview": {"href": "s3://b/p.tif", "eo:bands": described},
        "rgb": {"href": "s3://b/rgb.tif", "eo:bands": described, "roles": ["visual"]},
        "blue-jp2": {"href": "s3://b/B02.jp2", "eo:bands": [{"name": "blue"}]},
        "red": {"href": None},
        "green": "not an asset",
        "nir": {"href": "s3://b/B08.tif"},
    }
    assert scene(with_assets(assets)).bands == {"B08": BandAsset("s3://b/B08.tif")}


def test_parse_scene_prefers_the_key_to_the_description():
    assets = {
        "stack": {"href": "s3://b/all.tif", "eo:bands": [{"name": "B02"}, {"name": "B03"}]},
        "B02": {"href": "s3://b/B02.tif"},
    }
    bands = scene(with_assets(assets)).bands
    assert bands["B02"] == BandAsset("s3://b/B02.tif")
    assert bands["B03"] == BandAsset("s3://b/all.tif", 2)


def test_missing_bands_keeps_the_order_asked_for():
    item = make_item()
    del item["assets"]["red"], item["assets"]["nir"]
    assert missing_bands(scene(item), ("B08", "B02", "B04")) == ("B08", "B04")


@pytest.mark.parametrize(
    ("properties", "attribute", "expected"),
    [
        ({"proj:code": "EPSG:32701"}, "epsg", 32701),
        ({"mgrs:utm_zone": 1, "mgrs:latitude_band": "W", "mgrs:grid_square": "CR"}, "epsg", 32601),
        ({"grid:code": "MGRS-20EPT"}, "epsg", 32720),
        ({"grid:code": "MGRS-1WCR"}, "mgrs_tile", "01WCR"),
        ({"s2:mgrs_tile": "06VVN"}, "mgrs_tile", "06VVN"),
        ({"processing:version": "05.00"}, "baseline", "05.00"),
        ({"s2:product_uri": "S2B_MSIL2A_20190629T212529_N0212_R043_x"}, "baseline", "02.12"),
        ({"s2:datatake_id": "GS2B_20190629T212529_012077_N02.12"}, "baseline", "02.12"),
        ({"sat:relative_orbit": 43}, "relative_orbit", 43),
        ({"sentinel2:relative_orbit_number": 16}, "relative_orbit", 16),
        ({"eopf:datatake_id": "GS2C_20250301T090901_1_N05.11"}, "datatake", "S2C_20250301T090901"),
        ({"s2:product_uri": "S2B_MSIL1C_20190629T212529_N0212"}, "datatake", "S2B_20190629T212529"),
        ({"platform": "Sentinel-2C"}, "platform", "sentinel-2c"),
        ({"statistics": {"nodata": 3.5}}, "nodata_percent", 3.5),
        ({"sentinel:data_coverage": 90}, "nodata_percent", 10),
        ({"s2:mean_solar_zenith": 30.5}, "sun_elevation_deg", 59.5),
        ({"s2:mean_solar_azimuth": 170.0}, "sun_azimuth_deg", 170.0),
        ({"sentinel:boa_offset_applied": False}, "offset_removed_flag", False),
        ({"eo:cloud_cover": "12"}, "cloud_cover", None),
        ({}, "epsg", None),
        ({}, "baseline", None),
        ({}, "datatake", None),
    ],
)
def test_parse_scene_reads_the_properties_of_each_dialect(properties, attribute, expected):
    assert getattr(scene(bare(**properties)), attribute) == expected


def test_parse_scene_reads_the_datatake_of_an_id_without_properties():
    item = with_properties({"datetime": "2015-07-11T10:00:08Z"}, item_id="S2A_L1C_20150711T100008")
    item["collection"] = None
    parsed = scene(item)
    assert (parsed.kind, parsed.datatake) == ("L1C", "S2A_20150711T100008")
    assert parsed.platform == "sentinel-2a"


@pytest.mark.parametrize(
    ("baseline", "mask", "file"),
    [("03.01", "gml", "MSK_CLOUDS_B00.gml"), ("04.00", "classi", "MSK_CLASSI_B00.jp2")],
)
def test_parse_scene_knows_the_masks_of_the_l1c_bucket(baseline, mask, file):
    folder = "s3://sentinel-s2-l1c/tiles/33/T/WL/2020/5/10/0"
    item = make_item(kind="L1C", baseline=baseline)
    item["assets"] = {"blue": {"href": f"{folder}/B02.jp2"}}
    assert scene(item).masks == {mask: BandAsset(f"{folder}/qi/{file}")}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"type": "Feature"}, "test: item (without id) is not a STAC item"),
        ({"type": "Catalog", "id": "root"}, "test: item root is not a STAC item"),
        (
            with_properties({"platform": "landsat-8"}, item_id="LC08_1", collection="landsat-c2"),
            "test: item LC08_1 is not of Sentinel-2 (landsat-8, landsat-c2)",
        ),
        (
            with_properties({"platform": "sentinel-2a"}, item_id="scene", collection=None),
            "test: item scene names neither L1C nor L2A",
        ),
    ],
)
def test_parse_scene_refuses_documents_that_are_not_scenes(item, message):
    with pytest.raises(CatalogError) as caught:
        scene(item)
    assert str(caught.value).startswith(message)


def test_absolute_item_resolves_hrefs_against_the_base():
    item = with_assets({"B02": {"href": "./B02.tif"}, "scl": {"href": "qi/../SCL.tif"}})
    parsed = scene(absolute_item(item, "/archive/33/T"))
    assert parsed.bands["B02"].href == "/archive/33/T/B02.tif"
    assert parsed.masks["scl"].href == "/archive/33/T/SCL.tif"
    assert scene(absolute_item(item, "https://h/x")).bands["B02"].href == "https://h/x/B02.tif"


def test_parse_scene_makes_hrefs_absolute_against_the_self_link():
    item = with_assets({"B02": {"href": "./B02.tif"}})
    item["links"] = [{"rel": "root", "href": "../c.json"}, {"rel": "self", "href": "/a/b/i.json"}]
    assert scene(item).bands["B02"].href == "/a/b/B02.tif"


def test_parse_scene_reads_the_twin_and_does_without_an_unusable_one():
    twin = make_item(kind="L1C")
    item = make_item(properties={"cloudbuster:l1c_twin": twin})
    parsed = scene(item).twin
    assert parsed is not None
    assert parsed.kind == "L1C"
    assert scene(make_item(properties={"cloudbuster:l1c_twin": {"id": "x"}})).twin is None


def test_absolute_item_does_not_touch_its_argument():
    item = with_assets({"B02": {"href": "B02.tif"}, "odd": 3})
    before = json.dumps(item)
    copy = absolute_item(item, "/archive")
    assert copy["assets"]["B02"]["href"] == "/archive/B02.tif"
    assert json.dumps(item) == before


def test_absolute_item_leaves_every_scheme_alone():
    hrefs = {"a": "s3://b/x", "b": "gs://b/x", "c": "https://h/x", "d": "/vsizip/x", "e": "x"}
    item = with_assets({key: {"href": href} for key, href in hrefs.items()})
    got = {key: asset["href"] for key, asset in absolute_item(item, "/f")["assets"].items()}
    assert got == {**hrefs, "e": "/f/x"}


def test_footprint_of_falls_back_to_the_bounding_box():
    item = {**make_item(), "geometry": None, "bbox": [10, 45, 0, 11, 46, 99]}
    footprint = footprint_of(item)
    assert footprint is not None
    assert footprint["coordinates"][0][2] == [11, 46]
    assert footprint_of({**item, "bbox": None}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-05-10T10:00:31.0241234Z", datetime(2020, 5, 10, 10, 0, 31, 24123, tzinfo=UTC)),
        ("2020-05-10T12:00:31+02:00", datetime(2020, 5, 10, 10, 0, 31, tzinfo=UTC)),
        ("2020-05-10T10:00:31", datetime(2020, 5, 10, 10, 0, 31, tzinfo=UTC)),
        ("2020-05-10", datetime(2020, 5, 10, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        (20200510, None),
    ],
)
def test_parse_time_gives_utc_or_nothing(text, expected):
    assert parse_time(text) == expected


def test_acquired_of_an_item_with_a_range_is_its_start():
    item = bare(start_datetime="2020-05-10T10:00:00Z")
    item["properties"]["datetime"] = None
    assert acquired_of(item) == datetime(2020, 5, 10, 10, tzinfo=UTC)


def test_kind_of_believes_the_product_type_before_the_collection():
    item = {**make_item(kind="L1C"), "collection": "sentinel-2-l2a"}
    assert kind_of(item) == "L1C"


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.lists(st.one_of(st.none(), st.integers(0, 3), st.text(max_size=3)), max_size=2),
    st.dictionaries(st.sampled_from(["name", "href", "x"]), st.integers(0, 3), max_size=2),
)


def places(value, path=()):
    """Every place in a JSON document, as a path of keys."""
    yield path
    members = value.items() if isinstance(value, dict) else ()
    for key, member in [*members, *(enumerate(value) if isinstance(value, list) else ())]:
        yield from places(member, (*path, key))


@settings(max_examples=40)
@given(data=st.data())
def test_parse_scene_answers_anything_with_a_scene_or_a_reason(data):
    item = make_item()
    item["links"] = [{"rel": "self", "href": "/a/b.json"}]
    item["assets"]["red"] |= {"eo:bands": [{"name": "B04"}], "raster:bands": [{"offset": 0}]}
    item["assets"]["stack"] = {"href": "x.tif", "bands": [{"name": "B05"}]}
    known = [path for path in places(item) if path]
    for path in data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)):
        holder = item
        for key in path[:-1]:
            holder = holder[key] if key in places_of(holder) else {}
        if path[-1] in places_of(holder):
            holder[path[-1]] = data.draw(JUNK)
    with contextlib.suppress(CatalogError):
        assert scene(item).id == item["id"]


def places_of(value):
    if isinstance(value, dict):
        return value.keys()
    return range(len(value)) if isinstance(value, list) else ()


def _items_in(folder: Path):
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in ("", ".json"):
            document = json.loads(file.read_bytes())
            members = document.get("features", [document]) if isinstance(document, dict) else []
            yield from (member for member in members if is_item(member))


@pytest.mark.real_data
def test_parse_scene_reads_every_real_item(test_data):
    items = list(_items_in(test_data / "stac-items"))
    assert len(items) >= 80
    for item in items:
        parsed = scene(item)
        assert parsed.mgrs_tile is not None, item["id"]
        assert parsed.epsg is not None, item["id"]
        assert parsed.platform is not None, item["id"]
        assert parsed.baseline is not None, item["id"]
        assert parsed.acquired is not None, item["id"]
        assert parsed.cloud_cover is not None, item["id"]
        assert tuple(parsed.bands) == BANDS_BY_KIND[parsed.kind], item["id"]
        assert "scl" in parsed.masks or parsed.kind == "L1C", item["id"]


@pytest.mark.real_data
def test_parse_scene_reads_the_thirteen_bands_of_the_real_l1c_stack(test_data):
    folder = test_data / "l1c-slovenia-5dates"
    item = json.loads((folder / "S2A_L1C_20150711T100008.json").read_bytes())
    parsed = scene(absolute_item(item, str(folder)))
    assert [band.band_index for band in parsed.bands.values()] == list(range(1, 14))
    assert {band.href for band in parsed.bands.values()} == {
        str(folder / "S2A_L1C_20150711T100008.tif")
    }
    assert parsed.declared_offset == 0
