"""Headless Chromium for tests of the report, by playwright; it records what a page does wrong."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
REQUIRE_VARIABLE = "CLOUDBUSTER_REQUIRE_BROWSER"
# Until the map is there; loaded machines need seconds to start a browser.
TIMEOUT_MS = 60_000


def find_chromium() -> str:
    """Path of a Chromium; skips the test (or fails it, where required) without one."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "no Chromium: scripts/install_browser.sh installs it (Debian, Ubuntu, as root)"
        if os.environ.get(REQUIRE_VARIABLE, "") not in ("", "0"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    path = find_chromium()
    # Chromium's sandbox does not start as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class OpenPage:
    """A report in a browser.

    Attributes
    ----------
    page : Page
        Page of playwright.
    complaints : list of str
        Messages on the console, errors of scripts, and requests for anything but the page itself.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)

    def show(self, path: Path) -> None:
        """Open a report, and wait for its map."""
        uri = path.absolute().as_uri()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", lambda request: self._note(request.url, uri))
        self.page.goto(uri)
        self.page.wait_for_selector("#themes input:checked")

    def _note(self, url: str, own: str) -> None:
        """Note a request for another file."""
        if url != own and not url.startswith("data:"):
            self.complaints.append(f"request: {url}")

    def click_cell(self, col: float, row: float) -> None:
        """Click a place of the mosaic while the whole of it is shown."""
        box, grid = self.picture_box(), self.grid
        self.page.mouse.click(
            box["x"] + box["width"] * col / grid["width"],
            box["y"] + box["height"] * row / grid["height"],
        )

    def picture_box(self) -> FloatRect:
        """Place of the mosaic's picture on the screen."""
        box = self.page.locator("#map img.picture").bounding_box()
        assert box is not None
        return box

    @property
    def grid(self) -> dict[str, Any]:
        """Grid of the mosaic, as the page knows it."""
        found: dict[str, Any] = self.page.evaluate(
            "() => JSON.parse(document.getElementById('data').textContent).grid"
        )
        return found

    @property
    def place(self) -> str:
        """What the page says of the place that was chosen."""
        return " ".join(self.page.locator("#place").inner_text().split())

    def theme_colours(self) -> list[tuple[int, ...]]:
        """Colours of the cells of the theme, row by row: red, green, blue and opacity."""
        values: list[int] = self.page.evaluate(
            """() => {
                const { width, height } = document.querySelector('#map canvas.theme');
                const copy = new OffscreenCanvas(width, height).getContext('2d');
                copy.drawImage(document.querySelector('#map canvas.theme'), 0, 0);
                return [...copy.getImageData(0, 0, width, height).data];
            }"""
        )
        return [tuple(values[at : at + 4]) for at in range(0, len(values), 4)]
