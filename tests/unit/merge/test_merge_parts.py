"""A mosaic merged in parts has the same bytes as one merged at once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import (
    GridError,
    NothingUsableError,
    RasterError,
    RequestError,
    TryAgainError,
)
from cloudbuster.events import Event
from cloudbuster.merge import MosaicRecipe, merge_part, merge_parts, merge_scenes, product_paths
from cloudbuster.models import MergeResult, SceneRecord
from cloudbuster.products import blocks as mosaic_blocks
from cloudbuster.products import parts as part_files
from cloudbuster.products.parts import Part, part_windows
from cloudbuster.storage.rasters import gdal_env
from cloudbuster.storage.remote import boto, s3
from tests.hand_made import BANDS, GRID, GatheredSpec, read, spec, write_gathered
from tests.s3_server import S3Server

# A tile of the sources and of the products holds several of these blocks.
CELLS = 128
# Two by two parts; the last ones of each row and column are narrow.
WIDE: Grid = replace(GRID, width=140, height=134)


def patches(seed: int, rows: int, cols: int) -> np.ndarray:
    """Return pixel classes in patches of 12 cells."""
    coarse = np.random.default_rng(seed).integers(0, 4, (rows // 12 + 1, cols // 12 + 1))
    return np.kron(coarse, np.ones((12, 12), int))[:rows, :cols]


SCENES: tuple[GatheredSpec, ...] = (
    spec(1, patches(1, 80, 100), row=38, col=12),
    spec(2, patches(2, 124, 62), row=6, col=62),
    # A scene in one part only.
    spec(3, patches(3, 4, 25), row=129, col=12),
    spec(4, patches(4, 80, 100), row=38, col=12, backstop=True, item_id="ITEM_1"),
)


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    """Blocks of 128 cells, so that a small mosaic has parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_files, "BLOCK_SIZE", CELLS)
        patch.setattr(mosaic_blocks, "BLOCK_SIZE", CELLS)
        yield


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write four scenes; two of the four parts hold none of them."""
    folder = tmp_path_factory.mktemp("scenes")
    for scene in SCENES:
        write_gathered(folder, scene, grid=WIDE)
    return folder


@pytest.fixture(scope="module")
def at_once(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> MergeResult:
    return merge_scenes(str(scenes), str(tmp_path_factory.mktemp("whole")), MosaicRecipe("m"))


@pytest.fixture(scope="module")
def merged(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Merge all parts; tests that modify them work on the copy `parts`."""
    folder = tmp_path_factory.mktemp("parts")
    for number in range(1, len(part_windows(WIDE, CELLS)) + 1):
        merge_part(str(scenes), str(folder), MosaicRecipe("m"), number=number, cells=CELLS)
    return folder


@pytest.fixture
def parts(merged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(merged, tmp_path / "parts"))


def put_together(parts: Path | str, scenes: Path | str, output: Path) -> MergeResult:
    return merge_parts(str(parts), str(scenes), str(output), MosaicRecipe("m"), cells=CELLS)


def contents(output: str) -> dict[str, bytes]:
    return {key: Path(path).read_bytes() for key, path in product_paths(output, "m").items()}


def test_parts_make_the_same_bytes(
    scenes: Path, merged: Path, at_once: MergeResult, tmp_path: Path
) -> None:
    assert len(list(merged.glob("m-part-*.json"))) == 4
    result = put_together(merged, scenes, tmp_path)
    assert contents(str(tmp_path)) == contents(str(Path(at_once.item).parent))
    assert result.model_dump(exclude={*product_paths("", "m")}) == at_once.model_dump(
        exclude={*product_paths("", "m")}
    )


@pytest.fixture
def store(s3_account: S3Server, scenes: Path) -> S3Server:
    """Upload the scenes to S3."""
    for path in scenes.iterdir():
        s3_account.put("mosaics", f"scenes/{path.name}", path.read_bytes())
    return s3_account


