"""The bugs of the original, none of which is inherited: one short test for each.

More tests of each are next to the code that it concerns.
"""

import datetime
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely.geometry import box

from cloudbuster.cli.main import main
from cloudbuster.core.grids.windows import context_windows
from cloudbuster.core.pixels.masks import (
    DetectedMask,
    PixelClass,
    classes_to_mask,
    pixel_classes,
    repair_isolated_zeros,
    valid_pixels,
)
from cloudbuster.core.scenes.digital_numbers import harmonise
from cloudbuster.core.selection.coverage import CoverRules, pick_original
from cloudbuster.detectors import make_detector
from cloudbuster.detectors.donor import DonorDetector
from cloudbuster.detectors.s2cloudless import cloud_probability
from cloudbuster.detectors.stock import StockDetector
from cloudbuster.errors import UntrustedCodeError
from cloudbuster.gather import gather_scenes
from cloudbuster.gathered.scene_files import find_scenes
from cloudbuster.gathered.scene_raster import scene_stem
from cloudbuster.models import (
    DetectorOptions,
    GatherOptions,
    QueryOptions,
    Selection,
    SelectionEntry,
    SelectionInfo,
)
from cloudbuster.query import query_scenes
from cloudbuster.runs.tasks import plan_tasks
from cloudbuster.source.masks.donor_mask import write_donor_mask
from tests.factories import BANDS, SceneSpec, area_of, write_scene
from tests.gathering import task_of
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

NARROW = (30, 70)
"""Rows and columns of a raster that is not square."""


def test_bug_01_reflectance_is_dn_by_ten_thousand() -> None:
    """The original divided by 1e5 instead of 1e4: a thick cloud had a probability of 0.06."""
    cloud = [5200, 5000, 5100, 5200, 5600, 5700, 2600, 500, 4200, 3300]
    field = [1400, 1000, 600, 900, 3200, 3400, 1100, 15, 1700, 800]
    pixels = np.array([cloud, field], dtype=np.uint16).T[:, :, None]
    cloudy, clear = cloud_probability(pixels)[:, 0]
    assert cloudy > 0.9
    assert clear < 0.2


def test_bug_02_a_path_without_its_last_slash_and_the_next_flag_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing comma made the original submit ``--output-path,s3://b/out/--tmp,/tmp``."""
    gather_scenes([task_of(tmp_path, SceneSpec())])
    command = ["merge", "--input-path", str(tmp_path / "scenes"), "--name", "m"]
    command += ["--output-path", str(tmp_path / "out"), "--tmp", str(tmp_path), "--dryrun", "True"]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 0
    printed = [Path(path).name for path in json.loads(capsys.readouterr().out)]
    assert printed == ["m-01.tif", "backstop-m-02.tif"]
    assert not (tmp_path / "out").exists()


def test_bug_03_the_last_row_and_column_are_predicted() -> None:
    """The original ended at ``width - window - 1``, so that the last ones counted as clear."""
    scene = grid_of(*NARROW)
    times = np.zeros(NARROW, dtype=int)
    for window in context_windows(scene, scene.window, size=16, context=3):
        times[window.keep.slices] += 1
    assert (times == 1).all()


def test_bug_04_rows_and_columns_are_not_exchanged() -> None:
    """The original read with ``(1, width, height)``, which is right for square rasters only."""
    scl = np.full(NARROW, 4, dtype=np.uint8)
    scl[3, 60] = 9
    source = FakeSource(
        scene_of(), grid_of(60, 140), masks={"scl": (grid_of(*NARROW, 20), scl[None])}
    )
    mask = StockDetector("L2A").detect(source, source.grid)
    assert mask.cloud.shape == NARROW
    assert np.argwhere(mask.cloud).tolist() == [[3, 60]]


def test_bug_05_no_more_than_max_selections_are_picked() -> None:
    """The original compared ``len(selections) > max_selections`` and picked one more."""
    tiles = [box(10 + n / 4, 45, 10.25 + n / 4, 46) for n in range(8)]
    rules = CoverRules(coverage_count=1, max_uncovered=0.0, max_selections=3, backstop=False)
    assert len(pick_original(shapely.union_all(tiles), tiles, [0.0] * 8, rules)) == 3


def test_bug_06_uncovered_is_a_share_of_true_area() -> None:
    """The original used square degrees: it picked nothing for a small area."""
    small = box(10, 45, 10.02, 45.02)
    rules = CoverRules(coverage_count=2, max_uncovered=0.0005, max_selections=None, backstop=False)
    assert len(pick_original(small, [small, small], [0.0, 0.0], rules)) == 2


