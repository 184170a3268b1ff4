"""The merge job: the same mosaic as a run on one machine, repairs of the backstop included."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.aws.merging import MergeTask, merge_task
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import gather_scenes
from cloudbuster.io.documents import read_document, write_document
from cloudbuster.models import Assessment, MosaicRequest, Selection
from cloudbuster.pipeline import run
from cloudbuster.query import query_scenes
from cloudbuster.tasks import plan_tasks
from tests.factories import SceneSpec, area_of, write_scene


@pytest.fixture
def request_with_a_hole(tmp_path: Path) -> MosaicRequest:
    """A clear look with a cloud, and a backstop that has no data under it."""
    pixels = np.full((60, 60), 800, np.uint16)
    pixels[:20, :20] = 0
    cloudy = SceneSpec(scl=[(slice(0, 10), slice(0, 10), 9)])
    torn = SceneSpec(
        id="S2B_33TWL_20230515_0_L2A",
        datetime="2023-05-15T10:00:00Z",
        cloud_cover=50,
        pixels=pixels,
    )
    for spec in (cloudy, torn):
        write_scene(tmp_path / "catalog", spec)
    return MosaicRequest.model_validate(
        {
            "name": "m",
            "aoi": area_of(cloudy),
            "query": {
                "catalog": str(tmp_path / "catalog"),
                "mindate": ["2023-05-01"],
                "maxdate": ["2023-05-31"],
                "maxclouds": 100,
            },
            "filter": {"coverage_count": 1},
            "gather": {"bands": ["B02"], "dilate_m": 0},
            "output": str(tmp_path / "run"),
        }
    )


def test_the_job_repairs_the_backstop_as_a_run_does(
    tmp_path: Path, request_with_a_hole: MosaicRequest
) -> None:
    request = request_with_a_hole
    wanted = run(request)
    candidates = query_scenes(request.aoi, request.query)
    selection = filter_scenes(candidates, request.filter, bands=("B02",))
    scenes = str(tmp_path / "job" / "scenes")
    gather_scenes(plan_tasks(selection, name="m", options=request.gather, output=scenes))
    write_document(str(tmp_path / "job" / "request.json"), request)
    write_document(str(tmp_path / "job" / "selection.json"), selection)
    task = MergeTask(
        request=str(tmp_path / "job" / "request.json"),
        selection=str(tmp_path / "job" / "selection.json"),
        scenes=scenes,
        output=str(tmp_path / "job"),
        assessment=str(tmp_path / "job" / "assessment.json"),
        result=str(tmp_path / "job" / "products.json"),
    )
    assert task.assessment is not None
    assert task.selection is not None
    result = merge_task(task)
    assert Path(result.cloudless).read_bytes() == Path(wanted.products.cloudless).read_bytes()
    with rasterio.open(result.cloudless) as mosaic:
        assert mosaic.read(1).min() > 0
    assert read_document(task.assessment, Assessment) == wanted.assessment
    entries = read_document(task.selection, Selection).cloudbuster.entries
    assert [entry.reused for entry in entries] == [False, False, True]
    # A second try of the job finds the repair made.
    assert merge_task(task) == result
    assert len(read_document(task.selection, Selection).cloudbuster.entries) == 3
