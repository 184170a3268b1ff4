import json

import pytest
from shapely.geometry import shape

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.errors import RequestError
from cloudbuster.models import Candidates, Selection, SelectionEntry, SelectionInfo
from cloudbuster.original.documents import (
    candidates_from_original,
    is_original_response,
    is_original_selection,
    original_response,
    original_selection,
    selection_from_original,
)
from tests.stac_items import make_item, square

PATH = "tiles/33/T/WL/2020/5/9/0"


def make_record(name="S2A_0000", **changes):
    record = {
        "name": name,
        "createdAt": "2020-05-09T10:00:31Z",
        "dataFootprint": square(14.5, 45.5),
        "sceneMetadata": {"cloudyPixelPercentage": 12.5, "path": PATH},
    }
    return {**record, **changes}


def make_response(*records):
    return {"aoi": square(14.6, 45.6, 0.2), "results": list(records)}


def make_output(*records):
    return {"bounds": [14.6, 45.6, 14.8, 45.8], "selections": list(records)}


def test_a_record_becomes_an_item_that_keeps_it_whole():
    record = make_record(extra={"kept": [1, 2]})
    (item,) = candidates_from_original(make_response(record), kind="L2A").features
    assert item["id"] == "S2A_0000"
    assert item["geometry"] == record["dataFootprint"]
    assert item["bbox"] == [14.5, 45.5, 15.5, 46.5]
    assert item["properties"]["datetime"] == "2020-05-09T10:00:31Z"
    assert item["properties"]["eo:cloud_cover"] == 12.5
    assert item["properties"]["cloudbuster:original"] == record


@pytest.mark.parametrize(
    ("kind", "blue", "red_edge"),
    [
        ("L1C", f"s3://sentinel-s2-l1c/{PATH}/B02.jp2", f"s3://sentinel-s2-l1c/{PATH}/B05.jp2"),
        (
            "L2A",
            f"s3://sentinel-s2-l2a/{PATH}/R10m/B02.jp2",
            f"s3://sentinel-s2-l2a/{PATH}/R20m/B05.jp2",
        ),
    ],
)
def test_the_path_gives_the_bands_and_the_tile(kind, blue, red_edge):
    (item,) = candidates_from_original(make_response(make_record()), kind=kind).features
    scene = parse_scene(item, catalog="original")
    assert scene.kind == kind
    assert tuple(scene.bands) == BANDS_BY_KIND[kind]
    assert (scene.bands["B02"].href, scene.bands["B05"].href) == (blue, red_edge)
    assert (scene.mgrs_tile, scene.epsg) == ("33TWL", 32633)
    assert scene.masks["cld"].href == f"s3://sentinel-s2-l2a/{PATH}/qi/CLD_20m.jp2"
    assert ("scl" in scene.masks) is (kind == "L2A")


@pytest.mark.parametrize(
    ("created", "mask", "file"),
    [
        ("2022-01-24T10:00:31Z", "gml", "MSK_CLOUDS_B00.gml"),
        ("2022-01-25T10:00:31Z", "classi", "MSK_CLASSI_B00.jp2"),
    ],
)
def test_the_mask_of_l1c_depends_on_the_day(created, mask, file):
    response = make_response(make_record(createdAt=created))
    (item,) = candidates_from_original(response, kind="L1C").features
    scene = parse_scene(item, catalog="original")
    assert set(scene.masks) == {mask, "cld"}
    assert scene.masks[mask].href == f"s3://sentinel-s2-l1c/{PATH}/qi/{file}"


def test_a_record_of_rasterfoundry_has_its_acquisition_time_in_the_metadata():
    metadata = {
        "cloudyPixelPercentage": "3.25",
        "path": PATH,
        "timestamp": "2020-05-09T10:00:31.024Z",
        "productName": "S2A_MSIL1C_20200509T100031_N0209_R122_T33TWL_20200509T120000",
    }
    record = make_record("S2 tiles/x", createdAt="2020-06-01T00:00:00Z", sceneMetadata=metadata)
    (item,) = candidates_from_original(make_response(record), kind="L1C").features
    scene = parse_scene(item, catalog="original")
    assert item["properties"]["datetime"] == "2020-05-09T10:00:31.024Z"
    assert scene.cloud_cover == 3.25
    assert (scene.baseline, scene.relative_orbit) == ("02.09", 122)
    assert scene.datatake == "S2A_20200509T100031"


def test_a_path_of_another_form_gives_an_item_without_assets():
    metadata = {"cloudyPixelPercentage": 1, "path": "tiles/0"}
    response = make_response(make_record(sceneMetadata=metadata))
    (item,) = candidates_from_original(response, kind="L2A").features
    assert item["assets"] == {}
    assert parse_scene(item, catalog="original").bands == {}


def test_records_of_the_same_name_get_ids_of_their_own():
    response = make_response(make_record(), make_record(createdAt="2020-05-19T10:00:31Z"))
    candidates = candidates_from_original(response, kind="L2A")
    assert [item["id"] for item in candidates.features] == ["S2A_0000", "S2A_0000#2"]
    assert original_response(candidates) == response


