import json
from datetime import date

import pytest
from click.testing import CliRunner

from cloudbuster.catalogs import CATALOGS, check_catalog, open_catalog
from cloudbuster.catalogs.item_hrefs import mended_item, mirrored_item
from cloudbuster.catalogs.named import catalog_statuses
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.catalogs.stac_api import StacApiCatalog
from cloudbuster.cli.main import cli
from cloudbuster.core.scenes.asset_mirror import mirrored_href, parse_mirror
from cloudbuster.core.scenes.scene import BandAsset
from cloudbuster.errors import CatalogError, CredentialsError
from cloudbuster.models import QueryOptions
from cloudbuster.query import query_scenes
from cloudbuster.storage.rasters.access import CDSE_KEY_VARIABLES, CREDENTIAL_VARIABLES
from tests.stac_items import item_collection, make_item, square

TILE = "tiles/33/T/WL/2020/5/10/0"
DAY = {"mindate": [date(2020, 5, 1)], "maxdate": [date(2020, 5, 31)]}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
    for name in (*CREDENTIAL_VARIABLES, *CDSE_KEY_VARIABLES, "CLOUDBUSTER_RF_REFRESH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize("name", ["earth-search", "planetary-computer", "cdse"])
def test_a_named_stac_api_is_opened_with_its_collections(name):
    catalog = open_catalog(name)
    assert isinstance(catalog, StacApiCatalog)
    assert (catalog.name, catalog.url) == (name, CATALOGS[name].url)


def test_a_level_that_a_catalog_does_not_have_is_refused_with_those_that_do():
    with pytest.raises(CatalogError, match="planetary-computer has no L1C; use earth-search or"):
        check_catalog("planetary-computer", ["L1C"])
    check_catalog("planetary-computer", ["L2A"])


def test_the_data_space_requires_its_keys_before_the_search(monkeypatch):
    with pytest.raises(CredentialsError, match="CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY"):
        query_scenes(square(14, 45), QueryOptions(catalog="cdse", **DAY))
    for name in CDSE_KEY_VARIABLES:
        monkeypatch.setenv(name, "value")
    check_catalog("cdse", ["L2A", "L1C"])


def test_keys_are_not_required_if_the_files_are_mirrored():
    check_catalog("cdse", ["L2A"], [("s3://eodata", "/eodata")])
    with pytest.raises(CredentialsError):
        check_catalog("cdse", ["L2A"], [("s3://other", "/eodata")])


def test_requester_pays_asks_for_credentials_and_free_files_do_not(monkeypatch):
    check_catalog("earth-search", ["L2A"])
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        check_catalog("earth-search", ["L1C"])
    monkeypatch.setenv("AWS_PROFILE", "mine")
    check_catalog("earth-search", ["L1C"])


def test_other_catalogs_require_no_credentials():
    check_catalog("https://example.com/stac", ["L1C", "L2A"])


def test_catalogs_are_listed_with_what_they_need_and_whether_it_is_there(monkeypatch):
    result = CliRunner().invoke(cli, ["catalogs", "--json"])
    known = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert list(known) == [*CATALOGS, "URL", "PATH"]
    assert known["cdse"]["is_ready"] == {"L2A": False, "L1C": False}
    assert known["planetary-computer"]["is_ready"] == {"L2A": True}
    assert known["PATH"]["is_ready"] == {"L2A": True, "L1C": True}
    assert known["planetary-computer"]["levels"] == ["L2A"]
    assert known["earth-search"]["requester_pays"] == ["L1C"]
    for name in CDSE_KEY_VARIABLES:
        monkeypatch.setenv(name, "secret-value")
    result = CliRunner().invoke(cli, ["catalogs"])
    assert "[x] needs S3 keys of the Data Space (CDSE_S3_ACCESS_KEY" in result.stdout
    assert "secret-value" not in result.stdout
    ready = {status.name: status.is_ready for status in catalog_statuses()}
    assert ready["cdse"] == {"L2A": True, "L1C": True}


def test_a_level_that_is_free_is_ready_where_another_one_is_not(monkeypatch):
    def ready():
        result = CliRunner().invoke(cli, ["catalogs", "--json"])
        return {entry["name"]: entry["is_ready"] for entry in json.loads(result.stdout)}

    assert ready()["earth-search"] == {"L2A": True, "L1C": False}
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert ready()["earth-search"] == {"L2A": True, "L1C": True}


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("s3://eodata/S2/B04.jp2", "/eodata/S2/B04.jp2"),
        ("s3://eodata/S2/MSI/B04.jp2", "/fast/B04.jp2"),
        ("s3://eodata2/S2/B04.jp2", "s3://eodata2/S2/B04.jp2"),
        ("https://cogs.example.com/33/B04.tif", "s3://cogs/33/B04.tif"),
        ("https://other.example.com/B04.tif", "https://other.example.com/B04.tif"),
    ],
)
def test_the_longest_prefix_decides_where_a_mirror_is(href, expected):
    mirrors = ["s3://eodata=/eodata", "s3://eodata/S2/MSI=/fast/"]
    mirrors += ["https://cogs.example.com/=s3://cogs"]
    assert mirrored_href(href, [parse_mirror(text) for text in mirrors]) == expected
    assert mirrored_href(href, [parse_mirror(text) for text in reversed(mirrors)]) == expected


