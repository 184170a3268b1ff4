import builtins
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
import shapely
from pyarrow import parquet
from shapely.geometry import box, shape

from cloudbuster.catalogs import open_catalog
from cloudbuster.catalogs.local import LocalCatalog
from cloudbuster.catalogs.search import SceneSearch
from cloudbuster.errors import CatalogError, MissingExtraError
from tests.stac_items import item_collection, make_item, square

AOI = box(14.6, 45.6, 14.9, 45.9)
YEARS = (date(2015, 1, 1), date(2030, 1, 1))
SEARCH = SceneSearch(AOI, (YEARS,), "L2A")


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def ids(found):
    return [item["id"] for item in found.items]


def two_items():
    return make_item(folder="."), make_item(taken="2020-06-09T10:00:31", folder=".")


def test_a_folder_is_searched_recursively_for_items_alone(tmp_path):
    early, late = two_items()
    write(tmp_path / "b" / "late.json", late)
    write(tmp_path / "a" / "deep" / "early.geojson", early)
    write(tmp_path / "catalog.json", {"type": "Catalog", "id": "root", "links": []})
    write(tmp_path / "index.json", [1, 2])
    write(tmp_path / "aoi.json", {"type": "Feature", "geometry": None, "properties": {}})
    write(tmp_path / "run" / "candidates.json", item_collection(early))
    (tmp_path / "notes.txt").write_text("not JSON")
    found = open_catalog(str(tmp_path)).search(SEARCH)
    assert ids(found) == [early["id"], late["id"]]
    assert found.held == 2
    assert found.unreadable == ()


def test_an_unreadable_file_of_a_folder_is_noted_with_its_place(tmp_path):
    item = make_item()
    write(tmp_path / "item.json", item)
    (tmp_path / "broken.json").write_text('{"type": "Feature",\n "id": }')
    found = LocalCatalog.open(str(tmp_path)).search(SEARCH)
    assert ids(found) == [item["id"]]
    (noted,) = found.unreadable
    assert noted.item_id == "broken"
    assert "broken.json: not JSON at line 2, column " in noted.reason


def test_hrefs_and_links_are_absolute_so_that_they_hold_elsewhere(tmp_path):
    item = make_item(folder=".")
    item["links"] = [{"rel": "parent", "href": "../collection.json"}]
    write(tmp_path / "scene" / "item.json", item)
    (found,) = open_catalog(str(tmp_path)).search(SEARCH).items
    assert found["assets"]["blue"]["href"] == str(tmp_path / "scene" / item["id"] / "B02.tif")
    assert found["links"] == [{"rel": "parent", "href": str(tmp_path / "collection.json")}]


def test_a_relative_catalog_path_gives_absolute_hrefs_too(tmp_path, monkeypatch):
    item = make_item(folder=".")
    write(tmp_path / "scenes" / "item.json", item)
    monkeypatch.chdir(tmp_path)
    (found,) = open_catalog("scenes").search(SEARCH).items
    assert found["assets"]["scl"]["href"] == str(tmp_path / "scenes" / item["id"] / "SCL.tif")


def test_masks_that_stand_beside_a_scene_are_added(tmp_path):
    item = make_item(folder=".")
    folder = tmp_path / item["id"]
    write(tmp_path / "item.json", item)
    (folder / "qi").mkdir(parents=True)
    (folder / "qi" / "CLD_20m.tif").touch()
    (folder / "qi" / "MSK_CLOUDS_B00.gml").touch()
    (found,) = open_catalog(str(tmp_path)).search(SEARCH).items
    assert found["assets"]["cloud"]["href"] == str(folder / "qi" / "CLD_20m.tif")
    assert found["assets"]["msk_clouds"]["href"] == str(folder / "qi" / "MSK_CLOUDS_B00.gml")
    assert "msk_classi" not in found["assets"]


def test_an_item_collection_keeps_its_order_and_notes_what_is_no_item(tmp_path):
    early, late = two_items()
    path = write(tmp_path / "items.json", item_collection(late, {"type": "Feature"}, early))
    found = open_catalog(str(path)).search(SEARCH)
    assert ids(found) == [late["id"], early["id"]]
    assert found.unreadable[0].reason == f"feature 2 of {path} is no STAC item"


def test_a_single_item_is_a_catalog(tmp_path):
    item = make_item()
    assert ids(open_catalog(str(write(tmp_path / "i.json", item))).search(SEARCH)) == [item["id"]]


