"""Tests of the report in headless Chromium: what a reader does with its map."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
from playwright.sync_api import Browser

from cloudbuster.products.report.scene_rows import scene_colour
from tests.browser import OpenPage, open_browser
from tests.hand_made import GRID, merged, write_three

BOTH = pytest.mark.parametrize("opened", ["1280 light", "400 dark"], indirect=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the whole session: playwright keeps an event loop in this thread while it is open.
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_three(folder)
    return Path(merged(folder).report)


@pytest.fixture
def opened(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[OpenPage]:
    """Report of four columns and two rows; nothing may be on its console at the end."""
    width, scheme = getattr(request, "param", "1280 light").split()
    context = browser.new_context(
        viewport={"width": int(width), "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = OpenPage(context.new_page())
    page.show(report)
    yield page
    assert page.complaints == []
    context.close()


@BOTH
def test_the_map_opens_with_the_whole_mosaic_and_nothing_is_wider_than_the_screen(
    opened: OpenPage,
) -> None:
    box, stage = opened.picture_box(), opened.page.locator("#map").bounding_box()
    assert stage is not None
    assert stage["x"] <= box["x"]
    assert box["x"] + box["width"] <= stage["x"] + stage["width"]
    # Cells are squares on the ground, and so on the screen.
    assert box["width"] / box["height"] == pytest.approx(2, rel=0.02)
    widths = opened.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]


def test_the_map_is_moved_and_zoomed_by_mouse_and_keys(opened: OpenPage) -> None:
    page, first = opened.page, opened.picture_box()
    page.mouse.move(first["x"] + 30, first["y"] + 20)
    page.mouse.down()
    page.mouse.move(first["x"] + 60, first["y"] + 35, steps=5)
    page.mouse.up()
    page.wait_for_timeout(300)
    moved = opened.picture_box()
    assert (moved["x"] - first["x"], moved["y"] - first["y"]) == pytest.approx((30, 15), abs=12)
    page.locator(".leaflet-control-zoom-in").click()
    page.wait_for_timeout(400)
    zoomed = opened.picture_box()
    assert zoomed["width"] > 1.2 * first["width"]
    page.locator("#map").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("-")
    page.wait_for_timeout(400)
    assert opened.picture_box()["width"] < zoomed["width"]
    page.locator(".home").click()
    page.wait_for_timeout(500)
    assert opened.picture_box() == pytest.approx(first, abs=2)


def test_the_wheel_zooms(opened: OpenPage) -> None:
    box = opened.picture_box()
    opened.page.mouse.move(box["x"] + 50, box["y"] + 30)
    opened.page.mouse.wheel(0, -400)
    opened.page.wait_for_timeout(600)
    assert opened.picture_box()["width"] > 1.2 * box["width"]


@BOTH
def test_a_click_says_which_scene_gives_a_place_and_why(opened: OpenPage) -> None:
    opened.click_cell(1.5, 0.5)
    assert opened.place.startswith(
        "ITEM_2 Of 2 acquisitions that observed it, this one alone saw it clear. "
        "Acquired 2020-06-01 10:00 UTC State seen clear Cloud distance 90 m Agreement 100 % "
        "Seen clear once, observed twice Clouds by stock(standard) Offset removed Position "
    )
    assert "EPSG:32633 500015, 5099995 Cell row 0, column 1" in opened.place
    opened.click_cell(0.5, 0.5)
    assert opened.place.startswith(
        "ITEM_1 Of 2 acquisitions that observed it, 2 saw it clear: the first of them in the order "
        "of the scenes gives it."
    )
    opened.click_cell(0.5, 1.5)
    assert opened.place.startswith(
        "ITEM_1 Of 2 acquisitions that observed it, none saw it clear. The backstop fills it, "
        "clouds included. Acquired 2020-06-01 10:00 UTC Role backstop, unmasked"
    )
    opened.click_cell(3.5, 0.5)
    assert opened.place.startswith("No scene No acquisition observed it. State never observed")
    assert opened.page.locator("#map path.leaflet-interactive").count() == 0


def test_the_enter_key_describes_the_middle_of_the_map(opened: OpenPage) -> None:
    opened.page.locator("#map").focus()
    opened.page.keyboard.press("Enter")
    assert "Cell row 1, column 2" in opened.place or "Cell row 0, column" in opened.place
    assert opened.page.locator(".crosshair").is_visible()


TO_LONLAT = pyproj.Transformer.from_crs(GRID.crs, "EPSG:4326", always_xy=True)


def test_a_place_is_found_by_its_coordinates(opened: OpenPage) -> None:
    lon, lat = TO_LONLAT.transform(500_015, 5_099_985)
    for text in (f"{lat:.7f}, {lon:.7f}", f"{lat:.7f}° N {lon:.7f}° E"):
        opened.page.fill("#at", text)
        opened.page.click("#seek button")
        assert "Cell row 1, column 1" in opened.place
        opened.page.fill("#at", "0, 0")
        opened.page.keyboard.press("Enter")
        assert opened.place == "This place is outside of the mosaic."
    opened.page.fill("#at", "somewhere")
    opened.page.click("#seek button")
    assert opened.page.get_attribute("#at", "aria-invalid") == "true"


@BOTH
def test_themes_paint_the_codes(opened: OpenPage) -> None:
    opened.page.check("#themes input[value=scene_index]")
    one, two, three = ((*scene_colour(index), 255) for index in (1, 2, 3))
    nothing = (0, 0, 0, 0)
    expected = [one, two, one, nothing, three, three, two, nothing]
    assert opened.theme_colours() == expected
    assert "ITEM_2" in opened.page.locator("#key").inner_text()
    opened.page.check("#themes input[value=state]")
    clear, backstop, unseen = (
        (0x56, 0xB4, 0xE9, 90),
        (0xE6, 0x9F, 0x00, 255),
        (0x99, 0x99, 0x99, 255),
    )
    top, bottom = [clear] * 3 + [unseen], [backstop, backstop, clear, unseen]
    # A canvas keeps colours multiplied by their opacity.
    np.testing.assert_allclose(opened.theme_colours(), top + bottom, atol=2)
    opened.page.check("#themes input[value=times_clear]")
    assert "0 2" in " ".join(opened.page.locator("#key .ends").inner_text().split())
    opened.page.check("#themes input[value='']")
    assert opened.page.locator("#map canvas.theme").count() == 0


def test_lines_and_holes_are_drawn_and_removed(opened: OpenPage) -> None:
    page = opened.page
    assert page.locator("#map canvas.missing").count() == 0
    page.check("#lines input[value=holes]")
    assert page.locator("#map canvas.missing").count() == 1
    paths = page.locator("#map path").count()
    page.check("#lines input[value=graticule]")
    assert page.locator("#map path").count() > paths
    labels = page.locator(".graticule").all_inner_texts()
    assert any(label.endswith("°E") for label in labels)
    page.uncheck("#lines input[value=graticule]")
    page.uncheck("#lines input[value=holes]")
    assert page.locator("#map path").count() == paths
    assert page.locator("#map canvas.missing").count() == 0


@pytest.mark.parametrize("by", ["timeline", "table", "legend", "keys"])
def test_a_scene_is_shown_alone(opened: OpenPage, by: str) -> None:
    page = opened.page
    if by == "legend":
        page.check("#themes input[value=scene_index]")
        page.locator("#key [data-scene='1']").click()
    elif by == "keys":
        page.locator(".timeline [data-scene='1']").focus()
        page.keyboard.press("Enter")
    else:
        page.locator(f"#{'scenes' if by == 'table' else 'timeline'} [data-scene='1']").click()
    colours = opened.theme_colours()
    assert [colour[3] for colour in colours] == [26, 255, 26, 0, 26, 26, 255, 0]
    assert page.locator("#scenes tr.chosen").inner_text().startswith("2")
    page.locator("#scenes [data-scene='1']").click()
    assert {colour[3] for colour in opened.theme_colours()} == {0, 255}


def test_a_place_that_was_never_clear_is_gone_to(opened: OpenPage) -> None:
    before = opened.picture_box()
    opened.page.locator("[data-box]").last.click()
    opened.page.wait_for_timeout(600)
    assert opened.picture_box()["width"] != pytest.approx(before["width"], rel=0.01)
    assert opened.page.locator("#map canvas.missing").count() == 1
    assert opened.page.locator("#map").is_visible()


def test_a_print_has_the_picture_and_no_controls(opened: OpenPage) -> None:
    opened.page.emulate_media(media="print")
    assert opened.page.locator("#picture").is_visible()
    assert not opened.page.locator("#map").is_visible()
    assert not opened.page.locator(".panel").is_visible()


def test_without_scripts_the_picture_and_the_tables_are_there(
    browser: Browser, report: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#picture").is_visible()
    assert "ITEM_2" in page.locator("#scenes").inner_text()
    context.close()
