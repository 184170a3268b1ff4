"""What a run is expected to read is what its gather reads, without a pixel being read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.filter import filter_scenes
from cloudbuster.gather import gather_scene
from cloudbuster.models import Candidates, GatherTask, GridDocument, Radiometry, Selection
from cloudbuster.query import query_request
from cloudbuster.runs import expected_work
from cloudbuster.runs.expected_work import expect_work, expected_rounds, scaled_work
from cloudbuster.runs.pipeline import run
from tests.factories import BANDS, SceneSpec
from tests.gathering import delivery, task_of, tiled
from tests.half_tiles import request_of, write_candidates

SPEC = SceneSpec(size=256)
# The detector that reads the masks of the product takes no time.
BY_MASKS = {"bands": ["B02", "B04"], "dilate_m": 0, "detector": {"type": "stock"}}
# A plan decides the radiometry, so that gather reads no thumbnails for it.
DECIDED = Radiometry(verdict="none", offset_dn=0, confidence="high", evidence=("by hand",))


def tiled_task(folder: Path, spec: SceneSpec = SPEC, **changes: Any) -> GatherTask:
    task = task_of(folder, spec, radiometry=DECIDED, **changes)
    for path in (folder / spec.id).glob("B*.tif"):
        tiled(path)
    return task


@pytest.mark.parametrize(
    ("rows", "pixels"),
    [
        # Each band has four by four tiles of 64 x 64 pixels.
        (None, len(BANDS) * 16 * 64 * 64),
        (("1000", "0000", "0000", "0000"), len(BANDS) * 64 * 64),
        (("1000", "0000", "0010", "0000"), 2 * len(BANDS) * 64 * 64),
    ],
    ids=["whole", "a corner", "two units"],
)
def test_pixels_and_bytes_of_whole_tiles_are_expected(
    tmp_path: Path, rows: tuple[str, ...] | None, pixels: int
) -> None:
    task = tiled_task(tmp_path, delivery=None if rows is None else delivery(*rows))
    expected = expect_work([task])
    assert (expected.scenes, expected.unreadable) == (1, ())
    assert expected.decoded_pixels == pixels
    record = gather_scene(task)[0]
    assert (record.decoded_pixels, record.read_bytes) == (pixels, expected.read_bytes)
    assert expected.jpeg2000_pixels == 0
    assert expected.requests > 0


def test_a_mosaic_in_another_crs_is_expected_to_read_what_it_reads(tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", 15.001, 45.152, 0.0002, 0.0002, 40, 40)
    task = tiled_task(tmp_path, grid=GridDocument.of(grid))
    expected, record = expect_work([task]), gather_scene(task)[0]
    assert expected.decoded_pixels == pytest.approx(record.decoded_pixels, rel=0.15)
    assert expected.read_bytes == pytest.approx(record.read_bytes, rel=0.15)


def test_scenes_whose_headers_are_not_read_are_taken_to_be_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [replace(SPEC, id=f"S2A_33TWL_2023051{number}_0_L2A") for number in range(3)]
    tasks = [tiled_task(tmp_path, spec) for spec in specs]
    whole = expect_work(tasks)
    monkeypatch.setattr(expected_work, "MOST_OPENED", 1)
    guessed = expect_work(tasks)
    assert guessed.decoded_pixels == whole.decoded_pixels
    assert guessed.read_bytes == pytest.approx(whole.read_bytes, rel=0.01)
    assert guessed.scene_bytes == whole.scene_bytes


def test_a_scene_without_a_file_is_guessed_and_named(tmp_path: Path) -> None:
    other = replace(SPEC, id="S2A_33TWL_20230512_0_L2A")
    tasks = [tiled_task(tmp_path), tiled_task(tmp_path, other)]
    whole = expect_work(tasks)
    (tmp_path / other.id / "B04.tif").unlink()
    guessed = expect_work(tasks)
    assert guessed.unreadable == (other.id,)
    assert guessed.decoded_pixels == whole.decoded_pixels


def test_fewer_scenes_are_expected_to_read_in_proportion(tmp_path: Path) -> None:
    other = replace(SPEC, id="S2A_33TWL_20230512_0_L2A")
    tasks = [tiled_task(tmp_path), tiled_task(tmp_path, other)]
    work = scaled_work(expect_work(tasks), tasks, tasks[:1])
    assert (work.scenes, work.decoded_pixels) == (1, len(BANDS) * 16 * 64 * 64)


def test_no_scene_is_expected_to_read_nothing() -> None:
    work = expect_work([])
    assert (work.scenes, work.decoded_pixels, work.read_bytes, work.product_bytes) == (0, 0, 0, 0)


def test_a_run_sets_what_it_read_beside_what_was_expected(tmp_path: Path) -> None:
    write_candidates(tmp_path)
    request = request_of(tmp_path, gather=BY_MASKS)
    assessment = run(request).assessment
    assert assessment.expected is not None
    assert assessment.expected.rounds == assessment.rounds == 1
    assert assessment.decoded_pixels == assessment.expected.decoded_pixels > 0
    assert assessment.read_bytes == assessment.expected.read_bytes > 0
    assert run(request).assessment == assessment


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Candidates, Selection]:
    """Folder of candidates, these, and what is selected of them."""
    folder = tmp_path_factory.mktemp("chosen")
    write_candidates(folder)
    request = request_of(folder)
    candidates = query_request(request)
    return folder, candidates, filter_scenes(candidates, request.filter, bands=("B02", "B04"))


@pytest.mark.parametrize(
    ("changes", "missing", "rounds"),
    [
        ({}, 0.0, 1),
        ({}, 0.5, 2),
        ({"limits": {"max_rounds": 1}}, 0.5, 1),
        ({"filter": {"max_never_clear": 0.5}}, 0.5, 1),
    ],
)
def test_a_second_round_is_expected_where_thumbnails_leave_too_much(
    chosen: tuple[Path, Candidates, Selection],
    changes: dict[str, object],
    missing: float,
    rounds: int,
) -> None:
    folder, candidates, selection = chosen
    info = selection.cloudbuster.model_copy(update={"uncovered_by_layer": (missing,)})
    selection = selection.model_copy(update={"cloudbuster": info})
    request = request_of(folder, **changes)
    assert len(selection.features) < len(candidates.features)
    assert expected_rounds(selection, candidates, request) == rounds