@pytest.mark.parametrize("text", ["s3://eodata", "=x", "x=", " = "])
def test_an_invalid_mirror_is_refused(text):
    with pytest.raises(ValueError, match="is not FROM=TO"):
        QueryOptions(asset_mirror=(text,), **DAY)
    area = json.dumps(square(14, 45))
    arguments = ["query", "--geojson", "-", "--asset-mirror", text]
    result = CliRunner().invoke(cli, arguments, input=area)
    assert type(result.exception).__name__ == "RequestError"


def test_a_query_writes_mirrored_hrefs_and_says_so(tmp_path):
    path = tmp_path / "items.json"
    path.write_text(json.dumps(item_collection(make_item())))
    mirrors = ("s3://bucket/scenes=/archive",)
    options = QueryOptions(catalog=str(path), asset_mirror=mirrors, **DAY)
    candidates = query_scenes(square(14.6, 45.6, 0.3), options)
    assert candidates.cloudbuster.asset_mirror == mirrors
    hrefs = {asset["href"] for asset in candidates.features[0]["assets"].values()}
    assert "/archive/S2A_33TWL_20200510_0_L2A/B04.tif" in hrefs
    assert all(href.startswith("/archive/") for href in hrefs)


def test_the_masks_of_a_mirrored_l1c_scene_lie_in_the_mirror():
    item = make_item(kind="L1C", baseline="05.00")
    item["assets"] = {"blue": {"href": f"s3://sentinel-s2-l1c/{TILE}/B02.jp2"}}
    scene = parse_scene(mirrored_item(item, [("s3://sentinel-s2-l1c", "/l1c")]), catalog="test")
    assert scene.masks == {"classi": BandAsset(f"/l1c/{TILE}/qi/MSK_CLASSI_B00.jp2")}


def test_an_l1c_band_that_names_the_other_bucket_is_mended():
    item = make_item(kind="L1C")
    item["assets"] = {
        "blue": {"href": f"s3://sentinel-s2-l2a/{TILE}/B02.jp2"},
        "cloud": {"href": f"s3://sentinel-s2-l2a/{TILE}/qi/CLD_20m.jp2"},
    }
    scene = parse_scene(item, catalog="test")
    assert scene.bands["B02"].href == f"s3://sentinel-s2-l1c/{TILE}/B02.jp2"
    assert scene.masks["cld"].href == f"s3://sentinel-s2-l2a/{TILE}/qi/CLD_20m.jp2"
    assert mended_item(mended_item(item)) == mended_item(item)


def test_a_scene_that_has_only_jp2_assets_is_mended_and_keeps_its_offset():
    item = make_item(properties={"earthsearch:boa_offset_applied": True})
    item["assets"] = {
        "blue-jp2": {"href": f"s3://sentinel-s2-l2a/{TILE}/B02.jp2"},
        "rededge1-jp2": {"href": f"s3://sentinel-s2-l2a/{TILE}/B05.jp2"},
        "coastal-jp2": {"href": f"s3://sentinel-s2-l2a/{TILE}/R60m/B01.jp2"},
        "scl-jp2": {"href": f"s3://sentinel-s2-l2a/{TILE}/SCL.jp2"},
    }
    scene = parse_scene(item, catalog="test")
    folder = f"s3://sentinel-s2-l2a/{TILE}"
    assert {name: band.href for name, band in scene.bands.items()} == {
        "B01": f"{folder}/R60m/B01.jp2",
        "B02": f"{folder}/R10m/B02.jp2",
        "B05": f"{folder}/R20m/B05.jp2",
    }
    assert scene.masks["scl"].href == f"{folder}/R20m/SCL.jp2"
    # The flag is of the COGs: ESA's own files keep the offset.
    assert scene.offset_removed_flag is None


def test_a_jp2_asset_never_stands_beside_cogs():
    item = make_item(properties={"earthsearch:boa_offset_applied": True})
    item["assets"] = {
        "blue": {"href": "s3://sentinel-cogs/B02.tif"},
        "red-jp2": {"href": f"s3://sentinel-s2-l2a/{TILE}/B04.jp2"},
    }
    scene = parse_scene(item, catalog="test")
    assert set(scene.bands) == {"B02"}
    assert scene.offset_removed_flag is True
