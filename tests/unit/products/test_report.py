"""Tests of the report of a mosaic."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyproj
import pytest
import shapely
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from cloudbuster.core.pixels.composite import CellState
from cloudbuster.models import (
    Assessment,
    LayerCoverage,
    MosaicRequest,
    SceneFailure,
    Selection,
)
from cloudbuster.products.report import STATES, cell_unit, scene_colour
from tests.hand_made import GRID, merged, spec, write_gathered, write_original, write_three

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


class Page(HTMLParser):
    """Collects the text of a page, the attributes of its images, and the addresses it loads."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text = ""
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.text += " " if tag in ("td", "th", "li", "p", "h1", "h2") else ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)


def page_of(folder: Path, **options: Any) -> tuple[Page, str]:
    result = merged(folder, **options)
    content = Path(result.report).read_text()
    page = Page(content)
    assert page.open == []
    return page, content


def picture(page: Page, number: int) -> np.ndarray:
    _, _, data = str(page.images[number]["src"]).partition("data:image/png;base64,")
    with (
        pytest.warns(NotGeoreferencedWarning),
        MemoryFile(base64.b64decode(data)) as memory,
        memory.open() as png,
    ):
        return np.asarray(png.read())


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


def colours(picture: np.ndarray, cells: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(value) for value in cell) for cell in picture[:, cells].T}


def test_the_maps_show_codes_in_the_colours_of_the_legend(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, content = page_of(tmp_path)
    states, scenes = picture(page, 1), picture(page, 2)
    codes = np.array([[3, 3, 3, 0], [2, 2, 3, 0]])
    for code in (0, 2, 3):
        colour = STATES[CellState(code)][1]
        assert colour in content
        assert colours(states, codes == code) == {(*bytes.fromhex(colour[1:]), 255)}
    index = np.array([[1, 2, 1, 0], [3, 3, 2, 0]])
    for number in (1, 2, 3):
        assert colours(scenes[:3], index == number) == {scene_colour(number)}
        assert "#{:02x}{:02x}{:02x}".format(*scene_colour(number)) in content
    assert colours(scenes[3:], index == 0) == {(0,)}


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    write_three(tmp_path)
    page, content = page_of(tmp_path)
    assert len(page.images) == 3
    assert all(image["alt"] for image in page.images)
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.images)
    assert not re.search(r"<script|<link|https?://|url\(", content)


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
        "Where m-holes.geojson, beside this page",
        "End of the run no other candidate shows the rest clear (no-more-candidates)",
        "Rounds 2",
        "Scenes 3 gathered, 4 selected; 1 failed",
        # 36 pixels for 8 cells of 3 bands.
        "1 time 62.50 % 2 times 0 %",
    ):
        assert fact in page.words
    assert "ITEM_9: RasterError: torn" in page.words


def test_text_of_a_catalog_is_escaped(tmp_path: Path) -> None:
    write_gathered(tmp_path / "scenes", spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]], item_id="<b>&x"))
    page, content = page_of(tmp_path)
    assert "<b>&x" in page.words
    assert "<b>" not in content


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
