"""A run whose mosaic is a median that measures its own error, on the sample world."""

import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.vrt import WarpedVRT

from cloudbuster.models import Selection
from cloudbuster.runs.pipeline import run
from cloudbuster.storage.files.documents import read_document
from tests.integration.conftest import SampleRun


def test_a_median_mosaic_measures_its_own_error(sample_run: SampleRun, tmp_path: Path) -> None:
    merge = sample_run.request.merge.model_copy(update={"composite": "median", "self_check": True})
    changes = {"merge": merge, "output": str(tmp_path / "median")}
    result = run(sample_run.request.model_copy(update=changes))

    selection = read_document(str(tmp_path / "median" / "selection.json"), Selection)
    assert selection.cloudbuster.delivered_layers == 4
    check = result.products.self_check
    assert check is not None
    assert check.blocks_checked > 0
    (blue,) = (band for band in check.grounds[0].bands if band.band == "B02")
    with (
        rasterio.open(result.products.cloudless) as mosaic,
        rasterio.open(result.products.quality) as quality,
        rasterio.open(sample_run.world / "truth" / "truth.tif") as source,
    ):
        grid = {key: getattr(mosaic, key) for key in ("crs", "transform", "width", "height")}
        clear = quality.read(quality.count) == 3
        with WarpedVRT(source, nodata=0, **grid) as truth:
            expected = truth.read(1 + source.descriptions.index("B02"))[clear]
        error = mosaic.read(1 + mosaic.descriptions.index("B02"))[clear].astype(float) - expected
    # A world of a few hundred cells has one block; larger ones come within a fifth.
    assert blue.error_dn is not None
    assert blue.error_dn < 3 * np.sqrt((error**2).mean())
    item = json.loads(Path(result.products.item).read_text())
    assert item["properties"]["cloudbuster:self_check"]["blocks"] == check.blocks
    assert item["properties"]["cloudbuster:synthetic"] is True
    assert "Self-check" in Path(result.products.report).read_text()