def test_bug_07_an_architecture_does_not_run_untrusted(tmp_path: Path) -> None:
    """The original called ``exec()`` with a downloaded file."""
    ran = tmp_path / "ran"
    architecture = tmp_path / "model.py"
    architecture.write_text(f"open({str(ran)!r}, 'w')")
    options = DetectorOptions(
        type="pytorch", weights=str(tmp_path / "w.pth"), architecture=str(architecture)
    )
    with pytest.raises(UntrustedCodeError):
        make_detector(options, "L2A")
    assert not ran.exists()


def test_bug_08_a_hundred_scenes_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    """The original sorted names with ``{:02d}`` as text: 100 came before 99."""
    for index in (100, 99, 1000, 9):
        (tmp_path / f"{scene_stem('m', index)}.tif").write_bytes(b"")
    assert [file.index for file in find_scenes(str(tmp_path), "m")] == [9, 99, 100, 1000]


@pytest.mark.parametrize("name", [None, "mask-a-01.tif", "mask-a-01"])
def test_bug_09_a_donor_mask_may_be_named_with_its_ending(tmp_path: Path, name: str | None) -> None:
    """In the original such a name left ``donor_mask_filename`` undefined."""
    grid = grid_of(2, 2, 20)
    cloud = np.array([[True, False], [False, False]])
    mask = DetectedMask(grid, cloud, np.zeros_like(cloud), np.zeros_like(cloud), "any")
    path = tmp_path / "mask-a-01.tif"
    write_donor_mask(path, mask, scene_of("L1C"))
    donor = DonorDetector(str(tmp_path if name else path), name)
    found = donor.detect(FakeSource(scene_of(), grid_of(4, 4)), grid_of(4, 4))
    np.testing.assert_array_equal(found.cloud, cloud)


def test_bug_10_every_selected_scene_is_gathered(tmp_path: Path) -> None:
    """The original counted the keys of the document, and so gathered two scenes."""
    specs = [SceneSpec(id=f"S2A_33TWL_202305{day}_0_L2A") for day in range(10, 17)]
    items = tuple(write_scene(tmp_path, spec) for spec in specs)
    info = SelectionInfo(
        aoi=area_of(specs[0]),
        kind="L2A",
        catalog=str(tmp_path),
        strategy="original",
        entries=tuple(SelectionEntry(item_id=spec.id, backstop=False) for spec in specs),
        uncovered_by_layer=(0.0,),
        uncovered=0.0,
        backstop_uncovered=None,
        covered=True,
    )
    selection = Selection(features=items, cloudbuster=info)
    tasks = plan_tasks(selection, name="m", options=GatherOptions(bands=BANDS), output="scenes")
    assert [task.index for task in tasks] == [1, 2, 3, 4, 5, 6, 7]


def test_bug_11_a_pixel_is_valid_if_every_band_has_it() -> None:
    """The original tested B01 at 60 m only. Dark water in one band stays valid."""
    bands = np.full((3, 40, 40), 500, dtype=np.uint16)
    bands[2, :, 30:] = 0
    bands[1, 10, 10] = 0
    valid = valid_pixels(np.stack([repair_isolated_zeros(band) for band in bands]))
    assert valid[:, :30].all()
    assert not valid[:, 30:].any()


def test_bug_12_offset_shadow_snow_duplicates_and_failures_are_handled(tmp_path: Path) -> None:
    """The original ignored all of them."""
    dn = np.array([0, 600, 1000, 3000, 65535], dtype=np.uint16)
    np.testing.assert_array_equal(harmonise(dn, -1000), [0, 1, 1, 2000, 0])

    layers = classes_to_mask(np.array([[3, 4, 11]], dtype=np.uint8))
    codes = pixel_classes(
        DetectedMask(grid_of(1, 3, 20), *layers[:3], "scl", shadow=layers.shadow), 0
    )
    np.testing.assert_array_equal(
        codes, [[PixelClass.MASKED, PixelClass.CLEAR, PixelClass.LOW_RANK]]
    )

    first = SceneSpec(baseline="03.01")
    again = SceneSpec(id=first.id.replace("_0_", "_1_"), baseline="05.00")
    for spec in (first, again):
        write_scene(tmp_path / "catalog", spec)
    day = datetime.date(2023, 5, 10)
    options = QueryOptions(catalog=str(tmp_path / "catalog"), mindate=(day,), maxdate=(day,))
    found = query_scenes(area_of(first), options)
    assert [item["id"] for item in found.features] == [again.id]
    assert [dropped.item_id for dropped in found.cloudbuster.dropped] == [first.id]

    task = task_of(tmp_path, SceneSpec())
    (tmp_path / first.id / "B04.tif").unlink()
    report = gather_scenes([task])
    assert [failure.error for failure in report.failures] == ["RasterError"]
    assert list((tmp_path / "scenes").glob("*")) == []
