import json
import random
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.errors import AoiError, CatalogError, ExitCode, NothingUsableError
from cloudbuster.models import Candidates, QueryOptions
from cloudbuster.query import query_scenes
from tests.stac_items import EAST_HALF, WEST_HALF, item_collection, make_item, square
from tests.stac_server import StacServer, serving

AOI = square(14.6, 45.6, 0.3)


def options(catalog="", **changes):
    known = {"mindate": [date(2020, 5, 1)], "maxdate": [date(2020, 5, 31)], "maxclouds": 100}
    return QueryOptions(**{**known, "catalog": str(catalog), **changes})


@pytest.fixture
def query(tmp_path):
    def run(items, *, aoi=None, with_twins=False, on_event=None, **changes):
        path = tmp_path / "items.json"
        path.write_text(json.dumps(item_collection(*items)))
        return query_scenes(
            AOI if aoi is None else aoi,
            options(path, **changes),
            with_twins=with_twins,
            on_event=on_event,
        )

    return run


def ids(candidates):
    return [item["id"] for item in candidates.features]


def reasons(candidates):
    return {entry.item_id: entry.reason for entry in candidates.cloudbuster.dropped}


def test_query_scenes_gives_the_newest_first(query):
    items = [make_item(taken=f"2020-05-{day:02d}T10:00:31") for day in (9, 30, 12)]
    candidates = query(items)
    assert [name[10:18] for name in ids(candidates)] == ["20200530", "20200512", "20200509"]
    assert candidates.cloudbuster.kind == "L2A"
    assert candidates.cloudbuster.aoi == AOI
    assert candidates.cloudbuster.dropped == ()


def test_query_scenes_orders_scenes_of_one_moment_by_id(query):
    items = [make_item(tile=tile) for tile in ("33TWN", "33TWL", "33TWM")]
    assert [name[4:9] for name in ids(query(items))] == ["33TWL", "33TWM", "33TWN"]


def test_query_scenes_applies_the_limit_to_the_ordered_total(query):
    items = [make_item(taken=f"2020-05-{day:02d}T10:00:31") for day in (9, 30, 12)]
    candidates = query(items, limit=2)
    assert [name[10:18] for name in ids(candidates)] == ["20200530", "20200512"]
    assert reasons(candidates) == {"S2A_33TWL_20200509_0_L2A": "over the limit of 2"}


def test_query_scenes_takes_the_union_of_its_periods_once(query):
    items = [make_item(taken=f"2020-05-{day:02d}T10:00:31") for day in (1, 5, 9, 20)]
    candidates = query(
        items,
        mindate=[date(2020, 5, 4), date(2020, 5, 1), date(2020, 5, 20)],
        maxdate=[date(2020, 5, 9), date(2020, 5, 5), date(2020, 5, 20)],
    )
    assert len(ids(candidates)) == 4


def test_query_scenes_keeps_the_highest_baseline_of_a_reprocessed_scene(query):
    items = [
        make_item(baseline="02.09", suffix="0"),
        make_item(baseline="05.00", suffix="1"),
        make_item(baseline="99.05", suffix="2"),
    ]
    candidates = query(items)
    assert ids(candidates) == ["S2A_33TWL_20200510_1_L2A"]
    assert reasons(candidates) == {
        "S2A_33TWL_20200510_0_L2A": "same datatake and tile as S2A_33TWL_20200510_1_L2A "
        "(baseline 05.00, this one 02.09)",
        "S2A_33TWL_20200510_2_L2A": "baseline 99.05 is not for use",
    }


def test_query_scenes_prefers_the_item_that_has_its_bands(query):
    poor = make_item(baseline="05.11", suffix="1")
    poor["assets"] = {key: poor["assets"][key] for key in ("coastal", "nir09")}
    assert ids(query([make_item(baseline="05.00"), poor])) == ["S2A_33TWL_20200510_0_L2A"]


