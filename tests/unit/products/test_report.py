"""Tests of the report of a mosaic."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyproj
import pytest
import shapely

from cloudbuster.models import (
    Assessment,
    BandCheck,
    GroundCheck,
    LayerCoverage,
    MosaicRequest,
    SceneFailure,
    Selection,
    SelfCheck,
    Unpicked,
)
from cloudbuster.products.report.explorer import cell_unit
from cloudbuster.products.report.scene_rows import scene_colour, without_places
from cloudbuster.products.report.timeline import acquired_day
from tests.hand_made import GRID, merged, spec, write_gathered, write_original, write_three
from tests.report_page import ReportPage

ASSESSMENT = Assessment(
    area_km2=12.3456,
    coverage=(
        LayerCoverage(times=1, covered_fraction=0.625),
        LayerCoverage(times=2, covered_fraction=0),
    ),
    never_observed_fraction=0.25,
    never_clear_fraction=0.125,
    backstop_fraction=0.125,
    hole_fraction=0.25,
    scenes_selected=4,
    scenes_gathered=3,
    failures=(SceneFailure(item_id="ITEM_9", index=9, error="RasterError", message="torn"),),
    covered=False,
    end="no-more-candidates",
    rounds=2,
    decoded_pixels=36,
    hole_file="/somewhere/m-holes.geojson",
    reasons=("25.00 % of the area (3.086 km²) has no value",),
)


REQUEST = MosaicRequest.model_validate(
    {
        "name": "m",
        "aoi": {"type": "Point", "coordinates": [15, 46]},
        "query": {"mindate": ["2020-01-01"], "maxdate": ["2020-02-01"]},
        "filter": {"max_never_clear": 0.02},
    }
)
# Columns 0 and 1 of the grid: two cells are clear, two come from the backstop.
TO_DEGREES = pyproj.Transformer.from_crs(GRID.crs, "EPSG:4326", always_xy=True).transform
CORNERS = ((500_000, 5_099_980), (500_020, 5_099_980), (500_020, 5_100_000), (500_000, 5_100_000))
WESTERN_HALF = orjson.loads(
    shapely.to_geojson(shapely.Polygon([TO_DEGREES(*corner) for corner in CORNERS]))
)
SELECTION = Selection.model_validate(
    {
        "type": "FeatureCollection",
        "features": [{"id": "ITEM_1"}, {"id": "ITEM_2"}],
        "cloudbuster": {
            "schema": "cloudbuster.selection/1",
            "aoi": WESTERN_HALF,
            "kind": "L2A",
            "catalog": "https://example.com/v1",
            "strategy": "clear",
            "entries": [
                {"item_id": "ITEM_1", "backstop": False, "weight": 0.4},
                {"item_id": "ITEM_2", "backstop": False, "weight": 0.1},
                {"item_id": "ITEM_2", "backstop": False, "weight": 0.025, "round": 2},
                {"item_id": "ITEM_1", "backstop": True, "weight": 0.7},
            ],
            "uncovered_by_layer": [0.0],
            "uncovered": 0.0,
            "covered": True,
        },
    }
)
FACTS = {
    "clear_fraction": 0.5,
    "backstop_fraction": 0.5,
    "hole_fraction": 0.0,
    "covered": False,
    "never_seen_clear_fraction": 0.375,
    "max_never_clear": 0.02,
    "end": "no-more-candidates",
    "rounds": 2,
    "reasons": list(ASSESSMENT.reasons),
    "scene_count": 2,
}


def page_of(folder: Path, **options: Any) -> tuple[ReportPage, str]:
    page = ReportPage(Path(merged(folder, **options).report))
    return page, page.content


def test_the_page_shows_shares_and_scenes(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path)
    for what, share in (
        ("seen clear", "50.00 %"),
        ("never clear; filled from the backstop", "25.00 %"),
        ("seen, but never clear, and not filled", "0 %"),
        ("never observed", "25.00 %"),
    ):
        assert f"{what}: {share}" in page.words
    assert (
        "2020-06-01 · 4 \u00d7 2 cells of 10 m · 2 scenes · EPSG:32633 · B02 B03 B04 "
        "· composite first" in page.words
    )
    # A scene that is also the backstop has one row; what each was expected to add is unknown here.
    for row in (
        "1 3 ITEM_1 2020-06-01 10:00 unknown 25.00 % 25.00 % 3.25 % stock(standard) 05.09 removed",
        "2 ITEM_2 2020-06-01 10:00 unknown 25.00 % none 3.25 % stock(standard) 05.09 removed",
    ):
        assert row in page.words


def test_the_map_holds_the_values_of_the_cells(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path)
    expected = {
        "scene_index": [[1, 2, 1, 0], [3, 3, 2, 0]],
        "state": [[3, 3, 3, 0], [2, 2, 3, 0]],
        "times_observed": [[2, 2, 2, 0], [2, 2, 2, 0]],
        "times_clear": [[2, 1, 2, 0], [0, 0, 2, 0]],
        "cloud_distance_m": [[700, 90, 700, 0], [0, 0, 90, 0]],
        "confidence": [[100, 100, 100, 0], [0, 0, 100, 0]],
        "inside": [[1, 1, 1, 1], [1, 1, 1, 1]],
    }
    assert {band["name"] for band in page.data["bands"]} == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(page.codes(name), values, err_msg=name)


def test_the_map_knows_states_and_scenes_by_the_colours_of_the_tables(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path)
    fills = {rect.get("fill") for rect in page.all("rect")}
    assert {state["colour"] for state in page.data["states"]} <= fills
    scenes = [(scene["id"], scene["indices"], scene["backstops"]) for scene in page.data["scenes"]]
    assert scenes == [("ITEM_1", [1, 3], [3]), ("ITEM_2", [2], [])]
    for scene in page.data["scenes"]:
        colours = ["#{:02x}{:02x}{:02x}".format(*scene_colour(code)) for code in scene["indices"]]
        assert scene["colours"] == colours
        assert set(colours) <= fills


def test_the_map_has_the_place_of_the_grid(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path, selection=SELECTION)
    grid = page.data["grid"]
    assert (grid["width"], grid["height"], grid["crs"], grid["unit"]) == (4, 2, "EPSG:32633", "m")
    assert grid["aspect"] == pytest.approx(1, abs=1e-6)
    nodes = page.data["lattice"]
    corners = [TO_DEGREES(500_000, 5_100_000), TO_DEGREES(500_040, 5_099_980)]
    assert [nodes["lon"][0], nodes["lon"][-1]] == pytest.approx([lon for lon, _ in corners])
    assert [nodes["lat"][0], nodes["lat"][-1]] == pytest.approx([lat for _, lat in corners])
    (ring,) = page.data["area"]
    assert {tuple(point) for point in ring} == {(0, 0), (2, 0), (2, 2), (0, 2)}
    np.testing.assert_array_equal(page.codes("inside"), [[1, 1, 0, 0], [1, 1, 0, 0]])


def test_the_page_asks_for_nothing_else(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, content = page_of(tmp_path)
    assert page.all("link") == []
    assert all("src" not in script for script in page.all("script"))
    assert all(image["alt"] for image in page.all("img"))
    assert all(str(image["src"]).startswith("data:image/") for image in page.all("img"))
    assert "url(" not in "".join(page.inline["style"])
    assert "sourceMappingURL" not in content
    assert not any("style" in attributes for _, attributes in page.elements)
    assert not any(name.startswith("on") for _, found in page.elements for name in found)
    files = ["m-cloudless.tif", "m-cloudy.tif", "m-quality.tif", "m-preview.png", "m.json"]
    assert [link["href"] for link in page.all("a")] == [
        "#timeline",
        *(f"./{name}" for name in files),
    ]


def test_the_policy_allows_the_page_own_script_and_style_alone(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path)
    (policy,) = (
        str(meta["content"])
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    scripts = [
        text
        for text, attributes in zip(page.inline["script"], page.all("script"), strict=True)
        if "type" not in attributes
    ]
    assert rules == {
        "default-src": "'none'",
        "script-src": " ".join(map(digest, scripts)),
        "style-src": digest(*page.inline["style"]),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_page_shows_what_the_area_lacks(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path, assessment=ASSESSMENT)
    reason = ASSESSMENT.reasons[0]
    assert f"The area is not covered as asked: {reason}" in page.words
    for fact in (
        "Covered no",
        "Size 12.35 km²",
        "Never seen clear 37.50 % of the area",
        "Without a value 25.00 % of the area",
        "All are in m-holes.geojson",
        "End of the run no other candidate shows the rest clear (no-more-candidates)",
        "Rounds 2",
        "Scenes 3 gathered, 4 selected; 1 failed",
        "Seen clear at least once 62.50 %",
        "Seen clear at least twice 0 %",
    ):
        assert fact in page.words
    assert "ITEM_9: RasterError: torn" in page.words


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&x\u2028"


def test_text_of_a_catalog_is_escaped(tmp_path: Path) -> None:
    unpicked = Unpicked(item_id=HOSTILE, stage="choice", acquired=None, reason=HOSTILE)
    info = SELECTION.cloudbuster.model_copy(update={"unpicked": (unpicked,)})
    selection = SELECTION.model_copy(update={"cloudbuster": info})
    failure = SceneFailure(item_id=HOSTILE, index=9, error="RasterError", message=HOSTILE)
    assessment = ASSESSMENT.model_copy(update={"failures": (failure,), "reasons": (HOSTILE,)})
    scene = spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]], item_id=HOSTILE)
    write_gathered(tmp_path / "scenes", scene)
    page, content = page_of(tmp_path, assessment=assessment, selection=selection)
    assert page.data["scenes"][0]["id"] == HOSTILE
    assert page.words.count("</script><script>alert(1)</script><img src=x onerror=") >= 4
    assert "<script>alert" not in content
    assert "<img src=x" not in content
    assert [len(page.all(name)) for name in ("script", "img")] == [3, 1]


def test_a_self_check_is_shown_where_one_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_three(tmp_path)
    assert "Self-check" not in page_of(tmp_path)[0].words
    page, _ = page_of(tmp_path, self_check=True)
    assert "Self-check: nothing to check: no block has a clear date beside" in page.words
    assert "Self-check Nothing could be compared: no block of" in page.words
    errors = BandCheck(
        band="B02",
        error_dn=62,
        least_error_dn=55,
        difference_dn=70,
        floor_dn=57,
        mae_dn=40,
        bias_dn=-3,
    )
    ground = GroundCheck(
        ground="all",
        cells=900,
        clear_fraction=0.94,
        residual_cloud_fraction=0.004,
        residual_shadow_fraction=None,
        bands=(errors,),
    )
    check = SelfCheck(
        block_m=2560,
        blocks=9,
        blocks_checked=8,
        checked_fraction=0.9,
        clear_fraction=0.94,
        grounds=(ground,),
    )
    monkeypatch.setattr("cloudbuster.merge.self_check", lambda *_: check)
    page, _ = page_of(tmp_path, self_check=True)
    assert f"Self-check: {check.summary}" in page.words
    assert "In each of 8 of 9 blocks of 2.6 km (90.00 % of the area)" in page.words
    assert "B02 62 55 70 57" in page.words
    assert "all 900 94.00 % 0.40 % unknown" in page.words


def test_scenes_that_are_not_used_are_listed_with_their_reasons(tmp_path: Path) -> None:
    write_three(tmp_path)
    found = (
        Unpicked(item_id="S2A_33TWL_20200520_0_L2A", stage="query", reason="same datatake"),
        Unpicked(
            item_id="ITEM_7",
            stage="choice",
            acquired=datetime(2020, 6, 11, 10, tzinfo=UTC),
            cloud_cover=40.0,
            reason="it shows 3.00 % of the area clear",
        ),
        # Picked in the second round.
        Unpicked(item_id="ITEM_2", stage="choice", reason="it adds too little"),
    )
    info = SELECTION.cloudbuster.model_copy(update={"unpicked": found})
    page, _ = page_of(tmp_path, selection=SELECTION.model_copy(update={"cloudbuster": info}))
    rows = (
        "2020-05-20 S2A_33TWL_20200520_0_L2A unknown left out by the query same datatake",
        "2020-06-11 ITEM_7 40.00 % usable, and not needed it shows 3.00 % of the area clear",
    )
    assert " ".join(rows) in page.words
    assert "it adds too little" not in page.words
    assert len(page.all("circle")) == 2


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("S2A_33TWL_20200520_0_L2A", "2020-05-20"),
        ("S2B_MSIL2A_20230813T100031_N0509_R122_T33TWL_20230813T132214", "2023-08-13"),
        ("S2A_33TWL_20200231_0_L2A", None),
        ("scene-123456789", None),
    ],
)
def test_the_day_of_a_scene_is_read_of_its_id_if_nothing_else_has_it(name: str, day: str) -> None:
    found = acquired_day(Unpicked(item_id=name, stage="query", reason=""))
    assert (None if found is None else found.isoformat()) == day


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/x/B04.tif: not a raster", "…/B04.tif: not a raster"),
        ("s3://bucket/a/B04.tif is gone", "…/B04.tif is gone"),
        ("https://u:p@host/a/b.tif?sig=abcdefgh12", "…/b.tif?sig=***"),
        ("1/2 of km/h", "1/2 of km/h"),
    ],
)
def test_messages_do_not_depend_on_where_the_files_are(text: str, expected: str) -> None:
    assert without_places(text) == expected


def test_the_page_holds_no_place_and_no_time(tmp_path: Path) -> None:
    write_three(tmp_path)
    request = MosaicRequest.model_validate(
        {
            "name": "m",
            "aoi": {"type": "Point", "coordinates": [15, 46]},
            "query": {"mindate": ["2020-01-01"], "maxdate": ["2020-02-01"]},
            "output": "/somewhere/else",
        }
    )
    page, first = page_of(tmp_path, request=request)
    assert '"coverage_count": 3' in page.words
    assert "somewhere" not in first
    elsewhere = request.model_copy(update={"output": "/nowhere", "force": True})
    assert page_of(tmp_path, request=elsewhere)[1] == first


def test_keys_in_the_request_are_redacted_in_item_and_report(tmp_path: Path) -> None:
    write_three(tmp_path)
    request = MosaicRequest.model_validate(
        {
            "name": "m",
            "aoi": {"type": "Point", "coordinates": [15, 46]},
            "query": {
                "mindate": ["2020-01-01"],
                "maxdate": ["2020-02-01"],
                "catalog": "https://user:secret@stac.example/v1?token=abc123&x=1",
            },
        }
    )
    page, content = page_of(tmp_path, request=request)
    item = (tmp_path / "m.json").read_text()
    for text in (content, item):
        assert "secret" not in text
        assert "abc123" not in text
    assert "https://***@stac.example/v1?token=***&x=***" in page.words
    assert "https://***@stac.example/v1?token=***&x=***" in item


def test_scenes_without_documents_are_shown_too(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    pixels = np.full((4, *GRID.shape), 7)
    pixels[-1] = 1
    write_original(folder, "m-01", pixels)
    page, _ = page_of(tmp_path)
    assert "1 no document beside the raster unknown unknown 100 % none unknown" in page.words


def test_item_and_page_repeat_the_assessment(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, _ = page_of(tmp_path, assessment=ASSESSMENT, request=REQUEST, selection=SELECTION)
    assert "Never seen clear 37.50 % of the area; 2.00 % is allowed" in page.words
    assert "Shares of the area." in page.words
    assert "seen clear: 50.00 %" in page.words
    assert "ITEM_1 2020-06-01 10:00 40.00 % 25.00 % 50.00 %" in page.words
    assert "ITEM_2 2020-06-01 10:00 12.50 % 25.00 % none" in page.words
    content = orjson.loads((tmp_path / "m.json").read_bytes())
    found = content["properties"]
    assert {key: found[f"cloudbuster:{key}"] for key in FACTS} == FACTS
    rows = {(row["index"], row["backstop"]): row for row in found["cloudbuster:scenes"]}
    assert [rows[1, False]["expected_share"], rows[2, False]["expected_share"]] == [0.4, 0.125]
    assert "expected_share" not in rows[3, True]
    assert content["assets"]["holes"]["href"] == "./m-holes.geojson"


@pytest.mark.parametrize(
    ("crs", "unit"), [("EPSG:32633", "m"), ("EPSG:4326", "°"), ("EPSG:2263", "US survey foot")]
)
def test_cells_have_the_unit_of_their_crs(crs: str, unit: str) -> None:
    assert cell_unit(crs) == unit


def test_neighbouring_scenes_have_colours_apart() -> None:
    colours = np.array([scene_colour(index) for index in range(1, 40)], dtype=int)
    steps = np.abs(np.diff(colours, axis=0)).sum(axis=1)
    assert steps.min() > 100
