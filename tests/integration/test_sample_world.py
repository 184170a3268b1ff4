"""The sample world end to end: what is left of its clouds, and how far it is from its truth."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.vrt import WarpedVRT

from cloudbuster.models import SceneRecord
from cloudbuster.runs.pipeline import run
from tests.integration.conftest import SampleRun


def records_of(output: str) -> list[SceneRecord]:
    return [
        SceneRecord.model_validate_json(path.read_bytes())
        for path in sorted(Path(output, "scenes").glob("*.json"))
    ]


@pytest.fixture(scope="module")
def mosaic(sample_run: SampleRun) -> dict[str, np.ndarray]:
    """Mosaic, state and truth on the mosaic's grid."""
    products = sample_run.result.products
    with rasterio.open(products.cloudless) as source, rasterio.open(products.quality) as quality:
        grid = {
            "crs": source.crs,
            "transform": source.transform,
            "width": source.width,
            "height": source.height,
        }
        with (
            rasterio.open(sample_run.world / "truth" / "truth.tif") as truth,
            WarpedVRT(truth, nodata=0, **grid) as aligned,
        ):
            names = list(truth.descriptions)
            bands = [names.index(name) + 1 for name in source.descriptions[:-1]]
            expected = aligned.read(bands)
        affected = np.zeros((source.height, source.width), dtype=np.uint8)
        index = source.read(source.count)
        for record in records_of(sample_run.result.output):
            path = sample_run.world / "truth" / f"{record.item_id}-affected.tif"
            with rasterio.open(path) as scene, WarpedVRT(scene, **grid) as aligned:
                own = index == record.index
                affected[own] = aligned.read(1)[own]
        return {
            "bands": source.read(list(range(1, source.count))),
            "state": quality.read(quality.count),
            "truth": expected,
            "affected": affected,
        }


def test_the_sample_world_is_covered_without_holes(sample_run: SampleRun) -> None:
    assert sample_run.result.assessment.covered
    assert sample_run.result.products.hole_fraction == 0.0
    # The tests' world is 3 km wide, and some of its clouds are as wide.
    assert sample_run.result.products.clear_fraction > 0.8


def test_cloud_and_shadow_left_are_under_half_a_percent(mosaic: dict[str, np.ndarray]) -> None:
    clear = mosaic["state"] == 3
    left = np.isin(mosaic["affected"], (2, 3)) & clear
    assert clear.sum() > 100_000
    assert left.sum() / clear.sum() < 0.005


def test_clear_pixels_are_close_to_the_truth(mosaic: dict[str, np.ndarray]) -> None:
    clear = mosaic["state"] == 3
    error = (mosaic["bands"].astype(float) - mosaic["truth"])[:, clear]
    rmse = np.sqrt((error**2).mean(axis=1))
    # The world's own season moves reflectance by about 100 DN; an offset left in would be 1000.
    assert (rmse < 250).all()
    assert rmse.mean() < 150


def test_radiometry_is_right_where_the_flags_are_wrong(sample_run: SampleRun) -> None:
    truth = json.loads((sample_run.world / "truth" / "truth.json").read_text())
    scenes = {scene["id"]: scene for scene in truth["scenes"]}
    wrong_flags = 0
    for record in records_of(sample_run.result.output):
        known = scenes[record.item_id]
        assert record.radiometry.offset_dn == -known["offset_dn"], record.item_id
        wrong_flags += not known["flags_are_right"]
    assert wrong_flags > 0


def test_a_second_run_does_no_work_and_changes_no_byte(sample_run: SampleRun) -> None:
    output = Path(sample_run.result.output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.tif")}
    again = run(sample_run.request)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.tif")} == before
    assert again.products == sample_run.result.products
    scenes = {path.name for path in (output / "scenes").glob("*.tif")}
    assert set(again.reused) == {
        "candidates.json",
        "selection.json",
        "sample-cloudless.tif",
        *scenes,
    }


def test_the_same_request_gives_the_same_bytes_with_any_number_of_workers(
    sample_run: SampleRun, tmp_path: Path
) -> None:
    request = sample_run.request.model_copy(update={"output": str(tmp_path / "again")})
    again = run(request, workers=2)
    for name in ("cloudless", "cloudy", "quality", "preview"):
        first = Path(getattr(sample_run.result.products, name)).read_bytes()
        assert Path(getattr(again.products, name)).read_bytes() == first, name
    one, other = (
        {path.name: path.read_bytes() for path in Path(output, "scenes").glob("*.tif")}
        for output in (sample_run.result.output, again.output)
    )
    assert one == other
    assert {name.partition("-")[0] for name in one} == {"sample", "backstop"}
