"""All stages on small scenes: reruns, crashes, and two runs at once."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudbuster.errors import NothingUsableError, OutputError, RasterError, TryAgainError
from cloudbuster.models import MosaicRequest, RunResult
from cloudbuster.runs import pipeline
from tests.factories import BANDS, SceneSpec, area_of, write_scene

DOCUMENTS = ("candidates.json", "selection.json")
RASTERS = ("backstop-m-02.tif", "backstop-m-04.tif", "m-01.tif", "m-03.tif")
# Columns of 20 m that are cloudy on each day. Masks grown by 50 m leave some between the first two
# that no scene shows clear, and nothing of the third scene is needed.
CLOUDS = {10: slice(12, 30), 11: slice(0, 12), 12: slice(0, 30)}


def make_request(folder: Path) -> MosaicRequest:
    """Return a request that needs two of three scenes, and has places that none shows clear."""
    for day, columns in CLOUDS.items():
        spec = SceneSpec(
            id=f"S2A_33TWL_202305{day}_0_L2A",
            datetime=f"2023-05-{day}T10:00:00Z",
            cloud_cover=day,
            scl=[(slice(None), columns, 9)],
        )
        write_scene(folder / "catalog", spec)
    return MosaicRequest.model_validate(
        {
            "name": "m",
            "aoi": area_of(SceneSpec()),
            "query": {
                "catalog": str(folder / "catalog"),
                "mindate": ["2023-05-01"],
                "maxdate": ["2023-05-31"],
                "maxclouds": 100,
            },
            "filter": {"coverage_count": 2},
            "gather": {"bands": BANDS},
            "output": str(folder / "run"),
        }
    )


@pytest.fixture
def request_of(tmp_path: Path) -> MosaicRequest:
    return make_request(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> MosaicRequest:
    """Request that was run; tests work on the copy `done`."""
    request = make_request(tmp_path_factory.mktemp("finished"))
    pipeline.run(request)
    return request


@pytest.fixture
def done(finished: MosaicRequest, tmp_path: Path) -> MosaicRequest:
    """Request that was run into ``tmp_path``; its catalog is shared and must not be modified."""
    shutil.copytree(finished.output or "", tmp_path / "run")
    return finished.model_copy(update={"output": str(tmp_path / "run")})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[MosaicRequest, Path]:
    """A request that was run, and a copy of its folder; tests work on `own`."""
    folder = tmp_path_factory.mktemp("own") / "world"
    request = make_request(folder)
    pipeline.run(request)
    return request, Path(shutil.copytree(folder, folder.with_name("kept")))


@pytest.fixture
def own(kept: tuple[MosaicRequest, Path]) -> tuple[MosaicRequest, Path]:
    """Request that was run, and the folder of its catalog and its run, which may be modified."""
    request, copy = kept
    folder = copy.with_name("world")
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return request, folder


def run(request: MosaicRequest, **changes: Any) -> RunResult:
    return pipeline.run(request.model_copy(update=changes))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "scenes").glob("*.json"))]


def status(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "status.json").read_text()))


def test_a_second_run_does_nothing_twice_wherever_its_folder_was_moved(
    done: MosaicRequest, tmp_path: Path
) -> None:
    everything = {*DOCUMENTS, *RASTERS, "m-cloudless.tif"}
    first = run(done)
    assert set(first.reused) == everything
    (tmp_path / "run").rename(tmp_path / "moved")
    again = run(done, output=str(tmp_path / "moved"))
    assert set(again.reused) == everything
    assert again.products.cloudless == str(tmp_path / "moved" / "m-cloudless.tif")
    assert again.products.scene_count == first.products.scene_count


def test_a_document_that_is_made_again_makes_those_after_it_again(
    done: MosaicRequest, tmp_path: Path
) -> None:
    (tmp_path / "run" / "candidates.json").write_text('{"type": ')
    assert set(run(done).reused) == {*RASTERS, "m-cloudless.tif"}


def test_a_truncated_scene_does_not_stop_a_rerun_for_good(
    done: MosaicRequest, tmp_path: Path
) -> None:
    raster = tmp_path / "run" / "scenes" / "m-01.tif"
    raster.write_bytes(raster.read_bytes()[: raster.stat().st_size // 2])
    assert set(run(done).reused) == {*DOCUMENTS, *RASTERS, "m-cloudless.tif"} - {"m-01.tif"}


def test_a_scene_whose_file_was_changed_is_judged_and_gathered_again(
    own: tuple[MosaicRequest, Path],
) -> None:
    request, folder = own
    everything = {*DOCUMENTS, *RASTERS}
    band = folder / "catalog" / "S2A_33TWL_20230510_0_L2A" / "B04.tif"
    first = {record["item_id"]: record for record in records(folder / "run")}[band.parent.name]
    with rasterio.open(band, "r+") as dataset:
        dataset.write(dataset.read() - 300)
    again = run(request)
    assert set(again.reused) == everything - {
        first["raster"],
        f"backstop-m-{first['index'] + 1:02d}.tif",
    }
    pixels = folder / "run" / "scenes" / first["raster"]
    with rasterio.open(pixels) as dataset:
        assert set(np.unique(dataset.read(1 + BANDS.index("B04")))) == {0, 202}
    decisions = {record["item_id"]: record["radiometry"] for record in records(folder / "run")}
    assert decisions[band.parent.name]["evidence"] != first["radiometry"]["evidence"]
    assert set(run(request).reused) == {*everything, "m-cloudless.tif"}


def test_files_that_were_put_back_with_their_times_are_the_same_files(
    own: tuple[MosaicRequest, Path],
) -> None:
    request, folder = own
    shutil.copytree(folder / "catalog", folder / "archive")
    shutil.rmtree(folder / "catalog")
    shutil.copytree(folder / "archive", folder / "catalog")
    assert set(run(request).reused) == {*DOCUMENTS, *RASTERS, "m-cloudless.tif"}


@pytest.mark.parametrize("gone", ["S2A_33TWL_20230510_0_L2A", "."], ids=["scene", "archive"])
def test_files_that_are_gone_leave_what_was_made_of_them(
    own: tuple[MosaicRequest, Path], gone: str
) -> None:
    request, folder = own
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*.tif")}
    (folder / "catalog" / gone).rename(folder / "elsewhere")
    # Twice, because the second run only knows what the first one has recorded about the files.
    for _ in range(2):
        assert set(run(request).reused) == {*DOCUMENTS, *RASTERS, "m-cloudless.tif"}
    assert {path: path.read_bytes() for path in before} == before


def test_strategy_original_has_its_own_scenes_and_backstop(tmp_path: Path) -> None:
    request = make_request(tmp_path)
    options = request.filter.model_copy(update={"strategy": "original"})
    wanted = {"backstop-m-03.tif", "m-01.tif", "m-02.tif"}
    for reused in (set(), {*DOCUMENTS, *wanted, "m-cloudless.tif"}):
        assert set(run(request, filter=options).reused) == reused
        assert {path.name for path in (tmp_path / "run" / "scenes").glob("*.tif")} == wanted
    assessment = json.loads((tmp_path / "run" / "assessment.json").read_text())
    assert (assessment["covered"], assessment["end"]) == (False, "rounds-spent")
    assert assessment["rounds"] == 1


def test_a_run_whose_every_scene_fails_says_so(request_of: MosaicRequest, tmp_path: Path) -> None:
    for band in (tmp_path / "catalog").rglob("B04.tif"):
        band.write_bytes(b"no raster")
    with pytest.raises(NothingUsableError, match=r"scenes could not be gathered, first S2A_33TWL"):
        run(request_of)


def test_two_runs_do_not_work_in_one_folder(request_of: MosaicRequest, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TryAgainError, match="another run is at work in"):
            run(request_of)
        assert not (tmp_path / "run" / "request.json").exists()
    run(request_of)


@pytest.mark.parametrize("inner", [True, False])
def test_a_run_does_not_work_in_the_folder_of_another_or_around_it(
    request_of: MosaicRequest, tmp_path: Path, inner: bool
) -> None:
    taken = tmp_path / "a" / "b"
    taken.mkdir(parents=True)
    for name in ("request.json", "status.json"):
        (taken / name).write_text("{}")
    output = taken / "c" if inner else tmp_path / "a"
    words = f"lies in {taken}" if inner else f"contains {taken}"
    with pytest.raises(OutputError, match=f"{words}, the folder of another run"):
        run(request_of, output=str(output))
    assert not (output / "candidates.json").exists()


def test_what_a_killed_run_left_is_swept_away(request_of: MosaicRequest, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    left = (folder / "scenes" / ".m-01.tif.0a1b2c3d.partial", folder / ".m.json.1.partial")
    scratch = folder / ".m-cloudless.tif.x_y.scratch"
    scratch.mkdir(parents=True)
    (scratch / "average.tif").write_bytes(b"0")
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"0")
    mine = folder / "scenes" / "notes.partial"
    mine.write_text("mine")
    run(request_of)
    assert [path for path in (*left, scratch) if path.exists()] == []
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("stop", "exit_code"),
    [
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (RasterError("broken"), 5),
        (ZeroDivisionError(), 1),
    ],
)
def test_the_status_says_how_a_run_was_stopped(
    done: MosaicRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: BaseException,
    exit_code: int,
) -> None:
    def stopped(*_arguments: object, **_options: object) -> None:
        raise stop

    (tmp_path / "run" / "m-cloudless.tif").unlink()
    monkeypatch.setattr(pipeline, "merge_scenes", stopped)
    with pytest.raises(type(stop)):
        run(done)
    found = status(tmp_path / "run")
    assert (found["state"], found["stage"], found["exit_code"]) == ("failed", "merge", exit_code)


def test_products_that_a_stopped_merge_may_have_mixed_are_made_again(
    done: MosaicRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = status(tmp_path / "run")["merge_fingerprint"]

    def stopped(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    # The second run merges other scenes than the first, and is stopped while it replaces products.
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "merge_scenes", stopped)
        patch.setattr(pipeline, "_merge_fingerprint", lambda *_: "other")
        with pytest.raises(KeyboardInterrupt):
            run(done)
    again = run(done)
    assert "m-cloudless.tif" not in again.reused
    assert status(tmp_path / "run")["merge_fingerprint"] == good


def test_a_folder_of_a_request_that_cannot_be_read_is_not_taken(
    done: MosaicRequest, tmp_path: Path
) -> None:
    (tmp_path / "run" / "request.json").write_text('{"schema": ')
    with pytest.raises(OutputError, match="cannot be read; choose another output, or --force"):
        run(done)
    run(done, force=True)


def test_another_first_index_is_another_request_and_leaves_no_old_scene(
    done: MosaicRequest, tmp_path: Path
) -> None:
    moved = done.gather.model_copy(update={"index_start": 5})
    with pytest.raises(OutputError, match="holds the run of another request"):
        run(done, gather=moved)
    run(done, gather=moved, force=True)
    rasters = sorted(path.name for path in (tmp_path / "run" / "scenes").glob("*.tif"))
    assert rasters == ["backstop-m-06.tif", "backstop-m-08.tif", "m-05.tif", "m-07.tif"]
