import builtins
import json
import math
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from shapely.geometry import box, shape

from cloudbuster.catalogs import geoparquet, open_catalog
from cloudbuster.catalogs.local import LocalCatalog
from cloudbuster.catalogs.search import SceneSearch, merged_periods, sift
from cloudbuster.errors import CatalogError, MissingExtraError
from tests.stac_items import item_collection, make_item, square, thousand_items, wanted_of

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


def test_an_unreadable_file_of_a_folder_is_reported_with_its_position(tmp_path):
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


def test_an_item_collection_keeps_its_order_and_reports_features_that_are_not_items(tmp_path):
    early, late = two_items()
    path = write(tmp_path / "items.json", item_collection(late, {"type": "Feature"}, early))
    found = open_catalog(str(path)).search(SEARCH)
    assert ids(found) == [late["id"], early["id"]]
    assert found.unreadable[0].reason == f"feature 2 of {path} is not a STAC item"


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
        ('{"type": "Polygon"}', "not a STAC ItemCollection, catalog or item"),
        ("[]", "not a STAC ItemCollection, catalog or item"),
    ],
)
def test_a_file_that_is_not_a_catalog_is_refused(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(CatalogError, match=message):
        open_catalog(str(path))


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(CatalogError, match=r"absent: No such file or directory; check the path"):
        open_catalog(str(tmp_path / "absent"))


def varied_searches():
    areas = st.builds(
        lambda west, south, width, height: box(west, south, west + width, south + height),
        st.floats(12, 18),
        st.floats(43, 49),
        st.sampled_from([0.05, 0.9, 3]),
        st.sampled_from([0.05, 0.9, 3]),
    )
    days = st.dates(date(2018, 12, 1), date(2021, 2, 1))
    periods = st.lists(st.tuples(days, days).map(sorted).map(tuple), min_size=1, max_size=2)
    clouds = st.sampled_from([(0, 100), (0, 20), (37, 37), (50, 100)])
    return st.builds(
        lambda area, spans, kind, cloud: SceneSearch(area, merged_periods(spans), kind, *cloud),
        areas | st.just(square_of_a_tile()),
        periods,
        st.sampled_from(["L1C", "L2A"]),
        clouds,
    )


def square_of_a_tile():
    """Area with edges on those of footprints, so that some footprints share only an edge."""
    return box(13.9, 44.9, 14.0, 45.0)


def odd_items():
    return [
        {**make_item(tile="33TXL"), "geometry": None},
        {**make_item(tile="33TXM", cloud_cover=None)},
        {**make_item(tile="33TXN", properties={"datetime": None})},
        {**make_item(properties={"datetime": None, "start_datetime": "2020-05-10T00:00:00Z"})},
    ]


@pytest.fixture(scope="module")
def indexed():
    # Every seventh item, of both levels: each search checks all of them again with slow filters.
    items = thousand_items()[::7] + odd_items()
    return items, LocalCatalog("test", items)


@settings(max_examples=8)
@given(search=varied_searches())
def test_a_search_by_columns_decides_as_the_filters_do(indexed, search):
    items, catalog = indexed
    expected, removed = sift(items, search)
    found = catalog.search(search)
    assert [item["id"] for item in found.items] == [item["id"] for item in expected]
    assert found.removed == removed
    assert list(found.items) == expected


def write_parquet(path, items, *, assets_as_text=False, row_group_size=None):
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
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
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
    assert found.removed == {"outside of the area": 1, "of another product level": 1}
    item, boxed = found.items
    assert boxed["geometry"] is None  # it is found by its bounding box
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


@pytest.fixture(scope="module")
def thousand_rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "items.parquet"
    return thousand_items(), write_parquet(path, thousand_items(), row_group_size=50)


@settings(max_examples=10)
@given(search=varied_searches())
def test_stac_geoparquet_is_searched_as_exactly_as_files(thousand_rows, search):
    items, path = thousand_rows
    expected = wanted_of(items, search)
    found = open_catalog(str(path)).search(search)
    assert [item["id"] for item in found.items] == expected
    assert found.held == 1000
    assert sum(found.removed.values()) == 1000 - len(expected)


def test_only_matching_rows_become_items_and_only_row_groups_that_may_match_are_read(
    thousand_rows, monkeypatch
):
    _, path = thousand_rows
    made: list[str] = []
    read: list[tuple[int, object]] = []
    make, batches = geoparquet._item_from_row, geoparquet.ParquetCatalog._batches

    def noted_item(row):
        made.append(row["id"])
        return make(row)

    def noted_batches(catalog, group, wanted=None):
        read.append((group, wanted))
        return batches(catalog, group, wanted)

    monkeypatch.setattr(geoparquet, "_item_from_row", noted_item)
    monkeypatch.setattr(geoparquet.ParquetCatalog, "_batches", noted_batches)
    spring = ((date(2019, 2, 1), date(2019, 4, 30)),)
    catalog = open_catalog(str(path))
    found = catalog.search(SceneSearch(box(15, 45, 15.2, 45.2), spring, "L2A"))
    # Half of the rows that match otherwise are of the other level, which only the items state.
    assert 0 < len(found.items) <= len(made) <= 2 * len(found.items)
    assert 0 < len(read) < 8
    read.clear()
    assert catalog.search(SceneSearch(box(-60, -40, -59, -39), spring, "L2A")).items == ()
    assert read == []


def test_a_row_across_the_antimeridian_is_found_from_both_sides(tmp_path):
    ring = [[179, 60], [181, 60], [181, 61], [179, 61], [179, 60]]
    item = make_item(tile="01VCH", geometry={"type": "Polygon", "coordinates": [ring]})
    path = write_parquet(
        tmp_path / "items.parquet", [{**item, "bbox": [179, 60, -179, 61]}, make_item()]
    )
    for west in (179.1, -179.9, 180.1):
        search = SceneSearch(box(west, 60.2, west + 0.5, 60.5), (YEARS,), "L2A")
        assert ids(open_catalog(str(path)).search(search)) == [item["id"]]


@pytest.mark.parametrize("far", [[-1e9, 46], [14.7, 1e9], [541, 46], [15, math.inf]])
def test_a_row_whose_geometry_has_no_degrees_is_found_by_its_bounding_box(tmp_path, far):
    ring = [[14.5, 45.5], [15.5, 45.5], far, [14.5, 45.5]]
    item = make_item(geometry={"type": "Polygon", "coordinates": [ring]})
    path = write_parquet(tmp_path / "items.parquet", [item])
    (found,) = open_catalog(str(path)).search(SEARCH).items
    assert found["geometry"] is None


def test_a_damaged_parquet_file_raises_catalog_error(tmp_path):
    path = write_parquet(tmp_path / "items.parquet", thousand_items())
    content = bytearray(path.read_bytes())
    content[100:20_000] = b"\xff" * 19_900
    path.write_bytes(content)
    with pytest.raises(CatalogError, match="the file is damaged"):
        open_catalog(str(path)).search(SEARCH)


def test_a_parquet_file_that_is_not_a_catalog_is_refused(tmp_path):
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
