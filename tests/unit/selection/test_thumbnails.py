"""Tests of reading the thumbnails of candidate scenes, and of keeping them."""

import copy
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import (
    AccessError,
    CloudBusterError,
    CredentialsError,
    MaskError,
    OutputError,
    RasterError,
    TryAgainError,
)
from cloudbuster.models import DetectorOptions, Item
from cloudbuster.selection import thumbnails
from cloudbuster.selection.thumbnails import Thumbnails, read_thumbnails
from cloudbuster.source.thumbnails.sky_thumbnail import read_sky_thumbnail
from cloudbuster.source.thumbnails.thumbnail_files import thumbnail_file_name
from tests.factories import CRS, NORTH, WEST, SceneSpec, write_raster, write_scene
from tests.range_server import RangeServer, serving_ranges

if TYPE_CHECKING:
    from cloudbuster.events import Event

STOCK = DetectorOptions(type="stock")
OTHER = DetectorOptions(type="donor", donor_mask="masks")
CLOUD_AT_THE_TOP = [(slice(0, 1), slice(None), 9), (slice(None), slice(0, 2), 0)]
# 4 x 4 cells of 20 m: cloud in the first row, no data in the first two columns.
EXPECTED = np.array([[0, 0, 1, 1], [0, 0, 3, 3], [0, 0, 3, 3], [0, 0, 3, 3]])


def item_in(folder: Path, item_id: str = "S2A_33TWL_20230510_0_L2A", **changes: Any) -> Item:
    """Write a scene of 8 x 8 pixels of 10 m; return its item with absolute hrefs."""
    spec = SceneSpec(item_id, size=8, scl=CLOUD_AT_THE_TOP, **changes)
    item = copy.deepcopy(write_scene(folder, spec))
    for asset in item["assets"].values():
        asset["href"] = str(folder / item_id / asset["href"])
    return item


def looked_at(*items: Item, **changes: Any) -> Thumbnails:
    options: dict[str, Any] = {
        "kind": "L2A",
        "catalog": "catalog",
        "bands": ("B02", "B04"),
        "detector": STOCK,
        "dilate_m": 0,
        "folder": None,
    }
    return read_thumbnails(items, **options | changes)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Item:
    """Item of a scene that no test changes."""
    return item_in(tmp_path_factory.mktemp("shared"))


def named(item: Item, item_id: str) -> Item:
    return {**item, "id": item_id}


def without(item: Item, *assets: str) -> Item:
    kept = {key: asset for key, asset in item["assets"].items() if key not in assets}
    return {**item, "assets": kept}


def with_scl(item: Item, href: str) -> Item:
    return {**item, "assets": {**item["assets"], "scl": {"href": href}}}


def test_a_thumbnail_shows_data_cloud_and_clear_sky(shared: Item) -> None:
    found = looked_at(shared)
    (thumbnail,) = found.by_id.values()
    assert thumbnail.grid == Grid(CRS, WEST, NORTH, 20, 20, 4, 4)
    np.testing.assert_array_equal(thumbnail.classes, EXPECTED)
    assert (found.unusable, found.missing) == ({}, {})


def test_no_candidates_have_no_thumbnails() -> None:
    assert looked_at() == Thumbnails({}, {}, {})


def test_results_have_the_order_of_the_candidates_whoever_is_first(
    shared: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_is_read = threading.Event()

    def first_is_slow(scene: Any, *rest: Any) -> Any:
        if scene.id == "S2A_0":
            last_is_read.wait(10)
        result = read_sky_thumbnail(scene, *rest)
        if scene.id == "S2A_3":
            last_is_read.set()
        return result

    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", first_is_slow)
    names = [f"S2A_{number}" for number in range(4)]
    assert list(looked_at(*(named(shared, name) for name in names)).by_id) == names


def test_of_two_candidates_with_one_id_the_first_counts(shared: Item) -> None:
    found = looked_at(shared, with_scl(shared, "/none.tif"))
    assert list(found.by_id) == [shared["id"]]


def test_progress_counts_the_scenes(shared: Item) -> None:
    events: list[Event] = []
    looked_at(shared, named(shared, "S2A_other"), on_event=events.append)
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("filter", 1, 2),
        ("filter", 2, 2),
    ]


