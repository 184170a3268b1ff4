"""Whose folder it is: what keeps a run's folder from another request, and what does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.errors import (
    CatalogError,
    CloudBusterError,
    GridError,
    NothingUsableError,
    OutputError,
)
from cloudbuster.models import MosaicRequest
from cloudbuster.runs import pipeline
from tests.factories import BANDS, SceneSpec, area_of, write_scene

DAY = "2023-05-10"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims") / "catalog"
    write_scene(folder, SceneSpec(id="S2A_33TWL_20230510_0_L2A", datetime=f"{DAY}T10:00:00Z"))
    return folder


def make_request(catalog: Path, output: Path, **changes: Any) -> MosaicRequest:
    document: dict[str, Any] = {
        "name": changes.pop("name", "m"),
        "aoi": area_of(SceneSpec()),
        "query": {"catalog": str(catalog), "mindate": [DAY], "maxdate": [DAY], "maxclouds": 100},
        "filter": {"coverage_count": 1},
        "gather": {"bands": BANDS},
        "output": str(output),
    }
    for part, fields in changes.items():
        document[part] = {**document[part], **fields}
    return MosaicRequest.model_validate(document)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"query": {"catalog": "/nothing/here"}}, CatalogError),
        ({"query": {"mindate": ["2019-01-01"], "maxdate": ["2019-02-01"]}}, NothingUsableError),
        ({"gather": {"bands": BANDS, "crs": "EPSG:999999"}}, GridError),
        ({"filter": {"name_regexp": "no such scene"}}, CloudBusterError),
    ],
    ids=["refused catalog", "empty search", "bad CRS", "no scene selected"],
)
def test_a_run_that_made_nothing_leaves_its_folder_to_the_corrected_request(
    catalog: Path, tmp_path: Path, changes: dict[str, Any], error: type[CloudBusterError]
) -> None:
    with pytest.raises(error):
        pipeline.run(make_request(catalog, tmp_path / "run", **changes))
    result = pipeline.run(make_request(catalog, tmp_path / "run"))
    assert result.reused == ()
    assert Path(result.products.cloudless).is_file()


def test_documents_of_a_run_that_made_nothing_are_not_used_by_another(
    catalog: Path, tmp_path: Path
) -> None:
    first = make_request(catalog, tmp_path / "run", filter={"name_regexp": "no such scene"})
    with pytest.raises(CloudBusterError):
        pipeline.run(first)
    candidates = tmp_path / "run" / "candidates.json"
    assert candidates.is_file()
    (tmp_path / "run" / "tasks").mkdir(exist_ok=True)
    (tmp_path / "run" / "tasks" / "0009.json").write_text("{}")
    result = pipeline.run(make_request(catalog, tmp_path / "run"))
    assert "candidates.json" not in result.reused
    assert not (tmp_path / "run" / "tasks" / "0009.json").exists()


@pytest.mark.parametrize("left", ["m-cloudless.tif", "scenes/m-01.tif", "scenes/mask-m-01.tif"])
def test_any_result_keeps_a_folder_from_another_request(
    catalog: Path, tmp_path: Path, left: str
) -> None:
    pipeline.run(make_request(catalog, tmp_path / "run", gather={"bands": BANDS, "donate_mask": 1}))
    for path in (*(tmp_path / "run").glob("*.tif"), *(tmp_path / "run" / "scenes").iterdir()):
        if path != tmp_path / "run" / left:
            path.unlink()
    with pytest.raises(OutputError, match=r"holds the run of another request \(m\)"):
        pipeline.run(make_request(catalog, tmp_path / "run", name="other"))
    assert (tmp_path / "run" / left).is_file()
    assert json.loads((tmp_path / "run" / "request.json").read_text())["name"] == "m"
