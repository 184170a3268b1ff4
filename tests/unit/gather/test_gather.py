"""Gather: finished rasters are reused, unfinished ones leave nothing behind."""

from pathlib import Path

import numpy as np
import pytest

from cloudbuster import gather
from cloudbuster.errors import (
    NothingUsableError,
    OutputError,
    RasterError,
    TryAgainError,
    UntrustedCodeError,
)
from cloudbuster.gather import GatherReport, gather_scene, gather_scenes
from cloudbuster.models import DetectorOptions, SceneFailure
from tests.factories import SceneSpec
from tests.gathering import grid_of, scene_files, task_of


def test_a_second_call_reuses_every_raster(tmp_path: Path) -> None:
    task = task_of(tmp_path, SceneSpec(), donate_mask=True)
    first = gather_scenes([task])
    again = gather_scenes([task])
    assert again.records == first.records
    assert again.reused == ("backstop-m-02.tif", "m-01.tif")
    assert scene_files(tmp_path, "mask-*") == ["mask-m-01.tif"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "no record", "broken record"])
def test_what_a_crash_damaged_is_gathered_again(tmp_path: Path, damage: str) -> None:
    task = task_of(tmp_path, SceneSpec())
    gather_scenes([task])
    raster = tmp_path / "scenes" / "m-01.tif"
    whole = raster.read_bytes()
    if damage == "missing":
        raster.unlink()
    elif damage == "no record":
        raster.with_suffix(".json").unlink()
    elif damage == "broken record":
        raster.with_suffix(".json").write_text('{"schema": ')
    else:
        raster.write_bytes(whole[: len(whole) // 2 if damage == "truncated" else 0])
    report = gather_scenes([task])
    assert report.reused == ("backstop-m-02.tif",)
    assert [record.index for record in report.records] == [1, 2]
    assert raster.read_bytes() == whole


def test_a_backstop_that_is_asked_for_later_needs_no_second_mask(tmp_path: Path) -> None:
    clear = task_of(tmp_path, SceneSpec(), backstop_index=None, donate_mask=True)
    gather_scenes([clear])
    both = clear.model_copy(update={"backstop_index": 7})
    assert gather_scenes([both]).reused == ("m-01.tif",)
    assert scene_files(tmp_path, "*.tif") == ["backstop-m-07.tif", "m-01.tif", "mask-m-01.tif"]
    assert gather_scenes([both]).reused == ("backstop-m-07.tif", "m-01.tif")


def test_a_mask_that_is_gone_is_donated_again(tmp_path: Path) -> None:
    task = task_of(tmp_path, SceneSpec(), donate_mask=True)
    gather_scenes([task])
    (tmp_path / "scenes" / "mask-m-01.tif").unlink()
    assert gather_scenes([task]).reused == ()
    assert scene_files(tmp_path, "mask-*") == ["mask-m-01.tif"]


def test_a_crash_between_raster_and_record_does_not_pass_for_the_scene_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = task_of(tmp_path, SceneSpec(dn=500))
    second = task_of(tmp_path, SceneSpec(id="S2B_33TWL_20230515_0_L2A", dn=900))
    gather_scenes([first])
    wanted = (tmp_path / "scenes" / "m-01.tif").read_bytes()

    def crash(_uri: str, _document: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gather, "write_document", crash)
        with pytest.raises(KeyboardInterrupt):
            gather_scenes([second])
    assert gather_scenes([first]).reused == ()
    assert (tmp_path / "scenes" / "m-01.tif").read_bytes() == wanted


def test_a_scene_that_fails_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    task = task_of(tmp_path, SceneSpec())
    gather_scenes([task])
    before = scene_files(tmp_path)
    (tmp_path / task.item["id"] / "B04.tif").write_bytes(b"no raster")
    report = gather_scenes([task], force=True)
    assert [failure.error for failure in report.failures] == ["RasterError"]
    assert scene_files(tmp_path) == before


def failure(error: type[Exception], index: int = 1) -> SceneFailure:
    return SceneFailure(item_id=f"item-{index}", index=index, error=error.__name__, message="why")


def test_failures_that_may_pass_say_try_again(tmp_path: Path) -> None:
    records = gather_scene(task_of(tmp_path, SceneSpec()))
    for failed in (TryAgainError, NothingUsableError):
        report = GatherReport(records, (failure(failed, 3),), ())
        report.raise_for_failures(0.5)
        with pytest.raises(failed, match=r"1 of 2 scenes .* item-3: .*: why; at least 80%"):
            report.raise_for_failures(0.8)
    mixed = GatherReport((), (failure(NothingUsableError, 1), failure(TryAgainError, 2)), ())
    with pytest.raises(TryAgainError, match="item-2: TryAgainError"):
        mixed.raise_for_failures(0.5)
    with pytest.raises(NothingUsableError):
        mixed.raise_for_failures(0.8)


def test_what_no_scene_would_fare_better_with_stops_at_once(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    detector = DetectorOptions(
        type="pytorch", weights=str(tmp_path / "w.pth"), architecture=str(tmp_path / "model.py")
    )
    with pytest.raises(UntrustedCodeError):
        gather_scenes([task_of(tmp_path, SceneSpec(), detector=detector)])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        gather_scenes([task_of(tmp_path, SceneSpec(), output=str(tmp_path / "file" / "scenes"))])


def test_a_scene_without_a_pixel_on_the_mosaic_fails_alone_and_writes_nothing(
    tmp_path: Path,
) -> None:
    empty = SceneSpec(pixels=np.zeros((60, 60), np.uint16))
    elsewhere = grid_of(SceneSpec(west=900_000.0))
    for spec, grid in ((empty, None), (SceneSpec(), elsewhere)):
        report = gather_scenes([task_of(tmp_path, spec, grid)])
        assert [found.error for found in report.failures] == ["NothingUsableError"]
        assert scene_files(tmp_path) == []


BROKEN, BUSY = failure(RasterError, 1), failure(TryAgainError, 2)


@pytest.mark.parametrize(
    ("failures", "observed"), [((), 0.0), ((BROKEN,), 0.8), ((BROKEN, BUSY), 1.0)]
)
def test_failures_are_no_error_if_enough_of_the_area_was_observed(
    failures: tuple[SceneFailure, ...], observed: float
) -> None:
    GatherReport((), failures, ()).raise_for_area(observed, 0.8)


@pytest.mark.parametrize(
    ("failures", "error", "first"),
    [
        ((BROKEN,), NothingUsableError, "item-1: RasterError: why"),
        # What may work later is named, and is worth another try.
        ((BROKEN, BUSY), TryAgainError, "item-2: TryAgainError: why"),
    ],
)
def test_failures_are_an_error_if_too_little_of_the_area_was_observed(
    failures: tuple[SceneFailure, ...], error: type[Exception], first: str
) -> None:
    with pytest.raises(error) as caught:
        GatherReport((), failures, ()).raise_for_area(0.75, 0.8)
    assert str(caught.value) == (
        f"{len(failures)} scenes could not be gathered, first {first}; without them 75% of the "
        "area is observed, at least 80% must be"
    )


def test_a_record_holds_the_haze_index_of_a_third_of_the_clear_pixels(tmp_path: Path) -> None:
    # All bands are 400 in over a third of what is clear, else brighter; masked pixels do not count.
    pixels = np.full((60, 60), 900, np.uint16)
    pixels[:20] = 400
    pixels[50:] = 9000
    cloud = (slice(25, 30), slice(0, 30), 9)
    spec = SceneSpec(pixels=pixels, scl=[cloud])
    (record, backstop) = gather_scene(task_of(tmp_path, spec))
    # The factory adds 1 to each further band: 400 less half of 402.
    assert record.haze_dn == backstop.haze_dn == 199
    (red,) = gather_scene(task_of(tmp_path, spec, bands=("B04",), backstop_index=None))
    assert red.haze_dn is None