def test_a_filter_output_marks_the_backstop_and_is_written_back_unchanged():
    output = make_output(make_record("a"), make_record("b", backstop=True))
    selection = selection_from_original(output, kind="L1C")
    assert [(entry.item_id, entry.backstop) for entry in selection.cloudbuster.entries] == [
        ("a", False),
        ("b", True),
    ]
    assert shape(selection.cloudbuster.aoi).bounds == (14.6, 45.6, 14.8, 45.8)
    assert original_selection(selection) == output


def test_a_scene_in_both_roles_is_one_item_and_two_entries():
    output = make_output(make_record("a"), make_record("a", backstop=True))
    selection = selection_from_original(output, kind="L1C")
    assert [item["id"] for item in selection.features] == ["a"]
    assert [
        (entry.item_id, entry.backstop, entry.reused) for entry in selection.cloudbuster.entries
    ] == [("a", False, False), ("a", True, True)]
    assert original_selection(selection) == output


def selection_of(*items):
    entries = tuple(SelectionEntry(item_id=item["id"], backstop=False) for item in items)
    return Selection(
        features=items,
        cloudbuster=SelectionInfo(
            aoi=square(14.6, 45.6, 0.2),
            kind="L2A",
            catalog="test",
            strategy="original",
            entries=entries,
            uncovered_by_layer=(0.0,),
            uncovered=0.0,
            covered=True,
        ),
    )


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"folder": f"s3://sentinel-s2-l1c/{PATH}"}, PATH),
        ({"properties": {"earthsearch:s3_path": "s3://cogs/33/T"}}, "s3://cogs/33/T"),
        ({"folder": "/archive"}, "/archive/S2A_33TWL_20200510_0_L2A"),
    ],
)
def test_our_items_are_written_as_records_of_the_original(changes, path):
    item = make_item(**changes)
    output = original_selection(selection_of(item))
    assert output["selections"] == [
        {
            "name": item["id"],
            "createdAt": "2020-05-10T10:00:31.024Z",
            "dataFootprint": item["geometry"],
            "sceneMetadata": {"cloudyPixelPercentage": 10.0, "path": path},
        }
    ]
    assert output["bounds"] == pytest.approx([14.6, 45.6, 14.8, 45.8])


def test_an_unknown_cloud_cover_is_written_as_100_percent():
    item = make_item(cloud_cover=None)
    (record,) = original_selection(selection_of(item))["selections"]
    assert record["sceneMetadata"]["cloudyPixelPercentage"] == 100


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"aoi": None, "results": []}, "aoi: must be a GeoJSON geometry"),
        ({"aoi": {}, "results": {}}, "results: must be a list"),
        (make_response(3), r"results\[0\]: must be an object with a name"),
        (make_response(make_record(), {"name": 1}), r"results\[1\]: must be an object with a name"),
        (make_response({**make_record(), "name": ""}), r"results\[0\].name: has 0 characters"),
        (make_response({**make_record(), "name": "a" * 257}), r"\[0\].name: has 257 characters"),
        # The number of the second record belongs to its id.
        (
            make_response(*2 * [{**make_record(), "name": "a" * 255}]),
            r"results\[1\].name: has 257 characters; 1 to 256 are allowed",
        ),
        (make_response(make_record(sceneMetadata=None)), r"results\[0\].sceneMetadata: must be"),
        (
            make_response(make_record(sceneMetadata={"cloudyPixelPercentage": "much"})),
            r"results\[0\].sceneMetadata.cloudyPixelPercentage: 'much' is not a number",
        ),
        (make_response(make_record(sceneMetadata={})), "Percentage: None is not a number"),
        (make_response(make_record(dataFootprint=None)), r"dataFootprint: must be a GeoJSON"),
        (make_response(make_record(dataFootprint={"type": "X"})), r"results\[0\].dataFootprint: "),
    ],
)
def test_a_response_that_cannot_be_used_says_which_field(document, message):
    with pytest.raises(RequestError, match=message):
        candidates_from_original(document, kind="L2A")


@pytest.mark.parametrize("bounds", [None, [1, 2, 3], [1, 2, 3, "4"]])
def test_invalid_bounds_are_refused(bounds):
    with pytest.raises(RequestError, match="bounds: must be four numbers"):
        selection_from_original({"bounds": bounds, "selections": []}, kind="L2A")


@pytest.mark.parametrize("name", ["", "a" * 257])
def test_a_selection_with_a_name_that_is_no_id_is_refused(name):
    document = {"bounds": [14, 45, 15, 46], "selections": [{**make_record(), "name": name}]}
    with pytest.raises(RequestError, match=r"selections\[0\].name: has \d+ characters"):
        selection_from_original(document, kind="L2A")


def test_each_form_is_recognised_by_its_keys():
    assert is_original_response(make_response())
    assert is_original_selection(make_output())
    assert not is_original_response(make_output())
    assert not is_original_selection([])


@pytest.mark.real_data
def test_every_response_of_the_original_is_written_back_unchanged(test_data):
    files = sorted((test_data / "original-filter").glob("case-*.json"))
    assert len(files) == 10
    for file in files:
        response = json.loads(file.read_bytes())["response"]
        candidates = candidates_from_original(response, kind="L2A")
        again = Candidates.model_validate_json(candidates.to_json())
        assert original_response(again) == response
