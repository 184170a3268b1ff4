"""Mosaics of delivered units: pairs of one index, and several rasters of an item."""

import json
from pathlib import Path

import numpy as np
import pytest

from cloudbuster.merge import MosaicRecipe, merge_part, merge_parts, product_paths
from cloudbuster.models import MergeResult
from tests.hand_made import BANDS, merged, read, spec, write_gathered
from tests.report_page import ReportPage

# Item A was delivered in two rounds, the left half first, each time with a backstop of the masked
# pixels under the same index; item B filled one cloud.
SCENES = (
    spec(1, [[3, 1, 0, 0], [3, 3, 0, 0]], item_id="A"),
    spec(1, [[0, 1, 0, 0], [0, 0, 0, 0]], item_id="A", backstop=True),
    spec(2, [[0, 0, 3, 1], [0, 0, 1, 3]], item_id="A", distance=90),
    spec(2, [[0, 0, 0, 1], [0, 0, 1, 0]], item_id="A", backstop=True),
    spec(3, [[0, 3, 0, 0], [0, 0, 0, 0]], item_id="B"),
)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> MergeResult:
    folder = tmp_path_factory.mktemp("mosaic")
    for scene in SCENES:
        write_gathered(folder / "scenes", scene)
    return merged(folder)


def test_each_cell_comes_from_the_raster_that_delivers_it(mosaic: MergeResult) -> None:
    cloudless, cloudy = read(mosaic.cloudless), read(mosaic.cloudy)
    np.testing.assert_array_equal(cloudless[-1], [[1, 3, 2, 2], [1, 1, 2, 2]])
    np.testing.assert_array_equal(cloudy[-1], [[0, 1, 0, 2], [0, 0, 2, 0]])
    for pixels in (cloudless, cloudy):
        for band in range(len(BANDS)):
            expected = np.where(pixels[-1] > 0, pixels[-1] * 100 + 10 * band + 1, 0)
            np.testing.assert_array_equal(pixels[band], expected)


def test_an_acquisition_counts_once_in_each_cell_whatever_delivered_it(mosaic: MergeResult) -> None:
    observed, clear, _, _, state = read(mosaic.quality)
    np.testing.assert_array_equal(observed, [[1, 2, 1, 1], [1, 1, 1, 1]])
    np.testing.assert_array_equal(clear, [[1, 1, 1, 0], [1, 1, 0, 1]])
    np.testing.assert_array_equal(state, [[3, 3, 3, 2], [3, 3, 2, 3]])
    assert (mosaic.clear_fraction, mosaic.backstop_fraction) == (6 / 8, 2 / 8)


def test_two_rasters_of_an_acquisition_that_overlap_count_once(tmp_path: Path) -> None:
    for scene in (
        spec(1, [[3, 1, 1, 0], [3, 1, 2, 0]], item_id="A"),
        spec(2, [[0, 3, 1, 0], [3, 1, 3, 3]], item_id="A"),
        spec(2, [[0, 0, 1, 0], [0, 1, 0, 0]], item_id="A", backstop=True),
    ):
        write_gathered(tmp_path / "scenes", scene)
    observed, clear, *_ = read(merged(tmp_path).quality)
    np.testing.assert_array_equal(observed, [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(clear, [[1, 1, 0, 0], [1, 0, 1, 1]])


def test_the_item_has_a_row_for_each_raster_and_a_link_for_each_scene_and_the_page_a_row(
    mosaic: MergeResult,
) -> None:
    item = json.loads(Path(mosaic.item).read_text())
    rows = item["properties"]["cloudbuster:scenes"]
    shares = {(row["index"], row["backstop"]): (row["item_id"], row["share"]) for row in rows}
    assert shares == {
        (1, False): ("A", 3 / 8),
        (2, False): ("A", 2 / 8),
        (3, False): ("B", 1 / 8),
        (1, True): ("A", 0),
        (2, True): ("A", 2 / 8),
    }
    sources = [link["title"] for link in item["links"] if link["rel"] == "derived_from"]
    assert sources == ["A", "B"]
    page = ReportPage(Path(mosaic.report))
    assert [scene["id"] for scene in page.data["scenes"]] == ["A", "B"]
    assert mosaic.scene_count == item["properties"]["cloudbuster:scene_count"] == 2


def test_merged_in_parts_the_products_are_the_same(mosaic: MergeResult, tmp_path: Path) -> None:
    scenes = str(Path(mosaic.cloudless).parent / "scenes")
    recipe = MosaicRecipe("m")
    merge_part(scenes, str(tmp_path / "parts"), recipe, number=1, cells=1024)
    merge_parts(str(tmp_path / "parts"), scenes, str(tmp_path), recipe, cells=1024)
    for key, path in product_paths(str(tmp_path), "m").items():
        assert Path(path).read_bytes() == Path(getattr(mosaic, key)).read_bytes()
