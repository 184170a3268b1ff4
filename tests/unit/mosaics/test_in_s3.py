"""A mosaic on S3, as the stack leaves it: explained by ranges, verified from a copy."""

import json
from pathlib import Path

import pytest

from cloudbuster.checks.verify import VerifyOptions, verify_mosaic
from cloudbuster.errors import NotFoundError
from cloudbuster.models import Claim, MosaicRequest
from cloudbuster.mosaics.explain import explain_cell
from cloudbuster.mosaics.opened import open_mosaic
from cloudbuster.runs import pipeline
from cloudbuster.storage.files.run_layout import RunLayout, request_fingerprint
from tests.factories import SceneSpec, request_of_may, write_scene
from tests.s3_server import S3Server

BUCKET = "finished"
CLOUDS = {10: slice(12, 30), 11: slice(0, 13)}
DOCUMENTS = ("request.json", "candidates.json", "selection.json", "assessment.json", "status.json")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[MosaicRequest, Path]:
    """A run on this machine, and its request."""
    folder = tmp_path_factory.mktemp("s3-run")
    for day, columns in CLOUDS.items():
        spec = SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=float(day),
            scl=[(slice(None), columns, 9)],
        )
        write_scene(folder / "catalog", spec)
    request = MosaicRequest.model_validate(request_of_may(folder))
    pipeline.run(request)
    return request, folder / "run"


@pytest.fixture
def layout(s3_account: S3Server, local: tuple[MosaicRequest, Path]) -> RunLayout:
    """The run as the stack leaves it in a bucket: products, documents, and scratch."""
    request, folder = local
    request = request.model_copy(update={"output": None})
    where = RunLayout.in_bucket(request, f"s3://{BUCKET}")
    (folder / "request.json").write_bytes(request.to_json())
    status = json.loads((folder / "status.json").read_text())
    for field, path in status["products"].items():
        if isinstance(path, str):
            status["products"][field] = f"{where.products}/{Path(path).name}"
    files = {f"{where.documents}/{name}": folder / name for name in DOCUMENTS}
    files |= {f"{where.products}/{path.name}": path for path in folder.glob("m[-.]*")}
    files |= {f"{where.scenes}/{path.name}": path for path in (folder / "scenes").iterdir()}
    files |= {f"{where.tasks}/{path.name}": path for path in (folder / "tasks").iterdir()}
    for uri, path in files.items():
        s3_account.put(BUCKET, uri.removeprefix(f"s3://{BUCKET}/"), path.read_bytes())
    claim = Claim(name="m", run=where.id, request_fingerprint=request_fingerprint(request))
    for uri, content in (
        (f"{where.products}/claim.json", claim.to_json()),
        (f"{where.documents}/status.json", json.dumps(status).encode()),
    ):
        s3_account.put(BUCKET, uri.removeprefix(f"s3://{BUCKET}/"), content)
    return where


@pytest.mark.parametrize("end", ["products", "m.json", "m-cloudless.tif", "documents"])
def test_a_mosaic_in_a_bucket_is_explained_with_its_scratch(layout: RunLayout, end: str) -> None:
    place = getattr(layout, end, f"{layout.products}/{end}")
    found = explain_cell(open_mosaic(place), 20, 5)
    assert found.state == "clear"
    assert {each.fate for each in found.scenes if not each.backstop} == {"chosen", "masked"}
    assert found.unknown == ()


def test_the_documents_of_a_run_elsewhere_can_be_named(
    layout: RunLayout, s3_account: S3Server, local: tuple[MosaicRequest, Path]
) -> None:
    for path in local[1].glob("m[-.]*"):
        s3_account.put("elsewhere", f"maps/{path.name}", path.read_bytes())
    alone = open_mosaic("s3://elsewhere/maps")
    assert len(explain_cell(alone, 20, 5).unknown) == 2
    named = open_mosaic("s3://elsewhere/maps", run=layout.documents, scenes=layout.scenes)
    assert explain_cell(named, 20, 5).unknown == ()


def test_a_mosaic_in_a_bucket_is_verified_from_a_copy(layout: RunLayout) -> None:
    verified = verify_mosaic(layout.products, VerifyOptions(samples=5))
    wrong = [check for check in verified.report.disagreeing if check.name != "scene-table"]
    assert wrong == []
    status = {check.name: check.status for check in verified.report.checks}
    assert (status["pixels"], status["masks"]) == ("agrees", "agrees")
    assert status["scenes"] == "not-checked"


def test_an_empty_prefix_holds_no_mosaic(layout: RunLayout) -> None:
    with pytest.raises(NotFoundError, match="holds no finished mosaic"):
        open_mosaic(f"{layout.products}/none")