def test_parts_in_s3_fetch_only_the_scenes_that_meet_them(
    store: S3Server,
    at_once: MergeResult,
    merged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched: list[str] = []
    download = s3.download_object

    def noted(uri: str, path: Path) -> None:
        fetched.append(uri.rpartition("/")[2])
        download(uri, path)

    monkeypatch.setattr(s3, "download_object", noted)
    source, parts = "s3://mosaics/scenes", "s3://mosaics/parts"
    # The last part of a row meets no scene: it takes the bands from the first scene.
    merge_part(source, parts, MosaicRecipe("m"), number=2, cells=CELLS)
    assert [name for name in fetched if name.endswith(".tif")] == ["m-01.tif"]
    fetched.clear()
    merge_part(source, parts, MosaicRecipe("m"), number=3, cells=CELLS)
    rasters = {name for name in fetched if name.endswith(".tif")}
    assert rasters == {"m-02.tif", "m-03.tif"}
    for path in merged.glob("m-part-[14]*"):
        store.put("mosaics", f"parts/{path.name}", path.read_bytes())
    fetched.clear()
    put_together(parts, source, tmp_path)
    assert not [name for name in fetched if name.endswith(".tif") and "-part-" not in name]
    assert contents(str(tmp_path)) == contents(str(Path(at_once.item).parent))


def test_a_place_that_fails_while_parts_are_merged_is_worth_another_try(
    store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.url)
    # Without the pauses between the attempts.
    monkeypatch.setitem(gdal_env._OPTIONS, "GDAL_HTTP_MAX_RETRY", 0)
    monkeypatch.setattr(boto, "MAX_ATTEMPTS", 1)
    boto.aws_client.cache_clear()
    store.behave(requester_pays=[], private=[], unsigned_only=[])
    store.behave(outages=[503] * 40, outage_after=12)
    with pytest.raises(TryAgainError, match="try again"):
        merge_part(
            "s3://mosaics/scenes", "s3://mosaics/never", MosaicRecipe("m"), number=1, cells=CELLS
        )
    store.behave(outages=[])


def test_parts_of_other_scenes_are_refused(scenes: Path, merged: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    write_gathered(own, spec(5, [[3]]), grid=WIDE)
    with pytest.raises(RasterError, match="merged from other scenes"):
        put_together(merged, own, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_part_that_was_stopped_half_way_is_no_part(
    scenes: Path, parts: Path, tmp_path: Path
) -> None:
    before = {path.name for path in parts.iterdir()}

    def interrupt(_event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_part(
            str(scenes), str(parts), MosaicRecipe("m"), number=1, cells=CELLS, on_event=interrupt
        )
    assert {path.name for path in parts.iterdir()} == before - {"m-part-1.json"}
    with pytest.raises(RasterError, match=r"m-part-1\.json: missing; merge this part again"):
        put_together(parts, scenes, tmp_path / "out")


def test_parts_of_another_size_or_swapped_are_refused(
    scenes: Path, parts: Path, tmp_path: Path
) -> None:
    with pytest.raises(RasterError, match="parts of 128 cells, not 256"):
        merge_parts(str(parts), str(scenes), str(tmp_path / "out"), MosaicRecipe("m"), cells=256)
    shutil.copy(parts / "m-part-1-quality.tif", parts / "m-part-2-quality.tif")
    with pytest.raises(RasterError, match=r"m-part-2-quality\.tif is not a raster of this part"):
        put_together(parts, scenes, tmp_path / "out")


def test_scenes_that_cannot_be_one_mosaic_are_refused_in_parts_too(tmp_path: Path) -> None:
    folder, parts = tmp_path / "scenes", str(tmp_path / "parts")
    write_gathered(folder, spec(1, [[3]]), grid=WIDE)
    write_gathered(folder, spec(2, [[3]]), grid=replace(WIDE, width=326))
    with pytest.raises(GridError, match="another grid"):
        merge_part(str(folder), parts, MosaicRecipe("m"), number=1, cells=CELLS)
    write_gathered(folder, spec(2, [[3]]), grid=WIDE, record=False)
    (folder / "m-02.json").unlink()
    with pytest.raises(RasterError, match=r"m-02\.tif has no document beside it"):
        put_together(parts, folder, tmp_path / "out")


def test_a_part_that_is_missing_or_torn_is_named(scenes: Path, parts: Path, tmp_path: Path) -> None:
    torn = parts / "m-part-1-cloudless.tif"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    with pytest.raises(RasterError, match="part"):
        put_together(parts, scenes, tmp_path / "out")
    torn.unlink()
    with pytest.raises(RasterError, match=r"m-part-1-cloudless.tif.* merge this part again"):
        put_together(parts, scenes, tmp_path / "out")


@pytest.mark.parametrize("number", [0, 5])
def test_a_part_that_does_not_exist_is_refused(scenes: Path, tmp_path: Path, number: int) -> None:
    with pytest.raises(RequestError, match=f"part {number}; a mosaic of .* has 4 parts"):
        merge_part(str(scenes), str(tmp_path), MosaicRecipe("m"), number=number, cells=CELLS)


def test_parts_hold_whole_blocks() -> None:
    with pytest.raises(RequestError, match=r"100 cells; .* multiple of 128"):
        Part("m", 1, 100)


def test_parts_of_a_mosaic_without_scenes_say_so(tmp_path: Path) -> None:
    with pytest.raises(NothingUsableError, match="holds no scene"):
        merge_part(str(tmp_path), str(tmp_path), MosaicRecipe("m"), number=1, cells=CELLS)


@dataclass(frozen=True)
class VariedSpec(GatheredSpec):
    """A scene whose DN vary from cell to cell, some of them hazy."""

    @property
    def reflectance(self) -> np.ndarray:
        random = np.random.default_rng(self.index)
        shape = (len(BANDS), *self.classes.shape)
        return (random.integers(200, 900, shape) * (self.classes > 0)).astype(np.uint16)


def test_parts_of_composite_best_make_the_same_bytes(tmp_path: Path) -> None:
    scenes, parts = tmp_path / "scenes", tmp_path / "parts"
    for index, seed in ((1, 1), (2, 2), (3, 3)):
        varied = VariedSpec(index, patches(seed, WIDE.height, WIDE.width))
        write_gathered(scenes, varied, grid=WIDE)
        path = scenes / f"m-{index:02d}.json"
        record = SceneRecord.model_validate_json(path.read_bytes())
        acquired = datetime(2020, 6, index, tzinfo=UTC)
        changes = {"haze_dn": 100.0 + index, "acquired": acquired}
        path.write_bytes(record.model_copy(update=changes).to_json())
    recipe = MosaicRecipe("m", "best")
    merge_scenes(str(scenes), str(tmp_path / "whole"), recipe)
    for number in range(1, 5):
        merge_part(str(scenes), str(parts), recipe, number=number, cells=CELLS)
    merge_parts(str(parts), str(scenes), str(tmp_path / "joined"), recipe, cells=CELLS)
    assert contents(str(tmp_path / "joined")) == contents(str(tmp_path / "whole"))
    # Blocks of another size decide alike.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mosaic_blocks, "BLOCK_SIZE", 512)
        merge_scenes(str(scenes), str(tmp_path / "one"), recipe)
    cloudless = product_paths(str(tmp_path / "one"), "m")["cloudless"]
    other = product_paths(str(tmp_path / "whole"), "m")["cloudless"]
    np.testing.assert_array_equal(read(cloudless), read(other))
    assert set(np.unique(read(cloudless)[-1])) == {0, 1, 2, 3}