def broken(folder: Path) -> str:
    """A GeoTIFF without its second half."""
    noise = np.random.default_rng(1).integers(0, 11, (64, 64)).astype(np.uint8)
    write_raster(folder / "broken.tif", noise, west=WEST, north=NORTH, gsd=20)
    content = (folder / "broken.tif").read_bytes()
    (folder / "broken.tif").write_bytes(content[: len(content) // 2])
    return str(folder / "broken.tif")


@pytest.mark.parametrize("case", ["absent", "gone", "broken", "no-raster"])
@pytest.mark.parametrize(
    ("detector", "is_unusable"),
    [
        (STOCK, True),
        (DetectorOptions(), True),
        (DetectorOptions(type="donor", donor_mask="masks", also_stock=True), True),
        (OTHER, False),
    ],
    ids=["stock", "auto", "also-stock", "donor"],
)
def test_a_scene_whose_detector_needs_a_mask_that_cannot_be_read_is_unusable(
    shared: Item, tmp_path: Path, case: str, detector: DetectorOptions, is_unusable: bool
) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    item = {
        "absent": without(shared, "scl"),
        "gone": with_scl(shared, str(tmp_path / "none.tif")),
        "broken": with_scl(shared, broken(tmp_path)),
        "no-raster": with_scl(shared, str(tmp_path / "text.tif")),
    }[case]
    found = looked_at(item, named(shared, "S2A_good"), detector=detector)
    assert list(found.by_id) == ["S2A_good"]
    named_in = {"absent": "no mask scl", "gone": "none.tif", "no-raster": "text.tif"}
    reasons, others = (
        (found.unusable, found.missing) if is_unusable else (found.missing, found.unusable)
    )
    assert named_in.get(case, "broken.tif") in reasons[item["id"]]
    assert others == {}


def test_an_item_that_is_no_scene_is_unusable(shared: Item) -> None:
    found = looked_at(named({**shared, "assets": None}, "S2A_x"), detector=OTHER)
    assert "is not a STAC item" in found.unusable["S2A_x"]


def test_l2a_without_the_mask_of_the_preset_is_not_looked_at_through_another(shared: Item) -> None:
    detector = DetectorOptions(type="stock", preset="original")
    assert "no mask cld" in looked_at(shared, detector=detector).unusable[shared["id"]]
    # Another detector does not need it, and the thumbnail shows what the other mask shows.
    item = {**shared, "assets": {**shared["assets"], "cld": shared["assets"]["scl"]}}
    found = looked_at(without(item, "scl"), detector=OTHER)
    assert list(found.by_id) == [shared["id"]]


@pytest.mark.parametrize("error", [TryAgainError("later"), MaskError("bad"), RasterError("bad")])
def test_errors_are_reported_by_scene(
    shared: Item, monkeypatch: pytest.MonkeyPatch, error: CloudBusterError
) -> None:
    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", raising(error))
    found = looked_at(shared)
    passing = isinstance(error, TryAgainError)
    assert found.missing == ({shared["id"]: "later"} if passing else {})
    assert found.unusable == ({} if passing else {shared["id"]: "bad"})


def raising(error: Exception, only: str | None = None) -> Any:
    """Make a reader that raises for the scene ``only``, or for all."""

    def reader(scene: Any, *rest: Any) -> Any:
        if only in (None, scene.id):
            raise error
        return read_sky_thumbnail(scene, *rest)

    return reader


@pytest.mark.parametrize(
    ("error", "detector", "is_raised"),
    [
        (CredentialsError("no keys"), STOCK, True),
        (CredentialsError("no keys"), OTHER, True),
        (AccessError("refused"), STOCK, True),
        # A bucket that may not be listed refuses masks that do not exist.
        (AccessError("refused"), OTHER, False),
        (TryAgainError("later"), STOCK, False),
    ],
)
def test_a_refusal_of_every_scene_is_raised(
    shared: Item,
    monkeypatch: pytest.MonkeyPatch,
    error: CloudBusterError,
    detector: DetectorOptions,
    is_raised: bool,
) -> None:
    items = (shared, named(shared, "S2A_other"))
    with monkeypatch.context() as patch:
        patch.setattr(thumbnails, "read_sky_thumbnail", raising(error, only="S2A_other"))
        found = looked_at(*items, detector=detector)
        assert found.missing == {"S2A_other": str(error)}
    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", raising(error))
    if is_raised:
        with pytest.raises(type(error), match=str(error)):
            looked_at(*items, detector=detector)
    else:
        assert len(looked_at(*items, detector=detector).missing) == 2


def test_a_thumbnail_is_kept_and_read_again_without_the_scene(
    shared: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "thumbnails")
    first = looked_at(shared, folder=folder)
    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", raising(MaskError("read again")))
    second = looked_at(shared, folder=folder)
    made, kept = first.by_id[shared["id"]], second.by_id[shared["id"]]
    assert made.grid == kept.grid
    np.testing.assert_array_equal(made.classes, kept.classes)
    assert kept.classes.dtype == np.uint8


def test_kept_thumbnails_have_the_same_bytes_in_every_run(shared: Item, tmp_path: Path) -> None:
    written = []
    for run in ("one", "two"):
        looked_at(shared, folder=str(tmp_path / run))
        (path,) = (tmp_path / run).iterdir()
        written.append(path.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"detector": DetectorOptions(type="stock", preset="strict")},
        {"dilate_m": 50},
        {"bands": ("B04",)},
        {"item": {"properties": {"updated": "2024-01-01T00:00:00Z"}}},
    ],
    ids=["preset", "growth", "bands", "item"],
)
def test_a_thumbnail_made_otherwise_is_not_used(
    shared: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    looked_at(shared, folder=str(tmp_path))
    properties = {**shared["properties"], **changes.pop("item", {}).get("properties", {})}
    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", raising(MaskError("made anew")))
    found = looked_at({**shared, "properties": properties}, folder=str(tmp_path), **changes)
    assert found.unusable == {shared["id"]: "made anew"}


def test_a_mask_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    item = item_in(tmp_path)
    looked_at(item, folder=str(tmp_path / "t"))
    scl = np.full((4, 4), 6, np.uint8)
    scl_path = Path(item["assets"]["scl"]["href"])
    write_raster(scl_path, scl, west=WEST, north=NORTH, gsd=20)
    found = looked_at(item, folder=str(tmp_path / "t"))
    assert (found.by_id[item["id"]].classes == 3).all()
    scl_path.unlink()
    assert "SCL.tif" in looked_at(item, folder=str(tmp_path / "t")).unusable[item["id"]]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def another_value(path: Path) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.full((4, 4), 3, np.uint8), 1)