def test_query_scenes_prefers_collection_1_to_the_older_collection(query):
    first = {**make_item(suffix="c1", baseline="05.00"), "collection": "sentinel-2-c1-l2a"}
    older = {**make_item(suffix="0", baseline="05.11"), "collection": "sentinel-2-l2a"}
    assert ids(query([older, first])) == [first["id"]]


def test_query_scenes_keeps_both_halves_of_a_datatake(query):
    items = [
        make_item(geometry=WEST_HALF, suffix="0"),
        make_item(geometry=EAST_HALF, suffix="1"),
        make_item(geometry=EAST_HALF, suffix="2", baseline="04.00"),
    ]
    candidates = query(items)
    assert sorted(ids(candidates)) == ["S2A_33TWL_20200510_0_L2A", "S2A_33TWL_20200510_1_L2A"]
    assert list(reasons(candidates)) == ["S2A_33TWL_20200510_2_L2A"]


def test_query_scenes_never_merges_different_tiles_or_platforms(query):
    items = [make_item(), make_item(tile="33TWM"), make_item(platform="b")]
    assert len(ids(query(items))) == 3


def test_query_scenes_keeps_one_of_two_items_with_the_same_id(query):
    items = [make_item(), make_item(properties={"s2:datatake_id": "GS2A_20200510T100032_1_N05.00"})]
    candidates = query(items)
    assert ids(candidates) == ["S2A_33TWL_20200510_0_L2A"]
    assert reasons(candidates) == {"S2A_33TWL_20200510_0_L2A": "another item has the same id"}


def test_query_scenes_drops_what_is_no_scene_with_the_reason(query):
    landsat = make_item(platform="a", suffix="x")
    landsat |= {"id": "LC08_L2A", "collection": "landsat-c2"}
    landsat["properties"] |= {"platform": "landsat-8", "constellation": "landsat"}
    empty = {**make_item(suffix="empty"), "assets": {}}
    candidates = query([make_item(), landsat, empty, {"type": "Feature"}])
    assert ids(candidates) == ["S2A_33TWL_20200510_0_L2A"]
    found = reasons(candidates)
    assert "is not of Sentinel-2 (landsat-8, landsat, landsat-c2)" in found["LC08_L2A"]
    assert found["S2A_33TWL_20200510_empty_L2A"] == "has no reflectance band"
    assert found["items.json"].startswith("feature 4 of ")


def varied_items():
    return [
        make_item(taken="2020-05-09T10:00:31", baseline="02.09", suffix="0"),
        make_item(taken="2020-05-09T10:00:31", baseline="05.00", suffix="1"),
        make_item(taken="2020-05-09T10:00:31", baseline="05.00", suffix="2"),
        make_item(geometry=WEST_HALF, suffix="0"),
        make_item(geometry=EAST_HALF, suffix="1"),
        make_item(geometry=EAST_HALF, suffix="2", baseline="04.00"),
        make_item(tile="33TWM"),
        make_item(platform="b", baseline="99.99"),
        make_item(taken="2020-05-19T10:00:31"),
        {**make_item(taken="2020-05-19T10:00:31"), "collection": "sentinel-2-c1-l2a"},
        {"type": "Feature", "id": "none", "properties": {}, "assets": {}},
    ]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), limit=st.integers(1, 9))
def test_query_scenes_does_not_depend_on_the_order_in_which_items_arrive(query, seed, limit):
    items = varied_items()
    expected = query(items, limit=limit)
    random.Random(seed).shuffle(items)  # noqa: S311 -- a shuffle, not a secret
    assert query(items, limit=limit) == expected