def test_the_links_of_a_catalog_are_followed_once_each(tmp_path):
    early, late = two_items()

    def link(rel, href):
        return {"rel": rel, "href": href}

    root = {
        "type": "Catalog",
        "id": "root",
        "links": [
            link("self", "catalog.json"),
            link("child", "./s2/collection.json"),
            link("item", "late.json"),
            link("item", "absent.json"),
            link("child", "https://example.com/catalog.json"),
        ],
    }
    child = {
        "type": "Collection",
        "id": "s2",
        "links": [link("item", "early/early.json"), link("child", "../catalog.json")],
    }
    path = write(tmp_path / "catalog.json", root)
    write(tmp_path / "s2" / "collection.json", child)
    write(tmp_path / "s2" / "early" / "early.json", early)
    write(tmp_path / "late.json", late)
    write(tmp_path / "not-linked.json", make_item(tile="33TWM"))
    found = open_catalog(str(path)).search(SEARCH)
    assert sorted(ids(found)) == [early["id"], late["id"]]
    reasons = {entry.item_id: entry.reason for entry in found.unreadable}
    assert "No such file" in reasons["absent"]
    assert "links to another machine" in reasons["https://example.com/catalog.json"]


def test_search_counts_what_each_filter_removed(tmp_path):
    items = [
        make_item(),
        make_item(geometry=square(20, 50)),
        make_item(geometry=square(14.9, 45.6)),
        make_item(kind="L1C"),
        make_item(cloud_cover=80),
        {**make_item(), "geometry": None, "bbox": None},
    ]
    path = write(tmp_path / "items.json", item_collection(*items))
    search = SceneSearch(AOI, (YEARS,), "L2A", 0, 50)
    found = open_catalog(str(path)).search(search)
    assert (len(found.items), found.held) == (1, 6)
    assert found.removed == {
        "outside of the area": 3,
        "of another product level": 1,
        "outside of the cloud cover": 1,
    }


def test_an_empty_folder_is_a_catalog_without_items(tmp_path):
    found = open_catalog(str(tmp_path)).search(SEARCH)
    assert (found.items, found.held) == ((), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("{", "not JSON at line 1"),
        ('{"type": "Polygon"}', "neither a STAC ItemCollection nor a catalog nor an item"),
        ("[]", "neither a STAC ItemCollection nor a catalog nor an item"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(CatalogError, match=message):
        open_catalog(str(path))


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(CatalogError, match=r"absent: No such file or directory; check the path"):
        open_catalog(str(tmp_path / "absent"))


def write_parquet(path, items, *, assets_as_text=False):
    """Write ``items`` as stac-geoparquet 1.1 does: properties as columns, geometry as WKB."""
    rows = []
    for item in items:
        times = {"datetime": datetime.fromisoformat(item["properties"]["datetime"])}
        geometry = item["geometry"]
        row = {key: value for key, value in item.items() if key not in ("properties", "links")}
        row["geometry"] = shapely.to_wkb(shape(geometry)) if geometry else None
        row["bbox"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True))
        if assets_as_text:
            row["assets"] = json.dumps(item["assets"])
        rows.append({**row, **item["properties"], **times})
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("assets_as_text", [False, True])
def test_stac_geoparquet_gives_back_the_items(tmp_path, assets_as_text):
    items = [
        make_item(folder=".", properties={"s2:mgrs_tile": "33TWL"}),
        make_item(kind="L1C", geometry=square(14.5, 45.5)),
        make_item(geometry=square(40, 45.5)),
        {**make_item(), "geometry": None},
    ]
    path = write_parquet(tmp_path / "items.parquet", items, assets_as_text=assets_as_text)
    found = open_catalog(str(path)).search(SEARCH)
    assert found.held == 4
    assert found.removed == {"outside of the area": 2, "of another product level": 1}
    (item,) = found.items
    expected = items[0]
    assert item["id"] == expected["id"]
    assert shape(item["geometry"]).equals(shape(expected["geometry"]))
    assert item["bbox"] == expected["bbox"]
    assert set(item["assets"]) == set(expected["assets"])
    assert item["assets"]["blue"]["href"] == str(tmp_path / item["id"] / "B02.tif")
    moment = item["properties"].pop("datetime")
    assert datetime.fromisoformat(moment) == datetime(2020, 5, 10, 10, 0, 31, 24000, tzinfo=UTC)
    assert item["properties"] == {
        key: value for key, value in expected["properties"].items() if key != "datetime"
    }


def test_a_parquet_file_that_is_no_catalog_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(CatalogError, match="give a stac-geoparquet file"):
        open_catalog(str(path))
    parquet.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(CatalogError, match="no column geometry, assets"):
        open_catalog(str(path))


def test_stac_geoparquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "items.parquet", [make_item()])
    plain_import = builtins.__import__

    def without_pyarrow(name, *arguments, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return plain_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(MissingExtraError, match=r"pip install cloudbuster\[geoparquet\]"):
        open_catalog(str(path))


@pytest.mark.real_data
def test_the_real_crops_are_a_catalog_of_ten_scenes_with_their_masks(test_data):
    catalog = open_catalog(str(test_data / "l2a-slovenia-crops"))
    search = SceneSearch(box(15.1, 45.2, 16.2, 46.5), (YEARS,), "L2A")
    found = catalog.search(search)
    assert (len(found.items), found.held) == (10, 10)
    for item in found.items:
        assert item["assets"]["cloud"]["href"].endswith("/qi/CLD_20m.tif")
        assert item["assets"]["msk_classi"]["href"].endswith("/qi/MSK_CLASSI_B00.tif")