def another_place(path: Path) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.transform = rasterio.Affine(20, 0, WEST + 20, 0, -20, NORTH)


@pytest.mark.parametrize("damage", [cut, emptied, another_value, another_place])
def test_a_damaged_thumbnail_is_made_again(shared: Item, tmp_path: Path, damage: Any) -> None:
    looked_at(shared, folder=str(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    np.testing.assert_array_equal(
        looked_at(shared, folder=str(tmp_path)).by_id[shared["id"]].classes, EXPECTED
    )
    assert path.read_bytes() == whole


ODD_IDS = [
    "S2A/33TWL/..",
    "../../etc/passwd",
    "s2a_x",
    "S2A_X",
    "S2A x",
    "S2A:x",
    "S2A_\u00fc\u4e2d",
    "S2A_" + "x" * 200,
    "S2A_" + "x" * 201,
    ".",
]


def test_every_id_has_a_file_of_its_own_in_the_folder(shared: Item, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "thumbnails"
    items = [named(shared, item_id) for item_id in ODD_IDS]
    assert list(looked_at(*items, folder=str(folder)).by_id) == ODD_IDS
    files = [path.name for path in folder.iterdir()]
    assert sorted(files) == sorted(thumbnail_file_name(item_id) for item_id in ODD_IDS)
    assert len({name.lower() for name in files}) == len(ODD_IDS)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["thumbnails"]


def test_a_folder_that_cannot_be_written_is_an_error(shared: Item, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        looked_at(shared, folder=str(tmp_path / "file"))


def test_a_full_disk_does_not_cost_the_thumbnail(
    shared: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        msg = "No space left on device"
        raise TryAgainError(msg)

    monkeypatch.setattr(thumbnails, "write_thumbnail_file", fail)
    assert list(looked_at(shared, folder=str(tmp_path)).by_id) == [shared["id"]]


@pytest.mark.usefixtures("s3_account")
def test_thumbnails_are_kept_below_a_prefix_of_s3(
    shared: Item, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_server.put("kept", "marker", b"")
    looked_at(shared, folder="s3://kept/run/thumbnails")
    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", raising(MaskError("read again")))
    found = looked_at(shared, folder="s3://kept/run/thumbnails")
    np.testing.assert_array_equal(found.by_id[shared["id"]].classes, EXPECTED)


def test_scenes_that_are_not_read_in_time_are_missing_and_said_so(
    shared: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def slow(scene: Any, *rest: Any) -> Any:
        if scene.id != "S2A_quick":
            released.wait(10)
        return read_sky_thumbnail(scene, *rest)

    monkeypatch.setattr(thumbnails, "read_sky_thumbnail", slow)
    names = ["S2A_quick", *(f"S2A_{number}" for number in range(2 * thumbnails.THREADS))]
    items = [named(shared, name) for name in names]
    started = time.monotonic()
    found = looked_at(*items, folder=str(tmp_path), seconds=0.3)
    assert time.monotonic() - started < 5
    released.set()
    assert list(found.by_id) == ["S2A_quick"]
    assert list(found.missing) == names[1:]
    assert set(found.missing.values()) == {
        "its thumbnail was not read within the time limit of 0.3 s"
    }
    # A later call goes on with what was read.
    assert list(looked_at(*items, folder=str(tmp_path)).by_id) == names


def test_without_time_every_scene_is_missing(shared: Item) -> None:
    found = looked_at(shared, seconds=0)
    assert found.missing == {
        shared["id"]: "its thumbnail was not read within the time limit of 0 s"
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    """Serve one classification of 1400 pixels, as a COG with overviews, and half of it."""
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(4)
    coarse = rng.choice([4, 5, 9], (88, 88)).astype(np.uint8)
    scl = coarse.repeat(16, axis=0).repeat(16, axis=1)[:1400, :1400]
    scl = np.where(rng.random(scl.shape) < 0.1, 6, scl).astype(np.uint8)
    write_raster(folder / "work.tif", scl, west=WEST, north=NORTH, gsd=20)
    options = {"driver": "COG", "compress": "DEFLATE", "overview_resampling": "nearest"}
    rasterio.shutil.copy(folder / "work.tif", folder / "scl.tif", **options)
    content = (folder / "scl.tif").read_bytes()
    (folder / "half.tif").write_bytes(content[: len(content) // 20])
    with serving_ranges(folder) as running:
        yield running


def test_a_hundred_remote_scenes_take_few_requests_and_little_data(
    server: RangeServer, shared: Item
) -> None:
    server.forget()
    names = [f"S2A_{number}" for number in range(100)]
    items = [
        with_scl(named(shared, name), f"{server.url}/{number}/scl.tif")
        for number, name in enumerate(names)
    ]
    assert list(looked_at(*items).by_id) == names
    asked = server.asked
    assert len(asked) <= 250
    assert sum(size for *_, size in asked) <= 6e6


def test_a_remote_mask_that_does_not_exist_is_unusable(server: RangeServer, shared: Item) -> None:
    found = looked_at(with_scl(shared, f"{server.url}/1/none.tif"))
    assert "there is no such file" in found.unusable[shared["id"]]


def test_a_remote_mask_that_is_cut_off_is_not_clear(server: RangeServer, shared: Item) -> None:
    found = looked_at(with_scl(shared, f"{server.url}/1/half.tif"))
    assert found.by_id == {}
    assert "half.tif" in {**found.missing, **found.unusable}[shared["id"]]