def test_query_scenes_attaches_the_l1c_twin_of_the_same_datatake_and_tile(query):
    items = [
        make_item(),
        make_item(tile="33TWM"),
        make_item(kind="L1C", baseline="02.09", suffix="0", cloud_cover=90),
        make_item(kind="L1C", baseline="05.00", suffix="1", cloud_cover=90),
        make_item(kind="L1C", taken="2020-05-12T10:00:31"),
    ]
    first, second = query(items, with_twins=True, maxclouds=20).features
    twin = first["properties"]["cloudbuster:l1c_twin"]
    assert (first["id"][4:9], twin["id"]) == ("33TWL", "S2A_33TWL_20200510_1_L1C")
    assert "cloudbuster:l1c_twin" not in second["properties"]


def test_query_scenes_attaches_the_half_that_shows_the_same_ground(query):
    items = [
        make_item(geometry=WEST_HALF),
        make_item(kind="L1C", geometry=EAST_HALF, baseline="05.11", suffix="1"),
        make_item(kind="L1C", geometry=WEST_HALF, suffix="2"),
    ]
    (item,) = query(items, with_twins=True).features
    assert item["properties"]["cloudbuster:l1c_twin"]["id"] == "S2A_33TWL_20200510_2_L1C"


def test_query_scenes_searches_no_twin_unless_asked(query):
    items = [make_item(), make_item(kind="L1C")]
    (plain,) = query(items).features
    assert "cloudbuster:l1c_twin" not in plain["properties"]
    (l1c,) = query(items, kind="L1C", with_twins=True).features
    assert "cloudbuster:l1c_twin" not in l1c["properties"]


def test_l1c_items_get_the_scene_classification_of_their_l2a_twin(query):
    items = [
        make_item(kind="L1C", cloud_cover=10),
        make_item(kind="L1C", tile="33TWM"),
        make_item(cloud_cover=90, suffix="0"),
        make_item(taken="2020-05-12T10:00:31"),
    ]
    first, second = query(items, kind="L1C", maxclouds=20).features
    twin = first["properties"]["cloudbuster:l2a_twin"]
    assert (first["id"][4:9], twin["id"]) == ("33TWL", "S2A_33TWL_20200510_0_L2A")
    assert set(twin["assets"]) == {"scl"}
    assert "cloudbuster:l2a_twin" not in second["properties"]
    scene = parse_scene(first, catalog="")
    assert scene.twin is not None
    assert scene.twin.masks["scl"].href.endswith("SCL.tif")
    # A gather of the scene does not read it.
    assert not any("SCL" in href for href in scene.hrefs)


def test_l1c_items_of_a_catalog_without_l2a_have_no_twin(query):
    items = [make_item(kind="L1C")]
    (item,) = query(items, kind="L1C").features
    assert "cloudbuster:l2a_twin" not in item["properties"]


def test_an_l2a_item_is_no_twin_of_an_l2a_item():
    item = make_item()
    item["properties"]["cloudbuster:l1c_twin"] = make_item(suffix="1")
    assert parse_scene(item, catalog="").twin is None


def test_query_scenes_scales_the_area_unless_its_shape_is_to_stay(query):
    far = make_item(geometry=square(14.95, 45.5))
    with pytest.raises(NothingUsableError):
        query([far])
    assert ids(query([far], scale=2)) == [far["id"]]
    with pytest.raises(NothingUsableError):
        query([far], scale=2, original_shape=True)


def test_query_scenes_counts_the_items_and_what_removed_them(query):
    items = [
        make_item(geometry=square(20, 50)),
        make_item(taken="2021-05-10T10:00:31"),
        make_item(cloud_cover=50),
        make_item(kind="L1C"),
        {**make_item(), "assets": {}},
    ]
    with pytest.raises(NothingUsableError) as caught:
        query(items, maxclouds=20)
    assert caught.value.exit_code == ExitCode.NOTHING_USABLE
    text = str(caught.value)
    assert "for 2020-05-01 to 2020-05-31 with 0 to 20 % cloud: 5 items looked at; " in text
    for part in (
        "1 outside of the area",
        "1 outside of the dates",
        "1 outside of the cloud cover",
        "1 of another product level",
        "1 unusable (the first: S2A_33TWL_20200510_0_L2A: has no reflectance band)",
        "widen the dates or the cloud cover",
    ):
        assert part in text


