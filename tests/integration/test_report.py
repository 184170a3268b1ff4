"""The report of the sample world in headless Chromium: what it says of places is what files say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.browser import OpenPage, open_browser
from tests.integration.conftest import SampleRun

PLACES = 12


def read(path: str) -> dict[str, np.ndarray]:
    with rasterio.open(path) as dataset:
        return dict(zip(dataset.descriptions, dataset.read(), strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_places_have_the_values_of_the_products(sample_run: SampleRun, scheme: str) -> None:
    products = sample_run.result.products
    quality, mosaic = read(products.quality), read(products.cloudless)
    item = json.loads(Path(products.item).read_text())
    scenes = {row["index"]: row["item_id"] for row in item["properties"]["cloudbuster:scenes"]}
    rows, cols = quality["state"].shape
    rng = np.random.default_rng(3)
    with open_browser() as browser:
        opened = OpenPage(
            browser.new_page(
                viewport={"width": 1280, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
            )
        )
        opened.show(Path(products.report))
        for x, y in rng.random((PLACES, 2)):
            opened.click_cell(x * cols, y * rows)
            cell = re.search(r"Cell row (\d+), column (\d+)", opened.place)
            assert cell is not None
            row, col = int(cell[1]), int(cell[2])
            assert (row, col) == pytest.approx((y * rows, x * cols), abs=2)
            index = int(mosaic["scene_index"][row, col])
            assert opened.place.startswith(scenes.get(index, "No scene"))
            assert f"Cloud distance {quality['cloud_distance_m'][row, col]} m" in opened.place
            times = (int(quality[f"times_{what}"][row, col]) for what in ("clear", "observed"))
            clear, observed = (
                {1: "once", 2: "twice"}.get(count, f"{count} times") for count in times
            )
            assert f"Seen clear {clear}, observed {observed}" in opened.place
        assert opened.complaints == []
        assert len(Path(products.report).read_bytes()) < 3_000_000
