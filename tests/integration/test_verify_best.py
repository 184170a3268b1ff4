"""Composite `best`: its mosaics are verified, and its refusals and costs are explained."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.checks.verify import VerifyOptions, verify_mosaic
from cloudbuster.inputs.request_files import load_request
from cloudbuster.models import DetectorOptions, MergeOptions
from cloudbuster.mosaics.explain import explain_cell, explanation_text
from cloudbuster.mosaics.opened import open_mosaic
from cloudbuster.runs.pipeline import run
from cloudbuster.sample import SampleWorld


@pytest.fixture(scope="module")
def finished(sample_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run; tests only read it."""
    request = load_request(str(sample_world.request))
    folder = tmp_path_factory.mktemp("best") / "run"
    gather = {"bands": ("B02", "B03", "B04", "B08"), "detector": DetectorOptions(type="stock")}
    changes = {
        "filter": request.filter.model_copy(update={"max_never_clear": 0.3}),
        "gather": request.gather.model_copy(update=gather),
        "merge": MergeOptions(composite="best"),
        "output": str(folder),
    }
    run(request.model_copy(update=changes))
    return folder


def test_a_mosaic_of_composite_best_passes(finished: Path, tmp_path: Path) -> None:
    for path in finished.glob("sample*"):
        shutil.copy(path, tmp_path)
    verified = verify_mosaic(str(tmp_path), VerifyOptions(samples=40))
    assert verified.report.disagreeing == ()
    assert "pixels" in {each.name for each in verified.report.checks if each.status == "agrees"}


def test_the_cost_of_the_chosen_look_is_the_least_or_that_of_its_neighbours(
    finished: Path,
) -> None:
    with rasterio.open(finished / "sample-quality.tif") as dataset:
        clear = dataset.read(dataset.descriptions.index("times_clear") + 1)
    row, col = np.unravel_index(clear.argmax(), clear.shape)
    found = explain_cell(open_mosaic(str(finished)), int(row), int(col))
    dearer = [each for each in found.scenes if each.fate == "dearer"]
    assert len(dearer) >= found.times_clear - 1 > 0
    assert all("(cost " in each.reason and "shadow" in each.reason for each in dearer)
    assert "the composite preferred the chosen scene" in explanation_text(found)


def test_refused_looks_are_named(finished: Path) -> None:
    with rasterio.open(finished / "sample-quality.tif") as dataset:
        state = dataset.read(dataset.descriptions.index("state") + 1)
    with rasterio.open(finished / "sample-cloudless.tif") as dataset:
        index = dataset.read(dataset.count)
    mosaic = open_mosaic(str(finished))
    filling = [row.index for row in mosaic.rows if row.backstop]
    assert np.isin(index[state == 2], filling).all()
    places = np.argwhere(state == 2)[::40]
    looks = (explain_cell(mosaic, int(row), int(col)) for row, col in places)
    found = next(each for each in looks if each.scenes[0].reason.startswith("every clear look"))
    assert found.state == "backstop"
    others = {each.fate for each in found.scenes[1:] if each.index and not each.backstop}
    assert others <= {"refused", "masked", "no-data", "not-delivered", "outside"}