def test_a_link_of_thousands_of_characters_is_cut_in_the_message(tmp_path):
    link = {"rel": "item", "href": "é" * 5000 + ".json"}
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps({"type": "Catalog", "id": "c", "links": [link]}))
    with pytest.raises(NothingUsableError, match=r"\(the first: é.* \.\.\. .*\)") as caught:
        query_scenes(AOI, options(path))
    assert len(str(caught.value)) < 2000


def test_query_scenes_of_an_area_outside_of_every_scene_is_nothing_usable(query):
    with pytest.raises(NothingUsableError, match="1 items looked at; 1 outside of the area"):
        query([make_item()], aoi=square(-60, -30))


def test_query_scenes_of_an_unusable_area_is_an_aoi_error(query, tmp_path):
    with pytest.raises(AoiError, match="aoi: the geometry is a Point"):
        query([make_item()], aoi={"type": "Point", "coordinates": [14, 45]})
    with pytest.raises(AoiError, match="No such file"):
        query([make_item()], aoi={"uri": str(tmp_path / "absent.geojson")})


def test_query_scenes_of_an_unknown_catalog_is_a_catalog_error(tmp_path):
    with pytest.raises(CatalogError, match="check the path"):
        query_scenes(AOI, options(tmp_path / "absent"))


def test_query_scenes_gives_a_document_that_comes_back_as_it_was(query):
    candidates = query(varied_items())
    assert Candidates.model_validate_json(candidates.to_json()) == candidates


def test_query_scenes_of_a_server_is_the_same_as_of_files(query):
    items = [item for item in varied_items() if item["assets"]]
    expected = query(items)
    with serving(StacServer(items, sloppy=True, page_size=3)) as server:
        candidates = query_scenes(AOI, options(server.url))
    assert ids(candidates) == ids(expected)


def test_query_scenes_reports_its_progress(query):
    events: list[tuple[str, str]] = []
    query([make_item()], on_event=lambda event: events.append((event.stage, event.message)))
    assert {stage for stage, _ in events} == {"query"}
    assert events[-1][1] == "1 candidates"


@pytest.mark.real_data
def test_query_scenes_finds_the_ten_real_crops(test_data):
    area = square(15.2, 45.4, 0.6)
    area["coordinates"][0][2][1] = area["coordinates"][0][3][1] = 46.4
    found = query_scenes(
        area,
        options(
            test_data / "l2a-slovenia-crops", mindate=[date(2023, 8, 1)], maxdate=[date(2023, 9, 1)]
        ),
    )
    assert len(found.features) == 10
    assert [name[10:18] for name in ids(found)][:2] == ["20230820", "20230820"]


@pytest.mark.real_data
def test_query_scenes_finds_the_five_real_l1c_dates(test_data):
    found = query_scenes(
        square(14.555, 45.868, 0.005),
        options(
            test_data / "l1c-slovenia-5dates",
            kind="L1C",
            mindate=[date(2015, 7, 11)],
            maxdate=[date(2015, 9, 9)],
        ),
    )
    assert [name[8:16] for name in ids(found)] == [
        *("20150909", "20150830", "20150820", "20150731", "20150711")
    ]


def test_an_item_whose_bands_only_its_file_can_tell_is_a_candidate(query):
    item = make_item()
    bands = [{"name": f"b{place}"} for place in range(1, 5)]
    asset = {"href": "https://example.com/all.tif", "type": "image/tiff", "eo:bands": bands}
    item["assets"] = {"data": asset}
    assert ids(query([item])) == [item["id"]]
    item["assets"] = {"data": {**asset, "roles": ["thumbnail"], "type": "image/png"}}
    with pytest.raises(NothingUsableError, match="has no reflectance band"):
        query([item])
